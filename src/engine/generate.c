/* SPDX-License-Identifier: MIT */
/*
 * generate.c - the consumer's side of a request, in the thread that asked.
 *
 * Tokens are taken one at a time as the scheduler appends them, detokenised here
 * and handed to the caller's callback without a lock held. bitnet_generate() is
 * bitnet_generate_async() and bitnet_request_wait(); everything goes through
 * take_next().
 *
 * One thread at a time consumes a request. A flag holds others off, and so also
 * refuses a callback that waits for its own request. Frames of running callbacks
 * hang in a thread-local list, so that destroying an engine from inside one of its
 * callbacks is seen and refused.
 */
#include "engine/engine.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "threads/compute.h"
#include "threads/fork.h"

/* A callback under way on this thread, and the one it was called within. */
struct callback_frame {
    const bitnet_engine *engine;
    const struct callback_frame *outer;
};

static _Thread_local const struct callback_frame *innermost_callback;

bool bni_is_inside_callback_of(const bitnet_engine *engine)
{
    for (const struct callback_frame *f = innermost_callback; f != NULL; f = f->outer)
        if (f->engine == engine) return true;
    return false;
}

const char *bitnet_finish_name(bitnet_finish finish)
{
    switch (finish) {
    case BITNET_FINISH_NONE: return "none";
    case BITNET_FINISH_STOP: return "stop";
    case BITNET_FINISH_LENGTH: return "length";
    case BITNET_FINISH_CANCELLED: return "cancelled";
    case BITNET_FINISH_DEADLINE: return "deadline";
    case BITNET_FINISH_ERROR: return "error";
    }
    return "unknown";
}

/* ---- taking tokens -------------------------------------------------------------------- */

bool bni_request_has_news(const bitnet_request *request)
{
    return request->n_produced > request->n_taken ||
           request->finish != BITNET_FINISH_NONE;
}

/* Sleeps until the scheduler has done something for the request, or does it itself. */
static void wait_for_news(bitnet_request *request, uint64_t deadline_ns)
    BNI_REQUIRES(request->lock)
{
    if (!request->engine->is_stepped) {
        bni_cond_wait_until(&request->changed, &request->lock, deadline_ns);
        return;
    }
    bni_mutex_unlock(&request->lock);
    bni_step_for_news(request, deadline_ns);
    bni_mutex_lock(&request->lock);
}

/*
 * Takes one token and puts its text into request->text. With nothing more to take:
 * once the held-back text if there is any, then how the request ended, SHUT_DOWN
 * standing for a good end.
 */
static bitnet_status take_next(bitnet_request *request, uint64_t deadline_ns,
                               bitnet_token *token, size_t *text_len)
{
    struct bni_error_record error;
    *token = BITNET_NO_TOKEN;
    *text_len = 0;

    bni_mutex_lock(&request->lock);
    while (!bni_request_has_news(request)) {
        if (bitnet_clock_ns() >= deadline_ns && deadline_ns != BITNET_NO_DEADLINE) {
            bni_mutex_unlock(&request->lock);
            return bni_error(
                BITNET_ERROR_TIMED_OUT,
                "bitnet_request_next: no token came before the deadline of "
                "this call; the request goes on");
        }
        wait_for_news(request, deadline_ns);
    }
    const bool has_token = request->n_produced > request->n_taken;
    if (has_token) *token = request->tokens[request->n_prompt + request->n_taken++];
    error = request->error;
    bni_mutex_unlock(&request->lock);

    if (has_token) {
        *text_len = bni_text_stream_push(&request->text, *token);
        return BITNET_OK;
    }
    if (!request->is_flushed) {
        request->is_flushed = true;
        *text_len = bni_text_stream_flush(&request->text);
        if (*text_len > 0) return BITNET_OK;
    }
    if (error.status == BITNET_OK)
        return bni_error(BITNET_ERROR_SHUT_DOWN,
                         "bitnet_request_next: the request has finished");
    return bni_error_restore(&error);
}

/* A callback that ends its thread leaves a request that is stopped. */
static bool call_on_text(bitnet_request *request, size_t text_len)
{
    if (request->on_text == NULL || text_len == 0) return true;
    const struct callback_frame frame = {request->engine, innermost_callback};
    innermost_callback = &frame;
    request->is_stopped = true;
    const bool goes_on =
        request->on_text(request->user, request->text.buffer, text_len);
    innermost_callback = frame.outer;
    return goes_on;
}

