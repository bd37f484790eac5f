/* SPDX-License-Identifier: MIT */
/*
 * pool_submit.c - accepting jobs: at once, waiting for room, or refusing.
 *
 * A thread that waits for room hangs its job in a second queue, of structs on the
 * stacks of those who wait, and sleeps. Whoever takes a job out of the full queue
 * moves the first waiting one in and wakes its submitter; and that one, once awake,
 * does the same for the next if there is still room. So at most one is on its way at
 * a time, workers are not kept busy with waking, and who was woken finds room for
 * more. While somebody waits, the queue is full or somebody is on the way: room goes
 * to whoever asked first, but for those who come by while one is waking up.
 *
 * A worker of the pool never waits here: it would be one of those who make room.
 *
 * What is done while the queue is full is the caller's choice; the entry points at
 * the end are one function with different choices. Standing jobs (standing.h) stand in
 * the same line and sleep nowhere, so who lets one in lets the next one in as well.
 */
#include "threads/pool.h"

#include <assert.h>

#include "base/error.h"
#include "base/options.h"
#include "threads/compute.h"
#include "threads/event_queue.h"
#include "threads/trace.h"

/* Counts a job in; its sequence says which waits include it. */
static void accept_task(bitnet_thread_pool *pool, struct bni_task *task)
    BNI_REQUIRES(pool->lock)
{
    task->sequence = pool->next_sequence++;
    if (task->job != NULL) task->job->sequence = task->sequence;
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
        pool->max_queued = pool->queue.n_queued;
    if (pool->idle_waiters != NULL) bni_pool_show_queue(pool);
    if (!pool->is_waking) bni_pool_wake_one(pool);
}

static bool is_full(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    return pool->queue.n_queued + pool->n_dealt == pool->queue.capacity;
}

/* What was dealt counts as queued until it is gathered, though it may have ended. */
static bool has_room(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    if (is_full(pool)) bni_hand_gather(pool);
    return !is_full(pool);
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
    /* Without threads nobody may be left to the one on the way, who comes too late:
     * all are let in, to be dropped. */
    while (pool->first_submitter != NULL &&
           (!pool->is_admitting || pool->n_alive == 0)) {
        if (!has_room(pool)) return;
        struct bni_submitter *submitter = pop_submitter(pool);
        enqueue(pool, &submitter->task);
        if (submitter->is_standing) continue;
        answer(submitter, true);
        pool->is_admitting = true;
    }
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

void bni_pool_stand_in_line(bitnet_thread_pool *pool, struct bni_submitter *place)
{
    place->next = NULL;
    place->task.submitted_ticks = bni_ticks();
    append_submitter(pool, place);
    if (pool->n_alive < pool->n_wanted) bni_pool_fill_places(pool);
    if (pool->n_alive > 0) bni_pool_refill(pool);
}

void bni_pool_refuse_submitters(bitnet_thread_pool *pool)
{
    bni_wait_graph_shut(&pool->wait_pool);
    struct bni_submitter *next = pool->first_submitter;
    pool->first_submitter = NULL;
    pool->last_submitter = NULL;
    while (next != NULL) {
        struct bni_submitter *submitter = next;
        next = submitter->next;
        submitter->next = NULL;
        if (!submitter->is_standing)
            answer(submitter, false);
        else if (pool->state < BNI_POOL_STOPPING)
            append_submitter(pool, submitter);
        else
            bni_pool_leave_line(submitter);
    }
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
        "cannot submit a job: all %u places in the thread pool's queue are "
        "taken",
        pool->queue.capacity);
}

/* Sleeps until somebody lets the job in or refuses it, or the deadline. The pool may
 * be destroyed meanwhile: the caller holds a reference. */
