/* SPDX-License-Identifier: MIT */
/*
 * request.c - making, feeding and ending a request. See request.h.
 *
 * Everything a request will need is allocated when it is made, in the calling
 * thread: one block for the struct and its arrays, and one for logits if they are
 * kept. Nothing can run out of memory later.
 */
#include "engine/request.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "engine/engine.h"
#include "engine/reading.h"
#include "engine/sampling_options.h"
#include "threads/event_queue.h"
#include "threads/fork.h"

/* ---- options ---------------------------------------------------------------------- */

static bitnet_status check_when_full(const char *what, bitnet_when_full when_full)
{
    if (when_full == BITNET_WHEN_FULL_WAIT || when_full == BITNET_WHEN_FULL_REFUSE)
        return BITNET_OK;
    return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                     "%s: when_full is %d, which is no bitnet_when_full", what,
                     (int)when_full);
}

/* ---- the prompt --------------------------------------------------------------------- */

/* Fails unless all of `tokens` are in the vocabulary; `name` is what a caller knows. */
static bitnet_status check_tokens(const struct bitnet_model *model, const char *name,
                                  const bitnet_token *tokens, size_t n_tokens)
{
    const uint32_t n_vocab = model->hparams.n_vocab;
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= n_vocab)
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "%s[%zu] is %" PRId32 "; the vocabulary has %" PRIu32
                             " tokens",
                             name, i, tokens[i], n_vocab);
    return BITNET_OK;
}

/* Gives the prompt's tokens in a block to be freed, from text or from tokens. */
static bitnet_status read_prompt(const struct bitnet_model *model,
                                 const bitnet_generate_options *options,
                                 const char *prompt, bitnet_token **tokens,
                                 size_t *n_tokens)
{
    if (prompt != NULL)
        return bni_tokenizer_encode(model->tokenizer, prompt, strlen(prompt), true,
                                    options->parse_special, tokens, n_tokens);
    if (options->prompt_tokens == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: neither prompt nor prompt_tokens is set");

    const bitnet_status status =
        check_tokens(model, "generate: prompt_tokens", options->prompt_tokens,
                     options->n_prompt_tokens);
    if (status != BITNET_OK) return status;
    size_t n_bytes;
    if (!bni_size_mul(options->n_prompt_tokens, sizeof(**tokens), &n_bytes))
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: n_prompt_tokens is %zu", options->n_prompt_tokens);
    *tokens = bni_alloc(n_bytes);
    if (*tokens == NULL) return bitnet_last_status();
    memcpy(*tokens, options->prompt_tokens, n_bytes);
    *n_tokens = options->n_prompt_tokens;
    return BITNET_OK;
}

/* Decides max_tokens: what was asked, or what the context has room for. */
static bitnet_status fit_context(uint32_t n_ctx, size_t n_prompt, uint32_t asked,
                                 uint32_t *max_tokens)
{
    if (n_prompt == 0)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: the prompt is empty and the model adds no "
                         "beginning-of-text token; give at least one token");
    if (n_prompt >= n_ctx)
        return bni_error(
            BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED,
            "generate: the prompt is %zu tokens, which leaves no room in a "
            "context of %" PRIu32,
            n_prompt, n_ctx);
    const uint32_t n_room = n_ctx - (uint32_t)n_prompt;
    if (asked > n_room)
        return bni_error(BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED,
                         "generate: %zu prompt tokens and max_tokens %" PRIu32
                         " exceed the context of %" PRIu32 " tokens; ask for at most "
                         "%" PRIu32 ", or 0 for what fits",
                         n_prompt, asked, n_ctx, n_room);
    *max_tokens = asked != 0 ? asked : n_room;
    return BITNET_OK;
}

/* ---- memory ----------------------------------------------------------------------- */

struct layout {
    size_t tokens, pages, text, watched, n_bytes;
};

/* The counts are at most n_ctx, which is under 2^24: nothing here can overflow. */
static struct layout lay_out(const struct bitnet_model *model, size_t n_positions,
                             const struct bni_stop_rules *stops)
{
    struct layout layout;
    layout.tokens = (sizeof(struct bitnet_request) + 15) & ~(size_t)15;
    layout.pages = layout.tokens + n_positions * sizeof(bitnet_token);
    layout.text =
        layout.pages + bni_kv_pages_for((uint32_t)n_positions) * sizeof(uint32_t);
    const size_t n_buffer = bni_text_stream_buffer_bytes(model->tokenizer, stops);
    layout.watched = layout.text + n_buffer;
    layout.n_bytes = layout.watched + (stops->n_strings > 0 ? n_buffer : 0);
    return layout;
}

