/* SPDX-License-Identifier: MIT */
/*
 * pool_submit.c - accepting jobs: at once, waiting for room, or refusing.
 *
 * A thread that waits for room hangs its job in a second queue, of structs on the
 * stacks of those who wait, and sleeps. Whoever takes a job out of the full queue
 * moves the first waiting one in and wakes its submitter, so room goes to whoever
 * asked first and nobody can slip in between. The second queue has members only
 * while the first is full.
 *
 * A worker of the pool never waits here: it would be one of those who make room.
 */
#include "threads/pool.h"

#include <assert.h>

#include "base/error.h"
#include "threads/compute.h"

/* Counts a job in; its sequence says which waits include it. */
static void accept_task(bitnet_thread_pool *pool, struct bni_task *task)
    BNI_REQUIRES(pool->lock)
{
    task->sequence = pool->next_sequence++;
    for (struct bni_idle_waiter *w = pool->idle_waiters; w != NULL; w = w->next) {
        if (task->sequence < w->end_sequence) w->n_left++;
    }
}

static void enqueue(bitnet_thread_pool *pool, struct bni_task *task)
    BNI_REQUIRES(pool->lock)
{
    accept_task(pool, task);
    bni_job_is_queued(task->job, bni_queue_push(&pool->queue, task));
    if (pool->queue.n_queued > pool->max_queued)
        pool->max_queued = (uint32_t)pool->queue.n_queued;
    bni_pool_wake_one(pool);
}

static void answer(struct bni_submitter *submitter, bool is_accepted)
{
    submitter->has_answer = true;
    submitter->is_accepted = is_accepted;
    bni_wait_graph_end(submitter->waiter);
    bni_cond_signal(&submitter->answered);
}

static struct bni_submitter *pop_submitter(bitnet_thread_pool *pool)
    BNI_REQUIRES(pool->lock)
{
    struct bni_submitter *submitter = pool->first_submitter;
    pool->first_submitter = submitter->next;
    if (pool->first_submitter == NULL) pool->last_submitter = NULL;
    return submitter;
}

void bni_pool_refill(bitnet_thread_pool *pool)
{
    while (pool->first_submitter != NULL && !bni_queue_is_full(&pool->queue)) {
        struct bni_submitter *submitter = pop_submitter(pool);
        enqueue(pool, &submitter->task);
        answer(submitter, true);
    }
}

void bni_pool_refuse_submitters(bitnet_thread_pool *pool)
{
    bni_wait_graph_shut(&pool->wait_pool);
    while (pool->first_submitter != NULL) answer(pop_submitter(pool), false);
}

static void append_submitter(bitnet_thread_pool *pool, struct bni_submitter *submitter)
    BNI_REQUIRES(pool->lock)
{
    if (pool->first_submitter == NULL) {
        pool->first_submitter = submitter;
    } else {
        pool->last_submitter->next = submitter;
    }
    pool->last_submitter = submitter;
}

/* Gives up waiting: the submitter is somewhere in the queue of those who wait. */
static void remove_submitter(bitnet_thread_pool *pool, struct bni_submitter *submitter)
    BNI_REQUIRES(pool->lock)
{
    struct bni_submitter *previous = NULL;
    struct bni_submitter **link = &pool->first_submitter;
    while (*link != submitter) {
        previous = *link;
        link = &previous->next;
    }
    *link = submitter->next;
    if (pool->last_submitter == submitter) pool->last_submitter = previous;
}

static bitnet_status error_shut_down(void)
{
    return bni_error(BITNET_ERROR_SHUT_DOWN,
                     "cannot submit a job: the thread pool has been shut down");
}

static bitnet_status error_full(const bitnet_thread_pool *pool)
{
    return bni_error(
        BITNET_ERROR_QUEUE_FULL,
        "cannot submit a job: all %zu places in the thread pool's queue are "
        "taken",
        pool->queue.capacity);
}

/* Sleeps until somebody lets the job in or refuses it, or the deadline. */
static bitnet_status wait_for_room(bitnet_thread_pool *pool,
                                   const struct bni_task *task, uint64_t deadline_ns)
    BNI_REQUIRES(pool->lock)
{
    struct bni_submitter self = {.task = *task, .waiter = bni_current_waiter()};
    bitnet_status status = bni_cond_init(&self.answered);
    if (status != BITNET_OK) return status;

    const struct bni_wait_target room = {.kind = BNI_WAIT_FOR_ROOM,
                                         .pool = &pool->wait_pool};
    status = bni_wait_graph_begin(self.waiter, room);
    if (status != BITNET_OK) {
        bni_error_prefix("cannot submit a job to a full queue");
    } else {
        append_submitter(pool, &self);
        bool is_in_time = true;
        while (!self.has_answer && is_in_time)
            is_in_time = bni_cond_wait_until(&self.answered, &pool->lock, deadline_ns);
        if (!self.has_answer) {
            remove_submitter(pool, &self);
            bni_wait_graph_end(self.waiter);
            status =
                bni_error(BITNET_ERROR_TIMED_OUT,
                          "cannot submit a job: all %zu places in the thread pool's "
                          "queue stayed taken until the deadline",
                          pool->queue.capacity);
        } else if (!self.is_accepted) {
            status = error_shut_down();
        }
    }
    bni_cond_destroy(&self.answered);
    return status;
}

