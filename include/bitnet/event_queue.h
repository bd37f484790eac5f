/* SPDX-License-Identifier: MIT */
/*
 * bitnet/event_queue.h - jobs and requests for programs that live in an event loop.
 *
 *   bitnet_event_queue  what has happened and was not looked at yet, with a file
 *                       descriptor that is readable meanwhile: for poll, epoll,
 *                       libuv, GLib, asyncio
 *
 * A job or request that is given an event queue takes one of its places until its
 * last event has been collected. So the queue is bounded, nothing in it is ever lost,
 * and posting to it never waits. A job or request that was accepted has exactly one
 * last event, and one that was refused has none: what the tag points to can be freed
 * there.
 *
 *     struct pollfd p = {bitnet_event_queue_fd(queue), POLLIN, 0};
 *     poll(&p, 1, -1);
 *     bitnet_event event;
 *     while (bitnet_event_queue_next(queue, &event)) handle(&event);
 *
 * Functions that can fail return bitnet_status; bitnet_last_error() has the sentence.
 */
#ifndef BITNET_EVENT_QUEUE_H
#define BITNET_EVENT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/export.h>
#include <bitnet/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_event_queue bitnet_event_queue;

enum { BITNET_MAX_EVENT_QUEUE = 1048576 };

typedef enum bitnet_event_kind {
    BITNET_EVENT_JOB_ENDED = 1,     /* ran, or never will; `status` is its result */
    BITNET_EVENT_REQUEST_READY = 2, /* bitnet_request_next() has something. Not repeated
                                       until this one was collected: then take all, with
                                       a deadline of 0 until it is TIMED_OUT; what came
                                       meanwhile may have been taken with it */
    BITNET_EVENT_REQUEST_ENDED = 3, /* the request's last event, in place of a READY not
                                       collected yet; `status` is its result, and tokens
                                       may be left to take */
    BITNET_EVENT_POSTED = 4         /* by bitnet_event_queue_post() */
} bitnet_event_kind;

typedef struct bitnet_event {
    bitnet_event_kind kind;
    bitnet_status status;
    uint64_t tag; /* whatever was given with the job or request: a number, a pointer */
} bitnet_event;

/*
 * Creates a queue of `n_places`, from 1 to BITNET_MAX_EVENT_QUEUE: as many jobs and
 * requests can be under way with it at once. It holds less than 1 KiB, and 64 bytes
 * for each place, and never allocates again.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  `out` is NULL, or n_places out of range
 *   BITNET_ERROR_OUT_OF_MEMORY
 *   BITNET_ERROR_INTERNAL          the system refused a file descriptor
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_event_queue_create(uint32_t n_places,
                                                   bitnet_event_queue **out);

/*
 * Gives up the queue and closes its descriptor. What is in it is forgotten, and jobs
 * and requests that are still under way go on without it. Waiting threads come back
 * with BITNET_ERROR_SHUT_DOWN. NULL does nothing. A process forked from the queue's
 * destroys its own copy, which leaves the other's as it is.
 *
 * Thread safety: one thread, once, after every other call on the queue has returned,
 * but for those asleep in bitnet_event_queue_next_until().
 */
BITNET_API void bitnet_event_queue_destroy(bitnet_event_queue *queue);

/*
 * Returns the descriptor, which is readable exactly while an event waits to be
 * collected. It is the queue's: poll it, and do not read, write or close it. -1 for
 * NULL.
 *
 * Thread safety: any thread.
 */
BITNET_API int bitnet_event_queue_fd(const bitnet_event_queue *queue);

/*
 * Collects the oldest event; false if there is none, for a NULL, and in a process
 * forked from the queue's.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bool bitnet_event_queue_next(bitnet_event_queue *queue, bitnet_event *event);

/*
 * Collects the oldest event, waiting for one until `deadline_ns`.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_TIMED_OUT         none came
 *   BITNET_ERROR_SHUT_DOWN         the queue is being destroyed
 *   BITNET_ERROR_INVALID_ARGUMENT  a NULL
 *   BITNET_ERROR_THREAD_SAFETY     this is a compute or scheduler thread, or a process
 *                                  forked from the queue's
 *
 * Thread safety: any thread. Blocks. Inside a job, mind that a worker which sleeps
 * here runs nothing: the library cannot know which jobs the event is to come from.
 */
BITNET_API bitnet_status bitnet_event_queue_next_until(bitnet_event_queue *queue,
                                                       uint64_t deadline_ns,
                                                       bitnet_event *event);

/*
 * Posts an event of your own, BITNET_EVENT_POSTED with `status` and `tag`: wakes the
 * loop from another thread. It takes a place until it is collected.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_QUEUE_FULL        all places are taken
 *   BITNET_ERROR_INVALID_ARGUMENT  `queue` is NULL
 *   BITNET_ERROR_THREAD_SAFETY     in a process forked from the queue's
 *
 * Thread safety: any thread, a compute or scheduler thread included. Does not block.
 */
BITNET_API bitnet_status bitnet_event_queue_post(bitnet_event_queue *queue,
                                                 bitnet_status status, uint64_t tag);

#ifdef __cplusplus
}
#endif

#endif