size_t bni_request_max_bytes(const struct bitnet_model *model, uint32_t n_ctx)
{
    const struct bni_stop_rules longest = {.n_strings = 1,
                                           .longest_bytes =
                                               BITNET_MAX_STOP_STRING_BYTES};
    return lay_out(model, n_ctx, &longest).n_bytes + 2 * BNI_ALIGNMENT;
}

/* Gives the engine's vocabulary in order, which its first request with a grammar makes;
 * of two that make it at once, one finds it done. */
static bitnet_status get_token_order(struct bitnet_engine *engine,
                                     const struct bni_token_order **out)
{
    bni_mutex_lock(&engine->lock);
    *out = engine->token_order;
    bni_mutex_unlock(&engine->lock);
    if (*out != NULL) return BITNET_OK;

    struct bni_token_order *made;
    const bitnet_status status =
        bni_token_order_create(engine->model->tokenizer, &made);
    if (status != BITNET_OK) return status;
    struct bni_token_order *superfluous = NULL;
    bni_mutex_lock(&engine->lock);
    if (engine->token_order == NULL)
        engine->token_order = made;
    else
        superfluous = made;
    *out = engine->token_order;
    bni_mutex_unlock(&engine->lock);
    bni_free(superfluous);
    return BITNET_OK;
}

/* The grammar's matcher, if there is a grammar. */
static bitnet_status create_mask(struct bitnet_engine *engine,
                                 const bitnet_generate_options *options,
                                 bitnet_request *request)
{
    if (options->grammar == NULL) return BITNET_OK;
    request->mask.tokenizer = engine->model->tokenizer;
    request->mask.stops = &request->stops;
    request->mask.ignores_eos = options->ignores_eos;
    const bitnet_status status = get_token_order(engine, &request->mask.order);
    if (status != BITNET_OK) return status;
    return bni_matcher_create(options->grammar, &request->mask.matcher);
}

/* One block for both arrays, if they are wanted. */
static bitnet_status allocate_logprobs(bitnet_request *request,
                                       const bitnet_generate_options *options,
                                       uint32_t n_vocab)
{
    if (!options->keeps_logprobs) return BITNET_OK;
    request->n_top_logprobs =
        options->top_logprobs < n_vocab ? options->top_logprobs : n_vocab;
    request->logprobs = bni_calloc(request->max_tokens,
                                   sizeof(float) + request->n_top_logprobs *
                                                       sizeof(bitnet_token_logprob));
    if (request->logprobs == NULL) return bitnet_last_status();
    request->top_logprobs =
        (bitnet_token_logprob *)(void *)(request->logprobs + request->max_tokens);
    return BITNET_OK;
}

/* What a request computes, once it is known to fit. */
struct shape {
    const char *what;
    const bitnet_token *tokens; /* to be copied */
    uint32_t n_tokens;
    uint32_t n_prompt; /* n_tokens, or less by one that is not computed */
    uint32_t first_output;
    uint32_t max_tokens;
    enum bni_readout_kind kind;
    uint32_t n_values; /* to read out */
};

