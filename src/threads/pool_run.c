/* SPDX-License-Identifier: MIT */
/*
 * pool_run.c - running one job, and counting it, however it ends.
 *
 * A run is a struct on the stack of the thread that runs the job. It is counted in
 * before the job's function is called and counted out by a scope guard: a cleanup
 * handler, so that a job that calls pthread_exit() has ended like any other. Jobs
 * that run inside of jobs, because a worker waits for them or the queue is full,
 * make a chain of runs per thread; a thread-local points to the innermost.
 *
 * A drop function is run the same way and counts as running too, so that whoever
 * waits for the pool finds nothing of it still going.
 */
#include "threads/pool.h"

#include <pthread.h>

static _Thread_local struct bni_run *current_run;

struct bni_run *bni_current_run(void)
{
    return current_run;
}

struct bni_worker *bni_current_worker(void)
{
    return current_run == NULL ? NULL : current_run->worker;
}

struct bni_worker *bni_current_worker_of(const bitnet_thread_pool *pool)
{
    struct bni_worker *worker = bni_current_worker();
    return worker != NULL && worker->pool == pool ? worker : NULL;
}

struct bni_wait_worker *bni_current_waiter(void)
{
    struct bni_worker *worker = bni_current_worker();
    return worker == NULL ? NULL : &worker->wait;
}

bitnet_status bni_pool_check_outside(const bitnet_thread_pool *pool, const char *what)
{
    for (const struct bni_run *run = current_run; run != NULL; run = run->outer) {
        if (run->pool != pool) continue;
        return bni_error(
            BITNET_ERROR_THREAD_SAFETY,
            "%s: refused inside a %s of this very pool, which it would wait "
            "for (on %s)",
            what, run->is_drop ? "drop function" : "job",
            run->worker == NULL ? "a thread of the program" : run->worker->name);
    }
    return BITNET_OK;
}

bool bitnet_job_should_stop(void)
{
    struct bni_run *run = current_run;
    if (run == NULL) return false;
    bni_mutex_lock(&run->pool->lock);
    const bool should_stop = run->should_stop;
    bni_mutex_unlock(&run->pool->lock);
    return should_stop;
}

static void link_run(bitnet_thread_pool *pool, struct bni_run *run)
    BNI_REQUIRES(pool->lock)
{
    run->previous = NULL;
    run->next = pool->runs;
    if (pool->runs != NULL) pool->runs->previous = run;
    pool->runs = run;
    pool->n_running++;
}

static void unlink_run(bitnet_thread_pool *pool, struct bni_run *run)
    BNI_REQUIRES(pool->lock)
{
    if (run->previous == NULL) {
        pool->runs = run->next;
    } else {
        run->previous->next = run->next;
    }
    if (run->next != NULL) run->next->previous = run->previous;
    pool->n_running--;
}

/* Takes one ended job off what every waiter it concerns still waits for. */
static void tell_idle_waiters(bitnet_thread_pool *pool, uint64_t sequence)
    BNI_REQUIRES(pool->lock)
{
    for (struct bni_idle_waiter *w = pool->idle_waiters; w != NULL; w = w->next) {
        if (sequence >= w->end_sequence || --w->n_left > 0) continue;
        bni_wait_graph_end(w->waiter);
        bni_cond_broadcast(&pool->nothing_left);
    }
}

static void count_the_end(bitnet_thread_pool *pool, const struct bni_run *run)
    BNI_REQUIRES(pool->lock)
{
    if (run->is_cancelled) {
        pool->n_cancelled++;
    } else if (run->is_drop) {
        pool->n_dropped++;
    } else if (run->outcome.status == BITNET_OK) {
        pool->n_completed++;
    } else {
        pool->n_failed++;
    }
}

/* Leaves the run on this thread, and counts its job as ended; takes the lock. */
static void end_run(struct bni_run *run) BNI_ACQUIRE(run->pool->lock) BNI_NO_ANALYSIS
{
    bitnet_thread_pool *pool = run->pool;
    bitnet_clear_error();
    bni_error_restore(&run->outer_error);
    current_run = run->outer;

    bni_mutex_lock(&pool->lock);
    unlink_run(pool, run);
    count_the_end(pool, run);
    bni_job_has_ended(run->task.job, &run->outcome);
    tell_idle_waiters(pool, run->task.sequence);
}

/* The scope guard: the job's function, or the drop function, called pthread_exit(). */
static void end_run_on_exit(void *arg) BNI_NO_ANALYSIS
{
    struct bni_run *run = arg;
    bitnet_thread_pool *pool = run->pool;
    if (!run->is_drop)
        bni_error_record_set(&run->outcome, BITNET_ERROR_INTERNAL,
                             "the job called pthread_exit() and so ended its thread");
    end_run(run);
    bni_mutex_unlock(&pool->lock);
}

static void call_user(struct bni_run *run)
{
    pthread_cleanup_push(end_run_on_exit, run);
    if (run->is_drop) {
        if (run->task.drop != NULL) run->task.drop(run->task.arg);
    } else {
        run->outcome.status = run->task.fn(run->task.arg);
    }
    pthread_cleanup_pop(0);
}

/* Completes the outcome with the message the job left, if it is about this status. */
static void take_message(struct bni_error_record *outcome)
{
    const bitnet_status status = outcome->status;
    if (status == BITNET_OK) return;
    if (bitnet_last_status() == status) {
        bni_error_save(outcome);
    } else {
        bni_error_record_set(outcome, status, "the job returned %s and left no message",
                             bitnet_status_name(status));
    }
}

/* Puts the run on top of this thread's, and counts it in. Lets go of the lock. */
static void begin_run(struct bni_run *run) BNI_RELEASE(run->pool->lock) BNI_NO_ANALYSIS
{
    run->outer = current_run;
    run->depth = current_run == NULL ? 1 : current_run->depth + 1;
    link_run(run->pool, run);
    bni_job_is_running(run->task.job, run);
    bni_mutex_unlock(&run->pool->lock);

    current_run = run;
    bni_error_save(&run->outer_error);
    bitnet_clear_error();
}

void bni_pool_run(bitnet_thread_pool *pool, struct bni_worker *worker,
                  const struct bni_task *task) BNI_NO_ANALYSIS
{
    struct bni_run run = {.pool = pool, .task = *task, .worker = worker};
    begin_run(&run);
    call_user(&run);
    take_message(&run.outcome);
    run.is_cancelled = run.outcome.status == BITNET_ERROR_CANCELLED;
    end_run(&run);
}

void bni_pool_drop(bitnet_thread_pool *pool, const struct bni_task *task,
                   const struct bni_error_record *outcome,
                   bool is_cancelled) BNI_NO_ANALYSIS
{
    struct bni_run run = {.pool = pool,
                          .task = *task,
                          .worker = bni_current_worker(),
                          .is_drop = true,
                          .is_cancelled = is_cancelled,
                          .outcome = *outcome};
    begin_run(&run);
    call_user(&run);
    end_run(&run);
}

void bni_pool_drop_queued(bitnet_thread_pool *pool,
                          const struct bni_error_record *outcome)
{
    struct bni_task task;
    while (bni_queue_pop(&pool->queue, &task)) {
        bni_pool_refill(pool);
        bni_pool_drop(pool, &task, outcome, false);
    }
}
