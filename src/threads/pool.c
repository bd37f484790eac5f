/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the life of a thread pool: create, resize, statistics, the last reference.
 * See pool.h for the whole, and pool_wait.c for shutdown and destroy.
 */
#include "threads/pool.h"

#include <stddef.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/options.h"
#include "base/topology.h"
#include "threads/pool_options.h"

_Static_assert(offsetof(bitnet_thread_pool, state) -
                       offsetof(bitnet_thread_pool, queue) <=
                   BNI_ALIGNMENT,
               "what each submit writes is one cache line");

static void free_pool(bitnet_thread_pool *pool)
{
    if (!bni_pool_is_parents(pool)) {
        bni_cond_destroy(&pool->nothing_left);
        bni_cond_destroy(&pool->staff_left);
        bni_mutex_destroy(&pool->lock);
    }
    bni_free(pool);
}

void bni_pool_leave(bitnet_thread_pool *pool) BNI_NO_ANALYSIS
{
    const bool is_last = --pool->n_refs == 0;
    bni_mutex_unlock(&pool->lock);
    if (is_last) free_pool(pool);
}

/* Starts the first threads; if one cannot be had, ends and joins those before it. */
static bitnet_status start(bitnet_thread_pool *pool, unsigned n_threads)
{
    bni_mutex_lock(&pool->lock);
    bitnet_status status = bni_pool_add_places(pool, n_threads);
    if (status == BITNET_OK) {
        pool->n_wanted = n_threads;
        status = bni_pool_fill_places(pool);
    }
    if (status != BITNET_OK) {
        bni_error_prefix("cannot create a thread pool of %u threads", n_threads);
        struct bni_error_record error;
        bni_error_save(&error);
        bni_pool_dismiss(pool);
        bni_error_restore(&error);
    }
    bni_mutex_unlock(&pool->lock);
    return status;
}

bitnet_status bitnet_thread_pool_create(const bitnet_thread_pool_options *options,
                                        bitnet_thread_pool **out)
{
    if (out == NULL)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "cannot create a thread pool: nowhere to put it, `out` is NULL");
    bitnet_thread_pool_options resolved;
    bitnet_status status = bni_pool_options_resolve(options, &resolved);
    if (status == BITNET_OK) status = bni_fork_watch();
    if (status != BITNET_OK) return status;

    status = BITNET_ERROR_OUT_OF_MEMORY;
    bitnet_thread_pool *pool = bni_calloc(1, sizeof(*pool));
    if (pool == NULL) goto fail;
    pool->generation = bni_fork_generation();
    pool->n_refs = 1;
    pool->stack_bytes = resolved.stack_size;
    snprintf(pool->name_prefix, sizeof(pool->name_prefix), "%s",
             resolved.thread_name_prefix);
    bni_ticks_init();
    pool->n_cpus = bni_topology_n_cpus();
    pool->usual_run_ticks = UINT64_MAX; /* until we know better */
    if (resolved.trace != NULL) {
        status = bni_options_read("trace functions", &pool->trace, sizeof(pool->trace),
                                  resolved.trace);
        if (status != BITNET_OK) goto fail_pool;
    }

    status = bni_mutex_init(&pool->lock);
    if (status != BITNET_OK) goto fail_pool;
    status = bni_cond_init(&pool->staff_left);
    if (status != BITNET_OK) goto fail_lock;
    status = bni_cond_init(&pool->nothing_left);
    if (status != BITNET_OK) goto fail_staff_left;
    status = bni_queue_init(&pool->queue, resolved.max_queue_size);
    if (status != BITNET_OK) goto fail_nothing_left;
    status = start(pool, resolved.num_threads);
    if (status != BITNET_OK) goto fail_places;
    *out = pool;
    return BITNET_OK;

fail_places:
    bni_pool_free_places(pool);
    bni_queue_free(&pool->queue);
fail_nothing_left:
    bni_cond_destroy(&pool->nothing_left);
fail_staff_left:
    bni_cond_destroy(&pool->staff_left);
fail_lock:
    bni_mutex_destroy(&pool->lock);
fail_pool:
    bni_free(pool);
fail:
    return status;
}

static uint64_t block_bytes(uint64_t n_bytes)
{
    /* What base/alloc.c adds: a header, and rounding up. */
    return n_bytes + 2 * BNI_ALIGNMENT;
}

