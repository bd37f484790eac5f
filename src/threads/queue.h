/* SPDX-License-Identifier: MIT */
/*
 * queue.h - a bounded first-in, first-out queue whose slots exist beforehand.
 *
 * Slots are linked, not a ring, so that one can be taken out of the middle in
 * constant time: a cancelled job frees its place at once. Nothing is allocated
 * between init and free. The owner's lock guards all of it.
 */
#ifndef BNI_THREADS_QUEUE_H
#define BNI_THREADS_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

struct bni_event_place;

/* A job on its way: what to call, and in which order it was accepted. */
struct bni_task {
    bitnet_job_fn fn;
    bitnet_job_drop_fn drop; /* or NULL */
    void *arg;
    bitnet_job *job;               /* the queue's reference to the handle, or NULL */
    struct bni_event_place *event; /* to post its end to, or NULL */
    uint64_t sequence;
    uint64_t submitted_ticks;
    uint64_t start_deadline_ns;
    bool is_run_here; /* inside of its own submit, and never queued */
};

struct bni_slot {
    struct bni_task task;
    struct bni_slot *previous;
    struct bni_slot *next;
};

struct bni_queue {
    struct bni_slot *slots; /* `capacity` of them */
    size_t capacity;
    size_t n_queued;
    struct bni_slot *first; /* the oldest */
    struct bni_slot *last;
    struct bni_slot *free_slots; /* linked by `next` */
};

bitnet_status bni_queue_init(struct bni_queue *queue, size_t capacity);
void bni_queue_free(struct bni_queue *queue);

bool bni_queue_is_full(const struct bni_queue *queue);

/* Appends a copy of the task to a queue that is not full, and returns its slot. */
struct bni_slot *bni_queue_push(struct bni_queue *queue, const struct bni_task *task);

/* As push, but in front of all that were accepted later. Walks over those before. */
void bni_queue_push_by_sequence(struct bni_queue *queue, const struct bni_task *task);

/* Takes the slot, which is queued, out of the queue and copies its task. */
void bni_queue_take(struct bni_queue *queue, struct bni_slot *slot,
                    struct bni_task *task);

/* Takes the oldest; false if the queue is empty. */
bool bni_queue_pop(struct bni_queue *queue, struct bni_task *task);

#endif
