/* SPDX-License-Identifier: MIT */
/*
 * embed.c - the public calls of bitnet/embed.h.
 */
#include <bitnet/embed.h>

#include <inttypes.h>

#include "base/error.h"
#include "base/options.h"
#include "engine/engine.h"
#include "engine/reading.h"

bitnet_status bitnet_embed_async(bitnet_engine *engine,
                                 const bitnet_embed_options *options, const char *text,
                                 bitnet_request **out)
{
    bitnet_embed_options resolved = bitnet_embed_options_default();
    const bitnet_status status =
        bni_options_read("embed options", &resolved, sizeof(resolved), options);
    if (status != BITNET_OK) return status;
    if (resolved.pooling != BITNET_POOLING_MEAN &&
        resolved.pooling != BITNET_POOLING_LAST)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "embed: pooling is %d, which is no bitnet_pooling",
                         (int)resolved.pooling);
    if (text == NULL && resolved.tokens == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "embed: neither text nor options->tokens is set");
    bitnet_generate_options as_request = bitnet_generate_options_default();
    as_request.parse_special = resolved.parse_special;
    as_request.deadline_ns = resolved.deadline_ns;
    as_request.when_full = resolved.when_full;
    as_request.room_deadline_ns = resolved.room_deadline_ns;
    as_request.client_id = resolved.client_id;
    as_request.priority = resolved.priority;
    as_request.events = resolved.events;
    as_request.event_tag = resolved.event_tag;
    const struct bni_reading reading = {
        .kind = resolved.pooling == BITNET_POOLING_MEAN ? BNI_READOUT_MEAN
                                                        : BNI_READOUT_LAST,
        .is_normalised = resolved.normalises,
        .what = "embed",
        .text = text,
        .tokens = resolved.tokens,
        .n_tokens = resolved.n_tokens,
    };
    return bni_reading_submit(engine, &reading, &as_request, out);
}

bitnet_status bitnet_embed(bitnet_engine *engine, const bitnet_embed_options *options,
                           const char *text, float *vector, size_t n_vector)
{
    if (engine == NULL || vector == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "embed: %s is NULL",
                         engine == NULL ? "engine" : "vector");
    if (n_vector != engine->model->hparams.n_embd)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "embed: n_vector is %zu; a vector of this model has %" PRIu32
                         " numbers",
                         n_vector, engine->model->hparams.n_embd);
    bitnet_request *request;
    const bitnet_status status = bitnet_embed_async(engine, options, text, &request);
    return status == BITNET_OK ? bni_reading_take(request, vector) : status;
}

bitnet_status bitnet_request_get_embedding(bitnet_request *request,
                                           const float **vector, size_t *n_vector)
{
    return bni_reading_values(request, "bitnet_request_get_embedding", BNI_READOUT_MEAN,
                              BNI_READOUT_LAST, vector, n_vector);
}