void bni_call_on_end(bitnet_request *request, bitnet_end_fn on_end,
                     bitnet_status status)
{
    if (on_end == NULL) return;
    const struct callback_frame frame = {request->engine, innermost_callback};
    innermost_callback = &frame;
    on_end(request->user, status, request);
    innermost_callback = frame.outer;
}

bool bni_consume_one(bitnet_request *request, bitnet_status *status)
{
    if (request->is_stopped) {
        bitnet_request_cancel(request);
        *status =
            bni_error(BITNET_ERROR_CANCELLED,
                      "generate: on_text stopped the request after %" PRIu32 " tokens",
                      request->n_taken);
        return false;
    }
    bitnet_token token;
    size_t text_len;
    *status = take_next(request, BITNET_NO_DEADLINE, &token, &text_len);
    if (*status != BITNET_OK) {
        if (*status == BITNET_ERROR_SHUT_DOWN) *status = BITNET_OK;
        return false;
    }
    request->is_stopped = !call_on_text(request, text_len);
    /* The callback may have forked, and this be the child. */
    *status = bni_fork_check(request->engine->generation, "generate");
    return *status == BITNET_OK;
}

/* Takes everything, until the end or until on_text says stop. */
static bitnet_status consume(bitnet_request *request)
{
    bitnet_status status;
    while (bni_consume_one(request, &status)) {
    }
    return status;
}

/* ---- results ---------------------------------------------------------------------------- */

/* Sends the result's tokens through a stream of their own. Returns the text's bytes,
 * which go to `out` unless that is NULL. */
static size_t stream_text(const bitnet_request *request, const bitnet_result *result,
                          char *buffer, char *out)
{
    struct bni_text_stream stream;
    size_t n_written = 0;
    bni_text_stream_init(&stream, request->engine->model->tokenizer, &request->stops,
                         buffer);
    for (size_t i = 0; i <= result->n_tokens; i++) {
        /* What was still held back when on_text said stop was never given out. */
        if (i == result->n_tokens && request->is_stopped) break;
        const size_t n_piece = i < result->n_tokens
                                   ? bni_text_stream_push(&stream, result->tokens[i])
                                   : bni_text_stream_flush(&stream);
        if (out != NULL) memcpy(out + n_written, buffer, n_piece);
        n_written += n_piece;
    }
    return n_written;
}

/* Twice through the tokens: to count, and to write. */
static bitnet_status copy_text(const bitnet_request *request, bitnet_result *result)
{
    char *buffer =
        bni_alloc(bni_text_stream_buffer_bytes(request->engine->model->tokenizer,
                                               &request->stops));
    if (buffer == NULL) return bitnet_last_status();
    result->text_len = stream_text(request, result, buffer, NULL);
    result->text = bni_alloc(result->text_len + 1);
    const bitnet_status status = bitnet_last_status();
    if (result->text != NULL) {
        stream_text(request, result, buffer, result->text);
        result->text[result->text_len] = '\0';
    }
    bni_free(buffer);
    return result->text != NULL ? BITNET_OK : status;
}

static bitnet_status copy_logprobs(const bitnet_request *request, bitnet_result *result)
{
    if (request->logprobs == NULL) return BITNET_OK;
    const size_t n_bytes = result->n_tokens * sizeof(*result->logprobs);
    result->logprobs = bni_alloc(n_bytes);
    if (result->logprobs == NULL) return bitnet_last_status();
    memcpy(result->logprobs, request->logprobs, n_bytes);

    const size_t n_top_bytes =
        result->n_tokens * request->n_top_logprobs * sizeof(*result->top_logprobs);
    result->top_logprobs = bni_alloc(n_top_bytes);
    if (result->top_logprobs == NULL) return bitnet_last_status();
    memcpy(result->top_logprobs, request->top_logprobs, n_top_bytes);
    result->n_top_logprobs = request->n_top_logprobs;
    return BITNET_OK;
}

