/* SPDX-License-Identifier: MIT */
/*
 * test_threading_error_handling.c - every wait that would never end is refused, with
 * the chain in words; jobs that end their thread, or fail, harm nobody else.
 *
 * Each of these is a deadlock in a pool without the rules of docs/threads.md; the
 * watchdog turns a relapse into a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "support/jobs.h"
#include "threads/compute.h"
#include "threads/pool.h"

/* What a job saw, for the test to look at. */
struct attempt {
    bitnet_thread_pool *pool;
    bitnet_job *job;
    struct latch has_job;
    bitnet_status status;
    char message[BITNET_MAX_ERROR_BYTES];
};

static void note(struct attempt *attempt, bitnet_status status)
{
    attempt->status = status;
    snprintf(attempt->message, sizeof(attempt->message), "%s", bitnet_last_error());
}

static bitnet_status wait_for_oneself(void *arg)
{
    struct attempt *attempt = arg;
    latch_wait(&attempt->has_job);
    note(attempt, bitnet_job_wait(attempt->job));
    return BITNET_OK;
}

static void a_job_that_waits_for_itself_is_refused(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct attempt attempt = {.pool = pool, .has_job = LATCH(1)};
    assert_int_equal(bitnet_thread_pool_submit(pool, wait_for_oneself, &attempt, NULL,
                                               &attempt.job),
                     BITNET_OK);
    latch_count_down(&attempt.has_job);
    assert_int_equal(bitnet_job_wait(attempt.job), BITNET_OK);
    assert_int_equal(attempt.status, BITNET_ERROR_THREAD_SAFETY);
    assert_non_null(strstr(attempt.message, "would never end: w-"));
    assert_non_null(strstr(attempt.message, "waits for a job that runs on w-"));
    bitnet_job_release(attempt.job);
    destroy_pool(pool);
}

/* Jobs that wait for each other in a ring, each on its own worker. */
struct ring_job {
    struct attempt attempt;
    struct latch *all_run;
};

static bitnet_status wait_for_the_next(void *arg)
{
    struct ring_job *self = arg;
    latch_meet(self->all_run);
    latch_wait(&self->attempt.has_job);
    const bitnet_status status = bitnet_job_wait(self->attempt.job);
    note(&self->attempt, status);
    return BITNET_OK;
}

static void a_ring_of_waiting_jobs_is_broken_at_one_place(void **state)
{
    (void)state;
    enum { N = 3 };
    bitnet_thread_pool *pool = make_pool(N, N);
    struct latch all_run = LATCH(N);
    struct ring_job ring[N];
    bitnet_job *jobs[N];
    for (int i = 0; i < N; i++) {
        ring[i] =
            (struct ring_job){.attempt = {.has_job = LATCH(1)}, .all_run = &all_run};
        assert_int_equal(bitnet_thread_pool_submit(pool, wait_for_the_next, &ring[i],
                                                   NULL, &jobs[i]),
                         BITNET_OK);
    }
    for (int i = 0; i < N; i++) {
        ring[i].attempt.job = jobs[(i + 1) % N];
        latch_count_down(&ring[i].attempt.has_job);
    }
    int n_refused = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(bitnet_job_wait(jobs[i]), BITNET_OK);
        if (ring[i].attempt.status == BITNET_OK) continue;
        n_refused++;
        assert_int_equal(ring[i].attempt.status, BITNET_ERROR_THREAD_SAFETY);
        /* The chain names all three workers. */
        assert_non_null(strstr(ring[i].attempt.message, "w-0"));
        assert_non_null(strstr(ring[i].attempt.message, "w-1"));
        assert_non_null(strstr(ring[i].attempt.message, "w-2"));
    }
    assert_int_equal(n_refused, 1);
    for (int i = 0; i < N; i++) bitnet_job_release(jobs[i]);
    destroy_pool(pool);
}

/* Submits a job to `pool` and waits for it. */
static bitnet_status submit_and_wait(void *arg)
{
    struct attempt *attempt = arg;
    _Atomic unsigned count = 0;
    bitnet_job *job = NULL;
    bitnet_status status =
        bitnet_thread_pool_submit(attempt->pool, count_job, &count, NULL, &job);
    if (status != BITNET_OK) return status;
    status = bitnet_job_wait(job);
    note(attempt, status);
    bitnet_job_release(job);
    return atomic_load(&count) == 1 ? status : BITNET_ERROR_INTERNAL;
}

