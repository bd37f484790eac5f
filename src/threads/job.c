/* SPDX-License-Identifier: MIT */
/*
 * job.c - handles: one job's way from the queue to its result.
 *
 * A handle is guarded by its pool's lock, and keeps the pool's struct alive, so it
 * outlives the pool itself. While the job is queued it points to its slot, to cancel
 * it or to claim it; while it runs, to the run, to ask it to stop.
 *
 * A worker that waits for a job of its own pool which nobody has begun takes that
 * very job and runs it, so waiting inside a pool cannot starve for a thread. It
 * never runs another one instead: that could want a lock which the waiting job holds.
 */
#include "threads/pool.h"

#include "base/alloc.h"
#include "threads/compute.h"
#include "threads/trace.h"

bitnet_job *bni_job_create(void)
{
    bitnet_job *job = bni_calloc(1, sizeof(*job));
    if (job == NULL) return NULL;
    job->slot = BNI_NO_SLOT;
    if (bni_cond_init(&job->ended) != BITNET_OK) {
        bni_free(job);
        return NULL;
    }
    return job;
}

void bni_job_discard(bitnet_job *job)
{
    bni_cond_destroy(&job->ended);
    bni_free(job);
}

void bni_job_attach(bitnet_job *job, bitnet_thread_pool *pool)
{
    job->pool = pool;
    job->n_refs = 2;
    pool->n_refs++;
}

/* Takes a reference off; true if it was the last, and with it goes one to the pool. */
static bool unref_is_last(bitnet_job *job)
{
    if (--job->n_refs > 0) return false;
    bni_job_discard(job);
    return true;
}

void bni_job_is_queued(bitnet_job *job, uint32_t slot)
{
    if (job == NULL) return;
    job->slot = slot;
    job->place.ends_by_itself =
        job->pool->queue.tasks[slot].start_deadline_ns != BITNET_NO_DEADLINE;
    bni_wait_graph_place(&job->place, &job->pool->wait_pool, NULL);
}

void bni_job_is_running(bitnet_job *job, struct bni_worker *worker)
{
    if (job == NULL) return;
    job->state = BITNET_JOB_RUNNING;
    job->slot = BNI_NO_SLOT;
    bni_wait_graph_place(&job->place, NULL, worker == NULL ? NULL : &worker->wait);
}

void bni_job_has_ended(bitnet_job *job, const struct bni_error_record *outcome)
{
    if (job == NULL) return;
    bitnet_thread_pool *pool = job->pool;
    job->state = BITNET_JOB_ENDED;
    job->outcome.status = outcome->status;
    if (outcome->status != BITNET_OK) job->outcome = *outcome;
    bni_wait_graph_place(&job->place, NULL, NULL);
    bni_cond_broadcast(&job->ended);
    if (unref_is_last(job)) pool->n_refs--;
}

bitnet_job *bitnet_job_retain(bitnet_job *job)
{
    if (job == NULL || bni_pool_is_parents(job->pool)) return job;
    bni_mutex_lock(&job->pool->lock);
    job->n_refs++;
    bni_mutex_unlock(&job->pool->lock);
    return job;
}

void bitnet_job_release(bitnet_job *job)
{
    if (job == NULL || bni_pool_is_parents(job->pool)) return;
    bitnet_thread_pool *pool = job->pool;
    bni_mutex_lock(&pool->lock);
    if (unref_is_last(job)) {
        bni_pool_leave(pool);
    } else {
        bni_mutex_unlock(&pool->lock);
    }
}

/* On a thread that is no worker: whether it is inside this very job's drop function. */
static bool is_inside(const bitnet_job *job)
{
    for (const struct bni_run *run = bni_current_run(); run != NULL; run = run->outer) {
        if (run->task.job == job) return true;
    }
    return false;
}

static bool can_claim(const bitnet_thread_pool *pool, const bitnet_job *job)
    BNI_REQUIRES(pool->lock)
{
    return job->state == BITNET_JOB_QUEUED && pool->state < BNI_POOL_STOPPING &&
           bni_current_worker_of(pool) != NULL &&
           bni_current_run()->depth < BNI_MAX_JOB_DEPTH;
}

static void claim(bitnet_thread_pool *pool, bitnet_job *job) BNI_REQUIRES(pool->lock)
{
    struct bni_task task;
    bni_queue_take(&pool->queue, job->slot, &task);
    bni_pool_refill(pool);
    bni_pool_run(pool, bni_current_worker(), &task, bni_ticks());
}

/* When the job, if it is still queued then, ends for having waited too long. */
static uint64_t start_deadline(const bitnet_thread_pool *pool, const bitnet_job *job)
    BNI_REQUIRES(pool->lock)
{
    return job->slot == BNI_NO_SLOT ? BITNET_NO_DEADLINE
                                    : pool->queue.tasks[job->slot].start_deadline_ns;
}

/* Ends the queued job here: no worker has come to it. */
static void expire(bitnet_thread_pool *pool, bitnet_job *job) BNI_REQUIRES(pool->lock)
{
    struct bni_task task;
    bni_queue_take(&pool->queue, job->slot, &task);
    bni_pool_refill(pool);
    bni_pool_expire(pool, &task);
}

