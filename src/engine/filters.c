/* SPDX-License-Identifier: MIT */
/*
 * filters.c - see filters.h.
 *
 * What is typical is an interval of the order. The surprise of a candidate is
 * -ln p, which grows along the order, so its distance to the mean falls up to one
 * candidate and grows from there: the interval starts at that one and takes in
 * whichever neighbour is nearer. In the distance the normalisation cancels:
 * with d = logit - first logit it is |d - mean of d|, and no logarithm is needed.
 */
#include "engine/filters.h"

#include <math.h>
#include <string.h>

#include "engine/logprobs.h"
#include "kernels/elementary.h"

static float weight_of(const struct bni_candidate *sorted, size_t i)
{
    return bni_exp(sorted[i].logit - sorted[0].logit);
}

/* How far candidate i's surprise is from the mean one. */
static double distance(const struct bni_candidate *sorted, size_t i, double mean)
{
    return fabs((double)(sorted[i].logit - sorted[0].logit) - mean);
}

size_t bni_filter_typical_p(struct bni_candidate *sorted, size_t n, float typical_p)
{
    double total = 0;
    double moment = 0;
    for (size_t i = 0; i < n; i++) {
        const double weight = (double)weight_of(sorted, i);
        total += weight;
        moment += weight * (double)(sorted[i].logit - sorted[0].logit);
    }
    const double mean = moment / total;
    const double wanted = (double)typical_p * total;

    /* [begin, end) are kept; distances rise away from it on both sides. */
    size_t begin = 0;
    for (size_t i = 1; i < n;
         i++) /* equal logits are a step of the slope: no early end */
        if (distance(sorted, i, mean) < distance(sorted, begin, mean)) begin = i;
    size_t end = begin + 1;
    double sum = (double)weight_of(sorted, begin);
    while (sum < wanted && end - begin < n) {
        const bool takes_earlier =
            end == n || (begin > 0 && distance(sorted, begin - 1, mean) <=
                                          distance(sorted, end, mean));
        sum += (double)weight_of(sorted, takes_earlier ? begin - 1 : end);
        if (takes_earlier)
            begin--;
        else
            end++;
    }
    memmove(sorted, sorted + begin, (end - begin) * sizeof(*sorted));
    return end - begin;
}

size_t bni_filter_top_p(const struct bni_candidate *sorted, size_t n, float top_p)
{
    float total = 0;
    for (size_t i = 0; i < n; i++) total += weight_of(sorted, i);
    const float wanted = top_p * total;
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += weight_of(sorted, i);
        if (sum >= wanted) return i + 1;
    }
    return n;
}

size_t bni_filter_min_p(const struct bni_candidate *sorted, size_t n, float min_p)
{
    size_t n_kept = 1;
    while (n_kept < n && weight_of(sorted, n_kept) >= min_p) n_kept++;
    return n_kept;
}

float bni_filter_min_p_depth(float min_p)
{
    /* A hundredth of the weight is more than what roundings can make of it. */
    return (float)(0.01 - bni_ln((double)min_p));
}
