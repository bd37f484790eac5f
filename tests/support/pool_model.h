/* SPDX-License-Identifier: MIT */
/*
 * pool_model.h - for the stress test of the pool: jobs of many kinds, each with a
 * record of what became of it, and the books that must balance when a round is over.
 * Include cmocka.h first.
 */
#ifndef TESTS_SUPPORT_POOL_MODEL_H
#define TESTS_SUPPORT_POOL_MODEL_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <bitnet.h>

#include "support/jobs.h"
#include "support/stress.h"

enum { N_SHELVES = 8 };

/* What a job does. The last two need a worker to themselves. */
enum kind { PLAIN, FAILS, LOOPS, GUARDS, CANCELS, NESTS, EXITS, MEETS };

/* One job and what became of it. */
struct record {
    struct round *round;
    enum kind kind;
    struct record *child; /* of one that nests */
    bool is_accepted;     /* this and the next by who submits it */
    bool has_event;
    bitnet_status returned; /* by the job's thread */
    _Atomic unsigned n_ran;
    _Atomic unsigned n_dropped;
    _Atomic unsigned n_events;
};

/* A handle that anybody may use, with the record of its job. */
struct shelf {
    bitnet_job *job;
    struct record *record;
};

struct round {
    uint64_t number;
    bitnet_thread_pool *pool;
    bitnet_event_queue *events;
    bitnet_guarded *guarded; /* two numbers that are equal */
    bitnet_ref *ref;
    unsigned min_threads; /* never resized below */
    unsigned max_threads;
    bool is_short; /* nearly all jobs are, so that workers take several at a time */
    struct record *records;
    _Atomic unsigned n_records;

    pthread_mutex_t lock;
    struct shelf shelves[N_SHELVES]; /* guarded by it */

    _Atomic bool is_meeting; /* two jobs are to meet, or have met and not left */
    struct latch meeting;
    _Atomic unsigned n_left;

    _Atomic bool is_closing; /* shutdown may have begun */
    _Atomic bool is_over;    /* for the observer */
    _Atomic unsigned n_completed;
    _Atomic unsigned n_failed;
    _Atomic unsigned n_stopped;   /* returned CANCELLED */
    _Atomic unsigned n_cancelled; /* in the queue */
    _Atomic unsigned n_posted;
    _Atomic unsigned n_collected;
    _Atomic unsigned n_destroyed;
    _Atomic unsigned n_wrong;
};

static inline void expect(struct round *round, bool holds, const char *what)
{
    if (holds) return;
    atomic_fetch_add(&round->n_wrong, 1);
    stress_complain(round->number, what);
}

static inline struct record *new_record(struct round *round, enum kind kind)
{
    struct record *record = &round->records[atomic_fetch_add(&round->n_records, 1)];
    record->round = round;
    record->kind = kind;
    return record;
}

/* The end of one of the two: the last makes way for the next two. */
static inline void leave_meeting(struct round *round)
{
    if (atomic_fetch_add(&round->n_left, 1) + 1 == 2)
        atomic_store(&round->is_meeting, false);
}

static inline void drop_job(void *arg)
{
    struct record *record = arg;
    atomic_fetch_add(&record->n_dropped, 1);
    if (record->kind != MEETS) return;
    latch_count_down(&record->round->meeting);
    leave_meeting(record->round);
}

static inline bitnet_status add_one(void *object, void *user)
{
    (void)user;
    uint64_t *numbers = object;
    numbers[0]++;
    sched_yield();
    numbers[1]++;
    return BITNET_OK;
}

static inline bitnet_status are_equal(const void *object, void *user)
{
    (void)user;
    const uint64_t *numbers = object;
    return numbers[0] == numbers[1] ? BITNET_OK : BITNET_ERROR_INTERNAL;
}

