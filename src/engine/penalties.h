/* SPDX-License-Identifier: MIT */
/*
 * penalties.h - what changes logits before anything is chosen by them.
 *
 * In this order, for each distinct token of the last `last_n`: a positive logit is
 * divided by the repetition penalty and another multiplied by it (Keskar et al.,
 * "CTRL", 2019, section 4.1), once however often the token came; then the
 * frequency penalty times how often it came, and the presence penalty, are taken
 * off. Last, biases are added, so a bias has the last word.
 *
 * What a logit was before its first change is written down, so that the model's own
 * probability can be told of whatever token is chosen afterwards.
 */
#ifndef BNI_ENGINE_PENALTIES_H
#define BNI_ENGINE_PENALTIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

#include "engine/candidates.h"

enum {
    BNI_PENALTIES_MAX_LAST_N = 4096,
    /* Logits that can be changed, and so are written down. */
    BNI_PENALTIES_MAX_CHANGES = BNI_PENALTIES_MAX_LAST_N + BITNET_MAX_LOGIT_BIASES,
};

struct bni_penalties {
    float repeat;    /* 1: none */
    float frequency; /* 0: none */
    float presence;  /* 0: none */
    uint32_t last_n;
    uint32_t n_biases;
    const bitnet_logit_bias *biases; /* tokens of the vocabulary; finite or -infinity */
};

/*
 * Changes `logits` and writes each changed token with its former logit to
 * `changes`, which has room for BNI_PENALTIES_MAX_CHANGES; returns how many. The
 * first entry of a token is the one from before all changes.
 */
size_t bni_penalties_apply(const struct bni_penalties *penalties,
                           const bitnet_token *history, size_t n_history, float *logits,
                           struct bni_candidate *changes);

/* The tokens that bni_penalties_apply() would change: `*window` and the list of biases.
 * One may come several times. */
size_t bni_penalties_window(const struct bni_penalties *penalties,
                            const bitnet_token *history, size_t n_history,
                            const bitnet_token **window);

/* Returns what the logit of `token` was before bni_penalties_apply(). */
float bni_penalties_former_logit(const float *logits,
                                 const struct bni_candidate *changes, size_t n_changes,
                                 bitnet_token token);

#endif