static bitnet_status wait_for_room(bitnet_thread_pool *pool, struct bni_task *task,
                                   uint64_t deadline_ns) BNI_REQUIRES(pool->lock)
{
    struct bni_submitter self = {.task = *task, .waiter = bni_current_waiter()};
    bitnet_status status = bni_cond_init(&self.answered);
    if (status != BITNET_OK) return status;

    const struct bni_wait_target room = {.kind = BNI_WAIT_FOR_ROOM,
                                         .pool = &pool->wait_pool};
    status = bni_wait_graph_begin(self.waiter, bni_current_inside(), room);
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
                          "cannot submit a job: all %u places in the thread pool's "
                          "queue stayed taken until the deadline",
                          pool->queue.capacity);
        } else if (!self.is_accepted) {
            status = error_shut_down();
        } else {
            pool->is_admitting = false;
            bni_pool_refill(pool);
        }
        task->sequence = self.task.sequence;
    }
    bni_cond_destroy(&self.answered);
    return status;
}

/* What a caller asked for, and what came of it so far. */
struct submission {
    struct bni_task task;
    bitnet_submit_policy when_full;
    uint64_t room_deadline_ns;
    bool has_reference; /* to the pool, for having slept */
    bool is_run_here;   /* inside of its own submit, and never queued */
    bitnet_job **out;   /* where the handle goes, or NULL */
};

/* Before user code that may end this thread: there may be no chance afterwards. */
static void hand_out(struct submission *submission)
{
    if (submission->out != NULL) *submission->out = submission->task.job;
    submission->out = NULL;
}

/* Runs the job on this thread, which is not too deep in jobs already. */
static bitnet_status run_here(bitnet_thread_pool *pool, struct submission *submission)
    BNI_REQUIRES(pool->lock)
{
    const bitnet_status status = bni_pool_check_depth();
    if (status != BITNET_OK) return status;
    struct bni_task *task = &submission->task;
    submission->is_run_here = true;
    accept_task(pool, task);
    hand_out(submission);
    bni_pool_run_here(pool, bni_current_worker(), task);
    return BITNET_OK;
}

/* Puts the job into the place of the oldest, which ends as dropped. */
static bitnet_status displace_oldest(bitnet_thread_pool *pool,
                                     struct submission *submission)
    BNI_REQUIRES(pool->lock)
{
    const bitnet_status status = bni_pool_check_depth();
    if (status != BITNET_OK) return status;
    struct bni_task oldest;
    struct bni_error_record outcome;
    bni_error_record_set(&outcome, BITNET_ERROR_CANCELLED,
                         "the job never ran: as the oldest in a full queue it made "
                         "room for a newer one");
    bni_queue_pop(&pool->queue, &oldest);
    enqueue(pool, &submission->task);
    hand_out(submission);
    bni_pool_drop(pool, &oldest, BNI_ENDING_DISPLACE, &outcome);
    return BITNET_OK;
}

static bool takes_jobs(const bitnet_thread_pool *pool, bool is_own_worker)
    BNI_REQUIRES(pool->lock)
{
    return pool->state == BNI_POOL_OPEN ||
           (pool->state == BNI_POOL_DRAINING && is_own_worker);
}

static bitnet_status submit_to_full(bitnet_thread_pool *pool,
                                    struct submission *submission, bool is_own_worker)
    BNI_REQUIRES(pool->lock)
{
    switch (submission->when_full) {
    case BITNET_SUBMIT_REFUSE: return error_full(pool);
    case BITNET_SUBMIT_RUN_HERE: return run_here(pool, submission);
    case BITNET_SUBMIT_DROP_OLDEST: return displace_oldest(pool, submission);
    case BITNET_SUBMIT_WAIT: break;
    }
    if (is_own_worker) return run_here(pool, submission);
    submission->has_reference = true;
    pool->n_refs++;
    return wait_for_room(pool, &submission->task, submission->room_deadline_ns);
}

static bitnet_status submit_locked(bitnet_thread_pool *pool,
                                   struct submission *submission)
    BNI_REQUIRES(pool->lock)
{
    const bool is_own_worker = bni_current_worker_of(pool) != NULL;
    if (!takes_jobs(pool, is_own_worker)) return error_shut_down();
    if (pool->n_alive < pool->n_wanted) {
        const bitnet_status status = bni_pool_fill_places(pool);
        if (status != BITNET_OK && pool->n_alive == 0) return status;
    }
    if (!has_room(pool)) return submit_to_full(pool, submission, is_own_worker);
    enqueue(pool, &submission->task);
    bni_pool_refill(pool); /* standing jobs may have been waiting for a thread */
    return BITNET_OK;
}

