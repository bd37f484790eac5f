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

#include "threads/event_queue.h"
#include "threads/trace.h"

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

const struct bni_wait_inside *bni_current_inside(void)
{
    for (struct bni_run *run = current_run; run != NULL; run = run->outer) {
        run->inside.pool = &run->pool->wait_pool;
        run->inside.sequence = run->task.sequence;
        run->inside.outer = run->outer == NULL ? NULL : &run->outer->inside;
    }
    return current_run == NULL ? NULL : &current_run->inside;
}

bitnet_status bni_pool_check_outside(const bitnet_thread_pool *pool, const char *what)
{
    for (const struct bni_run *run = current_run; run != NULL; run = run->outer) {
        if (run->pool != pool) continue;
        return bni_error(
            BITNET_ERROR_THREAD_SAFETY,
            "%s: refused inside a %s of this very pool, which it would wait "
            "for (on %s)",
            what, run->ending == BNI_ENDING_RUN ? "job" : "drop function",
            run->worker == NULL ? "a thread of the program" : run->worker->name);
    }
    return BITNET_OK;
}

bitnet_status bni_pool_check_depth(void)
{
    if (current_run == NULL || current_run->depth < BNI_MAX_JOB_DEPTH) return BITNET_OK;
    return bni_error(BITNET_ERROR_QUEUE_FULL,
                     "cannot submit a job: the queue is full, and this thread is %d "
                     "jobs deep in jobs already",
                     BNI_MAX_JOB_DEPTH);
}

bool bitnet_job_should_stop(void)
{
    const struct bni_run *run = current_run;
    if (run == NULL || bni_pool_is_parents(run->pool)) return false;
    bitnet_thread_pool *pool = run->pool;
    bni_mutex_lock(&pool->lock);
    const bool should_stop = pool->state >= BNI_POOL_STOPPING ||
                             (run->task.job != NULL && run->task.job->should_stop);
    bni_mutex_unlock(&pool->lock);
    return should_stop;
}

void bni_pool_tell_idle_waiters(bitnet_thread_pool *pool, uint64_t sequence)
{
    for (struct bni_idle_waiter *w = pool->idle_waiters; w != NULL; w = w->next) {
        if (sequence >= w->end_sequence || --w->n_left > 0) continue;
        bni_wait_graph_end(w->waiter);
        bni_cond_broadcast(&pool->nothing_left);
    }
}

static void count_the_end(bitnet_thread_pool *pool, const struct bni_run *run,
                          uint64_t now) BNI_REQUIRES(pool->lock)
{
    const bool has_run = run->ending == BNI_ENDING_RUN;
    const uint64_t run_ticks = has_run ? bni_ticks_between(run->start_ticks, now) : 0;
    pool->n_running--;
    bni_tally_end(&pool->tally, run->ending, run->outcome.status, run_ticks);
    if (has_run) bni_hand_estimate(pool, run_ticks);
}

/* Leaves the run on this thread, and counts its job as ended; takes the lock. */
static void end_run(struct bni_run *run, uint64_t now)
    BNI_ACQUIRE(run->pool->lock) BNI_NO_ANALYSIS
{
    bitnet_thread_pool *pool = run->pool;
    bitnet_clear_error();
    bni_error_restore(&run->outer_error);
    current_run = run->outer;

    if (bni_pool_is_parents(pool)) { /* the function forked, and this is the child */
        bni_mutex_renew(&pool->lock);
        bni_mutex_lock(&pool->lock);
        return;
    }
    bni_mutex_lock(&pool->lock);
    count_the_end(pool, run, now);
    bni_event_post(run->task.event, BITNET_EVENT_JOB_ENDED, run->outcome.status, true);
    bni_job_has_ended(run->task.job, &run->outcome);
    bni_pool_tell_idle_waiters(pool, run->task.sequence);
}

/* Tells of a job's end before those who wait for the job learn of it. */
static void trace_end(const struct bni_run *run)
{
    if (bni_pool_is_parents(run->pool)) return;
    bni_trace_job_end(&run->pool->trace, run->task.sequence, run->outcome.status);
}

/* The scope guard: the job's function, or the drop function, ended its thread. */
static void end_run_on_exit(void *arg) BNI_NO_ANALYSIS
{
    struct bni_run *run = arg;
    bitnet_thread_pool *pool = run->pool;
    if (run->ending == BNI_ENDING_RUN)
        bni_error_record_set(&run->outcome, BITNET_ERROR_INTERNAL,
                             "the job ended its thread, by pthread_exit() or "
                             "pthread_cancel()");
    trace_end(run);
    end_run(run, bni_ticks());
    bni_mutex_unlock(&pool->lock);
}