static inline void use_guarded(struct round *round)
{
    bitnet_ref *ref = bitnet_ref_retain(round->ref);
    expect(round, bitnet_guarded_write(round->guarded, add_one, NULL) == BITNET_OK,
           "writing failed");
    expect(round, bitnet_guarded_read(round->guarded, are_equal, NULL) == BITNET_OK,
           "a reader saw half a change");
    expect(round, !bitnet_ref_release(ref), "a reference ended before its time");
}

/* Takes a reference to a handle on a shelf, or returns none. */
static inline struct shelf borrow(struct round *round, unsigned i)
{
    pthread_mutex_lock(&round->lock);
    struct shelf shelf = round->shelves[i % N_SHELVES];
    bitnet_job_retain(shelf.job);
    pthread_mutex_unlock(&round->lock);
    return shelf;
}

static inline void cancel_one(struct round *round, unsigned i)
{
    struct shelf shelf = borrow(round, i);
    if (bitnet_job_cancel(shelf.job)) atomic_fetch_add(&round->n_cancelled, 1);
    bitnet_job_release(shelf.job);
}

static inline bitnet_status run_job(void *arg);

static inline void nest(struct record *record)
{
    struct round *round = record->round;
    struct record *child = record->child;
    bitnet_job *job = NULL;
    const bitnet_status submitted =
        bitnet_thread_pool_submit(round->pool, run_job, child, drop_job, &job);
    child->is_accepted = submitted == BITNET_OK;
    if (!child->is_accepted) {
        expect(round,
               submitted == BITNET_ERROR_SHUT_DOWN && atomic_load(&round->is_closing),
               "a job could not submit");
        return;
    }
    const bitnet_status status = bitnet_job_wait(job);
    expect(round, status == BITNET_OK || status == BITNET_ERROR_CANCELLED,
           "a job could not wait for its own");
    expect(round, bitnet_job_get_state(job) == BITNET_JOB_ENDED,
           "a wait came back before the job's end");
    expect(round,
           atomic_load(&child->n_ran) == (status == BITNET_OK) &&
               atomic_load(&child->n_dropped) == (status != BITNET_OK),
           "a job that was waited for ended otherwise than it says");
    bitnet_job_release(job);
}

static inline bitnet_status act_as_job(struct record *record)
{
    struct round *round = record->round;
    switch (record->kind) {
    case PLAIN: break;
    case FAILS:
        return bitnet_job_fail(BITNET_ERROR_UNSUPPORTED_OPERATION, "on purpose");
    case LOOPS:
        for (unsigned i = 0; i < 30; i++) {
            if (bitnet_job_should_stop()) return BITNET_ERROR_CANCELLED;
            sched_yield();
        }
        break;
    case GUARDS: use_guarded(round); break;
    case CANCELS: cancel_one(round, (unsigned)(record - round->records)); break;
    case NESTS: nest(record); break;
    case EXITS:
        record->returned = BITNET_ERROR_INTERNAL;
        atomic_fetch_add(&round->n_failed, 1);
        pthread_exit(NULL);
    case MEETS:
        latch_meet(&round->meeting);
        leave_meeting(round);
        break;
    }
    return BITNET_OK;
}

static inline bitnet_status run_job(void *arg)
{
    struct record *record = arg;
    struct round *round = record->round;
    atomic_fetch_add(&record->n_ran, 1);
    record->returned = act_as_job(record);
    atomic_fetch_add(record->returned == BITNET_OK                ? &round->n_completed
                     : record->returned == BITNET_ERROR_CANCELLED ? &round->n_stopped
                                                                  : &round->n_failed,
                     1);
    return record->returned;
}

/* Whether a job that has ended may have ended with this status. */
static inline bool is_its_status(const struct record *record, bitnet_status status)
{
    if (atomic_load(&record->n_ran) == 1) return status == record->returned;
    return status == BITNET_ERROR_CANCELLED || status == BITNET_ERROR_TIMED_OUT;
}

