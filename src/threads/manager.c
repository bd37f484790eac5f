/* SPDX-License-Identifier: MIT */
/*
 * manager.c - the process-wide job pool. The compute team is compute.c's.
 *
 * One of the library's few mutable globals: to be shared by a whole process is what
 * it is for. It holds a pool, or the options for one.
 *
 * The manager's lock is held for looking and for small changes only, never while
 * threads are joined, while a job or its queue is waited for, or while the pool is
 * created. A call on the pool pins it with a reference and lets go of the lock, so
 * cleanup may take the pool away meanwhile, and the call finds it shut down. Lock
 * order: the manager's, then the pool's.
 */
#include <bitnet/thread_manager.h>

#include <stdio.h>

#include "base/error.h"
#include "base/options.h"
#include "threads/compute.h"
#include "threads/compute_control.h"
#include "threads/pool.h"
#include "threads/pool_options.h"
#include "threads/team.h"

_Static_assert((int)BITNET_MAX_COMPUTE_THREADS == (int)BNI_TEAM_MAX_THREADS,
               "the public limit is the team's");

static struct bni_mutex lock = {PTHREAD_MUTEX_INITIALIZER};
static struct bni_cond started = {PTHREAD_COND_INITIALIZER};

static bitnet_thread_pool *pool BNI_GUARDED_BY(lock); /* NULL: not initialized */
static bool is_starting BNI_GUARDED_BY(lock);         /* somebody creates it */
static bool is_configured BNI_GUARDED_BY(lock);       /* `wanted` is not the defaults */
static bitnet_thread_pool_options wanted BNI_GUARDED_BY(lock);
static char wanted_prefix[BNI_THREAD_NAME_BYTES] BNI_GUARDED_BY(lock);

/* Returns the pool with a reference for the caller, or NULL. */
static bitnet_thread_pool *pin(void)
{
    bni_mutex_lock(&lock);
    bitnet_thread_pool *pinned = pool;
    if (pinned != NULL) {
        bni_mutex_lock(&pinned->lock);
        pinned->n_refs++;
        bni_mutex_unlock(&pinned->lock);
    }
    bni_mutex_unlock(&lock);
    return pinned;
}

static void unpin(bitnet_thread_pool *pinned)
{
    bni_mutex_lock(&pinned->lock);
    bni_pool_leave(pinned);
}

static bitnet_thread_pool_options current_options(void) BNI_REQUIRES(lock)
{
    return is_configured ? wanted : bitnet_thread_pool_options_default();
}

/* Keeps checked options, and their prefix, for the pools to come. */
static void keep_options(const bitnet_thread_pool_options *options) BNI_REQUIRES(lock)
{
    /* The prefix may be our own. */
    char prefix[BNI_THREAD_NAME_BYTES];
    snprintf(prefix, sizeof(prefix), "%s", options->thread_name_prefix);
    snprintf(wanted_prefix, sizeof(wanted_prefix), "%s", prefix);
    wanted = *options;
    wanted.thread_name_prefix = wanted_prefix;
    is_configured = true;
}

bitnet_status bitnet_thread_manager_configure(
    const bitnet_thread_manager_options *options)
{
    bitnet_thread_manager_options read = bitnet_thread_manager_options_default();
    bitnet_status status =
        bni_options_read("thread manager options", &read, sizeof(read), options);
    if (status != BITNET_OK) return status;
    bitnet_thread_pool_options of_pool = bitnet_thread_pool_options_default();
    of_pool.num_threads = read.num_threads;
    of_pool.max_queue_size = read.max_queue_size;
    of_pool.stack_size = read.stack_size;
    of_pool.thread_name_prefix = read.thread_name_prefix;
    bitnet_thread_pool_options resolved;
    status = bni_pool_options_resolve(&of_pool, &resolved);
    if (status != BITNET_OK) return status;

    bni_mutex_lock(&lock);
    if (pool != NULL || is_starting) {
        status = bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                           "cannot configure the thread manager: its pool runs; "
                           "configure before initialize, or after cleanup");
    } else {
        status = bni_compute_set_threads(read.compute_threads);
        if (status == BITNET_OK) keep_options(&of_pool);
    }
    bni_mutex_unlock(&lock);
    return status;
}

static bool is_pool_open(void) BNI_REQUIRES(lock)
{
    bni_mutex_lock(&pool->lock);
    const bool is_open = pool->state == BNI_POOL_OPEN;
    bni_mutex_unlock(&pool->lock);
    return is_open;
}