void bni_pool_drop_new(bitnet_thread_pool *pool, struct bni_task *task,
                       const struct bni_error_record *outcome)
{
    task->submitted_ticks = bni_ticks();
    accept_task(pool, task);
    bni_pool_drop(pool, task, BNI_ENDING_DISPLACE, outcome);
}

/* The job has its handle and its place for an event, or none were asked for. */
static bitnet_status submit_prepared(bitnet_thread_pool *pool,
                                     struct submission *submission)
{
    bitnet_job *job = submission->task.job;
    submission->task.submitted_ticks = bni_ticks();
    bni_mutex_lock(&pool->lock);
    if (job != NULL) bni_job_attach(job, pool);
    const bitnet_status status = submit_locked(pool, submission);
    if (status != BITNET_OK) {
        pool->n_refused++;
        if (job != NULL) pool->n_refs--;
    }
    bni_mutex_unlock(&pool->lock);
    if (status == BITNET_OK && !submission->is_run_here)
        bni_trace_job_submit(&pool->trace, submission->task.sequence);
    if (submission->has_reference) {
        bni_mutex_lock(&pool->lock);
        bni_pool_leave(pool);
    }
    return status;
}

/* With options that are ours, or were checked. */
static bitnet_status submit(bitnet_thread_pool *pool, bitnet_job_fn fn, void *arg,
                            const bitnet_submit_options *options, bitnet_job **out)
{
    if (pool == NULL || fn == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot submit a job: %s is NULL",
                         pool == NULL ? "the thread pool" : "its function");
    struct submission submission = {
        .task = {.fn = fn,
                 .drop = options->drop,
                 .arg = arg,
                 .start_deadline_ns = options->start_deadline_ns},
        .when_full = options->when_full,
        .room_deadline_ns = options->room_deadline_ns,
        .out = out,
    };
    struct bni_task *task = &submission.task;
    if (options->when_full != BITNET_SUBMIT_REFUSE) {
        const bitnet_status status = bni_context_check("submitting to a thread pool");
        if (status != BITNET_OK) return status;
    }
    bitnet_status status =
        bni_fork_check(pool->generation, "submitting to a thread pool");
    if (status != BITNET_OK) return status;
    status = bni_event_reserve(options->events, options->event_tag, &task->event);
    if (status != BITNET_OK) return bni_error_prefix("cannot submit a job");
    if (out != NULL) {
        task->job = bni_job_create();
        if (task->job == NULL) {
            bni_event_give_back(task->event);
            return BITNET_ERROR_OUT_OF_MEMORY;
        }
    }
    status = submit_prepared(pool, &submission);
    if (status == BITNET_OK) {
        hand_out(&submission);
        return BITNET_OK;
    }
    bni_event_give_back(task->event);
    if (task->job != NULL) bni_job_discard(task->job);
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
    bitnet_submit_options options = bitnet_submit_options_default();
    options.room_deadline_ns = deadline_ns;
    options.drop = drop;
    return submit(pool, fn, arg, &options, job);
}

bitnet_status bitnet_thread_pool_try_submit(bitnet_thread_pool *pool, bitnet_job_fn fn,
                                            void *arg, bitnet_job_drop_fn drop,
                                            bitnet_job **job)
{
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_REFUSE;
    options.drop = drop;
    return submit(pool, fn, arg, &options, job);
}

bitnet_status bitnet_thread_pool_submit_with(bitnet_thread_pool *pool, bitnet_job_fn fn,
                                             void *arg,
                                             const bitnet_submit_options *options,
                                             bitnet_job **job)
{
    bitnet_submit_options wanted = bitnet_submit_options_default();
    const bitnet_status status =
        bni_options_read("submit options", &wanted, sizeof(wanted), options);
    if (status != BITNET_OK) return status;
    if ((unsigned)wanted.when_full > BITNET_SUBMIT_DROP_OLDEST)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "submit options: when_full is %d; %d to %d are possible",
                         (int)wanted.when_full, BITNET_SUBMIT_WAIT,
                         BITNET_SUBMIT_DROP_OLDEST);
    return submit(pool, fn, arg, &wanted, job);
}
