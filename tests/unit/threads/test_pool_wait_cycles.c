/* SPDX-License-Identifier: MIT */
/*
 * test_pool_wait_cycles.c - jobs that wait for all jobs of another pool: refused
 * exactly if one of those jobs could never end. See src/threads/wait_graph.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "support/jobs.h"
#include "threads/pool.h"

/* A job that waits, for a job or for a pool, and what came of it. */
struct attempt {
    struct latch may_begin;
    bitnet_thread_pool *pool;
    bitnet_job *job;
    uint64_t deadline_ns;
    bitnet_status status;
    char message[BITNET_MAX_ERROR_BYTES];
};

static void note(struct attempt *attempt, bitnet_status status)
{
    attempt->status = status;
    snprintf(attempt->message, sizeof(attempt->message), "%s", bitnet_last_error());
}

static bitnet_status wait_for_pool(void *arg)
{
    struct attempt *attempt = arg;
    latch_wait(&attempt->may_begin);
    note(attempt, bitnet_thread_pool_wait(attempt->pool));
    return BITNET_OK;
}

static bitnet_status wait_for_job(void *arg)
{
    struct attempt *attempt = arg;
    latch_wait(&attempt->may_begin);
    note(attempt, bitnet_job_wait_until(attempt->job, attempt->deadline_ns));
    return BITNET_OK;
}

static void until_somebody_waits_for(bitnet_thread_pool *pool)
{
    bool is_waited_for = false;
    while (!is_waited_for) {
        bni_mutex_lock(&pool->lock);
        is_waited_for = pool->idle_waiters != NULL;
        bni_mutex_unlock(&pool->lock);
        sched_yield();
    }
}

static void jobs_that_came_later_may_wait_for_the_waiter(void **state)
{
    (void)state;
    bitnet_thread_pool *a = make_pool(1, 4);
    bitnet_thread_pool *b = make_pool(2, 4);
    struct blocker earlier = BLOCKER(1);
    struct attempt waiter = {.may_begin = LATCH(0), .pool = b};
    struct attempt later = {.may_begin = LATCH(0)}; /* its deadline is long over */
    bitnet_job *job = NULL;
    block_workers(b, &earlier, 1);
    assert_int_equal(bitnet_thread_pool_submit(a, wait_for_pool, &waiter, NULL,
                                               &later.job),
                     BITNET_OK);
    until_somebody_waits_for(b);
    assert_int_equal(bitnet_thread_pool_submit(b, wait_for_job, &later, NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    assert_int_equal(later.status, BITNET_ERROR_TIMED_OUT); /* granted */

    latch_count_down(&earlier.leave);
    assert_int_equal(bitnet_job_wait(later.job), BITNET_OK);
    assert_int_equal(waiter.status, BITNET_OK);
    bitnet_job_release(later.job);
    bitnet_job_release(job);
    destroy_pool(a);
    destroy_pool(b);
}

static void jobs_that_came_before_may_not(void **state)
{
    (void)state;
    bitnet_thread_pool *a = make_pool(1, 4);
    bitnet_thread_pool *b = make_pool(2, 4);
    struct attempt waiter = {.may_begin = LATCH(1), .pool = b};
    struct attempt earlier = {.may_begin = LATCH(0), .deadline_ns = BITNET_NO_DEADLINE};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(a, wait_for_pool, &waiter, NULL,
                                               &earlier.job),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(b, wait_for_job, &earlier, NULL, &job),
                     BITNET_OK);
    latch_count_down(&waiter.may_begin);
    assert_int_equal(bitnet_job_wait(earlier.job), BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    const bool waiter_refused = waiter.status == BITNET_ERROR_THREAD_SAFETY;
    const bool earlier_refused = earlier.status == BITNET_ERROR_THREAD_SAFETY;
    assert_true(waiter_refused != earlier_refused);
    assert_non_null(strstr(waiter_refused ? waiter.message : earlier.message,
                           "for a pool's jobs, one of which "));
    bitnet_job_release(earlier.job);
    bitnet_job_release(job);
    destroy_pool(a);
    destroy_pool(b);
}

static void the_circle_is_told_in_words(void **state)
{
    (void)state;
    bitnet_thread_pool *a = make_pool(1, 4);
    bitnet_thread_pool *b = make_pool(1, 4);
    struct attempt waiter = {.may_begin = LATCH(1), .pool = b};
    struct attempt earlier = {.may_begin = LATCH(1), .deadline_ns = BITNET_NO_DEADLINE};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(a, wait_for_pool, &waiter, NULL,
                                               &earlier.job),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(b, wait_for_job, &earlier, NULL, &job),
                     BITNET_OK);
    latch_count_down(&waiter.may_begin);
    until_somebody_waits_for(b);
    latch_count_down(&earlier.may_begin);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    assert_int_equal(earlier.status, BITNET_ERROR_THREAD_SAFETY);
    assert_non_null(strstr(earlier.message, "waits for a job that runs on w-0, which "
                                            "waits for a pool's jobs, one of which "
                                            "runs on w-0"));
    assert_int_equal(bitnet_job_wait(earlier.job), BITNET_OK);
    assert_int_equal(waiter.status, BITNET_OK);
    bitnet_job_release(earlier.job);
    bitnet_job_release(job);
    destroy_pool(a);
    destroy_pool(b);
}

/* A worker of `a` runs a job of `b`, whose queue is full; that waits for a job in `c`,
 * which waits for all jobs of `b`. */
struct run_here {
    bitnet_thread_pool *b;
    bitnet_thread_pool *c;
    struct attempt for_job;
    struct attempt for_pool;
};

static bitnet_status wait_in_b_for_c(void *arg)
{
    struct run_here *here = arg;
    const bitnet_status status =
        bitnet_thread_pool_submit(here->c, wait_for_pool, &here->for_pool, NULL,
                                  &here->for_job.job);
    return status == BITNET_OK ? wait_for_job(&here->for_job) : status;
}

static bitnet_status run_a_job_of_b(void *arg)
{
    struct run_here *here = arg;
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_RUN_HERE;
    return bitnet_thread_pool_submit_with(here->b, wait_in_b_for_c, here, &options,
                                          NULL);
}

static void a_job_is_found_that_runs_on_a_worker_of_another_pool(void **state)
{
    (void)state;
    bitnet_thread_pool *a = make_pool(1, 4);
    bitnet_thread_pool *b = make_pool(1, 1);
    bitnet_thread_pool *c = make_pool(1, 4);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned count = 0;
    struct run_here here = {
        .b = b,
        .c = c,
        .for_job = {.may_begin = LATCH(0), .deadline_ns = BITNET_NO_DEADLINE},
        .for_pool = {.may_begin = LATCH(0), .pool = b},
    };
    bitnet_job *job = NULL;
    block_workers(b, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_submit(b, count_job, &count, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(a, run_a_job_of_b, &here, NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_job_wait(here.for_job.job), BITNET_OK);
    assert_true((here.for_job.status == BITNET_ERROR_THREAD_SAFETY) !=
                (here.for_pool.status == BITNET_ERROR_THREAD_SAFETY));
    bitnet_job_release(here.for_job.job);
    bitnet_job_release(job);
    destroy_pool(a);
    destroy_pool(b);
    destroy_pool(c);
}

#define POOL_TEST(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog, stop_watchdog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(jobs_that_came_later_may_wait_for_the_waiter),
        POOL_TEST(jobs_that_came_before_may_not),
        POOL_TEST(the_circle_is_told_in_words),
        POOL_TEST(a_job_is_found_that_runs_on_a_worker_of_another_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
