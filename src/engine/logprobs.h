/* SPDX-License-Identifier: MIT */
/*
 * logprobs.h - how likely the model itself found a token.
 *
 * Logarithms of the softmax over the whole vocabulary of the logits as the forward
 * pass gave them: before penalties, biases and grammar, at temperature 1. So they
 * can be compared between requests that sample differently.
 */
#ifndef BNI_ENGINE_LOGPROBS_H
#define BNI_ENGINE_LOGPROBS_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

#include "engine/candidates.h"

/* What turns a logit of a row into its log-probability. */
struct bni_softmax {
    float max_logit;
    double ln_total; /* of the sum of exp(logit - max_logit) */
};

/* The natural logarithm of a positive normal number, from our own operations. */
double bni_ln(double x);

/* All logits must be finite. */
struct bni_softmax bni_softmax_of(const float *logits, uint32_t n_vocab);

float bni_logprob(const struct bni_softmax *softmax, float logit);

/* Writes the `n_top` <= n_vocab most likely tokens; `scratch` has room for as many. */
void bni_logprobs_top(const struct bni_softmax *softmax, const float *logits,
                      uint32_t n_vocab, size_t n_top, struct bni_candidate *scratch,
                      bitnet_token_logprob *top);

#endif
