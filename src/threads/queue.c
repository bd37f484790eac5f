/* SPDX-License-Identifier: MIT */
/*
 * queue.c - see queue.h.
 *
 *     first -> [oldest] <-> [ ... ] <-> [newest] <- last      free -> [ ] -> [ ]
 */
#include "threads/queue.h"

#include <assert.h>

#include "base/alloc.h"

bitnet_status bni_queue_init(struct bni_queue *queue, size_t capacity)
{
    *queue = (struct bni_queue){.capacity = capacity};
    queue->slots = bni_calloc(capacity, sizeof(*queue->slots));
    if (queue->slots == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    for (size_t i = capacity; i > 0; i--) {
        queue->slots[i - 1].next = queue->free_slots;
        queue->free_slots = &queue->slots[i - 1];
    }
    return BITNET_OK;
}

void bni_queue_free(struct bni_queue *queue)
{
    bni_free(queue->slots);
    *queue = (struct bni_queue){0};
}

bool bni_queue_is_full(const struct bni_queue *queue)
{
    return queue->n_queued == queue->capacity;
}

/* Puts a copy of the task in between; NULL is beyond either end. */
static struct bni_slot *insert(struct bni_queue *queue, const struct bni_task *task,
                               struct bni_slot *previous, struct bni_slot *next)
{
    assert(!bni_queue_is_full(queue));
    struct bni_slot *slot = queue->free_slots;
    queue->free_slots = slot->next;
    *slot = (struct bni_slot){*task, previous, next};
    if (previous == NULL) {
        queue->first = slot;
    } else {
        previous->next = slot;
    }
    if (next == NULL) {
        queue->last = slot;
    } else {
        next->previous = slot;
    }
    queue->n_queued++;
    return slot;
}

struct bni_slot *bni_queue_push(struct bni_queue *queue, const struct bni_task *task)
{
    return insert(queue, task, queue->last, NULL);
}

void bni_queue_push_by_sequence(struct bni_queue *queue, const struct bni_task *task)
{
    struct bni_slot *previous = NULL;
    struct bni_slot *next = queue->first;
    while (next != NULL && next->task.sequence < task->sequence) {
        previous = next;
        next = next->next;
    }
    insert(queue, task, previous, next);
}

void bni_queue_take(struct bni_queue *queue, struct bni_slot *slot,
                    struct bni_task *task)
{
    *task = slot->task;
    if (slot->previous == NULL) {
        queue->first = slot->next;
    } else {
        slot->previous->next = slot->next;
    }
    if (slot->next == NULL) {
        queue->last = slot->previous;
    } else {
        slot->next->previous = slot->previous;
    }
    slot->next = queue->free_slots;
    queue->free_slots = slot;
    queue->n_queued--;
}

bool bni_queue_pop(struct bni_queue *queue, struct bni_task *task)
{
    if (queue->first == NULL) return false;
    bni_queue_take(queue, queue->first, task);
    return true;
}
