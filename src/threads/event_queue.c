/* SPDX-License-Identifier: MIT */
/*
 * event_queue.c - a bounded queue of events with a descriptor to poll.
 *
 *     free --> [ ] --> [ ]        first -> [oldest] <-> [ ... ] <-> [newest] <- last
 *
 * All places exist beforehand. One is free, or reserved by somebody who will post, or
 * waiting: linked into the queue with an event to collect. A place that posted an
 * event which is not its last is reserved and waiting at once, and posting to it again
 * writes over the event where it stands. So there are never more events than places,
 * and posting finds its room already there.
 *
 * The descriptor is raised when the first event comes and lowered when the last is
 * collected, both under the lock, so it is readable exactly while an event waits. These
 * are two system calls that cannot block. Several events in a row cost one.
 *
 * The lock is a leaf: nothing else is taken under it, and posting is allowed with the
 * lock of a pool, an engine or a request held.
 *
 * References keep the struct alive after destroy: the owner has one, each reserved
 * place, and each thread asleep here. What they post after destroy goes nowhere.
 *
 * A forked child shares the descriptor with its parent, and the lock may be left held
 * there. So a child takes neither: calls are refused, posting does nothing, and destroy
 * closes the child's descriptor and frees what nobody else can refer to.
 */
#include "threads/event_queue.h"

#include <inttypes.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/error.h"
#include "threads/compute.h"
#include "threads/fork.h"
#include "threads/sync.h"

struct bni_event_place {
    bitnet_event_queue *queue; /* fixed */

    /* Guarded by the queue's lock. */
    bitnet_event event;
    bool is_waiting;
    bool is_last; /* free once collected */
    struct bni_event_place *previous;
    struct bni_event_place *next; /* also of the free list */
};

_Static_assert(sizeof(struct bni_event_place) <= 64, "the header says so");

struct bitnet_event_queue {
    /* Fixed after creation. */
    uint32_t n_places;
    unsigned generation;    /* see threads/fork.h */
    struct bni_event_fd fd; /* closed by destroy, and not used from then on */
    struct bni_event_place *places;

    struct bni_mutex lock;
    struct bni_cond posted;

    /* Guarded by the lock, all to the end. */
    size_t n_refs;
    size_t n_asleep;
    bool is_destroyed;
    struct bni_event_place *free_places;
    struct bni_event_place *first;
    struct bni_event_place *last;
};

/* ---- creation and destruction ------------------------------------------------------- */

bitnet_status bni_event_queue_create(uint32_t n_places, enum bni_event_fd_kind kind,
                                     bitnet_event_queue **out)
{
    bitnet_event_queue *queue = NULL;
    bitnet_status status = bni_fork_watch();
    if (status != BITNET_OK) goto fail;
    status = BITNET_ERROR_OUT_OF_MEMORY;
    queue = bni_calloc(1, sizeof(*queue));
    if (queue == NULL) goto fail;
    queue->places = bni_calloc(n_places, sizeof(*queue->places));
    if (queue->places == NULL) goto fail_queue;
    status = bni_mutex_init(&queue->lock);
    if (status != BITNET_OK) goto fail_places;
    status = bni_cond_init(&queue->posted);
    if (status != BITNET_OK) goto fail_lock;
    status = bni_event_fd_open(&queue->fd, kind);
    if (status != BITNET_OK) goto fail_posted;

    queue->n_places = n_places;
    queue->generation = bni_fork_generation();
    queue->n_refs = 1;
    for (uint32_t i = n_places; i > 0; i--) {
        struct bni_event_place *place = &queue->places[i - 1];
        *place = (struct bni_event_place){.queue = queue, .next = queue->free_places};
        queue->free_places = place;
    }
    *out = queue;
    return BITNET_OK;

fail_posted:
    bni_cond_destroy(&queue->posted);
fail_lock:
    bni_mutex_destroy(&queue->lock);
fail_places:
    bni_free(queue->places);
fail_queue:
    bni_free(queue);
fail:
    bni_error_prefix("cannot create an event queue of %" PRIu32 " places", n_places);
    return status;
}