static void a_lone_worker_may_wait_for_a_job_it_submits(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct attempt attempt = {.pool = pool};
    bitnet_job *job = NULL;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(bitnet_thread_pool_submit(pool, submit_and_wait, &attempt,
                                                   NULL, &job),
                         BITNET_OK);
        assert_int_equal(bitnet_job_wait(job), BITNET_OK);
        bitnet_job_release(job);
    }
    destroy_pool(pool);
}

/* Two pools of one worker: A's job waits for B's, which waits for one queued in A. */
struct two_pools {
    bitnet_thread_pool *a;
    bitnet_thread_pool *b;
    struct attempt inner;
    struct attempt outer;
};

static bitnet_status wait_in_b_for_a(void *arg)
{
    struct two_pools *pools = arg;
    _Atomic unsigned count = 0;
    bitnet_job *job = NULL;
    bitnet_status status =
        bitnet_thread_pool_submit(pools->a, count_job, &count, NULL, &job);
    if (status != BITNET_OK) return status;
    latch_wait(&pools->outer.has_job);
    status = bitnet_job_wait(job);
    note(&pools->inner, status);
    if (status == BITNET_ERROR_THREAD_SAFETY) bitnet_job_cancel(job);
    bitnet_job_release(job);
    return BITNET_OK;
}

static bitnet_status wait_in_a_for_b(void *arg)
{
    struct two_pools *pools = arg;
    bitnet_job *job = NULL;
    bitnet_status status =
        bitnet_thread_pool_submit(pools->b, wait_in_b_for_a, pools, NULL, &job);
    if (status != BITNET_OK) return status;
    latch_count_down(&pools->outer.has_job);
    status = bitnet_job_wait(job);
    note(&pools->outer, status);
    bitnet_job_release(job);
    return BITNET_OK;
}

static void two_pools_cannot_starve_each_other(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct two_pools pools = {.a = make_pool(1, 4),
                                  .b = make_pool(1, 4),
                                  .outer = {.has_job = LATCH(1)}};
        bitnet_job *job = NULL;
        assert_int_equal(bitnet_thread_pool_submit(pools.a, wait_in_a_for_b, &pools,
                                                   NULL, &job),
                         BITNET_OK);
        assert_int_equal(bitnet_job_wait(job), BITNET_OK);
        bitnet_job_release(job);
        /* Whichever of the two slept last was refused; the other went on. */
        const bool inner_refused = pools.inner.status == BITNET_ERROR_THREAD_SAFETY;
        const bool outer_refused = pools.outer.status == BITNET_ERROR_THREAD_SAFETY;
        assert_true(inner_refused != outer_refused);
        assert_non_null(
            strstr(inner_refused ? pools.inner.message : pools.outer.message,
                   "queued behind w-0"));
        destroy_pool(pools.a);
        destroy_pool(pools.b);
    }
}

/* Two pools of one worker whose jobs submit into each other's full queue. */
struct crossed {
    bitnet_thread_pool *other;
    struct latch *both_run;
    bitnet_status status;
};

static bitnet_status fill_the_other(void *arg)
{
    struct crossed *crossed = arg;
    static _Atomic unsigned count;
    latch_meet(crossed->both_run);
    for (int i = 0; i < 3 && crossed->status == BITNET_OK; i++)
        crossed->status =
            bitnet_thread_pool_submit(crossed->other, count_job, &count, NULL, NULL);
    return BITNET_OK;
}

