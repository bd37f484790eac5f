/* SPDX-License-Identifier: MIT */
/*
 * test_cleanup_thread_pool.c - shutdown and destroy: graceful and immediate, with and
 * without a deadline, again and again, and with others in the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "support/jobs.h"

static uint64_t in_use_before;

static int start_watchdog_and_count(void **state)
{
    in_use_before = bni_alloc_in_use();
    return start_watchdog(state);
}

static int stop_watchdog_and_check_leaks(void **state)
{
    stop_watchdog(state);
    return bni_alloc_in_use() == in_use_before ? 0 : 1;
}

static void a_graceful_shutdown_runs_what_is_queued(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 50);
    _Atomic unsigned count = 0;
    for (int i = 0; i < 50; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(atomic_load(&count), 50);
    assert_int_equal(stats_of(pool).n_threads, 0);
    destroy_pool(pool);
}

static void an_immediate_shutdown_drops_what_is_queued_once(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 10);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned n_dropped = 0;
    bitnet_job *job = NULL;
    block_workers(pool, &blocker, 1);
    for (int i = 0; i < 9; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, block_job, &n_dropped,
                                                   count_drop, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(pool, block_job, &n_dropped, count_drop,
                                               &job),
                     BITNET_OK);

    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE, 0),
                     BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "1 jobs")); /* the running one */
    assert_int_equal(atomic_load(&n_dropped), 10);
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_CANCELLED);
    assert_non_null(strstr(bitnet_last_error(), "shut down"));
    bitnet_job_release(job);

    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_dropped, 10);
    assert_int_equal(stats.n_completed, 1);
    destroy_pool(pool);
    assert_int_equal(atomic_load(&n_dropped), 10);
}

static bitnet_status run_until_told(void *arg)
{
    latch_count_down(arg);
    while (!bitnet_job_should_stop()) sched_yield();
    return BITNET_ERROR_CANCELLED;
}

static void an_immediate_shutdown_asks_what_runs_to_stop(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 2);
    struct latch entered = LATCH(2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, run_until_told, &entered, NULL,
                                                   NULL),
                         BITNET_OK);
    latch_wait(&entered);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 bitnet_deadline_after_ms(1)),
                     BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "2 jobs"));
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(stats_of(pool).n_cancelled, 2);
    destroy_pool(pool);
}

static void a_pool_that_is_shut_down_takes_no_jobs(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    _Atomic unsigned count = 0;
    bitnet_job *job = NULL;
    for (int i = 0; i < 3; i++)
        assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                     BITNET_NO_DEADLINE),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, count_drop,
                                               &job),
                     BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_thread_pool_try_submit(pool, count_job, &count, count_drop,
                                                   NULL),
                     BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_thread_pool_resize(pool, 2), BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_null(job);
    assert_int_equal(atomic_load(&count), 0);
    destroy_pool(pool);
}

/* A running job's own jobs belong to it: while draining they are still accepted. */
struct family {
    bitnet_thread_pool *pool;
    struct latch entered;
    struct latch go_on;
    _Atomic unsigned n_children;
};

static bitnet_status have_children(void *arg)
{
    struct family *family = arg;
    latch_count_down(&family->entered);
    latch_wait(&family->go_on);
    for (int i = 0; i < 5; i++) {
        const bitnet_status status =
            bitnet_thread_pool_submit(family->pool, count_job, &family->n_children,
                                      NULL, NULL);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

static void draining_includes_the_jobs_that_running_jobs_submit(void **state)
{
    (void)state;
    struct family family = {.pool = make_pool(1, 2),
                            .entered = LATCH(1),
                            .go_on = LATCH(1)};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(family.pool, have_children, &family,
                                               NULL, &job),
                     BITNET_OK);
    latch_wait(&family.entered);
    assert_int_equal(bitnet_thread_pool_shutdown(family.pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 0),
                     BITNET_ERROR_TIMED_OUT);
    latch_count_down(&family.go_on);
    assert_int_equal(bitnet_thread_pool_shutdown(family.pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    assert_int_equal(atomic_load(&family.n_children), 5);
    bitnet_job_release(job);
    destroy_pool(family.pool);
}

struct caller {
    bitnet_thread_pool *pool;
    struct latch *ready;
    bitnet_status status;
};

static void *submit_to_a_full_queue(void *arg)
{
    struct caller *caller = arg;
    static _Atomic unsigned count;
    latch_count_down(caller->ready);
    caller->status =
        bitnet_thread_pool_submit(caller->pool, count_job, &count, NULL, NULL);
    return NULL;
}

static void blocked_submitters_are_let_go(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        bitnet_thread_pool *pool = make_pool(1, 1);
        struct blocker blocker = BLOCKER(1);
        _Atomic unsigned count = 0;
        struct latch ready = LATCH(3);
        pthread_t threads[3];
        struct caller callers[3];
        block_workers(pool, &blocker, 1);
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
        for (int i = 0; i < 3; i++) {
            callers[i] = (struct caller){pool, &ready, BITNET_OK};
            assert_int_equal(pthread_create(&threads[i], NULL, submit_to_a_full_queue,
                                            &callers[i]),
                             0);
        }
        latch_wait(&ready);
        assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL, 0),
                         BITNET_ERROR_TIMED_OUT);
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(callers[i].status, BITNET_ERROR_SHUT_DOWN);
        }
        latch_count_down(&blocker.leave);
        destroy_pool(pool);
        assert_int_equal(atomic_load(&count), 1);
    }
}