static inline void count_event(struct round *round, const bitnet_event *event)
{
    if (event->kind == BITNET_EVENT_POSTED) {
        atomic_fetch_add(&round->n_collected, 1);
        return;
    }
    struct record *record = &round->records[event->tag];
    expect(round, event->kind == BITNET_EVENT_JOB_ENDED, "an event of a strange kind");
    expect(round, atomic_fetch_add(&record->n_events, 1) == 0, "an event came twice");
    expect(round, is_its_status(record, event->status),
           "an event tells of another end than the job's");
}

static inline void collect_events(struct round *round)
{
    bitnet_event event;
    while (bitnet_event_queue_next(round->events, &event)) count_event(round, &event);
}

/* Whether a submission may have been refused like that. */
static inline bool is_good_refusal(struct round *round,
                                   const bitnet_submit_options *options,
                                   bitnet_status status)
{
    switch (status) {
    case BITNET_ERROR_SHUT_DOWN: return atomic_load(&round->is_closing);
    case BITNET_ERROR_QUEUE_FULL:
        return options->when_full == BITNET_SUBMIT_REFUSE || options->events != NULL;
    case BITNET_ERROR_TIMED_OUT:
        return options->when_full == BITNET_SUBMIT_WAIT &&
               options->room_deadline_ns != BITNET_NO_DEADLINE;
    default: return false;
    }
}

static inline bool submit_record(struct round *round, struct record *record,
                                 bitnet_submit_options *options, bitnet_job **job)
{
    options->drop = drop_job;
    options->event_tag = (uint64_t)(record - round->records);
    record->has_event = options->events != NULL;
    const bitnet_status status =
        bitnet_thread_pool_submit_with(round->pool, run_job, record, options, job);
    record->is_accepted = status == BITNET_OK;
    expect(round, record->is_accepted || is_good_refusal(round, options, status),
           "a submission was refused");
    return record->is_accepted;
}

static inline void check_handle(struct round *round, const struct shelf *shelf)
{
    expect(round, is_its_status(shelf->record, bitnet_job_get_status(shelf->job)),
           "a handle tells of another end than the job's");
}

static inline void look(struct round *round)
{
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    bitnet_thread_pool_get_stats(round->pool, &stats);
    expect(round, accounting_holds(&stats), "accepted != queued + running + ended");
}

/* After the end: the books. */
static inline void check_books(struct round *round,
                               const bitnet_thread_pool_stats *stats)
{
    unsigned n_accepted = 0;
    unsigned n_dropped = 0;
    const unsigned n_records = atomic_load(&round->n_records);
    for (unsigned i = 0; i < n_records; i++) {
        const struct record *record = &round->records[i];
        const unsigned n_ends =
            atomic_load(&record->n_ran) + atomic_load(&record->n_dropped);
        expect(round, n_ends == record->is_accepted,
               "a job did not end exactly once, or a refused one did");
        expect(round,
               atomic_load(&record->n_events) ==
                   (record->is_accepted && record->has_event),
               "a job that ended has not one event");
        n_accepted += record->is_accepted;
        n_dropped += atomic_load(&record->n_dropped);
    }
    const unsigned n_stopped = atomic_load(&round->n_stopped);
    const unsigned n_cancelled = atomic_load(&round->n_cancelled);
    expect(round, accounting_holds(stats) && stats->n_active == 0, "something is left");
    expect(round, stats->n_submitted == n_accepted, "n_submitted is wrong");
    expect(round, stats->n_completed == atomic_load(&round->n_completed),
           "n_completed is wrong");
    expect(round, stats->n_failed == atomic_load(&round->n_failed),
           "n_failed is wrong");
    expect(round, stats->n_cancelled == n_stopped + n_cancelled,
           "n_cancelled is wrong");
    expect(round, stats->n_dropped + stats->n_expired == n_dropped - n_cancelled,
           "n_dropped or n_expired is wrong");
    expect(round, atomic_load(&round->n_posted) == atomic_load(&round->n_collected),
           "an event of ours was lost");
}

#endif
