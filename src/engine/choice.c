/* SPDX-License-Identifier: MIT */
/*
 * choice.c - see choice.h.
 */
#include "engine/choice.h"

#include <inttypes.h>

#include "engine/engine.h"
#include "engine/stop.h"
#include "engine/text_stream.h"

/* Returns the token that follows the first `n_history`, or one of BNI_SAMPLE_*. */
static bitnet_token choose_one(bitnet_request *request, float *logits,
                               uint32_t n_history, struct bni_candidate *scratch)
{
    const uint32_t n_generated = n_history - request->n_prompt;
    struct bni_logprob_sink sink = {.n_top = request->n_top_logprobs};
    if (request->logprobs != NULL) {
        sink.chosen = request->logprobs + n_generated;
        sink.top = request->top_logprobs + (size_t)n_generated * sink.n_top;
    }
    const struct bni_sample_row row = {
        .logits = logits,
        .n_vocab = request->engine->model->hparams.n_vocab,
        .history = request->tokens,
        .n_history = n_history,
        .n_generated = n_generated,
        .scratch = scratch,
        .logprobs = request->logprobs != NULL ? &sink : NULL,
        .mask = request->mask.matcher != NULL ? &request->mask : NULL,
    };
    const bitnet_token token = bni_sample(&request->sampler, &row);
    if (row.mask != NULL && token >= 0) bni_grammar_mask_take(row.mask, token);
    return token;
}

struct bni_logit_need bni_request_need(const bitnet_request *request,
                                       uint32_t n_history,
                                       struct bni_candidate *scratch)
{
    const bool is_kept = request->logits != NULL || request->logprobs != NULL;
    const bool is_masked = request->mask.matcher != NULL;
    /* What a grammar allows after a draft is not known before the draft is chosen. */
    const bool is_after_draft = n_history > request->n_computed + 1;
    if (is_kept || (is_masked && is_after_draft && n_history > request->n_prompt))
        return (struct bni_logit_need){0};
    struct bni_logit_need need =
        bni_sampler_need(&request->sampler, request->tokens, n_history);
    if (is_masked) need.mask = &request->mask;
    need.scratch = scratch;
    return need;
}

bool bni_request_is_end(const bitnet_request *request, bitnet_token token)
{
    if (bni_stop_rules_have_token(&request->stops, token)) return true;
    return !request->ignores_eos &&
           bni_tokenizer_is_end(request->engine->model->tokenizer, token);
}

/* Nothing can follow, so there is no need to ask for an end-of-generation token. */
static bool completes_grammar(const bitnet_request *request)
{
    return request->mask.matcher != NULL &&
           bni_matcher_is_complete(request->mask.matcher);
}

/* The scheduler reads along, since the consumer may be far behind. */
static bool completes_stop_string(bitnet_request *request, bitnet_token token)
{
    if (request->stops.n_strings == 0) return false;
    bni_text_stream_push(&request->watched, token);
    return request->watched.is_stopped;
}

/* How the request ends by the token it has chosen after `n_history`. Once for each. */
static bitnet_finish judge(bitnet_request *request, bitnet_token token,
                           uint32_t n_history)
{
    if (token < 0) return BITNET_FINISH_ERROR;
    if (bni_request_is_end(request, token)) return BITNET_FINISH_STOP;
    if (completes_stop_string(request, token) || completes_grammar(request))
        return BITNET_FINISH_STOP;
    return n_history + 1 == request->n_prompt + request->max_tokens
               ? BITNET_FINISH_LENGTH
               : BITNET_FINISH_NONE;
}

void bni_request_choose(bitnet_request *request, float *logits, bitnet_token *chosen,
                        struct bni_candidate *scratch)
{
    const size_t n_vocab = request->engine->model->hparams.n_vocab;
    uint32_t n_history = request->n_computed + request->n_step_rows - request->n_drafts;
    bool goes_on = true;
    request->n_chosen = 0;
    for (; goes_on; n_history++, logits += n_vocab) {
        bni_request_keep_logits(request, logits);
        const bitnet_token token = choose_one(request, logits, n_history, scratch);
        request->ending = judge(request, token, n_history);
        chosen[request->n_chosen++] = token;
        goes_on = request->ending == BITNET_FINISH_NONE &&
                  request->n_chosen <= request->n_drafts &&
                  token == request->tokens[n_history];
    }
}

bitnet_finish bni_request_accept(bitnet_request *request, const bitnet_token *chosen,
                                 uint32_t index, struct bni_error_record *error)
{
    const bitnet_token token = chosen[index];
    *error = (struct bni_error_record){.status = BITNET_OK};
    if (token == BNI_SAMPLE_NOTHING_LEFT) {
        const bool has_run_out = request->mask.matcher != NULL &&
                                 bni_matcher_has_run_out(request->mask.matcher);
        bni_error_record_set(error, BITNET_ERROR_INFERENCE_FAILED,
                             "generate: no token is left to choose after %" PRIu32
                             " generated: %s",
                             request->n_computed - request->n_prompt,
                             has_run_out
                                 ? "the grammar is nested too deep here, or too "
                                   "ambiguous"
                                 : "logit_biases and the grammar, or the "
                                   "vocabulary, leave none");
        return BITNET_FINISH_ERROR;
    }
    if (!bni_request_is_end(request, token)) bni_request_push(request, token);
    return index + 1 == request->n_chosen ? request->ending : BITNET_FINISH_NONE;
}