/* A worker's own job in a full queue: run now, unless this thread is deep already. */
static bitnet_status run_instead(bitnet_thread_pool *pool, struct bni_worker *worker,
                                 struct bni_task *task, bitnet_job **out)
    BNI_REQUIRES(pool->lock)
{
    if (bni_current_run()->depth >= BNI_MAX_JOB_DEPTH) return error_full(pool);
    accept_task(pool, task);
    /* Before it runs: should it call pthread_exit(), we do not get another chance. */
    if (out != NULL) *out = task->job;
    bni_pool_run(pool, worker, task);
    return BITNET_OK;
}

enum when_full { REFUSE, WAIT };

static bool takes_jobs(const bitnet_thread_pool *pool, bool is_own_worker)
    BNI_REQUIRES(pool->lock)
{
    return pool->state == BNI_POOL_OPEN ||
           (pool->state == BNI_POOL_DRAINING && is_own_worker);
}

static bitnet_status submit_locked(bitnet_thread_pool *pool, struct bni_task *task,
                                   bitnet_job **out, enum when_full when_full,
                                   uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    struct bni_worker *own_worker = bni_current_worker_of(pool);
    if (!takes_jobs(pool, own_worker != NULL)) return error_shut_down();
    if (pool->n_alive < pool->n_wanted) {
        const bitnet_status status = bni_pool_fill_places(pool);
        if (status != BITNET_OK && pool->n_alive == 0) return status;
    }
    if (!bni_queue_is_full(&pool->queue)) {
        enqueue(pool, task);
        return BITNET_OK;
    }
    if (when_full == REFUSE) return error_full(pool);
    if (own_worker != NULL) return run_instead(pool, own_worker, task, out);
    return wait_for_room(pool, task, deadline_ns);
}

static bitnet_status submit(bitnet_thread_pool *pool, const struct bni_task *wanted,
                            bitnet_job **out, enum when_full when_full,
                            uint64_t deadline_ns)
{
    if (pool == NULL || wanted->fn == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot submit a job: %s is NULL",
                         pool == NULL ? "the thread pool" : "its function");
    struct bni_task task = *wanted;
    if (out != NULL) {
        task.job = bni_job_create();
        if (task.job == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    }

    /* Others may sleep here, and the pool be destroyed meanwhile. Its own workers do
     * not, but may leave from inside by pthread_exit(), and could not give it back. */
    const bool needs_ref = bni_current_worker_of(pool) == NULL;
    bni_mutex_lock(&pool->lock);
    if (needs_ref) pool->n_refs++;
    if (task.job != NULL) bni_job_attach(task.job, pool);
    const bitnet_status status =
        submit_locked(pool, &task, out, when_full, deadline_ns);
    if (status != BITNET_OK) {
        pool->n_refused++;
        if (task.job != NULL) {
            bni_job_discard(task.job);
            pool->n_refs--;
        }
    }
    if (needs_ref) {
        bni_pool_leave(pool);
    } else {
        bni_mutex_unlock(&pool->lock);
    }
    if (status == BITNET_OK && out != NULL) *out = task.job;
    return status;
}

bitnet_status bitnet_thread_pool_submit(bitnet_thread_pool *pool, bitnet_job_fn fn,
                                        void *arg, bitnet_job_drop_fn drop,
                                        bitnet_job **job)
{
    return bitnet_thread_pool_submit_until(pool, BITNET_NO_DEADLINE, fn, arg, drop,
                                           job);
}

bitnet_status bitnet_thread_pool_submit_until(bitnet_thread_pool *pool,
                                              uint64_t deadline_ns, bitnet_job_fn fn,
                                              void *arg, bitnet_job_drop_fn drop,
                                              bitnet_job **job)
{
    const bitnet_status status = bni_context_check("waiting for room in a thread pool");
    if (status != BITNET_OK) return status;
    const struct bni_task task = {.fn = fn, .drop = drop, .arg = arg};
    return submit(pool, &task, job, WAIT, deadline_ns);
}

bitnet_status bitnet_thread_pool_try_submit(bitnet_thread_pool *pool, bitnet_job_fn fn,
                                            void *arg, bitnet_job_drop_fn drop,
                                            bitnet_job **job)
{
    const struct bni_task task = {.fn = fn, .drop = drop, .arg = arg};
    return submit(pool, &task, job, REFUSE, 0);
}
