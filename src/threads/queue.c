/* SPDX-License-Identifier: MIT */
/*
 * queue.c - see queue.h.
 *
 *     first -> [oldest] <-> [ ... ] <-> [newest] <- last
 *
 *     first_free -> [ ] -> [ ... ] -> [freed last] <- last_free
 */
#include "threads/queue.h"

#include <assert.h>

#include "base/alloc.h"

_Static_assert(sizeof(struct bni_task) == BNI_ALIGNMENT || sizeof(void *) < 8,
               "a task is a cache line");

bitnet_status bni_queue_init(struct bni_queue *queue, uint32_t capacity)
{
    *queue = (struct bni_queue){.capacity = capacity,
                                .first = BNI_NO_SLOT,
                                .last = BNI_NO_SLOT,
                                .first_free = BNI_NO_SLOT,
                                .last_free = BNI_NO_SLOT};
    queue->tasks = bni_calloc(capacity, sizeof(*queue->tasks));
    queue->links = bni_calloc(capacity, sizeof(*queue->links));
    if (queue->tasks == NULL || queue->links == NULL) {
        bni_queue_free(queue);
        return BITNET_ERROR_OUT_OF_MEMORY;
    }
    for (uint32_t slot = 0; slot < capacity; slot++) bni_queue_release(queue, slot);
    return BITNET_OK;
}

void bni_queue_free(struct bni_queue *queue)
{
    bni_free(queue->tasks);
    bni_free(queue->links);
    *queue = (struct bni_queue){0};
}

bool bni_queue_is_full(const struct bni_queue *queue)
{
    return queue->n_queued == queue->capacity;
}

const struct bni_task *bni_queue_first(const struct bni_queue *queue)
{
    return queue->n_queued == 0 ? NULL : &queue->tasks[queue->first];
}

/* Puts the slot, which has its task, in between. */
static void link_in(struct bni_queue *queue, uint32_t slot, uint32_t previous,
                    uint32_t next)
{
    queue->links[slot] = (struct bni_link){previous, next};
    if (previous == BNI_NO_SLOT)
        queue->first = slot;
    else
        queue->links[previous].next = slot;
    if (next == BNI_NO_SLOT)
        queue->last = slot;
    else
        queue->links[next].previous = slot;
    queue->n_queued++;
}

static void link_out(struct bni_queue *queue, uint32_t slot)
{
    const struct bni_link link = queue->links[slot];
    if (link.previous == BNI_NO_SLOT)
        queue->first = link.next;
    else
        queue->links[link.previous].next = link.next;
    if (link.next == BNI_NO_SLOT)
        queue->last = link.previous;
    else
        queue->links[link.next].previous = link.previous;
    queue->n_queued--;
}

uint32_t bni_queue_push(struct bni_queue *queue, const struct bni_task *task)
{
    const uint32_t slot = queue->first_free;
    assert(slot != BNI_NO_SLOT);
    queue->first_free = queue->links[slot].next;
    if (queue->first_free == BNI_NO_SLOT)
        queue->last_free = BNI_NO_SLOT;
    else /* most likely the same thread will write there next */
        __builtin_prefetch(&queue->tasks[queue->first_free], 1);
    queue->tasks[slot] = *task;
    if (!bni_task_is_plain(task)) queue->n_not_plain++;
    link_in(queue, slot, queue->last, BNI_NO_SLOT);
    return slot;
}

void bni_queue_take(struct bni_queue *queue, uint32_t slot, struct bni_task *task)
{
    *task = queue->tasks[slot];
    if (!bni_task_is_plain(task)) queue->n_not_plain--;
    link_out(queue, slot);
    bni_queue_release(queue, slot);
}

bool bni_queue_pop(struct bni_queue *queue, struct bni_task *task)
{
    if (queue->n_queued == 0) return false;
    bni_queue_take(queue, queue->first, task);
    return true;
}

uint32_t bni_queue_lend(struct bni_queue *queue, uint32_t *slots, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && queue->n_queued > 0) {
        const uint32_t slot = queue->first;
        /* Without others in the queue the tasks need not be looked at. */
        if (queue->n_not_plain > 0 && !bni_task_is_plain(&queue->tasks[slot])) break;
        link_out(queue, slot);
        slots[n++] = slot;
    }
    return n;
}

void bni_queue_put_back(struct bni_queue *queue, uint32_t slot)
{
    const uint64_t sequence = queue->tasks[slot].sequence;
    uint32_t previous = BNI_NO_SLOT;
    uint32_t next = queue->first;
    while (next != BNI_NO_SLOT && queue->tasks[next].sequence < sequence) {
        previous = next;
        next = queue->links[next].next;
    }
    link_in(queue, slot, previous, next);
}

void bni_queue_release(struct bni_queue *queue, uint32_t slot)
{
    queue->links[slot].next = BNI_NO_SLOT;
    if (queue->last_free == BNI_NO_SLOT)
        queue->first_free = slot;
    else
        queue->links[queue->last_free].next = slot;
    queue->last_free = slot;
}
