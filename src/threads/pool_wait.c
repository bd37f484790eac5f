/* SPDX-License-Identifier: MIT */
/*
 * pool_wait.c - waiting for jobs, and shutdown.
 *
 * A wait counts the jobs it is for when it begins, and every job that ends and was
 * accepted before counts it down: no polling, and no waiting for jobs that came
 * later. Shutdown waits the same way, for whatever comes.
 *
 *     OPEN --> DRAINING --> CLOSED        graceful
 *       '----> STOPPING -----^            immediate, also from DRAINING
 *
 * Shutdown only ever moves forward, and may be called by several threads at once:
 * each waits until nothing is active, and the first to find it so dismisses the
 * workers.
 */
#include "threads/pool.h"

#include <inttypes.h>

#include "threads/compute.h"

static void remove_waiter(bitnet_thread_pool *pool, struct bni_idle_waiter *waiter)
    BNI_REQUIRES(pool->lock)
{
    struct bni_idle_waiter **link = &pool->idle_waiters;
    while (*link != waiter) link = &(*link)->next;
    *link = waiter->next;
}

void bni_pool_show_queue(bitnet_thread_pool *pool)
{
    const struct bni_task *first = bni_queue_first(&pool->queue);
    bni_wait_graph_set_first(&pool->wait_pool,
                             first == NULL ? BNI_WAIT_NONE_QUEUED : first->sequence);
}

/* Says that this thread is about to wait for the jobs before `end_sequence`, unless
 * that could never end, as far as the wait graph knows now. After gathering. */
static bitnet_status begin_wait(bitnet_thread_pool *pool, uint64_t end_sequence)
    BNI_REQUIRES(pool->lock)
{
    const struct bni_wait_target jobs = {.kind = BNI_WAIT_FOR_JOBS,
                                         .pool = &pool->wait_pool,
                                         .end_sequence = end_sequence};
    bni_pool_show_queue(pool);
    return bni_wait_graph_begin(bni_current_waiter(), bni_current_inside(), jobs);
}

/* Waits for all jobs with a sequence before `end_sequence`. */
static bitnet_status wait_for_jobs(bitnet_thread_pool *pool, uint64_t end_sequence,
                                   uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    /* A drop function that this thread has just called may have forked. */
    const bitnet_status forked =
        bni_fork_check(pool->generation, "waiting for a thread pool");
    if (forked != BITNET_OK) return forked;
    bni_hand_gather(pool);
    struct bni_idle_waiter self = {
        .end_sequence = end_sequence,
        .n_left = bni_pool_n_active(pool) +
                  (end_sequence == UINT64_MAX ? pool->n_standing : 0),
        .waiter = bni_current_waiter(),
    };
    if (self.n_left == 0) return BITNET_OK;

    const bitnet_status status = begin_wait(pool, end_sequence);
    if (status != BITNET_OK) return bni_error_prefix("waiting for a thread pool");

    self.next = pool->idle_waiters;
    pool->idle_waiters = &self;
    bool is_in_time = true;
    while (self.n_left > 0 && is_in_time)
        is_in_time = bni_cond_wait_until(&pool->nothing_left, &pool->lock, deadline_ns);
    remove_waiter(pool, &self);
    if (self.n_left == 0) return BITNET_OK;

    bni_wait_graph_end(self.waiter);
    return bni_error(BITNET_ERROR_TIMED_OUT,
                     "waiting for a thread pool: %" PRIu64
                     " jobs had not ended at the deadline",
                     self.n_left);
}

/* Whether a wait for whatever comes could end. */
static bitnet_status check_can_become_idle(bitnet_thread_pool *pool)
    BNI_REQUIRES(pool->lock)
{
    bni_hand_gather(pool);
    const bitnet_status status = begin_wait(pool, UINT64_MAX);
    if (status == BITNET_OK) bni_wait_graph_end(bni_current_waiter());
    return status;
}

/* What every call that waits for a whole pool refuses at once. */
static bitnet_status check_may_wait(const bitnet_thread_pool *pool, const char *what)
{
    if (pool == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: the pool is NULL", what);
    const bitnet_status status = bni_context_check_wait(pool->generation, what);
    return status == BITNET_OK ? bni_pool_check_outside(pool, what) : status;
}

bitnet_status bitnet_thread_pool_wait_until(bitnet_thread_pool *pool,
                                            uint64_t deadline_ns)
{
    bitnet_status status = check_may_wait(pool, "waiting for a thread pool");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&pool->lock);
    pool->n_refs++;
    status = wait_for_jobs(pool, pool->next_sequence, deadline_ns);
    bni_pool_leave(pool);
    return status;
}