static bitnet_status create_filled(struct bitnet_engine *engine,
                                   const bitnet_generate_options *options,
                                   const struct shape *shape, bitnet_request **out)
{
    const struct bitnet_model *model = engine->model;
    struct bni_stop_rules stops;
    bitnet_status status = bni_stop_rules_init(&stops, options);
    if (status != BITNET_OK) return status;
    const uint32_t n_positions = shape->n_prompt + shape->max_tokens;
    const struct layout layout = lay_out(model, n_positions, &stops);
    char *block = bni_calloc(1, layout.n_bytes);
    status = bitnet_last_status();
    if (block == NULL) goto fail_stops;

    bitnet_request *request = (bitnet_request *)(void *)block;
    request->stops = stops;
    request->what = shape->what;
    request->n_prompt = shape->n_prompt;
    request->first_output = shape->first_output;
    request->max_tokens = shape->max_tokens;
    request->n_pages = bni_kv_pages_for(n_positions);
    request->priority = options->priority;
    request->client_id = options->client_id;
    request->deadline_ns = options->deadline_ns;
    request->ignores_eos = options->ignores_eos;
    if (engine->has_speculation)
        bni_speculation_init(&request->speculation, options->max_draft_tokens);
    request->on_text = options->on_text;
    request->user = options->user;
    request->tokens = (bitnet_token *)(void *)(block + layout.tokens);
    request->pages = (uint32_t *)(void *)(block + layout.pages);
    memcpy(request->tokens, shape->tokens, shape->n_tokens * sizeof(*shape->tokens));
    atomic_init(&request->n_references, 1);
    atomic_init(&request->is_cancelled, false);
    atomic_flag_clear(&request->is_being_consumed);
    bni_text_stream_init(&request->text, model->tokenizer, &request->stops,
                         block + layout.text);
    bni_text_stream_init(&request->watched, model->tokenizer, &request->stops,
                         block + layout.watched);

    status = bni_sampler_init(&request->sampler, options);
    if (status != BITNET_OK) goto fail_block;
    status = create_mask(engine, options, request);
    if (status != BITNET_OK) goto fail_sampler;
    status = allocate_logprobs(request, options, model->hparams.n_vocab);
    if (status != BITNET_OK) goto fail_mask;
    status = bni_readout_init(&request->readout, shape->kind, shape->n_values);
    if (status != BITNET_OK) goto fail_logprobs;
    if (options->keeps_logits) {
        const size_t n_rows = shape->kind == BNI_READOUT_NONE
                                  ? (size_t)shape->max_tokens + 1
                                  : shape->n_values;
        request->logits = bni_calloc(n_rows, model->hparams.n_vocab * sizeof(float));
        status = bitnet_last_status();
        if (request->logits == NULL) goto fail_readout;
    }
    status = bni_mutex_init(&request->lock);
    if (status != BITNET_OK) goto fail_logits;
    status = bni_cond_init(&request->changed);
    if (status != BITNET_OK) goto fail_lock;
    status = bni_event_reserve(options->events, options->event_tag, &request->event);
    if (status != BITNET_OK) goto fail_changed;

    bni_engine_retain(engine);
    request->engine = engine;
    *out = request;
    return BITNET_OK;

fail_changed:
    bni_error_prefix("%s", shape->what);
    bni_cond_destroy(&request->changed);
fail_lock:
    bni_mutex_destroy(&request->lock);
fail_logits:
    bni_free(request->logits);
fail_readout:
    bni_readout_free(&request->readout);
fail_logprobs:
    bni_free(request->logprobs);
fail_mask:
    bni_matcher_destroy(request->mask.matcher);
fail_sampler:
    bni_sampler_free(&request->sampler);
fail_block:
    bni_free(block);
fail_stops:
    bni_stop_rules_free(&stops);
    return status;
}

bitnet_status bni_request_create(struct bitnet_engine *engine,
                                 const bitnet_generate_options *options,
                                 const char *prompt, bitnet_request **out)
{
    bitnet_status status = check_when_full("generate", options->when_full);
    if (status == BITNET_OK)
        status = bni_sampling_options_check(options, engine->model->hparams.n_vocab);
    if (status != BITNET_OK) return status;
    bitnet_token *tokens;
    size_t n_tokens;
    status = read_prompt(engine->model, options, prompt, &tokens, &n_tokens);
    if (status != BITNET_OK) return status;
    uint32_t max_tokens = 0;
    status = fit_context(engine->n_ctx, n_tokens, options->max_tokens, &max_tokens);
    if (status == BITNET_OK) {
        const struct shape shape = {
            .what = "generate",
            .tokens = tokens,
            .n_tokens = (uint32_t)n_tokens,
            .n_prompt = (uint32_t)n_tokens,
            .first_output = (uint32_t)n_tokens - 1,
            .max_tokens = max_tokens,
        };
        status = create_filled(engine, options, &shape, out);
    }
    bni_free(tokens);
    return status;
}

/* The last of the tokens that are scored is looked up, and not computed. */
static struct shape shape_of(const struct bni_reading *reading, uint32_t n_embd,
                             const bitnet_token *tokens, uint32_t n_tokens)
{
    struct shape shape = {
        .what = reading->what,
        .tokens = tokens,
        .n_tokens = n_tokens,
        .n_prompt = n_tokens,
        .first_output = reading->kind == BNI_READOUT_LAST ? n_tokens - 1 : 0,
        .kind = reading->kind,
        .n_values = n_embd,
    };
    if (reading->kind == BNI_READOUT_SCORES) {
        shape.n_prompt = n_tokens - 1;
        shape.max_tokens = 1; /* room for the last one */
        shape.first_output = (uint32_t)reading->first_scored - 1;
        shape.n_values = shape.n_prompt - shape.first_output;
    }
    return shape;
}

bitnet_status bni_request_create_reading(struct bitnet_engine *engine,
                                         const bitnet_generate_options *options,
                                         const struct bni_reading *reading,
                                         bitnet_request **out)
{
    const struct bitnet_model *model = engine->model;
    const bitnet_token *tokens = reading->tokens;
    size_t n_tokens = reading->n_tokens;
    bitnet_token *encoded = NULL;
    bitnet_status status = check_when_full(reading->what, options->when_full);
    if (status != BITNET_OK) return status;
    if (reading->text != NULL) {
        status =
            bni_tokenizer_encode(model->tokenizer, reading->text, strlen(reading->text),
                                 true, options->parse_special, &encoded, &n_tokens);
        if (status != BITNET_OK) return status;
        tokens = encoded;
    }
    if (n_tokens == 0)
        status = bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: there are no tokens",
                           reading->what);
    else if (n_tokens > engine->n_ctx)
        status = bni_error(BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED,
                           "%s: %zu tokens are more than the context of %" PRIu32,
                           reading->what, n_tokens, engine->n_ctx);
    else
        status = check_tokens(model, "tokens", tokens, n_tokens);
    if (status == BITNET_OK) {
        const struct shape shape =
            shape_of(reading, model->hparams.n_embd, tokens, (uint32_t)n_tokens);
        status = create_filled(engine, options, &shape, out);
        if (status == BITNET_OK) (*out)->readout.is_normalised = reading->is_normalised;
    }
    bni_free(encoded);
    return status;
}