static bitnet_status fill_result(bitnet_request *request, bitnet_result *result)
{
    const size_t n_vocab = request->engine->model->hparams.n_vocab;
    *result = (bitnet_result){.struct_size = sizeof(*result)};
    result->n_tokens = request->n_taken;
    result->n_prompt_tokens = request->n_prompt;

    bni_mutex_lock(&request->lock);
    /* What was made after on_text said stop was never asked for. */
    result->n_logit_rows =
        request->is_stopped ? request->n_taken : request->n_logit_rows;
    result->n_cached_tokens = request->n_cached;
    result->n_drafted = request->n_drafted;
    result->n_accepted = request->n_accepted;
    result->finish = request->is_stopped ? BITNET_FINISH_CANCELLED : request->finish;
    if (request->first_token_ns != 0) {
        result->time_to_first_token_ns =
            request->first_token_ns - request->submitted_ns;
        result->total_ns = request->last_token_ns - request->submitted_ns;
    }
    bni_mutex_unlock(&request->lock);

    /* The rest is behind what the counts cover, which nobody writes any more. */
    result->tokens = bni_alloc(result->n_tokens * sizeof(*result->tokens));
    if (result->tokens == NULL) return bitnet_last_status();
    memcpy(result->tokens, request->tokens + request->n_prompt,
           result->n_tokens * sizeof(*result->tokens));
    if (request->logits != NULL) {
        const size_t n_bytes = result->n_logit_rows * n_vocab * sizeof(float);
        result->logits = bni_alloc(n_bytes);
        if (result->logits == NULL) return bitnet_last_status();
        memcpy(result->logits, request->logits, n_bytes);
    } else {
        result->n_logit_rows = 0;
    }
    const bitnet_status status = copy_logprobs(request, result);
    return status == BITNET_OK ? copy_text(request, result) : status;
}

void bitnet_result_release(bitnet_result *result)
{
    if (result == NULL) return;
    bni_free(result->text);
    bni_free(result->tokens);
    bni_free(result->logits);
    bni_free(result->logprobs);
    bni_free(result->top_logprobs);
    *result = (bitnet_result){0};
}

/* ---- public calls ------------------------------------------------------------------------ */

