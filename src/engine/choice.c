/* SPDX-License-Identifier: MIT */
/*
 * choice.c - see choice.h.
 */
#include "engine/choice.h"

#include <inttypes.h>

#include "engine/engine.h"
#include "engine/stop.h"
#include "engine/text_stream.h"

bitnet_token bni_request_choose(bitnet_request *request, float *logits,
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

bitnet_finish bni_request_accept(bitnet_request *request, bitnet_token token,
                                 struct bni_error_record *error)
{
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
    if (bni_request_is_end(request, token)) return BITNET_FINISH_STOP;
    bni_request_push(request, token);
    if (completes_stop_string(request, token) || completes_grammar(request))
        return BITNET_FINISH_STOP;
    const uint32_t n_generated = request->n_computed - request->n_prompt + 1;
    return n_generated == request->max_tokens ? BITNET_FINISH_LENGTH
                                              : BITNET_FINISH_NONE;
}