/* The system's default, for a stack size of 0. */
static uint64_t stack_bytes_of(const bitnet_thread_pool_options *options)
{
    size_t stack_bytes = options->stack_size;
    size_t guard_bytes = 0;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) == 0) {
        if (stack_bytes == 0) pthread_attr_getstacksize(&attributes, &stack_bytes);
        pthread_attr_getguardsize(&attributes, &guard_bytes);
        pthread_attr_destroy(&attributes);
    }
    return (uint64_t)stack_bytes + guard_bytes;
}

bitnet_status bitnet_thread_pool_memory_bound(const bitnet_thread_pool_options *options,
                                              uint64_t *n_bytes)
{
    if (n_bytes == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot tell a thread pool's size: `n_bytes` is NULL");
    bitnet_thread_pool_options resolved;
    const bitnet_status status = bni_pool_options_resolve(options, &resolved);
    if (status != BITNET_OK) return status;
    /* None of it can overflow but with a stack of half the address space. */
    const uint64_t thread_bytes = block_bytes(sizeof(struct bni_worker)) +
                                  sizeof(struct bni_worker *) +
                                  stack_bytes_of(&resolved);
    const uint64_t fixed_bytes =
        block_bytes(sizeof(bitnet_thread_pool)) + 2 * block_bytes(0) +
        block_bytes((uint64_t)resolved.max_queue_size * BNI_SLOT_BYTES);
    uint64_t total;
    if (__builtin_mul_overflow(thread_bytes, resolved.num_threads, &total) ||
        __builtin_add_overflow(total, fixed_bytes, &total))
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "thread pool: %u stacks of %zu bytes are more than can be "
                         "counted",
                         resolved.num_threads, resolved.stack_size);
    *n_bytes = total;
    return BITNET_OK;
}

bitnet_status bitnet_thread_pool_resize(bitnet_thread_pool *pool, uint32_t num_threads)
{
    if (pool == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot resize a thread pool: it is NULL");
    uint32_t n_threads;
    bitnet_status status = bni_pool_resolve_threads(num_threads, &n_threads);
    if (status == BITNET_OK)
        status = bni_fork_check(pool->generation, "resizing a thread pool");
    if (status != BITNET_OK) return status;

    bni_mutex_lock(&pool->lock);
    const unsigned n_before = pool->n_wanted;
    if (pool->state != BNI_POOL_OPEN) {
        status = bni_error(BITNET_ERROR_SHUT_DOWN,
                           "cannot resize a thread pool that has been shut down");
    } else {
        status = bni_pool_add_places(pool, n_threads);
        if (status == BITNET_OK) {
            pool->n_wanted = n_threads;
            status = bni_pool_fill_places(pool);
        }
        if (status != BITNET_OK) {
            pool->n_wanted = n_before;
            bni_error_prefix("cannot resize a thread pool from %u to %u threads",
                             n_before, n_threads);
        }
        /* Those that are not wanted now leave; the others go back to sleep. */
        bni_pool_wake_all(pool);
    }
    bni_mutex_unlock(&pool->lock);
    return status;
}

bitnet_status bitnet_thread_pool_get_stats(bitnet_thread_pool *pool,
                                           bitnet_thread_pool_stats *stats)
{
    if (pool == NULL || stats == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot read a thread pool's statistics: %s is NULL",
                         pool == NULL ? "the pool" : "`stats`");
    const bitnet_status status =
        bni_fork_check(pool->generation, "reading a thread pool's statistics");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&pool->lock);
    bni_hand_gather(pool);
    struct bni_tally tally = pool->tally;
    bni_hand_add_tally(pool, &tally);
    bitnet_thread_pool_stats now = {
        .struct_size = sizeof(now),
        .n_threads = pool->n_alive,
        .n_active = (uint32_t)bni_pool_n_active(pool),
        .n_queued = pool->queue.n_queued,
        .max_queued = pool->max_queued,
        .n_running = pool->n_running,
        .n_submitted = pool->next_sequence,
        .n_completed = tally.n_completed,
        .n_failed = tally.n_failed,
        .n_cancelled = tally.n_cancelled,
        .n_dropped = tally.n_dropped,
        .n_refused = pool->n_refused,
        .n_expired = tally.n_expired,
    };
    bni_mutex_unlock(&pool->lock);
    bni_histogram_read(&tally.queue_wait, &now.queue_wait);
    bni_histogram_read(&tally.run_time, &now.run_time);
    bni_ticks_to_ns(&now.queue_wait);
    bni_ticks_to_ns(&now.run_time);
    return bni_options_write("thread pool statistics", stats, &now, sizeof(now));
}
