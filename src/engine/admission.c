/* SPDX-License-Identifier: MIT */
/*
 * admission.c - the way into the queue.
 *
 * There is room while fewer than max_requests are admitted and the prompts that
 * wait stay under max_prompt_tokens; a prompt larger than that bound is let in
 * when nothing else waits, so that whatever fits the context can be served. Who
 * finds no room stands in line: a node on its own stack, served in order. Waiting
 * is safe inside callbacks too, since an admitted request ends by itself, whether
 * or not anybody reads it.
 */
#include "engine/engine.h"

#include <inttypes.h>

#include "base/error.h"

void bni_list_append(struct bni_request_list *list, bitnet_request *request)
{
    request->next = NULL;
    request->previous = list->last;
    if (list->last != NULL)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

void bni_list_remove(struct bni_request_list *list, bitnet_request *request)
{
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        list->first = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    else
        list->last = request->previous;
}

static uint32_t n_admitted_now(const bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    return engine->stats.n_running + engine->stats.n_waiting;
}

static bool has_request_room(const bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    return n_admitted_now(engine) < engine->max_requests;
}

static bool has_token_room(const bitnet_engine *engine, uint32_t n_prompt)
    BNI_REQUIRES(engine->lock)
{
    return engine->queue.first == NULL ||
           engine->queued_prompt_tokens + n_prompt <= engine->max_prompt_tokens;
}

static bool may_enter(const bitnet_engine *engine, const struct bni_waiter *waiter,
                      uint32_t n_prompt) BNI_REQUIRES(engine->lock)
{
    return engine->first_waiter == waiter && has_request_room(engine) &&
           has_token_room(engine, n_prompt);
}

static bitnet_status refuse(const bitnet_engine *engine, uint32_t n_prompt)
    BNI_REQUIRES(engine->lock)
{
    if (!has_request_room(engine))
        return bni_error(BITNET_ERROR_QUEUE_FULL,
                         "generate: the engine has %" PRIu32 " requests, its limit "
                         "(max_requests); try again when one has ended",
                         n_admitted_now(engine));
    if (!has_token_room(engine, n_prompt))
        return bni_error(BITNET_ERROR_QUEUE_FULL,
                         "generate: %" PRIu64 " prompt tokens wait and this prompt has "
                         "%" PRIu32 "; the limit (max_prompt_tokens) is %" PRIu64,
                         engine->queued_prompt_tokens, n_prompt,
                         engine->max_prompt_tokens);
    return bni_error(BITNET_ERROR_QUEUE_FULL,
                     "generate: other callers are already waiting for room");
}

static void join_line(bitnet_engine *engine, struct bni_waiter *waiter)
    BNI_REQUIRES(engine->lock)
{
    struct bni_waiter **end = &engine->first_waiter;
    while (*end != NULL) end = &(*end)->next;
    *end = waiter;
    engine->stats.n_blocked++;
}

static void leave_line(bitnet_engine *engine, struct bni_waiter *waiter)
    BNI_REQUIRES(engine->lock)
{
    struct bni_waiter **link = &engine->first_waiter;
    while (*link != waiter) link = &(*link)->next;
    *link = waiter->next;
    engine->stats.n_blocked--;
    bni_admission_changed(engine); /* who is first now may find room */
}

/* Waits in line until there is room for the first, which then is `waiter`. */
static bitnet_status wait_for_room(bitnet_engine *engine, struct bni_waiter *waiter,
                                   const bitnet_request *request,
                                   bitnet_when_full when_full)
    BNI_REQUIRES(engine->lock)
{
    for (;;) {
        if (engine->is_stopping)
            return bni_error(BITNET_ERROR_SHUT_DOWN,
                             "generate: the engine is being destroyed");
        if (waiter->is_cancelled)
            return bni_error(BITNET_ERROR_CANCELLED,
                             "generate: cancelled while waiting for room in the queue");
        if (may_enter(engine, waiter, request->n_prompt)) return BITNET_OK;
        if (when_full == BITNET_WHEN_FULL_REFUSE)
            return refuse(engine, request->n_prompt);
        if (bitnet_clock_ns() >= request->deadline_ns)
            return bni_error(
                BITNET_ERROR_TIMED_OUT,
                "generate: the deadline passed while waiting for room; the "
                "engine has %" PRIu32 " of %" PRIu32 " requests",
                n_admitted_now(engine), engine->max_requests);
        bni_cond_wait_until(&engine->has_room, &engine->lock, request->deadline_ns);
    }
}

bitnet_status bni_admit(bitnet_engine *engine, bitnet_request *request,
                        bitnet_when_full when_full)
{
    struct bni_waiter waiter = {0};
    bni_mutex_lock(&engine->lock);
    join_line(engine, &waiter);
    const bitnet_status status = wait_for_room(engine, &waiter, request, when_full);
    if (status == BITNET_OK) {
        bni_request_retain(request); /* the scheduler's */
        bni_list_append(&engine->queue, request);
        engine->queued_prompt_tokens += request->n_prompt;
        engine->stats.n_waiting++;
        engine->stats.n_admitted++;
        bni_cond_signal(&engine->has_work);
    } else if (when_full == BITNET_WHEN_FULL_REFUSE) {
        engine->stats.n_refused++;
    }
    leave_line(engine, &waiter);
    bni_mutex_unlock(&engine->lock);
    return status;
}

void bni_admission_changed(bitnet_engine *engine)
{
    if (engine->first_waiter != NULL) bni_cond_broadcast(&engine->has_room);
}
