/* SPDX-License-Identifier: MIT */
/*
 * mixed_callers.c - the threads of a mixed round: what they do with their requests, and
 * what they think of the answers.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/engine/mixed_round.h"
#include "support/engine/same_answer.h"

enum {
    MAX_TEXT = 8192,
    STEP_WAIT_NS = 1000000, /* who may wait for what others bring looks again after */
};

/* The caller's side of a request. */
struct consumer {
    struct round *round;
    bitnet_event_queue *events; /* of all its requests, one after the other */
    unsigned index;
    bitnet_result result;
    size_t n_values;
    float values[ROUND_MAX_VALUES];
    size_t n_text;
    char text[MAX_TEXT]; /* as it came */
    char message[BITNET_MAX_ERROR_BYTES];

    /* Guarded by the round's lock, until the delivery has ended. */
    unsigned n_ends;
    bitnet_status end_status;
};

static struct entry *entry_of(const struct consumer *consumer)
{
    return &consumer->round->entries[consumer->index];
}

static bitnet_engine *engine_of(const struct consumer *consumer)
{
    return consumer->round->engines[entry_of(consumer)->engine];
}

static bool is_stepped(const struct consumer *consumer)
{
    return consumer->round->engine_options[entry_of(consumer)->engine].is_stepped;
}

static void say(const struct consumer *consumer, const char *what)
{
    complain(consumer->round, consumer->index, what);
}

/* ---- asking ---------------------------------------------------------------------- */

static bitnet_status submit(struct consumer *consumer, bitnet_generate_options *options,
                            bitnet_request **request)
{
    const struct entry *entry = entry_of(consumer);
    bitnet_engine *engine = engine_of(consumer);
    if (entry->is_refused_first) {
        options->when_full = BITNET_WHEN_FULL_REFUSE;
        const bitnet_status status = begin_entry(entry, engine, options, request);
        if (status != BITNET_ERROR_QUEUE_FULL) return status;
        options->when_full = BITNET_WHEN_FULL_WAIT;
    }
    return begin_entry(entry, engine, options, request);
}

/* One call that returns when all is done. */
static bitnet_status block(struct consumer *consumer,
                           const bitnet_generate_options *options)
{
    const struct entry *entry = entry_of(consumer);
    consumer->n_values = entry->n_alone_values;
    switch (entry->kind) {
    case SCORES:
        return bitnet_score(engine_of(consumer), &entry->score, options->prompt_tokens,
                            options->n_prompt_tokens, consumer->values);
    case EMBEDS:
        return bitnet_embed(engine_of(consumer), &entry->embed, NULL, consumer->values,
                            consumer->n_values);
    default:
        return bitnet_generate(engine_of(consumer), options, NULL, &consumer->result);
    }
}

/* ---- text ------------------------------------------------------------------------ */

static void note_progress(const struct consumer *consumer)
{
    pthread_mutex_lock(&consumer->round->lock);
    entry_of(consumer)->n_seen++;
    pthread_cond_broadcast(&consumer->round->progressed);
    pthread_mutex_unlock(&consumer->round->lock);
}

static void keep_text(struct consumer *consumer, const char *text, size_t text_len)
{
    if (text_len > MAX_TEXT - consumer->n_text) {
        say(consumer, "more text than tokens can make");
        return;
    }
    memcpy(consumer->text + consumer->n_text, text, text_len);
    consumer->n_text += text_len;
}

static bool take_piece(void *user, const char *text, size_t text_len)
{
    struct consumer *consumer = user;
    const struct entry *entry = entry_of(consumer);
    keep_text(consumer, text, text_len);
    note_progress(consumer);
    const bool stops = entry->way == STOPS_IN_CALLBACK || entry->way == STOPS_DELIVERY;
    return !stops || entry->n_seen < entry->n_steps;
}

/* Takes up to `n` tokens, as long as one comes until the deadline. */
static void pull(struct consumer *consumer, bitnet_request *request, unsigned n,
                 uint64_t deadline_ns)
{
    const char *text;
    size_t text_len;
    if (entry_of(consumer)->kind != GENERATES) return;
    for (unsigned i = 0; i < n; i++) {
        if (bitnet_request_next(request, deadline_ns, NULL, &text, &text_len) !=
            BITNET_OK)
            return;
        keep_text(consumer, text, text_len);
        note_progress(consumer);
    }
}

/* ---- being cancelled by others ----------------------------------------------------- */

