/* SPDX-License-Identifier: MIT */
/*
 * candidates.h - tokens in the order of their logits.
 *
 * The order is total: by logit, the lower id first among equals. So whatever is
 * decided by it has one outcome. A heap here has the candidate at its root that
 * comes last: with top-k only k are ever held, and emptying the heap from the back
 * sorts what it held. No library sort: theirs may allocate, and equal keys have no
 * defined order.
 */
#ifndef BNI_ENGINE_CANDIDATES_H
#define BNI_ENGINE_CANDIDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

struct bni_candidate {
    float logit;
    bitnet_token token;
};

static inline bool bni_candidate_comes_before(struct bni_candidate a,
                                              struct bni_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/* Puts any `n` candidates in order. */
void bni_candidates_sort(struct bni_candidate *candidates, size_t n);

/*
 * Puts the `n_kept` first of a row of logits, in order, into `kept`. 1 <= n_kept <=
 * n_vocab. Logits may be -infinity, and must not be NaN.
 */
void bni_candidates_take_top(const float *logits, uint32_t n_vocab, size_t n_kept,
                             struct bni_candidate *kept);

/* Puts all tokens whose logits are at least `least` into `kept`, which has room for
 * n_vocab, in order, and returns how many. */
size_t bni_candidates_take_from(const float *logits, uint32_t n_vocab, float least,
                                struct bni_candidate *kept);

/* Puts the `n_kept` <= n first of any candidates, in order, at their beginning. */
void bni_candidates_keep_top(struct bni_candidate *candidates, size_t n, size_t n_kept);

/*
 * The other way round, for who does not know how many will be looked at: makes a
 * heap whose root comes first, and takes the root off it.
 */
void bni_candidates_make_queue(struct bni_candidate *candidates, size_t n);
struct bni_candidate bni_candidates_take_first(struct bni_candidate *queue, size_t *n);

#endif