bitnet_status bitnet_thread_pool_wait(bitnet_thread_pool *pool)
{
    return bitnet_thread_pool_wait_until(pool, BITNET_NO_DEADLINE);
}

/* Drops what is queued or stands; what runs is asked to stop by the state. */
static void stop_jobs(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    struct bni_error_record outcome;
    bni_error_record_set(&outcome, BITNET_ERROR_CANCELLED,
                         "the job never ran: its thread pool was shut down");
    bni_pool_drop_queued(pool, &outcome);
    bni_pool_drop_standing(pool, &outcome);
}

static bitnet_status shut_down(bitnet_thread_pool *pool, bitnet_shutdown_mode mode,
                               uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    /* Asked before anything is changed, so that a refusal leaves the pool as it was. */
    const bitnet_status refusal = check_can_become_idle(pool);
    if (refusal != BITNET_OK) return bni_error_prefix("shutting down a thread pool");

    const enum bni_pool_state wanted =
        mode == BITNET_SHUTDOWN_GRACEFUL ? BNI_POOL_DRAINING : BNI_POOL_STOPPING;
    if (pool->state < wanted) pool->state = wanted;
    /* A pool that lost all its threads, and gets none, can deliver nothing more. */
    if (pool->n_standing > 0 && pool->n_alive == 0 &&
        bni_pool_fill_places(pool) != BITNET_OK && pool->n_alive == 0)
        pool->state = BNI_POOL_STOPPING;
    bni_pool_refuse_submitters(pool);
    if (pool->state == BNI_POOL_STOPPING) stop_jobs(pool);

    const bitnet_status status = wait_for_jobs(pool, UINT64_MAX, deadline_ns);
    if (status != BITNET_OK) return bni_error_prefix("shutting down a thread pool");
    bni_pool_dismiss(pool);
    return BITNET_OK;
}

bitnet_status bitnet_thread_pool_shutdown(bitnet_thread_pool *pool,
                                          bitnet_shutdown_mode mode,
                                          uint64_t deadline_ns)
{
    bitnet_status status = check_may_wait(pool, "shutting down a thread pool");
    if (status != BITNET_OK) return status;
    if (mode != BITNET_SHUTDOWN_GRACEFUL && mode != BITNET_SHUTDOWN_IMMEDIATE)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "shutting down a thread pool: %d is no shutdown mode",
                         (int)mode);
    bni_mutex_lock(&pool->lock);
    pool->n_refs++;
    status = shut_down(pool, mode, deadline_ns);
    bni_pool_leave(pool);
    return status;
}

/* A parent's pool in its child. If its lock was free at the fork, what it guards is
 * whole; if nothing ran, this thread will not come back to it from a job. Then it can
 * be freed, else only forgotten. */
static bitnet_status forget(bitnet_thread_pool *pool) BNI_NO_ANALYSIS
{
    const bitnet_status status =
        bni_pool_check_outside(pool, "destroying a thread pool");
    if (status != BITNET_OK) return status;
    if (!bni_mutex_try_lock(&pool->lock)) return BITNET_OK;
    if (pool->n_running > 0) {
        bni_mutex_unlock(&pool->lock);
        return BITNET_OK;
    }
    bni_pool_free_places(pool);
    bni_queue_free(&pool->queue);
    bni_pool_leave(pool);
    return BITNET_OK;
}

bitnet_status bitnet_thread_pool_destroy(bitnet_thread_pool *pool)
{
    if (pool == NULL) return BITNET_OK;
    if (bni_pool_is_parents(pool)) return forget(pool);
    const bitnet_status status =
        bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL, BITNET_NO_DEADLINE);
    if (status != BITNET_OK) return status;
    /* The threads are gone. Who still holds a reference finds the pool closed, and
     * looks at neither places nor queue. */
    bni_mutex_lock(&pool->lock);
    bni_pool_free_places(pool);
    bni_queue_free(&pool->queue);
    bni_pool_leave(pool);
    return BITNET_OK;
}