bitnet_status bitnet_thread_manager_initialize(void)
{
    bni_mutex_lock(&lock);
    while (is_starting) bni_cond_wait(&started, &lock);
    if (pool != NULL) {
        const bool is_open = is_pool_open();
        bni_mutex_unlock(&lock);
        if (is_open) return BITNET_OK;
        return bni_error(
            BITNET_ERROR_SHUT_DOWN,
            "cannot initialize the thread manager: its cleanup is under way");
    }
    is_starting = true;
    bitnet_thread_pool_options options = current_options();
    char prefix[BNI_THREAD_NAME_BYTES]; /* another thread may configure meanwhile */
    snprintf(prefix, sizeof(prefix), "%s", options.thread_name_prefix);
    options.thread_name_prefix = prefix;
    bni_mutex_unlock(&lock);

    bitnet_thread_pool *created = NULL;
    bitnet_status status = bitnet_thread_pool_create(&options, &created);
    if (status != BITNET_OK) bni_error_prefix("cannot initialize the thread manager");

    bni_mutex_lock(&lock);
    pool = created;
    is_starting = false;
    bni_cond_broadcast(&started);
    bni_mutex_unlock(&lock);
    return status;
}

bitnet_status bitnet_thread_manager_set_num_threads(uint32_t num_threads)
{
    uint32_t n_threads;
    bitnet_status status = bni_pool_resolve_threads(num_threads, &n_threads);
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&lock);
    while (is_starting) bni_cond_wait(&started, &lock);
    /* Under the lock, so that the number kept and the pool's never disagree: it starts
     * threads, but waits for nothing. */
    if (pool != NULL) status = bitnet_thread_pool_resize(pool, n_threads);
    if (status == BITNET_OK) {
        bitnet_thread_pool_options options = current_options();
        options.num_threads = num_threads;
        keep_options(&options);
    }
    bni_mutex_unlock(&lock);
    return status;
}

uint32_t bitnet_thread_manager_get_num_threads(void)
{
    bitnet_thread_pool *pinned = pin();
    if (pinned != NULL) {
        bni_mutex_lock(&pinned->lock);
        const uint32_t n_threads = pinned->n_wanted;
        bni_pool_leave(pinned);
        return n_threads;
    }
    bni_mutex_lock(&lock);
    const uint32_t num_threads = current_options().num_threads;
    bni_mutex_unlock(&lock);
    uint32_t n_threads = num_threads;
    bni_pool_resolve_threads(num_threads, &n_threads); /* was checked when it was set */
    return n_threads;
}

bitnet_status bitnet_thread_manager_execute(bitnet_job_fn fn, void *arg,
                                            bitnet_job_drop_fn drop, bitnet_job **job)
{
    bitnet_thread_pool *pinned = pin();
    if (pinned == NULL)
        return bni_error(BITNET_ERROR_SHUT_DOWN,
                         "cannot execute a job: the thread manager is not initialized");
    const bitnet_status status = bitnet_thread_pool_submit(pinned, fn, arg, drop, job);
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_wait_for_completion(void)
{
    bitnet_thread_pool *pinned = pin();
    if (pinned == NULL) return BITNET_OK;
    const bitnet_status status = bitnet_thread_pool_wait(pinned);
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_get_stats(bitnet_thread_pool_stats *stats)
{
    if (stats == NULL)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "cannot read the thread manager's statistics: `stats` is NULL");
    bitnet_thread_pool *pinned = pin();
    if (pinned == NULL) {
        const bitnet_thread_pool_stats none = {.struct_size = sizeof(none)};
        return bni_options_write("thread manager statistics", stats, &none,
                                 sizeof(none));
    }
    const bitnet_status status = bitnet_thread_pool_get_stats(pinned, stats);
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_cleanup(void)
{
    bitnet_thread_pool *pinned = pin();
    if (pinned == NULL) {
        const bitnet_status status =
            bni_context_check("cleaning up the thread manager");
        if (status == BITNET_OK) bni_compute_cleanup();
        return status;
    }
    /* The pool stays in its place until it has ended: a refusal changes nothing, and
     * several cleanups at once all wait for it. */
    const bitnet_status status =
        bitnet_thread_pool_shutdown(pinned, BITNET_SHUTDOWN_GRACEFUL,
                                    BITNET_NO_DEADLINE);
    if (status == BITNET_OK) {
        bni_mutex_lock(&lock);
        const bool is_first = pool == pinned;
        if (is_first) pool = NULL;
        bni_mutex_unlock(&lock);
        if (is_first) bitnet_thread_pool_destroy(pinned); /* at once: it is closed */
        bni_compute_cleanup();
    }
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_set_compute_threads(uint32_t n_threads)
{
    return bni_compute_set_threads(n_threads);
}

uint32_t bitnet_thread_manager_get_compute_threads(void)
{
    return bni_compute_threads();
}