static void *shut_down(void *arg)
{
    struct caller *caller = arg;
    latch_meet(caller->ready);
    caller->status = bitnet_thread_pool_shutdown(caller->pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE);
    return NULL;
}

static void several_threads_may_shut_down_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        bitnet_thread_pool *pool = make_pool(3, 8);
        _Atomic unsigned count = 0;
        struct latch ready = LATCH(4);
        pthread_t threads[4];
        struct caller callers[4];
        for (int i = 0; i < 8; i++)
            assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL,
                                                       NULL),
                             BITNET_OK);
        for (int i = 0; i < 4; i++) {
            callers[i] = (struct caller){pool, &ready, BITNET_ERROR_INTERNAL};
            assert_int_equal(pthread_create(&threads[i], NULL, shut_down, &callers[i]),
                             0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(callers[i].status, BITNET_OK);
        }
        assert_int_equal(atomic_load(&count), 8);
        destroy_pool(pool);
    }
}

static void *wait_for_job(void *arg)
{
    struct caller *caller = arg;
    bitnet_job *job = NULL;
    static _Atomic unsigned count;
    if (bitnet_thread_pool_submit(caller->pool, count_job, &count, NULL, &job) !=
        BITNET_OK)
        return NULL;
    latch_count_down(caller->ready);
    caller->status = bitnet_job_wait(job);
    bitnet_job_release(job);
    return NULL;
}

static void a_pool_may_be_destroyed_while_others_wait_for_its_jobs(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        bitnet_thread_pool *pool = make_pool(1, 4);
        struct blocker blocker = BLOCKER(1);
        struct latch ready = LATCH(2);
        pthread_t threads[2];
        struct caller callers[2];
        block_workers(pool, &blocker, 1);
        for (int i = 0; i < 2; i++) {
            callers[i] = (struct caller){pool, &ready, BITNET_ERROR_INTERNAL};
            assert_int_equal(pthread_create(&threads[i], NULL, wait_for_job,
                                            &callers[i]),
                             0);
        }
        latch_wait(&ready);
        latch_count_down(&blocker.leave);
        destroy_pool(pool);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(callers[i].status, BITNET_OK);
        }
    }
}

static bitnet_status destroy_another(void *arg)
{
    return bitnet_thread_pool_destroy(arg);
}

static void a_job_may_destroy_another_pool(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    bitnet_thread_pool *other = make_pool(2, 8);
    _Atomic unsigned count = 0;
    bitnet_job *job = NULL;
    for (int i = 0; i < 8; i++)
        assert_int_equal(bitnet_thread_pool_submit(other, count_job, &count, NULL,
                                                   NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(pool, destroy_another, other, NULL,
                                               &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    assert_int_equal(atomic_load(&count), 8);
    bitnet_job_release(job);
    destroy_pool(pool);
}

#define POOL_TEST(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog_and_count, \
                                    stop_watchdog_and_check_leaks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(a_graceful_shutdown_runs_what_is_queued),
        POOL_TEST(an_immediate_shutdown_drops_what_is_queued_once),
        POOL_TEST(an_immediate_shutdown_asks_what_runs_to_stop),
        POOL_TEST(a_pool_that_is_shut_down_takes_no_jobs),
        POOL_TEST(draining_includes_the_jobs_that_running_jobs_submit),
        POOL_TEST(blocked_submitters_are_let_go),
        POOL_TEST(several_threads_may_shut_down_at_once),
        POOL_TEST(a_pool_may_be_destroyed_while_others_wait_for_its_jobs),
        POOL_TEST(a_job_may_destroy_another_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