static void full_queues_that_wait_for_each_other_are_found(void **state)
{
    (void)state;
    bitnet_thread_pool *a = make_pool(1, 1);
    bitnet_thread_pool *b = make_pool(1, 1);
    struct latch both_run = LATCH(2);
    struct crossed from_a = {.other = b, .both_run = &both_run};
    struct crossed from_b = {.other = a, .both_run = &both_run};
    assert_int_equal(bitnet_thread_pool_submit(a, fill_the_other, &from_a, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(b, fill_the_other, &from_b, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(a), BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(b), BITNET_OK);
    assert_true((from_a.status == BITNET_ERROR_THREAD_SAFETY) !=
                (from_b.status == BITNET_ERROR_THREAD_SAFETY));
    destroy_pool(a);
    destroy_pool(b);
}

static bitnet_status wait_for_own_pool(void *arg)
{
    struct attempt *attempt = arg;
    note(attempt, bitnet_thread_pool_wait(attempt->pool));
    return BITNET_OK;
}

static bitnet_status destroy_own_pool(void *arg)
{
    struct attempt *attempt = arg;
    note(attempt, bitnet_thread_pool_destroy(attempt->pool));
    return BITNET_OK;
}

static bitnet_status shut_down_own_pool(void *arg)
{
    struct attempt *attempt = arg;
    note(attempt,
         bitnet_thread_pool_shutdown(attempt->pool, BITNET_SHUTDOWN_IMMEDIATE, 0));
    return BITNET_OK;
}

static void a_worker_may_not_wait_for_or_end_its_own_pool(void **state)
{
    (void)state;
    static const bitnet_job_fn jobs[] = {wait_for_own_pool, destroy_own_pool,
                                         shut_down_own_pool};
    bitnet_thread_pool *pool = make_pool(2, 4);
    for (int i = 0; i < 3; i++) {
        struct attempt attempt = {.pool = pool};
        assert_int_equal(bitnet_thread_pool_submit(pool, jobs[i], &attempt, NULL, NULL),
                         BITNET_OK);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(attempt.status, BITNET_ERROR_THREAD_SAFETY);
        assert_non_null(strstr(attempt.message, "inside a job of this very pool"));
    }
    /* Nothing has happened to it. */
    _Atomic unsigned count = 0;
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                     BITNET_OK);
    destroy_pool(pool);
    assert_int_equal(atomic_load(&count), 1);
}

static void wait_in_drop(void *arg)
{
    struct attempt *attempt = arg;
    note(attempt, bitnet_job_wait(attempt->job));
    assert_int_equal(bitnet_thread_pool_wait(attempt->pool),
                     BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(bitnet_thread_pool_destroy(attempt->pool),
                     BITNET_ERROR_THREAD_SAFETY);
}

static void a_drop_function_may_not_wait_for_its_job_or_its_pool(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 2);
    struct blocker blocker = BLOCKER(1);
    struct attempt attempt = {.pool = pool};
    block_workers(pool, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_submit(pool, wait_for_oneself, &attempt,
                                               wait_in_drop, &attempt.job),
                     BITNET_OK);
    assert_true(bitnet_job_cancel(attempt.job));
    assert_int_equal(attempt.status, BITNET_ERROR_THREAD_SAFETY);
    bitnet_job_release(attempt.job);
    latch_count_down(&blocker.leave);
    destroy_pool(pool);
}

static void *block_where_it_is_forbidden(void *arg)
{
    struct attempt *attempt = arg;
    _Atomic unsigned count = 0;
    bni_context_forbid_blocking("scheduler thread");
    const bitnet_status expected = BITNET_ERROR_THREAD_SAFETY;
    const bool are_refused =
        bitnet_thread_pool_submit(attempt->pool, count_job, &count, NULL, NULL) ==
            expected &&
        bitnet_thread_pool_wait(attempt->pool) == expected &&
        bitnet_thread_pool_shutdown(attempt->pool, BITNET_SHUTDOWN_GRACEFUL, 0) ==
            expected &&
        bitnet_thread_pool_destroy(attempt->pool) == expected &&
        bitnet_job_wait(attempt->job) == expected;
    note(attempt, are_refused ? bitnet_last_status() : BITNET_OK);
    /* What does not block is allowed. */
    if (bitnet_thread_pool_try_submit(attempt->pool, count_job, &count, NULL, NULL) !=
        BITNET_OK)
        note(attempt, bitnet_last_status());
    bni_context_forbid_blocking(NULL);
    bitnet_thread_pool_wait(attempt->pool); /* `count` is on this stack */
    return NULL;
}

static void a_scheduler_thread_may_not_block(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 2);
    struct attempt attempt = {.pool = pool};
    _Atomic unsigned count = 0;
    pthread_t thread;
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL,
                                               &attempt.job),
                     BITNET_OK);
    assert_int_equal(pthread_create(&thread, NULL, block_where_it_is_forbidden,
                                    &attempt),
                     0);
    pthread_join(thread, NULL);
    assert_int_equal(attempt.status, BITNET_ERROR_THREAD_SAFETY);
    assert_non_null(strstr(attempt.message, "scheduler thread"));
    bitnet_job_release(attempt.job);
    destroy_pool(pool);
}

