/* SPDX-License-Identifier: MIT */
/*
 * jobs.h - for tests of the pool: jobs that count, block until told, or fail, and
 * checks of its accounting. Include cmocka.h first.
 */
#ifndef TESTS_SUPPORT_JOBS_H
#define TESTS_SUPPORT_JOBS_H

#include <pthread.h>
#include <stdatomic.h>

#include <bitnet/thread_pool.h>

#include "support/latch.h"

static inline void *leave_thread(void *arg)
{
    pthread_exit(arg);
}

/* For cmocka_run_group_tests() of programs whose jobs call pthread_exit(). The first
 * thread of a process that does prepares libgcc's unwinder, in a pthread_once() which
 * helgrind does not know: two jobs that left at once looked like a race. Here the
 * first is joined before there is a second. */
static inline int prepare_unwinder(void **state)
{
    (void)state;
    pthread_t thread;
    return pthread_create(&thread, NULL, leave_thread, NULL) != 0 ||
           pthread_join(thread, NULL) != 0;
}

/* Set-up and tear-down of a cmocka test that may hang if it fails. */
static struct watchdog test_watchdog;

static inline int start_watchdog(void **state)
{
    (void)state;
    watchdog_start(&test_watchdog, "the test named last", 300);
    return 0;
}

static inline int stop_watchdog(void **state)
{
    (void)state;
    watchdog_stop(&test_watchdog);
    return 0;
}

static inline bitnet_thread_pool *make_pool(uint32_t n_threads, uint32_t n_queue)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = n_threads;
    options.max_queue_size = n_queue;
    options.thread_name_prefix = "w";
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    return pool;
}

static inline bitnet_thread_pool_stats stats_of(bitnet_thread_pool *pool)
{
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(bitnet_thread_pool_get_stats(pool, &stats), BITNET_OK);
    return stats;
}

static inline bool accounting_holds(const bitnet_thread_pool_stats *stats)
{
    return stats->n_submitted == stats->n_queued + stats->n_running +
                                     stats->n_completed + stats->n_failed +
                                     stats->n_cancelled + stats->n_dropped +
                                     stats->n_expired &&
           stats->n_active == stats->n_queued + stats->n_running;
}

static inline bitnet_status count_job(void *arg)
{
    _Atomic unsigned *count = (_Atomic unsigned *)arg;
    atomic_fetch_add(count, 1);
    return BITNET_OK;
}

static inline void count_drop(void *arg)
{
    count_job(arg);
}

/* With a last look at its accounting. */
static inline void destroy_pool(bitnet_thread_pool *pool)
{
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

/* Opens `entered` when it runs, and ends when `leave` opens. */
struct blocker {
    struct latch entered;
    struct latch leave;
};

#define BLOCKER(n) \
    { \
        LATCH(n), LATCH(1) \
    }

static inline bitnet_status block_job(void *arg)
{
    struct blocker *blocker = (struct blocker *)arg;
    latch_count_down(&blocker->entered);
    latch_wait(&blocker->leave);
    return BITNET_OK;
}

/* Fills all `n_threads` workers of the pool with blocked jobs. */
static inline void block_workers(bitnet_thread_pool *pool, struct blocker *blocker,
                                 unsigned n_threads)
{
    for (unsigned i = 0; i < n_threads; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, block_job, blocker, NULL,
                                                   NULL),
                         BITNET_OK);
    latch_wait(&blocker->entered);
}

#endif
