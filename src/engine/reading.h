/* SPDX-License-Identifier: MIT */
/*
 * reading.h - the calling thread's side of requests that read a text and write none:
 * what bitnet_score() and bitnet_embed() have in common.
 */
#ifndef BNI_ENGINE_READING_H
#define BNI_ENGINE_READING_H

#include <stddef.h>

#include <bitnet/engine.h>

#include "engine/readout.h"

struct bni_reading {
    enum bni_readout_kind kind;
    bool is_normalised;
    const char *what;           /* for messages */
    const bitnet_token *tokens; /* instead of text */
    size_t n_tokens;
    const char *text;    /* or NULL */
    size_t first_scored; /* token; of BNI_READOUT_SCORES */
};

/*
 * Makes a request of it and admits it. Of `options` those count that say how it is
 * admitted and scheduled, parse_special and keeps_logits.
 */
bitnet_status bni_reading_submit(bitnet_engine *engine,
                                 const struct bni_reading *reading,
                                 const bitnet_generate_options *options,
                                 bitnet_request **out);

/* Waits for the end, copies the values to `out` if it was a good one, and releases. */
bitnet_status bni_reading_take(bitnet_request *request, float *out);

/* What a request of the kinds `from` to `to` gave, or how it failed. */
bitnet_status bni_reading_values(bitnet_request *request, const char *what,
                                 enum bni_readout_kind from, enum bni_readout_kind to,
                                 const float **values, size_t *n_values);

#endif