bitnet_status bitnet_event_queue_create(uint32_t n_places, bitnet_event_queue **out)
{
    if (out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot create an event queue: nowhere to put it, `out` is "
                         "NULL");
    if (n_places < 1 || n_places > BITNET_MAX_EVENT_QUEUE)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot create an event queue: n_places is %" PRIu32
                         "; it must be from 1 to %d",
                         n_places, BITNET_MAX_EVENT_QUEUE);
    return bni_event_queue_create(n_places, BNI_EVENT_FD_NATIVE, out);
}

/* Gives back a reference, which frees the queue if it was the last, and the lock. */
static void leave(bitnet_event_queue *queue) BNI_RELEASE(queue->lock)
{
    const bool is_last = --queue->n_refs == 0;
    bni_mutex_unlock(&queue->lock);
    if (!is_last) return;
    bni_cond_destroy(&queue->posted);
    bni_mutex_destroy(&queue->lock);
    bni_free(queue->places);
    bni_free(queue);
}

/* The lock, if it is held at all, is held by a thread that does not exist here. */
static void destroy_in_child(bitnet_event_queue *queue)
{
    bni_event_fd_close(&queue->fd);
    if (queue->n_refs > 1) return; /* jobs and requests of the parent point to it */
    bni_free(queue->places);
    bni_free(queue);
}

void bitnet_event_queue_destroy(bitnet_event_queue *queue)
{
    if (queue == NULL) return;
    if (bni_fork_is_older(queue->generation)) {
        destroy_in_child(queue);
        return;
    }
    bni_mutex_lock(&queue->lock);
    queue->is_destroyed = true;
    bni_event_fd_close(&queue->fd);
    bni_cond_broadcast(&queue->posted);
    leave(queue);
}

/* ---- places -------------------------------------------------------------------------- */

static void append(bitnet_event_queue *queue, struct bni_event_place *place)
    BNI_REQUIRES(queue->lock)
{
    place->is_waiting = true;
    place->previous = queue->last;
    place->next = NULL;
    if (queue->last == NULL) {
        queue->first = place;
        bni_event_fd_raise(&queue->fd);
    } else {
        queue->last->next = place;
    }
    queue->last = place;
    if (queue->n_asleep > 0) bni_cond_signal(&queue->posted);
}

static void take_out(bitnet_event_queue *queue, struct bni_event_place *place)
    BNI_REQUIRES(queue->lock)
{
    place->is_waiting = false;
    if (place->previous == NULL) {
        queue->first = place->next;
    } else {
        place->previous->next = place->next;
    }
    if (place->next == NULL) {
        queue->last = place->previous;
    } else {
        place->next->previous = place->previous;
    }
    if (queue->first == NULL) bni_event_fd_lower(&queue->fd);
}

static void make_free(bitnet_event_queue *queue, struct bni_event_place *place)
    BNI_REQUIRES(queue->lock)
{
    place->next = queue->free_places;
    queue->free_places = place;
}

/* Takes a free place for an event with `tag`; NULL, with the error, if there is none. */
static struct bni_event_place *take_free(bitnet_event_queue *queue, uint64_t tag)
    BNI_REQUIRES(queue->lock)
{
    struct bni_event_place *place = queue->free_places;
    if (place == NULL) {
        bni_error(BITNET_ERROR_QUEUE_FULL,
                  "the event queue has %" PRIu32
                  " places, and all are taken by what is "
                  "under way or not collected yet; collect events, then try again",
                  queue->n_places);
        return NULL;
    }
    queue->free_places = place->next;
    place->event.tag = tag;
    return place;
}

static void put_event(bitnet_event_queue *queue, struct bni_event_place *place,
                      bitnet_event_kind kind, bitnet_status status, bool is_last)
    BNI_REQUIRES(queue->lock)
{
    place->event.kind = kind;
    place->event.status = status;
    place->is_last = is_last;
    if (!place->is_waiting) append(queue, place);
}

bitnet_status bni_event_reserve(bitnet_event_queue *queue, uint64_t tag,
                                struct bni_event_place **out)
{
    *out = NULL;
    if (queue == NULL) return BITNET_OK;
    const bitnet_status status =
        bni_fork_check(queue->generation, "reserving a place in an event queue");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&queue->lock);
    *out = take_free(queue, tag);
    if (*out != NULL) queue->n_refs++;
    bni_mutex_unlock(&queue->lock);
    return *out != NULL ? BITNET_OK : bitnet_last_status();
}

