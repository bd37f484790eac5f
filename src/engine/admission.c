/* SPDX-License-Identifier: MIT */
/*
 * admission.c - the way into the queue.
 *
 * There is room while fewer than max_requests are admitted and the prompts that
 * wait stay under max_prompt_tokens; a prompt larger than that bound is let in
 * when nothing else waits, so that whatever fits the context can be served. Who
 * finds no room stands in line, a node on its own stack. The line is served like
 * the queue behind it: by priority, then the client that has been served least,
 * then first come first served; and nobody overtakes whose turn it is, even where
 * only a shorter prompt would fit. Waiting is safe inside callbacks too, since an
 * admitted request ends by itself, whether or not anybody reads it.
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

bool bni_has_room(const bitnet_engine *engine)
{
    return engine->first_waiter == NULL && has_request_room(engine) &&
           has_token_room(engine, 1);
}

static bool may_enter(const bitnet_engine *engine, const struct bni_waiter *waiter)
    BNI_REQUIRES(engine->lock)
{
    return engine->next_waiter == waiter && has_request_room(engine) &&
           has_token_room(engine, waiter->request->n_prompt);
}

/* ---- the line ------------------------------------------------------------------------ */

static struct bni_waiter *find_next_waiter(const bitnet_engine *engine)
    BNI_REQUIRES(engine->lock)
{
    struct bni_waiter *best = NULL;
    uint64_t best_served = 0;
    for (struct bni_waiter *w = engine->first_waiter; w != NULL; w = w->next) {
        const uint64_t n_served = engine->clients.table[w->request->client].n_served;
        if (best != NULL && !bni_comes_before(w->request->priority, n_served,
                                              best->request->priority, best_served))
            continue;
        best = w;
        best_served = n_served;
    }
    return best;
}

void bni_admission_changed(bitnet_engine *engine)
{
    engine->next_waiter = find_next_waiter(engine);
    if (engine->next_waiter != NULL && may_enter(engine, engine->next_waiter))
        bni_cond_broadcast(&engine->has_room);
}

static void join_line(bitnet_engine *engine, struct bni_waiter *waiter)
    BNI_REQUIRES(engine->lock)
{
    struct bni_waiter **end = &engine->first_waiter;
    while (*end != NULL) end = &(*end)->next;
    *end = waiter;
    waiter->request->client =
        bni_clients_join(&engine->clients, waiter->request->client_id);
    engine->stats.n_blocked++;
    bni_admission_changed(engine); /* it may be the turn of this one */
}

static void leave_line(bitnet_engine *engine, struct bni_waiter *waiter)
    BNI_REQUIRES(engine->lock)
{
    struct bni_waiter **link = &engine->first_waiter;
    while (*link != waiter) link = &(*link)->next;
    *link = waiter->next;
    engine->stats.n_blocked--;
    bni_admission_changed(engine); /* whose turn it is now may find room */
}

/* ---- waiting and refusal ------------------------------------------------------------- */

/* Which bound is in the way, its size, what is taken, and when to try again. */
static bitnet_status refuse(bitnet_engine *engine, const struct bni_waiter *waiter,
                            bitnet_status status, const char *what_happened)
    BNI_REQUIRES(engine->lock)
{
    const uint32_t n_in_line = engine->stats.n_blocked - 1; /* without this one */
    const uint64_t retry_ms =
        (bni_retry_after_ns(engine, n_in_line) + 999999) / 1000000;
    const uint32_t n_prompt = waiter->request->n_prompt;
    const char *what = waiter->request->what;
    if (!has_request_room(engine))
        return bni_error(status,
                         "%s: %sno room: %" PRIu32 " requests run and %" PRIu32
                         " wait, and max_requests is %" PRIu32
                         "; try again in about %" PRIu64 " ms",
                         what, what_happened, engine->stats.n_running,
                         engine->stats.n_waiting, engine->max_requests, retry_ms);
    if (!has_token_room(engine, n_prompt))
        return bni_error(status,
                         "%s: %sno room: %" PRIu64
                         " prompt tokens wait, this prompt has %" PRIu32
                         ", and max_prompt_tokens is %" PRIu64
                         "; try again in about %" PRIu64 " ms",
                         what, what_happened, engine->queued_prompt_tokens, n_prompt,
                         engine->max_prompt_tokens, retry_ms);
    return bni_error(status,
                     "%s: %sno room: %" PRIu32
                     " other calls are in line; try again in about %" PRIu64 " ms",
                     what, what_happened, n_in_line, retry_ms);
}

/* Waits in line until it is the turn of `waiter` and there is room. */
static bitnet_status wait_for_room(bitnet_engine *engine, struct bni_waiter *waiter,
                                   const bitnet_generate_options *options)
    BNI_REQUIRES(engine->lock)
{
    const uint64_t deadline_ns = waiter->request->deadline_ns;
    const uint64_t room_deadline_ns = options->room_deadline_ns;
    for (;;) {
        if (engine->is_stopping)
            return bni_error(BITNET_ERROR_SHUT_DOWN,
                             "%s: the engine is being destroyed",
                             waiter->request->what);
        if (waiter->is_cancelled)
            return bni_error(BITNET_ERROR_CANCELLED,
                             "%s: cancelled while waiting for room in the queue",
                             waiter->request->what);
        if (may_enter(engine, waiter)) return BITNET_OK;
        if (options->when_full == BITNET_WHEN_FULL_REFUSE)
            return refuse(engine, waiter, BITNET_ERROR_QUEUE_FULL, "");
        const uint64_t now_ns = bitnet_clock_ns();
        if (now_ns >= deadline_ns)
            return refuse(engine, waiter, BITNET_ERROR_TIMED_OUT,
                          "the deadline passed while waiting for room; ");
        if (now_ns >= room_deadline_ns)
            return refuse(engine, waiter, BITNET_ERROR_TIMED_OUT,
                          "room_deadline_ns passed while waiting for room; ");
        const uint64_t until_ns =
            deadline_ns < room_deadline_ns ? deadline_ns : room_deadline_ns;
        if (engine->is_stepped)
            bni_step_or_wait(engine, until_ns);
        else
            bni_cond_wait_until(&engine->has_room, &engine->lock, until_ns);
    }
}

static void enqueue(bitnet_engine *engine, bitnet_request *request)
    BNI_REQUIRES(engine->lock)
{
    const uint64_t now_ns = bitnet_clock_ns();
    if (n_admitted_now(engine) == 0) engine->times.busy_since_ns = now_ns;
    bni_histogram_add(&engine->times.admission, now_ns - request->submitted_ns);
    bni_request_retain(request); /* the scheduler's */
    bni_list_append(&engine->queue, request);
    request->admitted_ns = now_ns;
    engine->queued_prompt_tokens += request->n_prompt;
    engine->stats.n_waiting++;
    engine->stats.n_admitted++;
    bni_cond_signal(&engine->has_work);
    if (engine->is_stepped) bni_cond_broadcast(&engine->has_room);
}

bitnet_status bni_admit(bitnet_engine *engine, bitnet_request *request,
                        const bitnet_generate_options *options)
{
    struct bni_waiter waiter = {.request = request};
    bni_mutex_lock(&engine->lock);
    join_line(engine, &waiter);
    const bitnet_status status = wait_for_room(engine, &waiter, options);
    if (status == BITNET_OK)
        enqueue(engine, request);
    else
        bni_clients_leave(&engine->clients, request->client);
    if (status == BITNET_ERROR_QUEUE_FULL) engine->stats.n_refused++;
    leave_line(engine, &waiter);
    bni_mutex_unlock(&engine->lock);
    return status;
}
