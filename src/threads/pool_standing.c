/* SPDX-License-Identifier: MIT */
/*
 * pool_standing.c - jobs that run again and again. See standing.h.
 *
 * A run is an ordinary job whose function is run_standing(). The place in line is the
 * struct that a thread which waits for room has on its stack; only that nobody sleeps
 * behind it. The state is guarded by the pool's lock.
 *
 * Whatever takes a run out of the queue without running it - a submit that displaces
 * the oldest, say - calls drop_standing(), which gets back in line, unless the pool is
 * stopping or has no thread left: then the standing job itself is dropped.
 */
#include "threads/standing.h"

#include <pthread.h>

#include "base/alloc.h"
#include "threads/pool.h"

struct bni_standing {
    bitnet_thread_pool *pool; /* fixed, as are the next two */
    struct bni_standing_calls calls;
    void *arg;
    struct bni_submitter place;

    /* Guarded by pool->lock. */
    enum {
        NOT_OPEN,
        IDLE,
        WAITING, /* in line or in the queue */
        RUNNING,
    } state;
    bool is_asked; /* while it was running */
    struct bni_standing *next;
    struct bni_standing *previous;
};

bitnet_status bni_standing_create(bitnet_thread_pool *pool,
                                  const struct bni_standing_calls *calls, void *arg,
                                  struct bni_standing **out)
{
    struct bni_standing *standing = bni_calloc(1, sizeof(*standing));
    if (standing == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    standing->pool = pool;
    standing->calls = *calls;
    standing->arg = arg;
    *out = standing;
    return BITNET_OK;
}

void bni_standing_destroy(struct bni_standing *standing)
{
    bni_free(standing);
}

/* ---- ends ------------------------------------------------------------------------------- */

/* Takes it off the pool's list; whoever shuts down may go on. */
static void leave_pool(bitnet_thread_pool *pool, struct bni_standing *standing)
    BNI_REQUIRES(pool->lock)
{
    if (standing->previous != NULL)
        standing->previous->next = standing->next;
    else
        pool->first_standing = standing->next;
    if (standing->next != NULL) standing->next->previous = standing->previous;
    standing->state = NOT_OPEN;
    pool->n_standing--;
    bni_pool_tell_idle_waiters(pool, BNI_SEQUENCE_OF_STANDING);
}

/* Ends it; the caller is inside a job or drop function, for which the pool waits. */
static void end(void *arg)
{
    struct bni_standing *standing = arg;
    bitnet_thread_pool *pool = standing->pool;
    if (bni_pool_is_parents(pool)) return; /* the function forked: this is the child */
    void (*close)(void *) = standing->calls.close;
    void *close_arg = standing->arg;
    bni_mutex_lock(&pool->lock);
    leave_pool(pool, standing);
    bni_mutex_unlock(&pool->lock);
    close(close_arg);
}

/* Also if drop() ends its thread. */
static void drop(struct bni_standing *standing)
{
    pthread_cleanup_push(end, standing);
    standing->calls.drop(standing->arg);
    pthread_cleanup_pop(1);
}

/* ---- runs ------------------------------------------------------------------------------- */

static bool can_run(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    return pool->state < BNI_POOL_STOPPING;
}

static void get_in_line(bitnet_thread_pool *pool, struct bni_standing *standing)
    BNI_REQUIRES(pool->lock)
{
    standing->state = WAITING;
    bni_pool_stand_in_line(pool, &standing->place);
}

/* After a run that wants `next`. Returns false if it is to be dropped now. */
static bool rest(struct bni_standing *standing, enum bni_standing_next next)
{
    bitnet_thread_pool *pool = standing->pool;
    bni_mutex_lock(&pool->lock);
    const bool goes_on = can_run(pool);
    if (goes_on && (next == BNI_STANDING_AGAIN || standing->is_asked))
        get_in_line(pool, standing);
    else if (goes_on)
        standing->state = IDLE;
    bni_mutex_unlock(&pool->lock);
    return goes_on;
}

/* A function of the user's ended this thread in the middle of a run. */
static void run_was_cut_short(void *arg)
{
    struct bni_standing *standing = arg;
    if (bni_pool_is_parents(standing->pool)) return;
    if (!rest(standing, BNI_STANDING_AGAIN)) drop(standing);
}

static bitnet_status run_standing(void *arg)
{
    struct bni_standing *standing = arg;
    bitnet_thread_pool *pool = standing->pool;
    bni_mutex_lock(&pool->lock);
    standing->state = RUNNING;
    standing->is_asked = false;
    bni_mutex_unlock(&pool->lock);

    enum bni_standing_next next;
    pthread_cleanup_push(run_was_cut_short, standing);
    next = standing->calls.run(standing->arg);
    pthread_cleanup_pop(0);

    if (bni_pool_is_parents(pool)) return BITNET_OK;
    if (next == BNI_STANDING_OVER)
        end(standing);
    else if (!rest(standing, next))
        drop(standing);
    return BITNET_OK;
}

static void drop_standing(void *arg)
{
    struct bni_standing *standing = arg;
    bitnet_thread_pool *pool = standing->pool;
    bni_mutex_lock(&pool->lock);
    const bool goes_on = can_run(pool) && pool->n_alive > 0;
    if (goes_on) get_in_line(pool, standing);
    bni_mutex_unlock(&pool->lock);
    if (!goes_on) drop(standing);
}

/* ---- beginnings --------------------------------------------------------------------------- */

static bitnet_status check_open(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    if (pool->state == BNI_POOL_OPEN) return BITNET_OK;
    return bni_error(BITNET_ERROR_SHUT_DOWN,
                     "the thread pool to deliver to has been shut down");
}

bitnet_status bni_standing_check(bitnet_thread_pool *pool)
{
    bitnet_status status =
        bni_fork_check(pool->generation, "delivering to a thread pool");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&pool->lock);
    status = check_open(pool);
    bni_mutex_unlock(&pool->lock);
    return status;
}