/* Tells what it is about to do, and does it. */
static void call_user(struct bni_run *run)
{
    const bitnet_trace *trace = &run->pool->trace;
    const uint64_t job_id = run->task.sequence;
    pthread_cleanup_push(end_run_on_exit, run);
    if (run->is_run_here) bni_trace_job_submit(trace, job_id);
    if (run->ending == BNI_ENDING_CANCEL) bni_trace_job_cancel(trace, job_id);
    if (run->ending == BNI_ENDING_RUN) {
        bni_trace_job_start(trace, job_id);
        run->outcome.status = run->task.fn(run->task.arg);
    } else if (run->task.drop != NULL) {
        run->task.drop(run->task.arg);
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

/* Puts the run on top of this thread's, and counts it in. Lets go of the lock. The
 * fields are set one by one because the records' messages are long, and are only
 * there with an error. */
static void begin_run(struct bni_run *run, bitnet_thread_pool *pool,
                      const struct bni_task *task, struct bni_worker *worker,
                      enum bni_ending ending) BNI_RELEASE(pool->lock) BNI_NO_ANALYSIS
{
    run->pool = pool;
    run->task = *task;
    run->worker = worker;
    run->outer = current_run;
    run->depth = current_run == NULL ? 1 : current_run->depth + 1;
    run->ending = ending;
    run->is_run_here = false;
    pool->n_running++;
    bni_job_is_running(task->job, worker);
    if (pool->idle_waiters != NULL) bni_pool_show_queue(pool);
    bni_mutex_unlock(&pool->lock);

    current_run = run;
    run->outer_error.status = bitnet_last_status();
    if (run->outer_error.status == BITNET_OK) return;
    bni_error_save(&run->outer_error);
    bitnet_clear_error();
}

/* Whether the job that has ended on this thread may be followed by another one of the
 * worker's hand; and if so, wipes its traces. */
static bool can_go_on(const struct bni_run *run)
{
    if (run->worker == NULL || run->outer != NULL || run->task.job != NULL ||
        run->task.event != NULL || bni_pool_is_parents(run->pool))
        return false;
    bitnet_clear_error();
    return true;
}

static uint64_t run_task(bitnet_thread_pool *pool, struct bni_worker *worker,
                         const struct bni_task *task, uint64_t now,
                         bool is_run_here) BNI_NO_ANALYSIS
{
    if (task->start_deadline_ns != BITNET_NO_DEADLINE &&
        bitnet_clock_ns() >= task->start_deadline_ns) {
        bni_pool_expire(pool, task);
        return bni_ticks();
    }
    /* The clock was read before the job was taken, maybe before it was submitted. */
    if (now < task->submitted_ticks) now = task->submitted_ticks;
    bni_histogram_add(&pool->tally.queue_wait, now - task->submitted_ticks);

    struct bni_run run;
    run.start_ticks = now;
    begin_run(&run, pool, task, worker, BNI_ENDING_RUN);
    run.is_run_here = is_run_here;
    do {
        call_user(&run);
        take_message(&run.outcome);
        trace_end(&run);
        now = bni_ticks();
    } while (can_go_on(&run) && bni_hand_next(worker, &run, now));
    end_run(&run, now);
    return now;
}

uint64_t bni_pool_run(bitnet_thread_pool *pool, struct bni_worker *worker,
                      const struct bni_task *task, uint64_t now)
{
    return run_task(pool, worker, task, now, false);
}

void bni_pool_run_here(bitnet_thread_pool *pool, struct bni_worker *worker,
                       const struct bni_task *task)
{
    run_task(pool, worker, task, task->submitted_ticks, true);
}

void bni_pool_drop(bitnet_thread_pool *pool, const struct bni_task *task,
                   enum bni_ending ending,
                   const struct bni_error_record *outcome) BNI_NO_ANALYSIS
{
    struct bni_run run;
    run.outcome = *outcome;
    begin_run(&run, pool, task, bni_current_worker(), ending);
    call_user(&run);
    trace_end(&run);
    end_run(&run, bni_ticks());
}

void bni_pool_expire(bitnet_thread_pool *pool, const struct bni_task *task)
{
    struct bni_error_record outcome;
    bni_error_record_set(&outcome, BITNET_ERROR_TIMED_OUT,
                         "the job never ran: its start deadline passed while it was "
                         "queued");
    bni_pool_drop(pool, task, BNI_ENDING_EXPIRE, &outcome);
}

void bni_pool_drop_queued(bitnet_thread_pool *pool,
                          const struct bni_error_record *outcome)
{
    struct bni_task task;
    bni_hand_gather(pool);
    while (!bni_pool_is_parents(pool) && bni_queue_pop(&pool->queue, &task)) {
        bni_pool_refill(pool);
        bni_pool_drop(pool, &task, BNI_ENDING_DISPLACE, outcome);
    }
}
