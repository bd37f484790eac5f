/* SPDX-License-Identifier: MIT */
/*
 * sampler.h - from a row of logits to a token.
 *
 * In this order: repetition penalty; greedy if the temperature is 0; otherwise
 * top-k, top-p and min-p cut the candidates, then the temperature shapes what is
 * left and one number in [0, 1) picks. Candidates are ordered by logit, the lower
 * id first among equals, so every step has one outcome. Pure: rows of a batch can
 * be sampled side by side.
 */
#ifndef BNI_ENGINE_SAMPLER_H
#define BNI_ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

enum { BNI_SAMPLER_MAX_REPEAT_LAST_N = 4096 };

struct bni_candidate {
    float logit;
    bitnet_token token;
};

struct bni_sampler {
    float temperature;
    float top_p;
    float min_p;
    float repeat_penalty;
    uint32_t top_k;
    uint32_t repeat_last_n;
    uint64_t seed;
};

/* Candidates that the scratch of bni_sample() must hold. */
size_t bni_sampler_scratch_candidates(uint32_t n_vocab);

/*
 * Returns the next token, or BITNET_NO_TOKEN if a logit is not finite. `logits` is
 * changed by the penalty. `history` are the request's `n_history` tokens so far,
 * `n_generated` of them its own: the number of the draw.
 */
bitnet_token bni_sample(const struct bni_sampler *sampler, float *logits,
                        uint32_t n_vocab, const bitnet_token *history, size_t n_history,
                        uint64_t n_generated, struct bni_candidate *scratch);

#endif
