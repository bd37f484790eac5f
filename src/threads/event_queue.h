/* SPDX-License-Identifier: MIT */
/*
 * event_queue.h - how jobs and requests get their events into an event queue.
 *
 *     reserve --> post, not last (any number) --> post, last   |  free again once the
 *          '----> give back, before the last post              |  last was collected
 *
 * Whoever is to post later reserves a place while it can still refuse. From then on
 * posting cannot fail: it writes into the place and puts it at the end of the queue,
 * if it is not waiting there already.
 *
 * The queue's lock is a leaf: all of these may be called with the lock of a pool, an
 * engine or a request held. The calls for one place do not overlap each other.
 */
#ifndef BNI_THREADS_EVENT_QUEUE_H
#define BNI_THREADS_EVENT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/event_queue.h>
#include <bitnet/status.h>

#include "threads/event_fd.h"

struct bni_event_place;

/* As bitnet_event_queue_create() for checked arguments, with that descriptor. */
bitnet_status bni_event_queue_create(uint32_t n_places, enum bni_event_fd_kind kind,
                                     bitnet_event_queue **out);

/*
 * Reserves a place whose events carry `tag`. Without a queue, `*out` is NULL.
 *
 * Returns BITNET_OK; QUEUE_FULL if all places are taken; THREAD_SAFETY in a process
 * forked from the queue's.
 */
bitnet_status bni_event_reserve(bitnet_event_queue *queue, uint64_t tag,
                                struct bni_event_place **out);

/*
 * Posts an event. While the place's last one has not been collected, this replaces it
 * where it stands. After `is_last` the place is the queue's. NULL does nothing.
 */
void bni_event_post(struct bni_event_place *place, bitnet_event_kind kind,
                    bitnet_status status, bool is_last);

/*
 * Gives the place back instead of a last event; what it had posted and nobody has
 * collected is taken out of the queue. NULL does nothing.
 */
void bni_event_give_back(struct bni_event_place *place);

/* How many threads are asleep in bitnet_event_queue_next_until(). */
size_t bni_event_queue_n_asleep(bitnet_event_queue *queue);

#endif
