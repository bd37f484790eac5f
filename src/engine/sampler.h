/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - from a row of logits to a token.
 *
 * The stages, in this order, which bitnet/engine.h promises:
 *
 *     logits -> log-probabilities, if wanted       logprobs.h
 *            -> penalties and biases               penalties.h
 *            -> what the grammar allows            grammar_mask.h
 *            -> most likely, if temperature is 0
 *            -> top-k                              candidates.h
 *            -> typical-p, top-p, min-p            filters.h
 *            -> temperature, one draw              random.h
 *
 * Pure: rows of a batch can be sampled side by side. Nothing is allocated.
 */
#ifndef BNI_ENGINE_SAMPLER_H
#define BNI_ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

#include "engine/candidates.h"
#include "engine/grammar_mask.h"
#include "engine/penalties.h"
#include "engine/two_pass.h"

struct bni_sampler {
    struct bni_penalties penalties;
    float temperature;
    float typical_p;
    float top_p;
    float min_p;
    uint32_t top_k;
    uint64_t seed;
};

/* Where the log-probabilities of one token go. */
struct bni_logprob_sink {
    float *chosen;
    bitnet_token_logprob *top; /* [n_top] */
    uint32_t n_top;            /* at most n_vocab */
};

struct bni_sample_row {
    float *logits; /* [n_vocab]; changed by penalties and biases */
    uint32_t n_vocab;
    const bitnet_token *history; /* the request's tokens so far */
    size_t n_history;
    uint64_t n_generated;          /* of them its own: the number of the draw */
    struct bni_candidate *scratch; /* [bni_sampler_scratch_candidates()] */
    const struct bni_logprob_sink *logprobs; /* or NULL */
    const struct bni_grammar_mask *mask;     /* or NULL */
};

/* What bni_sample() returns when there is no token to return. */
enum {
    BNI_SAMPLE_NOT_FINITE = -1,   /* a logit is NaN or infinite */
    BNI_SAMPLE_NOTHING_LEFT = -2, /* every token is banned or not allowed */
};

/* Returns what bni_sample() will look at of a row without logprobs and without mask. */
struct bni_logit_need bni_sampler_need(const struct bni_sampler *sampler,
                                       const bitnet_token *history, size_t n_history);

/* Candidates that the scratch of bni_sample() must hold. */
size_t bni_sampler_scratch_candidates(uint32_t n_vocab);

/* Returns the next token, or one of the above. */
bitnet_token bni_sample(const struct bni_sampler *sampler,
                        const struct bni_sample_row *row);

#endif
