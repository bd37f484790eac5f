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
 *
 * In a forked child the parent's pool is set aside. Until initialize or cleanup have
 * forgotten it, calls on it refuse; how it was configured goes for the child too. A
 * fork does not wait for the lock, under which threads are started and memory is
 * taken: systems hold locks of their own for that while they fork. So whatever is
 * guarded by it is whole at every instant, and a child begins with a new lock.
 */
#include <bitnet/thread_manager.h>

#include <stdatomic.h>
#include <stdio.h>

#include "base/error.h"
#include "base/options.h"
#include "threads/compute.h"
#include "threads/compute_control.h"
#include "threads/fork.h"
#include "threads/pool.h"
#include "threads/pool_options.h"
#include "threads/team.h"

_Static_assert((int)BITNET_MAX_COMPUTE_THREADS == (int)BNI_TEAM_MAX_THREADS,
               "the public limit is the team's");

static struct bni_mutex lock = {PTHREAD_MUTEX_INITIALIZER};
static struct bni_cond started = {PTHREAD_COND_INITIALIZER};

static bitnet_thread_pool *pool BNI_GUARDED_BY(lock); /* NULL: not initialized */
static bitnet_thread_pool *parents_pool BNI_GUARDED_BY(lock); /* in a child; or NULL */
static bool is_starting BNI_GUARDED_BY(lock);                 /* somebody creates it */

/* Options, with their prefix, for the pools to come. Two, one of them in force while
 * the other is written. */
struct settings {
    bitnet_thread_pool_options options;
    char prefix[BNI_THREAD_NAME_BYTES];
};
static struct settings settings[2] BNI_GUARDED_BY(lock);
static _Atomic(struct settings *) in_force; /* NULL: the defaults. Set under the lock */

static bitnet_status refuse_parents_pool(const char *what) BNI_REQUIRES(lock)
{
    if (parents_pool == NULL) return BITNET_OK;
    return bni_error(BITNET_ERROR_THREAD_SAFETY,
                     "%s: the thread manager's pool is the parent process's, whose "
                     "threads are not in this process forked from it; initialize the "
                     "manager here",
                     what);
}

/* Returns the pool with a reference for the caller, or NULL. */
static bitnet_thread_pool *pin_locked(void) BNI_REQUIRES(lock)
{
    if (pool == NULL) return NULL;
    bni_mutex_lock(&pool->lock);
    pool->n_refs++;
    bni_mutex_unlock(&pool->lock);
    return pool;
}

static bitnet_thread_pool *pin(void)
{
    bni_mutex_lock(&lock);
    bitnet_thread_pool *pinned = pin_locked();
    bni_mutex_unlock(&lock);
    return pinned;
}

/* Likewise, but refuses in a child that has not said what it wants instead. */
static bitnet_status pin_own(const char *what, bitnet_thread_pool **pinned)
{
    bni_mutex_lock(&lock);
    const bitnet_status status = refuse_parents_pool(what);
    *pinned = pin_locked();
    bni_mutex_unlock(&lock);
    return status;
}

static void unpin(bitnet_thread_pool *pinned)
{
    bni_mutex_lock(&pinned->lock);
    bni_pool_leave(pinned);
}

static bitnet_thread_pool_options current_options(void) BNI_REQUIRES(lock)
{
    const struct settings *current = atomic_load(&in_force);
    return current != NULL ? current->options : bitnet_thread_pool_options_default();
}

