/* SPDX-License-Identifier: MIT */
/*
 * delivery.h - a request's pieces of text as jobs on the caller's thread pool.
 *
 *     scheduler ── token ──► request ── asks ──► standing job (threads/standing.h)
 *                                                  │ on a worker of the pool:
 *                                                  ├─ on_text, a few pieces each run
 *                                                  └─ on_end, once, last
 *
 * The delivery is the request's one consumer, from before it is admitted until on_end
 * is called. The scheduler only asks for a run, which neither waits nor fails, so a
 * consumer that is slow, stuck, or has filled its pool delays its own text alone.
 *
 * If the pool stops first, the request is cancelled and on_end called by whoever
 * stopped it; so it is called exactly once for each request that was accepted.
 */
#ifndef BNI_ENGINE_DELIVERY_H
#define BNI_ENGINE_DELIVERY_H

#include <bitnet/engine.h>

#include "threads/standing.h"
#include "threads/sync.h"

struct bni_delivery {
    struct bni_standing *standing; /* fixed once admitted; NULL: the caller consumes */
    bitnet_end_fn on_end;          /* or NULL */
    bool is_open; /* guarded by the request's lock: runs may be asked for */
    bool is_told; /* the consumer's: on_end has been called */
};

/* Checks the options' part in this; INVALID_ARGUMENT, SHUT_DOWN or THREAD_SAFETY. */
bitnet_status bni_delivery_init(bitnet_request *request,
                                const bitnet_generate_options *options);

/* For a delivery that never began, or is over. */
void bni_delivery_free(struct bni_delivery *delivery);

/* Begins to deliver an admitted request; does nothing for one without a delivery. */
void bni_delivery_begin(bitnet_request *request);

/* Scheduler: there is something new. The request's lock is held. */
static inline void bni_delivery_ask(const struct bni_delivery *delivery)
{
    if (delivery->is_open) bni_standing_ask(delivery->standing);
}

#endif
