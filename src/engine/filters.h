/* SPDX-License-Identifier: MIT */
/*
 * filters.h - which candidates may be drawn, beyond the first k.
 *
 * Each filter takes candidates in order, all of finite logits and at least one of
 * them, and keeps at least one. Probabilities are the softmax of the candidates that
 * the filter is given, at temperature 1.
 */
#ifndef BNI_ENGINE_FILTERS_H
#define BNI_ENGINE_FILTERS_H

#include <stddef.h>

#include "engine/candidates.h"

/*
 * Locally typical sampling (Meister et al., 2022): keeps those whose surprise is
 * nearest to the mean surprise, until they have `typical_p` of the probability. They
 * are moved to the front, in order; returns how many.
 */
size_t bni_filter_typical_p(struct bni_candidate *sorted, size_t n, float typical_p);

/* Returns the length of the shortest prefix with `top_p` of the probability. */
size_t bni_filter_top_p(const struct bni_candidate *sorted, size_t n, float top_p);

/* Returns how many are at least `min_p` times as likely as the first. */
size_t bni_filter_min_p(const struct bni_candidate *sorted, size_t n, float min_p);

/* How far below the first logit nothing is that bni_filter_min_p() keeps; min_p > 0. */
float bni_filter_min_p_depth(float min_p);

#endif