/* Sleeps until the job has ended, or until `deadline_ns`, or its start deadline. */
static bitnet_status sleep_until_end(bitnet_thread_pool *pool, bitnet_job *job,
                                     uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    /* In a pool that is stopping it takes no worker to end what is queued. */
    const bool will_be_dropped =
        job->state == BITNET_JOB_QUEUED && pool->state >= BNI_POOL_STOPPING;
    struct bni_wait_worker *waiter = will_be_dropped ? NULL : bni_current_waiter();
    if (waiter == NULL && is_inside(job))
        return bni_error(BITNET_ERROR_THREAD_SAFETY,
                         "waiting for a job: refused inside its own drop function");
    const struct bni_wait_target end = {.kind = BNI_WAIT_FOR_JOB, .job = &job->place};
    const bitnet_status status =
        bni_wait_graph_begin(waiter, bni_current_inside(), end);
    if (status != BITNET_OK) return bni_error_prefix("waiting for a job");

    bool is_in_time = true;
    while (job->state != BITNET_JOB_ENDED && is_in_time) {
        const uint64_t until_ns = start_deadline(pool, job);
        is_in_time =
            bni_cond_wait_until(&job->ended, &pool->lock,
                                until_ns < deadline_ns ? until_ns : deadline_ns);
    }
    bni_wait_graph_end(waiter);
    return BITNET_OK;
}

static bitnet_status wait_for_end(bitnet_thread_pool *pool, bitnet_job *job,
                                  uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    while (job->state != BITNET_JOB_ENDED) {
        /* A function that this thread has just called for it may have forked. */
        bitnet_status status = bni_fork_check(pool->generation, "waiting for a job");
        if (status == BITNET_OK) status = sleep_until_end(pool, job, deadline_ns);
        if (status != BITNET_OK) return status;
        if (job->state == BITNET_JOB_ENDED) return BITNET_OK;
        const uint64_t now_ns = bitnet_clock_ns();
        if (now_ns >= start_deadline(pool, job)) {
            expire(pool, job);
        } else if (now_ns >= deadline_ns) {
            return bni_error(BITNET_ERROR_TIMED_OUT,
                             "waiting for a job: it was still %s at the deadline",
                             job->state == BITNET_JOB_QUEUED ? "queued" : "running");
        }
    }
    return BITNET_OK;
}

bitnet_status bitnet_job_wait_until(bitnet_job *job, uint64_t deadline_ns)
{
    if (job == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "waiting for a job: the handle is NULL");
    bitnet_thread_pool *pool = job->pool;
    bitnet_status status =
        bni_context_check_wait(pool->generation, "waiting for a job");
    if (status != BITNET_OK) return status;

    bni_mutex_lock(&pool->lock);
    if (can_claim(pool, job)) claim(pool, job);
    status = wait_for_end(pool, job, deadline_ns);
    if (status == BITNET_OK) status = bni_error_restore(&job->outcome);
    bni_mutex_unlock(&pool->lock);
    return status;
}

bitnet_status bitnet_job_wait(bitnet_job *job)
{
    return bitnet_job_wait_until(job, BITNET_NO_DEADLINE);
}

bool bitnet_job_cancel(bitnet_job *job)
{
    if (job == NULL || bni_pool_is_parents(job->pool)) return false;
    bitnet_thread_pool *pool = job->pool;
    bool never_runs = false;
    bool is_running = false;
    bni_mutex_lock(&pool->lock);
    if (job->state == BITNET_JOB_QUEUED && job->slot != BNI_NO_SLOT) {
        struct bni_task task;
        struct bni_error_record outcome;
        bni_error_record_set(&outcome, BITNET_ERROR_CANCELLED,
                             "the job never ran: it was cancelled");
        bni_queue_take(&pool->queue, job->slot, &task);
        bni_pool_refill(pool);
        bni_pool_drop(pool, &task, BNI_ENDING_CANCEL, &outcome);
        never_runs = true;
    } else if (job->state == BITNET_JOB_RUNNING) {
        job->should_stop = true;
        is_running = true;
    }
    const uint64_t job_id = job->sequence;
    bni_mutex_unlock(&pool->lock);
    /* For a job that never runs this was told before its drop function was called. */
    if (is_running) bni_trace_job_cancel(&pool->trace, job_id);
    return never_runs;
}

bitnet_job_state bitnet_job_get_state(bitnet_job *job)
{
    /* A parent's job never runs, or goes on, in a child. */
    if (job == NULL || bni_pool_is_parents(job->pool)) return BITNET_JOB_ENDED;
    bni_mutex_lock(&job->pool->lock);
    const bitnet_job_state state = job->state;
    bni_mutex_unlock(&job->pool->lock);
    return state;
}

bitnet_status bitnet_job_get_status(bitnet_job *job)
{
    if (job == NULL) return BITNET_OK;
    bitnet_status status =
        bni_fork_check(job->pool->generation, "asking for a job's result");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&job->pool->lock);
    status = job->outcome.status;
    bni_mutex_unlock(&job->pool->lock);
    return status;
}

bitnet_status bitnet_job_fail(bitnet_status status, const char *message)
{
    return bni_error(status, "%s", message == NULL ? "" : message);
}