/* Lets others cancel the request; those that wanted to already, do now. */
static void show_handle(struct round *round, struct entry *entry,
                        bitnet_request *request)
{
    pthread_mutex_lock(&round->lock);
    entry->handle = request;
    if (entry->is_cancelled) bitnet_request_cancel(request);
    pthread_mutex_unlock(&round->lock);
}

static void hide_handle(struct round *round, struct entry *entry)
{
    pthread_mutex_lock(&round->lock);
    entry->handle = NULL;
    pthread_mutex_unlock(&round->lock);
}

static void cancel_victim(struct round *round, const struct entry *entry)
{
    struct entry *victim = &round->entries[entry->victim];
    if (victim == entry || victim->way != MAY_BE_CANCELLED) return;
    pthread_mutex_lock(&round->lock);
    victim->is_cancelled = true;
    if (victim->handle != NULL) bitnet_request_cancel(victim->handle);
    pthread_mutex_unlock(&round->lock);
}

/* Waits for its turn. Entries are begun in their order and wait for earlier ones only,
 * so the earliest that has not ended waits for nobody. */
static void wait_for_turn(struct round *round, unsigned index)
{
    const struct entry *entry = &round->entries[index];
    const struct entry *other = &round->entries[entry->after];
    pthread_mutex_lock(&round->lock);
    while (other != entry && !other->is_over && other->n_seen < entry->after_steps)
        pthread_cond_wait(&round->progressed, &round->lock);
    pthread_mutex_unlock(&round->lock);
}

/* ---- steps and events -------------------------------------------------------------- */

static void step(const struct consumer *consumer)
{
    const bitnet_status status =
        bitnet_engine_step(engine_of(consumer), bitnet_clock_ns() + STEP_WAIT_NS);
    if (status != BITNET_OK && status != BITNET_ERROR_TIMED_OUT)
        say(consumer, bitnet_last_error());
}

/* Nobody else may take the steps that bring it about. */
static bitnet_event next_event(const struct consumer *consumer)
{
    bitnet_event event = {0};
    if (is_stepped(consumer)) {
        while (!bitnet_event_queue_next(consumer->events, &event)) step(consumer);
    } else if (bitnet_event_queue_next_until(consumer->events, BITNET_NO_DEADLINE,
                                             &event) != BITNET_OK) {
        say(consumer, bitnet_last_error());
    }
    return event;
}

/* Takes what events tell of, until the last; returns the status that one has. Leaves, if
 * it is to, by releasing the request. */
static bitnet_status follow_events(struct consumer *consumer, bitnet_request *request)
{
    const struct entry *entry = entry_of(consumer);
    const bool leaves = entry->way == FOLLOWS_EVENTS_AND_LEAVES;
    bitnet_request *held = request;
    bitnet_event event;
    do {
        if (leaves && held != NULL &&
            (entry->n_seen >= entry->n_steps || entry->kind != GENERATES)) {
            bitnet_request_release(held);
            held = NULL;
        }
        event = next_event(consumer);
        if (event.tag != consumer->index) say(consumer, "another request's event");
        if (held != NULL) pull(consumer, held, UINT_MAX, 0);
    } while (event.kind == BITNET_EVENT_REQUEST_READY);
    if (event.kind != BITNET_EVENT_REQUEST_ENDED) say(consumer, "a strange event");
    if (bitnet_event_queue_next(consumer->events, &event))
        say(consumer, "an event after the last");
    if (leaves) bitnet_request_release(held);
    return event.status;
}

/* ---- delivery ---------------------------------------------------------------------- */

static void take_end(void *user, bitnet_status status, bitnet_request *request)
{
    struct consumer *consumer = user;
    struct round *round = consumer->round;
    snprintf(consumer->message, sizeof(consumer->message), "%s", bitnet_last_error());
    if (entry_of(consumer)->way == IS_DELIVERED_WITHOUT_HANDLE &&
        bitnet_request_wait(request, &consumer->result) != status)
        say(consumer, "on_end and the wait inside of it differ");
    pthread_mutex_lock(&round->lock);
    consumer->end_status = status;
    consumer->n_ends++;
    pthread_cond_broadcast(&round->progressed);
    pthread_mutex_unlock(&round->lock);
}

static bitnet_status wait_for_delivery(struct consumer *consumer)
{
    struct round *round = consumer->round;
    pthread_mutex_lock(&round->lock);
    while (consumer->n_ends == 0) pthread_cond_wait(&round->progressed, &round->lock);
    const bitnet_status status = consumer->end_status;
    const bool is_once = consumer->n_ends == 1;
    pthread_mutex_unlock(&round->lock);
    if (!is_once) say(consumer, "its delivery ended more than once");
    return status;
}