/* Keeps checked options, and their prefix, for the pools to come. */
static void keep_options(const bitnet_thread_pool_options *options) BNI_REQUIRES(lock)
{
    /* The prefix may be that of the settings in force. */
    struct settings *next = &settings[atomic_load(&in_force) == &settings[0]];
    snprintf(next->prefix, sizeof(next->prefix), "%s", options->thread_name_prefix);
    next->options = *options;
    next->options.thread_name_prefix = next->prefix;
    atomic_store(&in_force, next);
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

/* Waits for nothing: destroying a pool that is a parent's frees memory only. */
static void forget_parents_pool(void) BNI_REQUIRES(lock)
{
    bitnet_thread_pool *forgotten = parents_pool;
    parents_pool = NULL;
    bitnet_thread_pool_destroy(forgotten);
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
    if (status == BITNET_OK) forget_parents_pool();
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
    status = refuse_parents_pool("setting the number of threads");
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

/* Gives the job pool the threads that are usable now, if their number was left to us. */
static bitnet_status refresh_pool(bitnet_thread_refresh *changes)
{
    uint32_t n_usable;
    bni_pool_resolve_threads(0, &n_usable); /* reads files, so not under the lock */
    bitnet_status status = BITNET_OK;
    bni_mutex_lock(&lock);
    while (is_starting) bni_cond_wait(&started, &lock);
    if (pool != NULL) {
        bni_mutex_lock(&pool->lock);
        changes->num_threads_before = pool->n_wanted;
        bni_mutex_unlock(&pool->lock);
        const bool is_ours = current_options().num_threads == 0;
        changes->num_threads = is_ours ? n_usable : changes->num_threads_before;
        if (changes->num_threads != changes->num_threads_before)
            status = bitnet_thread_pool_resize(pool, changes->num_threads);
    }
    bni_mutex_unlock(&lock);
    return status;
}

bitnet_status bitnet_thread_manager_refresh(bitnet_thread_refresh *changes)
{
    bitnet_thread_refresh made = {.struct_size = sizeof(made)};
    made.compute_threads_before = bni_compute_threads();
    bni_compute_refresh();
    made.compute_threads = bni_compute_threads();
    const bitnet_status status = refresh_pool(&made);
    if (status != BITNET_OK) return status;
    if (changes == NULL) return BITNET_OK;
    return bni_options_write("thread refresh", changes, &made, sizeof(made));
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
    bitnet_submit_options options = bitnet_submit_options_default();
    options.drop = drop;
    return bitnet_thread_manager_execute_with(fn, arg, &options, job);
}

bitnet_status bitnet_thread_manager_execute_with(bitnet_job_fn fn, void *arg,
                                                 const bitnet_submit_options *options,
                                                 bitnet_job **job)
{
    bitnet_thread_pool *pinned;
    bitnet_status status = pin_own("executing a job", &pinned);
    if (status != BITNET_OK) return status;
    if (pinned == NULL)
        return bni_error(BITNET_ERROR_SHUT_DOWN,
                         "cannot execute a job: the thread manager is not initialized");
    status = bitnet_thread_pool_submit_with(pinned, fn, arg, options, job);
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_wait_for_completion(void)
{
    bitnet_thread_pool *pinned;
    bitnet_status status = pin_own("waiting for the thread manager's jobs", &pinned);
    if (status != BITNET_OK || pinned == NULL) return status;
    status = bitnet_thread_pool_wait(pinned);
    unpin(pinned);
    return status;
}

bitnet_status bitnet_thread_manager_get_stats(bitnet_thread_pool_stats *stats)
{
    if (stats == NULL)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "cannot read the thread manager's statistics: `stats` is NULL");
    bitnet_thread_pool *pinned;
    bitnet_status status = pin_own("reading the thread manager's statistics", &pinned);
    if (status != BITNET_OK) return status;
    if (pinned == NULL) {
        const bitnet_thread_pool_stats none = {.struct_size = sizeof(none)};
        return bni_options_write("thread manager statistics", stats, &none,
                                 sizeof(none));
    }
    status = bitnet_thread_pool_get_stats(pinned, stats);
    unpin(pinned);
    return status;
}

/* Without a pool of this process's, all there is to clean up is the team. */
static bitnet_status clean_up_without_pool(void)
{
    const bitnet_status status = bni_context_check("cleaning up the thread manager");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&lock);
    forget_parents_pool();
    bni_mutex_unlock(&lock);
    bni_compute_cleanup();
    return BITNET_OK;
}

bitnet_status bitnet_thread_manager_cleanup(void)
{
    bitnet_thread_pool *pinned = pin();
    if (pinned == NULL) return clean_up_without_pool();
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

void bni_manager_in_child(void) BNI_NO_ANALYSIS
{
    bni_mutex_renew(&lock);
    started = (struct bni_cond){PTHREAD_COND_INITIALIZER};
    is_starting = false;
    if (pool != NULL) parents_pool = pool;
    pool = NULL;
}