void bni_event_post(struct bni_event_place *place, bitnet_event_kind kind,
                    bitnet_status status, bool is_last)
{
    if (place == NULL || bni_fork_is_older(place->queue->generation)) return;
    bitnet_event_queue *queue = place->queue;
    bni_mutex_lock(&queue->lock);
    if (!queue->is_destroyed) put_event(queue, place, kind, status, is_last);
    if (is_last) {
        leave(queue);
    } else {
        bni_mutex_unlock(&queue->lock);
    }
}

void bni_event_give_back(struct bni_event_place *place)
{
    if (place == NULL || bni_fork_is_older(place->queue->generation)) return;
    bitnet_event_queue *queue = place->queue;
    bni_mutex_lock(&queue->lock);
    if (!queue->is_destroyed) {
        if (place->is_waiting) take_out(queue, place);
        make_free(queue, place);
    }
    leave(queue);
}

/* ---- the user's side ------------------------------------------------------------------ */

int bitnet_event_queue_fd(const bitnet_event_queue *queue)
{
    return queue == NULL ? -1 : queue->fd.read_end;
}

static bool collect(bitnet_event_queue *queue, bitnet_event *event)
    BNI_REQUIRES(queue->lock)
{
    struct bni_event_place *place = queue->first;
    if (place == NULL) return false;
    take_out(queue, place);
    *event = place->event;
    if (place->is_last) make_free(queue, place);
    return true;
}

bool bitnet_event_queue_next(bitnet_event_queue *queue, bitnet_event *event)
{
    if (queue == NULL || event == NULL) return false;
    if (bni_fork_is_older(queue->generation)) return false;
    bni_mutex_lock(&queue->lock);
    const bool has_event = collect(queue, event);
    bni_mutex_unlock(&queue->lock);
    return has_event;
}

static bitnet_status wait_for_event(bitnet_event_queue *queue, uint64_t deadline_ns,
                                    bitnet_event *event) BNI_REQUIRES(queue->lock)
{
    for (;;) {
        if (queue->is_destroyed)
            return bni_error(BITNET_ERROR_SHUT_DOWN,
                             "waiting for an event: the event queue was destroyed");
        if (collect(queue, event)) return BITNET_OK;
        if (deadline_ns != BITNET_NO_DEADLINE && bitnet_clock_ns() >= deadline_ns)
            return bni_error(BITNET_ERROR_TIMED_OUT,
                             "waiting for an event: none came before the deadline");
        queue->n_asleep++;
        bni_cond_wait_until(&queue->posted, &queue->lock, deadline_ns);
        queue->n_asleep--;
    }
}

bitnet_status bitnet_event_queue_next_until(bitnet_event_queue *queue,
                                            uint64_t deadline_ns, bitnet_event *event)
{
    if (queue == NULL || event == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "waiting for an event: %s is NULL",
                         queue == NULL ? "the event queue" : "`event`");
    bitnet_status status =
        bni_context_check_wait(queue->generation, "waiting for an event");
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&queue->lock);
    queue->n_refs++;
    status = wait_for_event(queue, deadline_ns, event);
    leave(queue);
    return status;
}

bitnet_status bitnet_event_queue_post(bitnet_event_queue *queue, bitnet_status status,
                                      uint64_t tag)
{
    if (queue == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot post an event: the event queue is NULL");
    const bitnet_status checked = bni_fork_check(queue->generation, "posting an event");
    if (checked != BITNET_OK) return checked;
    bni_mutex_lock(&queue->lock);
    struct bni_event_place *place = take_free(queue, tag);
    if (place != NULL) put_event(queue, place, BITNET_EVENT_POSTED, status, true);
    bni_mutex_unlock(&queue->lock);
    return place != NULL ? BITNET_OK : bitnet_last_status();
}

size_t bni_event_queue_n_asleep(bitnet_event_queue *queue)
{
    bni_mutex_lock(&queue->lock);
    const size_t n_asleep = queue->n_asleep;
    bni_mutex_unlock(&queue->lock);
    return n_asleep;
}