/* ---- a request --------------------------------------------------------------------- */

static bitnet_status consume(struct consumer *consumer, bitnet_request *request)
{
    struct round *round = consumer->round;
    struct entry *entry = entry_of(consumer);
    bitnet_status told = BITNET_OK;
    bool is_told = false;
    switch (entry->way) {
    case PULLS: pull(consumer, request, UINT_MAX, BITNET_NO_DEADLINE); break;
    case PULLS_SOME_AND_WAITS:
    case LEAVES: pull(consumer, request, entry->n_steps, BITNET_NO_DEADLINE); break;
    case CANCELS_ITSELF:
        pull(consumer, request, entry->n_steps - 1, BITNET_NO_DEADLINE);
        bitnet_request_cancel(request);
        break;
    case MAY_BE_CANCELLED: show_handle(round, entry, request); break;
    case STEPS:
        while (bitnet_request_finish(request) == BITNET_FINISH_NONE) step(consumer);
        break;
    case FOLLOWS_EVENTS_AND_LEAVES: return follow_events(consumer, request);
    case FOLLOWS_EVENTS:
        told = follow_events(consumer, request);
        is_told = true;
        break;
    case IS_DELIVERED_WITHOUT_HANDLE: return wait_for_delivery(consumer);
    case IS_DELIVERED:
    case STOPS_DELIVERY:
        told = wait_for_delivery(consumer);
        is_told = true;
        break;
    default: break;
    }
    if (entry->way == LEAVES) {
        bitnet_request_release(request);
        return BITNET_OK;
    }
    const bitnet_status status = bitnet_request_wait(request, &consumer->result);
    snprintf(consumer->message, sizeof(consumer->message), "%s", bitnet_last_error());
    if (is_told && told != status)
        say(consumer, "another status was told than was waited for");
    if (entry->way == MAY_BE_CANCELLED) hide_handle(round, entry);
    if (entry->kind != GENERATES &&
        take_values(entry, request, consumer->values, &consumer->n_values) != status)
        say(consumer, "the numbers end otherwise than the request");
    bitnet_request_release(request);
    return status;
}

/* The entry's own options, and those of its way. */
static bitnet_generate_options options_of(struct consumer *consumer)
{
    const struct entry *entry = entry_of(consumer);
    bitnet_generate_options options = entry->request.options;
    options.on_text = take_piece;
    options.user = consumer;
    switch (entry->way) {
    case BLOCKS:
    case WAITS:
    case PULLS: options.on_text = NULL; break;
    case HAS_DEADLINE:
        options.deadline_ns = bitnet_clock_ns() + entry->deadline_us * 1000;
        break;
    case FOLLOWS_EVENTS:
    case FOLLOWS_EVENTS_AND_LEAVES:
        options.events = consumer->events;
        options.event_tag = consumer->index;
        break;
    case IS_DELIVERED:
    case IS_DELIVERED_WITHOUT_HANDLE:
    case STOPS_DELIVERY:
        options.delivery_pool = consumer->round->pool;
        options.on_end = take_end;
        break;
    default: break;
    }
    return options;
}

static bitnet_status run_request(struct consumer *consumer)
{
    const struct entry *entry = entry_of(consumer);
    bitnet_generate_options options = options_of(consumer);
    bitnet_request *request = NULL;
    bitnet_status status;
    if (entry->way == BLOCKS || entry->way == BLOCKS_WITH_CALLBACK)
        status = block(consumer, &options);
    else if (entry->way == IS_DELIVERED_WITHOUT_HANDLE)
        status = submit(consumer, &options, NULL);
    else
        status = submit(consumer, &options, &request);
    snprintf(consumer->message, sizeof(consumer->message), "%s", bitnet_last_error());
    const bool is_under_way = status == BITNET_OK && entry->way != BLOCKS &&
                              entry->way != BLOCKS_WITH_CALLBACK;
    return is_under_way ? consume(consumer, request) : status;
}

/* ---- comparing ------------------------------------------------------------------- */

static bool was_cancelled(struct round *round, const struct entry *entry)
{
    pthread_mutex_lock(&round->lock);
    const bool is_cancelled = entry->is_cancelled;
    pthread_mutex_unlock(&round->lock);
    return is_cancelled;
}

static bool may_be_cut(struct round *round, const struct entry *entry,
                       bitnet_status status)
{
    switch (status) {
    case BITNET_ERROR_TIMED_OUT: return entry->way == HAS_DEADLINE;
    case BITNET_ERROR_CANCELLED:
        return entry->way == STOPS_IN_CALLBACK || entry->way == STOPS_DELIVERY ||
               entry->way == CANCELS_ITSELF ||
               (entry->way == MAY_BE_CANCELLED && was_cancelled(round, entry));
    default: return false;
    }
}

