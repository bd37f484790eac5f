/* SPDX-License-Identifier: MIT */
/*
 * delivery.c - see delivery.h.
 */
#include "engine/delivery.h"

#include <inttypes.h>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/request.h"

/* Pieces before other jobs of the pool get their turn. */
enum { MAX_PIECES_PER_RUN = 16 };

/* ---- on the pool's threads ------------------------------------------------------------- */

static bool has_something(bitnet_request *request)
{
    if (request->is_stopped) return true;
    bni_mutex_lock(&request->lock);
    const bool has = bni_request_has_news(request);
    bni_mutex_unlock(&request->lock);
    return has;
}

/* Ends the delivery: the request may be waited for and read from now on. This thread's
 * error says how it ended. */
static void tell_end(bitnet_request *request, bitnet_status status)
{
    bni_mutex_lock(&request->lock);
    request->delivery.is_open = false;
    bni_mutex_unlock(&request->lock);
    request->delivery.is_told = true;
    bni_end_consuming(request);
    bni_call_on_end(request, request->delivery.on_end, status);
}

static enum bni_standing_next deliver(void *arg)
{
    bitnet_request *request = arg;
    /* Then on_end has ended its thread, and this is another one. */
    if (request->delivery.is_told) return BNI_STANDING_OVER;
    for (int i = 0; i < MAX_PIECES_PER_RUN; i++) {
        bitnet_status status;
        if (!has_something(request)) return BNI_STANDING_IDLE;
        if (bni_consume_one(request, &status)) continue;
        if (status == BITNET_OK) bitnet_clear_error();
        tell_end(request, status);
        return BNI_STANDING_OVER;
    }
    return BNI_STANDING_AGAIN;
}

static void drop(void *arg)
{
    bitnet_request *request = arg;
    if (request->delivery.is_told) return;
    bitnet_request_cancel(request);
    request->is_stopped = true; /* what was not delivered is not part of the result */
    tell_end(request,
             bni_error(BITNET_ERROR_CANCELLED,
                       "generate: the delivery pool was shut down, or lost its "
                       "threads, after %" PRIu32 " tokens",
                       request->n_taken));
}

static void close_delivery(void *arg)
{
    bni_request_unref(arg);
}

/* ---- on the calling thread -------------------------------------------------------------- */

bitnet_status bni_delivery_init(bitnet_request *request,
                                const bitnet_generate_options *options)
{
    static const struct bni_standing_calls calls = {deliver, drop, close_delivery};
    if (options->delivery_pool == NULL) {
        if (options->on_end == NULL) return BITNET_OK;
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: on_end is set and delivery_pool is not");
    }
    if (request->engine->is_stepped)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: delivery_pool is set, and the engine has no thread "
                         "of its own (is_stepped): a shutdown of the pool could wait "
                         "for a step that nobody takes");
    bitnet_status status = bni_standing_check(options->delivery_pool);
    if (status == BITNET_OK)
        status = bni_standing_create(options->delivery_pool, &calls, request,
                                     &request->delivery.standing);
    if (status != BITNET_OK) return bni_error_prefix("generate");
    request->delivery.on_end = options->on_end;
    bni_begin_consuming(request);
    return BITNET_OK;
}

void bni_delivery_free(struct bni_delivery *delivery)
{
    bni_standing_destroy(delivery->standing);
}

void bni_delivery_begin(bitnet_request *request)
{
    if (request->delivery.standing == NULL) return;
    bni_request_retain(request); /* the delivery's */
    bni_mutex_lock(&request->lock);
    const bitnet_status status = bni_standing_open(request->delivery.standing);
    request->delivery.is_open = status == BITNET_OK;
    if (status == BITNET_OK && bni_request_has_news(request))
        bni_delivery_ask(&request->delivery);
    bni_mutex_unlock(&request->lock);
    if (status == BITNET_OK) return;
    /* The pool was shut down since bni_delivery_init(). */
    drop(request);
    close_delivery(request);
}