static bitnet_status exit_thread(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

static void a_job_that_exits_its_thread_has_failed_and_is_replaced(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 8);
    _Atomic unsigned count = 0;
    for (int i = 0; i < 10; i++) {
        bitnet_job *job = NULL;
        assert_int_equal(bitnet_thread_pool_submit(pool, exit_thread, NULL, NULL, &job),
                         BITNET_OK);
        assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_INTERNAL);
        assert_non_null(strstr(bitnet_last_error(), "pthread_exit"));
        bitnet_job_release(job);
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_failed, 10);
    assert_int_equal(stats.n_completed, 10);
    destroy_pool(pool);
}

static bitnet_status wait_for_an_exiting_job(void *arg)
{
    struct attempt *attempt = arg;
    const bitnet_status status = bitnet_thread_pool_submit(attempt->pool, exit_thread,
                                                           NULL, NULL, &attempt->job);
    if (status != BITNET_OK) return status;
    return bitnet_job_wait(attempt->job); /* runs it here, and never returns */
}

static void an_exit_ends_the_jobs_around_it_too(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct attempt attempt = {.pool = pool};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(pool, wait_for_an_exiting_job, &attempt,
                                               NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_INTERNAL);
    assert_int_equal(bitnet_job_wait(attempt.job), BITNET_ERROR_INTERNAL);
    bitnet_job_release(attempt.job);
    bitnet_job_release(job);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(stats_of(pool).n_failed, 2);
    destroy_pool(pool);
}

static bitnet_status exit_when_told(void *arg)
{
    block_job(arg);
    pthread_exit(NULL);
}

/* The only thread ends itself, and the system gives no other: what is queued ends with
 * an error, and the pool works again as soon as there is a thread to be had. */
static void a_pool_that_loses_its_last_thread_lets_nobody_wait_for_ever(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        bitnet_thread_pool *pool = make_pool(1, 4);
        struct blocker blocker = BLOCKER(1);
        _Atomic unsigned count = 0;
        bitnet_job *job = NULL;
        assert_int_equal(bitnet_thread_pool_submit(pool, exit_when_told, &blocker, NULL,
                                                   NULL),
                         BITNET_OK);
        latch_wait(&blocker.entered);
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, count_drop,
                                                   &job),
                         BITNET_OK);
        bni_fault_arm(n);
        latch_count_down(&blocker.leave);
        assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        assert_int_equal(atomic_load(&count), 1); /* dropped */
        bitnet_job_release(job);
        assert_int_equal(stats_of(pool).n_threads, 0);

        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(atomic_load(&count), 2);
        const bitnet_thread_pool_stats stats = stats_of(pool);
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_threads, 1);
        destroy_pool(pool);
    }
}

static void *submit_a_counted_job(void *arg)
{
    struct attempt *attempt = arg;
    static _Atomic unsigned n_run;
    note(attempt, bitnet_thread_pool_submit(attempt->pool, count_job, &n_run, NULL,
                                            &attempt->job));
    return NULL;
}

static void until_all_wait_for_room(bitnet_thread_pool *pool, unsigned n_threads)
{
    for (unsigned n_waiting = 0; n_waiting < n_threads; sched_yield()) {
        n_waiting = 0;
        bni_mutex_lock(&pool->lock);
        for (struct bni_submitter *s = pool->first_submitter; s != NULL; s = s->next)
            n_waiting++;
        bni_mutex_unlock(&pool->lock);
    }
}

