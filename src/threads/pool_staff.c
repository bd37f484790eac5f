/* SPDX-License-Identifier: MIT */
/*
 * pool_staff.c - the worker threads: start, serve, leave, be replaced.
 *
 * A pool has places for workers; `n_wanted` of them, the first ones, have a thread.
 *
 *     ABSENT --start--> ALIVE --leave--> GONE --joined at the end--> ABSENT
 *                         ^                |
 *                         '----start-------'  the new thread joins the old one
 *
 * A thread leaves when its place is no longer wanted, when the pool is closed, or
 * when a job calls pthread_exit(); then it starts its own successor on the way out.
 * Nobody but a successor, or the one who closes the pool, waits for a thread, and
 * only for one that is past its last use of the pool.
 *
 * Idle workers sleep on a condition each and form a stack, so that few threads stay
 * warm and a submit wakes one. One of them, the spinner, stays awake for a moment
 * before it sleeps: a job that comes right after another then starts without waking
 * a thread. And of many jobs that come at once, only the first wakes a worker; who
 * wakes and finds more wakes the next, so that the one who brings them is not kept
 * busy with waking. Whoever leaves with jobs still queued passes on the wake-up it may
 * have swallowed.
 */
#include "threads/pool.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "threads/perturb.h"
#include "threads/spin.h"

/* Longer than it takes to wake a thread, shorter than what anybody would notice. */
enum { SPIN_NS = 20000 };

static bool is_wanted(const struct bni_worker *worker)
    BNI_REQUIRES(worker->pool->lock) BNI_NO_ANALYSIS
{
    const bitnet_thread_pool *pool = worker->pool;
    return !bni_pool_is_parents(pool) && worker->index < pool->n_wanted &&
           pool->state != BNI_POOL_CLOSED;
}

void bni_pool_wake_one(bitnet_thread_pool *pool)
{
    struct bni_worker *worker = pool->spinner;
    if (worker != NULL) {
        pool->spinner = NULL;
    } else {
        worker = pool->idle;
        if (worker == NULL) return;
        pool->idle = worker->next_idle;
    }
    pool->is_waking = true;
    /* Relaxed: the worker takes the lock before it looks for what there is to do. */
    atomic_store_explicit(&worker->is_idle, false, memory_order_relaxed);
    if (worker->is_asleep) bni_cond_signal(&worker->wake);
}

void bni_pool_wake_all(bitnet_thread_pool *pool)
{
    while (pool->spinner != NULL || pool->idle != NULL) bni_pool_wake_one(pool);
}

static bool is_idle(const struct bni_worker *worker)
{
    /* Relaxed: without the lock only a hint to take it; with it, exact. */
    return atomic_load_explicit(&worker->is_idle, memory_order_relaxed);
}

/* Stays awake for a moment; lets go of the lock meanwhile. */
static void spin_while_idle(struct bni_worker *worker)
    BNI_REQUIRES(worker->pool->lock) BNI_NO_ANALYSIS
{
    bitnet_thread_pool *pool = worker->pool;
    pool->spinner = worker;
    bni_mutex_unlock(&pool->lock);
    struct bni_spin spin = bni_spin_begin(SPIN_NS);
    while (is_idle(worker) && bni_spin_again(&spin)) bni_perturb();
    bni_mutex_lock(&pool->lock);
    if (is_idle(worker)) pool->spinner = NULL;
}

/* One at a time, and while a CPU is left for the thread that waits for what has just
 * been done, or brings what is next. */
static bool may_spin(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    return pool->spinner == NULL && pool->n_running + 1 < pool->n_cpus;
}

static void be_idle(struct bni_worker *worker)
    BNI_REQUIRES(worker->pool->lock) BNI_NO_ANALYSIS
{
    bitnet_thread_pool *pool = worker->pool;
    atomic_store_explicit(&worker->is_idle, true, memory_order_relaxed);
    if (may_spin(pool)) spin_while_idle(worker);
    if (!is_idle(worker)) return;

    worker->next_idle = pool->idle;
    pool->idle = worker;
    worker->is_asleep = true;
    while (is_idle(worker)) bni_cond_wait(&worker->wake, &pool->lock);
    worker->is_asleep = false;
}

static void serve(struct bni_worker *worker) BNI_NO_ANALYSIS
{
    bitnet_thread_pool *pool = worker->pool;
    struct bni_task task;
    uint64_t now = bni_ticks();
    bni_mutex_lock(&pool->lock);
    while (is_wanted(worker)) {
        if (pool->queue.n_queued == 0) bni_hand_gather(pool);
        /* A pool that is stopping drops what is queued; none of it may begin. */
        if (pool->state < BNI_POOL_STOPPING && bni_queue_pop(&pool->queue, &task)) {
            bni_pool_refill(pool);
            bni_hand_deal(pool, worker, &task);
            /* One job's end is the next one's start: a clock read saved. */
            now = bni_pool_run(pool, worker, &task, now);
        } else {
            be_idle(worker);
            pool->is_waking = false;
            now = bni_ticks();
            /* In a pool that is stopping two would wake each other all the time. */
            if (pool->queue.n_queued > 1 && pool->state < BNI_POOL_STOPPING)
                bni_pool_wake_one(pool);
        }
    }
    bni_mutex_unlock(&pool->lock);
}

