/* SPDX-License-Identifier: MIT */
/*
 * pthread_cancel() on threads that are in the library: on a worker that runs a job,
 * and on threads of the program that wait.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet.h>

#include "support/jobs.h"

enum { LIMIT_S = 30 };

struct victim {
    struct latch entered;
    pthread_t thread;
};

/* Runs until its thread is cancelled. */
static bitnet_status endless_job(void *arg)
{
    struct victim *victim = (struct victim *)arg;
    victim->thread = pthread_self();
    latch_count_down(&victim->entered);
    while (victim->thread == pthread_self()) {
        pthread_testcancel();
        sched_yield();
    }
    return BITNET_OK; /* not reached */
}

static void a_job_whose_thread_is_cancelled_has_failed(void **state)
{
    (void)state;
    enum { N_ROUNDS = 20 };
    struct watchdog dog;
    watchdog_start(&dog, "pthread_cancel of a job", LIMIT_S);
    bitnet_thread_pool *pool = make_pool(1, 10);
    for (unsigned round = 1; round <= N_ROUNDS; round++) {
        struct victim victim = {.entered = LATCH(1)};
        bitnet_job *job = NULL;
        _Atomic unsigned n_run = 0;
        assert_int_equal(bitnet_thread_pool_submit(pool, endless_job, &victim, NULL,
                                                   &job),
                         BITNET_OK);
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_run, NULL, NULL),
                         BITNET_OK);
        latch_wait(&victim.entered);
        pthread_cancel(victim.thread);
        assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_INTERNAL);
        assert_non_null(strstr(bitnet_last_error(), "pthread_cancel()"));
        bitnet_job_release(job);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(n_run, 1); /* on the worker's successor */
        const bitnet_thread_pool_stats stats = stats_of(pool);
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_failed, round);
        assert_int_equal(stats.n_threads, 1);
    }
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    watchdog_stop(&dog);
}

struct waiting {
    struct latch is_cancelled;
    bitnet_thread_pool *pool;
    bitnet_status status;
};

/* Is cancelled before it waits: a wait that were a cancellation point would end it. */
static void *wait_main(void *arg)
{
    struct waiting *waiting = (struct waiting *)arg;
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); /* the latch's is one */
    latch_wait(&waiting->is_cancelled);
    pthread_setcancelstate(before, NULL);
    waiting->status = bitnet_thread_pool_wait(waiting->pool);
    pthread_testcancel();
    return NULL;
}

static void a_wait_of_the_library_is_no_cancellation_point(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, "pthread_cancel of a waiting thread", LIMIT_S);
    struct blocker blocker = BLOCKER(1);
    struct waiting waiting = {.is_cancelled = LATCH(1),
                              .status = BITNET_ERROR_INTERNAL};
    waiting.pool = make_pool(1, 1);
    block_workers(waiting.pool, &blocker, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_main, &waiting), 0);
    pthread_cancel(thread);
    latch_count_down(&waiting.is_cancelled);
    latch_count_down(&blocker.leave);
    void *result = NULL;
    pthread_join(thread, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED); /* but only afterwards */
    assert_int_equal(waiting.status, BITNET_OK);
    assert_int_equal(stats_of(waiting.pool).n_active, 0); /* the lock is free */
    assert_int_equal(bitnet_thread_pool_destroy(waiting.pool), BITNET_OK);
    watchdog_stop(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_whose_thread_is_cancelled_has_failed),
        cmocka_unit_test(a_wait_of_the_library_is_no_cancellation_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