/* Those who wait for room let each other in; without a thread nobody may be forgotten. */
static void a_pool_that_loses_its_last_thread_forgets_nobody_in_line(void **state)
{
    (void)state;
    enum { N = 3 };
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned count = 0;
    assert_int_equal(bitnet_thread_pool_submit(pool, exit_when_told, &blocker, NULL,
                                               NULL),
                     BITNET_OK);
    latch_wait(&blocker.entered);
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, count_drop,
                                               NULL),
                     BITNET_OK);
    struct attempt attempts[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        attempts[i] = (struct attempt){.pool = pool};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_a_counted_job,
                                        &attempts[i]),
                         0);
    }
    until_all_wait_for_room(pool, N);
    bni_fault_arm(1);
    latch_count_down(&blocker.leave);
    for (int i = 0; i < N; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(attempts[i].status, BITNET_OK);
        assert_int_equal(bitnet_job_wait(attempts[i].job), BITNET_ERROR_OUT_OF_MEMORY);
        bitnet_job_release(attempts[i].job);
    }
    bni_fault_arm(0);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&count), 1); /* dropped, like all the others */
    assert_int_equal(stats_of(pool).n_dropped, 1 + N);
    destroy_pool(pool);
}

static void resizing_that_finds_no_thread_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        bitnet_thread_pool *pool = make_pool(2, 4);
        bni_fault_arm(n);
        const bitnet_status status = bitnet_thread_pool_resize(pool, 5);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        _Atomic unsigned count = 0;
        for (int i = 0; i < 8; i++)
            assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL,
                                                       NULL),
                             BITNET_OK);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(atomic_load(&count), 8);
        destroy_pool(pool);
        if (status == BITNET_OK && !was_asked) break;
        if (status != BITNET_OK) assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        assert_true(n < 100);
    }
}

static void nulls_are_refused(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    const bitnet_status expected = BITNET_ERROR_INVALID_ARGUMENT;
    assert_int_equal(bitnet_thread_pool_submit(pool, NULL, NULL, NULL, NULL), expected);
    assert_non_null(strstr(bitnet_last_error(), "its function is NULL"));
    assert_int_equal(bitnet_thread_pool_submit(NULL, count_job, NULL, NULL, NULL),
                     expected);
    assert_int_equal(bitnet_thread_pool_try_submit(NULL, count_job, NULL, NULL, NULL),
                     expected);
    assert_int_equal(bitnet_thread_pool_wait(NULL), expected);
    assert_int_equal(bitnet_thread_pool_resize(NULL, 1), expected);
    assert_int_equal(bitnet_thread_pool_shutdown(NULL, BITNET_SHUTDOWN_GRACEFUL, 0),
                     expected);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, (bitnet_shutdown_mode)7, 0),
                     expected);
    assert_int_equal(bitnet_thread_pool_get_stats(pool, NULL), expected);
    assert_int_equal(bitnet_job_wait(NULL), expected);
    assert_int_equal(bitnet_job_get_state(NULL), BITNET_JOB_ENDED);
    assert_null(bitnet_job_retain(NULL));
    bitnet_job_release(NULL);
    assert_false(bitnet_job_cancel(NULL));
    destroy_pool(pool);
}

#define POOL_TEST(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog, stop_watchdog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(a_job_that_waits_for_itself_is_refused),
        POOL_TEST(a_ring_of_waiting_jobs_is_broken_at_one_place),
        POOL_TEST(a_lone_worker_may_wait_for_a_job_it_submits),
        POOL_TEST(two_pools_cannot_starve_each_other),
        POOL_TEST(full_queues_that_wait_for_each_other_are_found),
        POOL_TEST(a_worker_may_not_wait_for_or_end_its_own_pool),
        POOL_TEST(a_drop_function_may_not_wait_for_its_job_or_its_pool),
        POOL_TEST(a_scheduler_thread_may_not_block),
        POOL_TEST(a_job_that_exits_its_thread_has_failed_and_is_replaced),
        POOL_TEST(an_exit_ends_the_jobs_around_it_too),
        POOL_TEST(a_pool_that_loses_its_last_thread_lets_nobody_wait_for_ever),
        POOL_TEST(a_pool_that_loses_its_last_thread_forgets_nobody_in_line),
        POOL_TEST(resizing_that_finds_no_thread_changes_nothing),
        POOL_TEST(nulls_are_refused),
    };
    return cmocka_run_group_tests(tests, prepare_unwinder, NULL);
}
