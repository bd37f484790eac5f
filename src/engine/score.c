/* SPDX-License-Identifier: MIT */
/*
 * score.c - the public calls of bitnet/score.h.
 *
 * The last token is looked up and never computed: n tokens are n - 1 rows.
 */
#include <bitnet/score.h>

#include "base/error.h"
#include "base/options.h"
#include "engine/reading.h"

bitnet_status bitnet_score_async(bitnet_engine *engine,
                                 const bitnet_score_options *options,
                                 const bitnet_token *tokens, size_t n_tokens,
                                 bitnet_request **out)
{
    bitnet_score_options resolved = bitnet_score_options_default();
    const bitnet_status status =
        bni_options_read("score options", &resolved, sizeof(resolved), options);
    if (status != BITNET_OK) return status;
    if (tokens == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "score: tokens is NULL");
    if (n_tokens < 2)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "score: n_tokens is %zu; it takes one token to predict and "
                         "one before it",
                         n_tokens);
    if (resolved.first_scored < 1 || resolved.first_scored >= n_tokens)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "score: first_scored is %zu; with %zu tokens it must be from 1 "
            "to %zu",
            resolved.first_scored, n_tokens, n_tokens - 1);
    bitnet_generate_options as_request = bitnet_generate_options_default();
    as_request.deadline_ns = resolved.deadline_ns;
    as_request.when_full = resolved.when_full;
    as_request.room_deadline_ns = resolved.room_deadline_ns;
    as_request.client_id = resolved.client_id;
    as_request.priority = resolved.priority;
    as_request.keeps_logits = resolved.keeps_logits;
    as_request.events = resolved.events;
    as_request.event_tag = resolved.event_tag;
    const struct bni_reading reading = {
        .kind = BNI_READOUT_SCORES,
        .what = "score",
        .tokens = tokens,
        .n_tokens = n_tokens,
        .first_scored = resolved.first_scored,
    };
    return bni_reading_submit(engine, &reading, &as_request, out);
}

bitnet_status bitnet_score(bitnet_engine *engine, const bitnet_score_options *options,
                           const bitnet_token *tokens, size_t n_tokens, float *logprobs)
{
    if (logprobs == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "score: logprobs is NULL");
    bitnet_request *request;
    const bitnet_status status =
        bitnet_score_async(engine, options, tokens, n_tokens, &request);
    return status == BITNET_OK ? bni_reading_take(request, logprobs) : status;
}

bitnet_status bitnet_request_get_score(bitnet_request *request, const float **logprobs,
                                       size_t *n_logprobs)
{
    return bni_reading_values(request, "bitnet_request_get_score", BNI_READOUT_SCORES,
                              BNI_READOUT_SCORES, logprobs, n_logprobs);
}
