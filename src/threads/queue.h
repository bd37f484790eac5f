/* SPDX-License-Identifier: MIT */
/*
 * queue.h - a bounded first-in, first-out queue whose slots exist beforehand.
 *
 * Slots are linked, not a ring, so that one can be taken out of the middle in
 * constant time: a cancelled job frees its place at once. Nothing is allocated
 * between init and free. The owner's lock guards all of it.
 *
 * The threads that push and those that pop are on different cores, so what costs time
 * is the cache lines that have to travel, one after the other while the lock is held.
 * A task is one line; the links are an array of their own, small enough for eight
 * slots a line; and slots are used in turn, so that the lines needed next lie side by
 * side and are there by the time they are needed.
 *
 * A slot may also be lent: it is neither queued nor free then, and who has it may read
 * its task without the lock (pool_hand.c).
 */
#ifndef BNI_THREADS_QUEUE_H
#define BNI_THREADS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

struct bni_event_place;

/* A job on its way: what to call, and in which order it was accepted. One cache line. */
struct bni_task {
    bitnet_job_fn fn;
    bitnet_job_drop_fn drop; /* or NULL */
    void *arg;
    bitnet_job *job;               /* the queue's reference to the handle, or NULL */
    struct bni_event_place *event; /* to post its end to, or NULL */
    uint64_t sequence;
    uint64_t submitted_ticks;
    uint64_t start_deadline_ns;
};

/* Whether nobody but who runs it, or waits for all, will ask for this job. */
static inline bool bni_task_is_plain(const struct bni_task *task)
{
    return task->job == NULL && task->event == NULL &&
           task->start_deadline_ns == BITNET_NO_DEADLINE;
}

/* The neighbours of a queued slot; of a free one, `next` only. */
struct bni_link {
    uint32_t previous;
    uint32_t next;
};

/* A slot is a number, or this: beyond either end. */
#define BNI_NO_SLOT UINT32_MAX

/* What a slot takes. */
enum { BNI_SLOT_BYTES = sizeof(struct bni_task) + sizeof(struct bni_link) };

struct bni_queue {
    /* Fixed after init. */
    struct bni_task *tasks; /* `capacity` of them, as of links */
    struct bni_link *links;
    uint32_t capacity;

    uint32_t n_queued;
    uint32_t n_not_plain; /* of them */
    uint32_t first;       /* the oldest */
    uint32_t last;
    uint32_t first_free; /* the one that has been free for longest */
    uint32_t last_free;
};

bitnet_status bni_queue_init(struct bni_queue *queue, uint32_t capacity);
void bni_queue_free(struct bni_queue *queue);

bool bni_queue_is_full(const struct bni_queue *queue);

/* The oldest; NULL if the queue is empty. */
const struct bni_task *bni_queue_first(const struct bni_queue *queue);

/* Appends a copy of the task, for which there is a free slot, and returns its slot. */
uint32_t bni_queue_push(struct bni_queue *queue, const struct bni_task *task);

/* Takes the slot, which is queued, out of the queue and copies its task. */
void bni_queue_take(struct bni_queue *queue, uint32_t slot, struct bni_task *task);

/* Takes the oldest; false if the queue is empty. */
bool bni_queue_pop(struct bni_queue *queue, struct bni_task *task);

/* Lends up to `max` of the oldest, all of them plain, and returns how many. */
uint32_t bni_queue_lend(struct bni_queue *queue, uint32_t *slots, uint32_t max);

/* Ends a loan: the slot is queued again, in front of all that were accepted later; or
 * it is free, its task having been taken care of. The former walks over those before. */
void bni_queue_put_back(struct bni_queue *queue, uint32_t slot);
void bni_queue_release(struct bni_queue *queue, uint32_t slot);

#endif