bitnet_status bni_standing_open(struct bni_standing *standing)
{
    bitnet_thread_pool *pool = standing->pool;
    standing->place.task = (struct bni_task){.fn = run_standing,
                                             .drop = drop_standing,
                                             .arg = standing,
                                             .start_deadline_ns = BITNET_NO_DEADLINE};
    standing->place.is_standing = true;

    bni_mutex_lock(&pool->lock);
    const bitnet_status status = check_open(pool);
    if (status == BITNET_OK) {
        standing->state = IDLE;
        standing->next = pool->first_standing;
        if (standing->next != NULL) standing->next->previous = standing;
        pool->first_standing = standing;
        pool->n_standing++;
    }
    bni_mutex_unlock(&pool->lock);
    return status;
}

void bni_standing_ask(struct bni_standing *standing)
{
    bitnet_thread_pool *pool = standing->pool;
    bni_mutex_lock(&pool->lock);
    if (standing->state == RUNNING)
        standing->is_asked = true;
    else if (standing->state == IDLE && can_run(pool))
        get_in_line(pool, standing);
    bni_mutex_unlock(&pool->lock);
}

/* ---- shutdown ----------------------------------------------------------------------------- */

void bni_pool_drop_standing(bitnet_thread_pool *pool,
                            const struct bni_error_record *outcome)
{
    while (!bni_pool_is_parents(pool)) {
        struct bni_standing *standing = pool->first_standing;
        while (standing != NULL && standing->state != IDLE) standing = standing->next;
        if (standing == NULL) return;
        standing->state = RUNNING; /* nobody else's now */
        bni_pool_drop_new(pool, &standing->place.task, outcome);
    }
}

void bni_pool_leave_line(struct bni_submitter *place)
{
    struct bni_standing *standing = place->task.arg;
    standing->state = IDLE;
}