/* Of those who ask: one takes a handle, or has a delivery, or waits. */
static bitnet_status check_consumer(const bitnet_generate_options *options,
                                    bool is_waited_for, bitnet_request **out)
{
    if (is_waited_for && options->delivery_pool != NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_generate: delivery_pool is set; it is for "
                         "bitnet_generate_async()");
    if (out == NULL && options->delivery_pool == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: out is NULL, and there is no delivery_pool");
    return BITNET_OK;
}

/* Makes and admits a request. The caller's reference keeps the engine meanwhile. */
static bitnet_status submit(bitnet_engine *engine,
                            const bitnet_generate_options *options, const char *prompt,
                            bool is_waited_for, uint64_t submitted_ns,
                            bitnet_request **out)
{
    bitnet_generate_options resolved = bitnet_generate_options_default();
    bitnet_status status =
        bni_options_read("generate options", &resolved, sizeof(resolved), options);
    if (status == BITNET_OK) status = check_consumer(&resolved, is_waited_for, out);
    if (status != BITNET_OK) return status;

    bitnet_request *request;
    status = bni_request_create(engine, &resolved, prompt, &request);
    if (status != BITNET_OK) return status;
    request->submitted_ns = submitted_ns;
    status = bni_delivery_init(request, &resolved);
    if (status == BITNET_OK) status = bni_admit(engine, request, &resolved);
    if (status != BITNET_OK) {
        bni_request_unref(request);
        return status;
    }
    /* on_end may be called, and release the handle, before this returns. */
    if (out != NULL) *out = request;
    bni_delivery_begin(request);
    if (out == NULL) bni_request_unref(request);
    return BITNET_OK;
}

static bitnet_status begin(bitnet_engine *engine,
                           const bitnet_generate_options *options, const char *prompt,
                           bool is_waited_for, bitnet_request **out)
{
    const uint64_t submitted_ns = bitnet_clock_ns();
    if (engine == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "generate: engine is NULL");
    bitnet_status status = bni_context_check_wait(engine->generation, "generate");
    if (status != BITNET_OK) return status;
    bni_engine_retain(engine); /* it may be destroyed while we tokenise or wait */
    status = submit(engine, options, prompt, is_waited_for, submitted_ns, out);
    bni_engine_unref(engine);
    return status;
}

bitnet_status bitnet_generate_async(bitnet_engine *engine,
                                    const bitnet_generate_options *options,
                                    const char *prompt, bitnet_request **out)
{
    return begin(engine, options, prompt, false, out);
}

void bni_begin_consuming(bitnet_request *request)
{
    /* Acquire: what the last consumer left is ours to read. */
    atomic_flag_test_and_set_explicit(&request->is_being_consumed,
                                      memory_order_acquire);
}

void bni_end_consuming(bitnet_request *request)
{
    /* Release: the next consumer sees what this one took. */
    atomic_flag_clear_explicit(&request->is_being_consumed, memory_order_release);
}

/* Makes the calling thread the request's one consumer, or refuses. */
static bitnet_status begin_consuming(bitnet_request *request, const char *what)
{
    const bitnet_status status =
        bni_context_check_wait(request->engine->generation, what);
    if (status != BITNET_OK) return status;
    /* Acquire: what the last consumer left is ours to read. */
    if (atomic_flag_test_and_set_explicit(&request->is_being_consumed,
                                          memory_order_acquire))
        return bni_error(
            BITNET_ERROR_THREAD_SAFETY,
            "%s: the request is being consumed already, by its own callback, its "
            "delivery pool, or another thread; waiting for it here might never end",
            what);
    return BITNET_OK;
}

bitnet_status bitnet_request_next(bitnet_request *request, uint64_t deadline_ns,
                                  bitnet_token *token, const char **text,
                                  size_t *text_len)
{
    if (request == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_request_next: request is NULL");
    bitnet_status status = begin_consuming(request, "bitnet_request_next");
    if (status != BITNET_OK) return status;

    bitnet_token next;
    size_t n_bytes;
    status = take_next(request, deadline_ns, &next, &n_bytes);
    if (status == BITNET_OK) {
        if (token != NULL) *token = next;
        if (text != NULL) *text = request->text.buffer;
        if (text_len != NULL) *text_len = n_bytes;
    }
    bni_end_consuming(request);
    return status;
}

bitnet_status bitnet_request_wait(bitnet_request *request, bitnet_result *result)
{
    if (result != NULL) *result = (bitnet_result){.struct_size = sizeof(*result)};
    if (request == NULL || result == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_request_wait: %s is NULL",
                         request == NULL ? "request" : "result");
    bitnet_status status = begin_consuming(request, "bitnet_request_wait");
    if (status != BITNET_OK) return status;

    status = consume(request);
    if (bni_fork_is_older(request->engine->generation)) {
        bni_end_consuming(request);
        return status;
    }
    struct bni_error_record ending;
    if (status != BITNET_OK) bni_error_save(&ending);
    const bitnet_status filled = fill_result(request, result);
    bni_end_consuming(request);
    if (filled != BITNET_OK) {
        bitnet_result_release(result);
        return filled;
    }
    return status == BITNET_OK ? BITNET_OK : bni_error_restore(&ending);
}

bitnet_status bitnet_generate(bitnet_engine *engine,
                              const bitnet_generate_options *options,
                              const char *prompt, bitnet_result *result)
{
    if (result == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "generate: result is NULL");
    *result = (bitnet_result){.struct_size = sizeof(*result)};
    bitnet_request *request;
    bitnet_status status = begin(engine, options, prompt, true, &request);
    if (status != BITNET_OK) return status;
    status = bitnet_request_wait(request, result);
    bitnet_request_release(request);
    return status;
}

bitnet_status bitnet_request_get_logprobs(bitnet_request *request, size_t index,
                                          float *logprob,
                                          const bitnet_token_logprob **top,
                                          size_t *n_top)
{
    static const char what[] = "bitnet_request_get_logprobs";
    if (request == NULL || request->logprobs == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: %s", what,
                         request == NULL ? "request is NULL"
                                         : "the request was made without "
                                           "keeps_logprobs");
    const bitnet_status status = bni_fork_check(request->engine->generation, what);
    if (status != BITNET_OK) return status;
    bni_mutex_lock(&request->lock);
    const uint32_t n_produced = request->n_produced;
    bni_mutex_unlock(&request->lock);
    if (index >= n_produced)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: token %zu was asked for; there are %" PRIu32 " yet", what,
                         index, n_produced);
    if (logprob != NULL) *logprob = request->logprobs[index];
    if (top != NULL) *top = request->top_logprobs + index * request->n_top_logprobs;
    if (n_top != NULL) *n_top = request->n_top_logprobs;
    return BITNET_OK;
}

void bitnet_request_cancel(bitnet_request *request)
{
    if (request == NULL) return;
    atomic_store_explicit(&request->is_cancelled, true, memory_order_relaxed);
}

bitnet_finish bitnet_request_finish(const bitnet_request *request)
{
    if (request == NULL || bni_fork_is_older(request->engine->generation))
        return BITNET_FINISH_NONE;
    bitnet_request *locked = (bitnet_request *)request; /* for its lock only */
    bni_mutex_lock(&locked->lock);
    const bitnet_finish finish = locked->finish;
    bni_mutex_unlock(&locked->lock);
    return finish;
}

void bitnet_request_release(bitnet_request *request)
{
    if (request == NULL) return;
    bitnet_request_cancel(request);
    bni_request_unref(request);
}