static bitnet_finish finish_of_cut(bitnet_status status)
{
    return status == BITNET_ERROR_TIMED_OUT ? BITNET_FINISH_DEADLINE
                                            : BITNET_FINISH_CANCELLED;
}

/* What it pulled before it left is all there is to look at. */
static const char *left_otherwise(const struct consumer *consumer, bitnet_status status)
{
    const struct entry *entry = entry_of(consumer);
    if (status != BITNET_OK && status != entry->alone_status &&
        status != BITNET_ERROR_CANCELLED)
        return consumer->message;
    if (consumer->n_text > entry->alone.text_len ||
        memcmp(consumer->text, entry->alone.text, consumer->n_text) != 0)
        return "other text before it left";
    return NULL;
}

static const char *ended_otherwise(const struct consumer *consumer)
{
    const struct entry *entry = entry_of(consumer);
    const bitnet_result *alone = &entry->alone;
    const char *difference = NULL;
    /* A score or an embedding that blocked has numbers and no result. */
    if (entry->kind == GENERATES || consumer->result.text != NULL)
        difference =
            answers_otherwise(&consumer->result, alone, consumer->round->n_vocab);
    if (difference != NULL) return difference;
    if (entry->kind != GENERATES && entry->alone_status == BITNET_OK)
        return consumer->n_values != entry->n_alone_values ||
                       memcmp(consumer->values, entry->alone_values,
                              entry->n_alone_values * sizeof(float)) != 0
                   ? "other numbers"
                   : NULL;
    const bool has_text = entry->way >= READS_TEXT || entry->way == FOLLOWS_EVENTS ||
                          entry->way == STEPS || entry->way == CANCELS_ITSELF ||
                          entry->way == MAY_BE_CANCELLED || entry->way == HAS_DEADLINE;
    if (entry->kind == GENERATES && has_text &&
        (consumer->n_text != alone->text_len ||
         memcmp(consumer->text, alone->text, alone->text_len) != 0))
        return "other text than the result's, piece by piece";
    return NULL;
}

static const char *was_cut_otherwise(const struct consumer *consumer,
                                     bitnet_status status)
{
    const bitnet_result *result = &consumer->result;
    if (result->tokens == NULL) return NULL; /* it was not admitted */
    const char *difference =
        begins_otherwise(result, &entry_of(consumer)->alone, consumer->round->n_vocab);
    if (difference != NULL) return difference;
    return result->finish != finish_of_cut(status)
               ? "cut, for another reason than the status says"
               : NULL;
}

static void judge(struct consumer *consumer, bitnet_status status)
{
    struct round *round = consumer->round;
    const struct entry *entry = entry_of(consumer);
    const char *difference = consumer->message;
    atomic_uint *n = &round->n_cut;
    if (entry->way == LEAVES || entry->way == FOLLOWS_EVENTS_AND_LEAVES) {
        difference = left_otherwise(consumer, status);
    } else if (status == entry->alone_status) {
        difference = ended_otherwise(consumer);
        n = &round->n_whole;
    } else if (may_be_cut(round, entry, status)) {
        difference = was_cut_otherwise(consumer, status);
    }
    if (difference != NULL) say(consumer, difference);
    atomic_fetch_add(n, 1);
    atomic_fetch_add(&round->n_of_way[entry->way], 1);
}

void *be_a_caller(void *arg)
{
    struct round *round = arg;
    struct consumer *consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL) return NULL;
    consumer->round = round;
    if (bitnet_event_queue_create(1, &consumer->events) != BITNET_OK) {
        complain(round, 0, bitnet_last_error());
        free(consumer);
        return NULL;
    }
    for (;;) {
        consumer->index = atomic_fetch_add(&round->next_entry, 1);
        if (consumer->index >= round->n_entries) break;
        consumer->n_text = 0;
        consumer->n_ends = 0;
        consumer->result = (bitnet_result){0};
        struct entry *entry = entry_of(consumer);
        wait_for_turn(round, consumer->index);
        cancel_victim(round, entry);
        judge(consumer, run_request(consumer));
        bitnet_result_release(&consumer->result);
        pthread_mutex_lock(&round->lock);
        entry->is_over = true;
        pthread_cond_broadcast(&round->progressed);
        pthread_mutex_unlock(&round->lock);
    }
    bitnet_event_queue_destroy(consumer->events);
    free(consumer);
    return NULL;
}