/* With the last thread gone and none to be had, what is queued would wait for ever. */
static void give_up_queued(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    struct bni_error_record outcome;
    bni_error_record_set(&outcome, BITNET_ERROR_OUT_OF_MEMORY,
                         "the job never ran: all threads of its pool have ended by "
                         "pthread_exit(), and the system gives no new one");
    bni_pool_refill(pool);
    bni_pool_drop_queued(pool, &outcome);
}

/* The last thing a worker's thread does with the pool, however it ends. */
static void leave(void *arg) BNI_NO_ANALYSIS
{
    struct bni_worker *worker = arg;
    bitnet_thread_pool *pool = worker->pool;
    if (bni_pool_is_parents(pool)) return; /* its job forked, and returned */
    bni_mutex_lock(&pool->lock);
    worker->state = BNI_WORKER_GONE;
    pool->n_alive--;
    bni_hand_gather(pool);
    bni_wait_graph_set_present(&worker->wait, false);
    if (pool->state != BNI_POOL_CLOSED) {
        const bitnet_status status = bni_pool_fill_places(pool);
        if (status != BITNET_OK && pool->n_alive == 0) give_up_queued(pool);
    }
    if (pool->queue.n_queued > 0) bni_pool_wake_one(pool);
    bni_cond_broadcast(&pool->staff_left);
    bni_mutex_unlock(&pool->lock);
}

static void worker_main(void *arg)
{
    struct bni_worker *worker = arg;
    pthread_cleanup_push(leave, worker);
    if (worker->has_predecessor) {
        struct bni_thread predecessor = {.native = worker->predecessor};
        bni_thread_join(&predecessor);
    }
    serve(worker);
    pthread_cleanup_pop(1);
}

static bitnet_status fill_place(bitnet_thread_pool *pool, struct bni_worker *worker)
    BNI_REQUIRES(pool->lock)
{
    struct bni_thread before = worker->thread;
    worker->has_predecessor = worker->state == BNI_WORKER_GONE;
    worker->predecessor = before.native;
    const bitnet_status status =
        bni_thread_start(&worker->thread, worker->name, pool->stack_bytes, worker_main,
                         worker);
    if (status != BITNET_OK) {
        worker->thread = before; /* still to be joined, if there was one */
        return status;
    }
    worker->state = BNI_WORKER_ALIVE;
    pool->n_alive++;
    bni_wait_graph_set_present(&worker->wait, true);
    return BITNET_OK;
}

bitnet_status bni_pool_fill_places(bitnet_thread_pool *pool)
{
    for (unsigned i = 0; i < pool->n_wanted; i++) {
        if (pool->workers[i]->state == BNI_WORKER_ALIVE) continue;
        const bitnet_status status = fill_place(pool, pool->workers[i]);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

static bitnet_status add_place(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    struct bni_worker *worker = bni_calloc(1, sizeof(*worker));
    if (worker == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    bitnet_status status = bni_cond_init(&worker->wake);
    if (status != BITNET_OK) goto fail_worker;
    status = bni_mutex_init(&worker->hand.lock);
    if (status != BITNET_OK) goto fail_wake;
    worker->pool = pool;
    worker->index = pool->n_workers;
    bni_thread_name(worker->name, pool->name_prefix, worker->index);
    worker->wait.name = worker->name;
    bni_wait_graph_add(&pool->wait_pool, &worker->wait);
    pool->workers[pool->n_workers++] = worker;
    return BITNET_OK;

fail_wake:
    bni_cond_destroy(&worker->wake);
fail_worker:
    bni_free(worker);
    return status;
}

bitnet_status bni_pool_add_places(bitnet_thread_pool *pool, unsigned n_workers)
{
    if (n_workers <= pool->n_workers) return BITNET_OK;
    struct bni_worker **workers = bni_calloc(n_workers, sizeof(struct bni_worker *));
    if (workers == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    for (unsigned i = 0; i < pool->n_workers; i++) workers[i] = pool->workers[i];
    bni_free(pool->workers);
    pool->workers = workers;
    while (pool->n_workers < n_workers) {
        const bitnet_status status = add_place(pool);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

static bool has_left(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    return pool->n_alive == 0 && !pool->is_joining;
}

void bni_pool_dismiss(bitnet_thread_pool *pool)
{
    assert(bni_pool_n_active(pool) == 0);
    pool->state = BNI_POOL_CLOSED;
    bni_pool_wake_all(pool);
    while (!has_left(pool)) bni_cond_wait(&pool->staff_left, &pool->lock);

    /* Others that dismiss at the same time wait above until we have joined them all. */
    pool->is_joining = true;
    for (unsigned i = 0; i < pool->n_workers; i++) {
        struct bni_worker *worker = pool->workers[i];
        if (worker->state != BNI_WORKER_GONE) continue;
        worker->state = BNI_WORKER_ABSENT;
        bni_mutex_unlock(&pool->lock);
        bni_thread_join(&worker->thread);
        bni_mutex_lock(&pool->lock);
    }
    pool->is_joining = false;
    bni_cond_broadcast(&pool->staff_left);
}

void bni_pool_free_places(bitnet_thread_pool *pool)
{
    bni_wait_graph_forget_workers(&pool->wait_pool);
    for (unsigned i = 0; i < pool->n_workers; i++) {
        if (!bni_pool_is_parents(pool)) {
            bni_cond_destroy(&pool->workers[i]->wake);
            bni_mutex_destroy(&pool->workers[i]->hand.lock);
        }
        bni_free(pool->workers[i]);
    }
    bni_free(pool->workers);
    pool->workers = NULL;
    pool->n_workers = 0;
}