void bni_request_retain(bitnet_request *request)
{
    /* Relaxed: whoever retains has a reference already, so nothing is published. */
    atomic_fetch_add_explicit(&request->n_references, 1, memory_order_relaxed);
}

void bni_request_unref(bitnet_request *request)
{
    /* Release what this thread did to the request; the last one acquires it all. */
    if (atomic_fetch_sub_explicit(&request->n_references, 1, memory_order_acq_rel) != 1)
        return;
    bni_event_give_back(request->event); /* if it was never admitted */
    bni_delivery_free(&request->delivery);
    if (!bni_fork_is_older(request->engine->generation)) {
        bni_cond_destroy(&request->changed);
        bni_mutex_destroy(&request->lock);
    }
    bni_engine_unref(request->engine);
    bni_free(request->logits);
    bni_free(request->logprobs);
    bni_readout_free(&request->readout);
    bni_matcher_destroy(request->mask.matcher);
    bni_sampler_free(&request->sampler);
    bni_stop_rules_free(&request->stops);
    bni_free(request);
}

/* ---- the scheduler's side ------------------------------------------------------------ */

void bni_request_push(bitnet_request *request, bitnet_token token)
{
    const uint64_t now_ns = bitnet_clock_ns();
    bni_mutex_lock(&request->lock);
    request->tokens[request->n_prompt + request->n_produced] = token;
    request->n_produced++;
    if (request->first_token_ns == 0) request->first_token_ns = now_ns;
    request->last_token_ns = now_ns;
    bni_cond_broadcast(&request->changed);
    bni_event_post(request->event, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_delivery_ask(&request->delivery);
    bni_mutex_unlock(&request->lock);
}

void bni_request_count_cached(bitnet_request *request, uint32_t n_tokens)
{
    bni_mutex_lock(&request->lock);
    request->n_cached += n_tokens;
    bni_mutex_unlock(&request->lock);
}

void bni_request_count_drafts(bitnet_request *request, uint32_t n_drafted,
                              uint32_t n_accepted)
{
    bni_mutex_lock(&request->lock);
    request->n_drafted += n_drafted;
    request->n_accepted += n_accepted;
    bni_mutex_unlock(&request->lock);
}

void bni_request_keep_logits(bitnet_request *request, const float *logits)
{
    if (request->logits == NULL) return;
    const size_t n_vocab = request->engine->model->hparams.n_vocab;
    bni_mutex_lock(&request->lock);
    memcpy(request->logits + request->n_logit_rows * n_vocab, logits,
           n_vocab * sizeof(*logits));
    request->n_logit_rows++;
    bni_mutex_unlock(&request->lock);
}

void bni_request_end(bitnet_request *request, bitnet_finish finish,
                     const struct bni_error_record *error)
{
    bni_mutex_lock(&request->lock);
    request->finish = finish;
    request->error = *error;
    bni_cond_broadcast(&request->changed);
    bni_event_post(request->event, BITNET_EVENT_REQUEST_ENDED, error->status, true);
    request->event = NULL;
    bni_delivery_ask(&request->delivery);
    bni_mutex_unlock(&request->lock);
}

bitnet_finish bni_request_interruption(const bitnet_request *request, uint64_t now_ns,
                                       struct bni_error_record *error)
{
    if (atomic_load_explicit(&request->is_cancelled, memory_order_relaxed)) {
        bni_error_record_set(error, BITNET_ERROR_CANCELLED,
                             "%s: the request was cancelled", request->what);
        return BITNET_FINISH_CANCELLED;
    }
    if (now_ns >= request->deadline_ns && request->deadline_ns != BITNET_NO_DEADLINE) {
        bni_error_record_set(error, BITNET_ERROR_TIMED_OUT,
                             "%s: the deadline passed with %" PRIu32 " of %" PRIu32
                             " prompt tokens computed",
                             request->what,
                             request->n_computed < request->n_prompt
                                 ? request->n_computed
                                 : request->n_prompt,
                             request->n_prompt);
        return BITNET_FINISH_DEADLINE;
    }
    return BITNET_FINISH_NONE;
}
