/* SPDX-License-Identifier: MIT */
/*
 * sampler.c - see sampler.h.
 *
 * The scratch holds the former logits of what penalties change, and behind them the
 * candidates. A banned token has the logit -infinity: it sorts last and is cut off
 * before anything is computed with it.
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>

#include "base/size.h"
#include "engine/filters.h"
#include "engine/logprobs.h"
#include "engine/random.h"
#include "kernels/elementary.h"

size_t bni_sampler_scratch_candidates(uint32_t n_vocab)
{
    return (size_t)BNI_PENALTIES_MAX_CHANGES + n_vocab;
}

static bitnet_token most_likely(const float *logits, uint32_t n_vocab)
{
    struct bni_candidate best;
    bni_candidates_take_top(logits, n_vocab, 1, &best);
    return isfinite(best.logit) ? best.token : BNI_SAMPLE_NOTHING_LEFT;
}

static bitnet_token draw(const struct bni_candidate *sorted, size_t n,
                         float temperature, double unit)
{
    float total = 0;
    for (size_t i = 0; i < n; i++)
        total += bni_exp((sorted[i].logit - sorted[0].logit) / temperature);
    const double wanted = unit * (double)total;
    float sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += bni_exp((sorted[i].logit - sorted[0].logit) / temperature);
        if ((double)sum > wanted) return sorted[i].token;
    }
    return sorted[n - 1].token;
}

/* Cuts the candidates, which are in order, and draws one. */
static bitnet_token filter_and_draw(const struct bni_sampler *sampler,
                                    struct bni_candidate *sorted, size_t n,
                                    uint64_t n_generated)
{
    while (n > 0 && !isfinite(sorted[n - 1].logit)) n--;
    if (n == 0) return BNI_SAMPLE_NOTHING_LEFT;
    if (sampler->typical_p < 1.0f)
        n = bni_filter_typical_p(sorted, n, sampler->typical_p);
    if (sampler->top_p < 1.0f) n = bni_filter_top_p(sorted, n, sampler->top_p);
    if (sampler->min_p > 0.0f) n = bni_filter_min_p(sorted, n, sampler->min_p);
    return draw(sorted, n, sampler->temperature,
                bni_random_unit(sampler->seed, n_generated));
}

static bitnet_token choose_greedily(const struct bni_sample_row *row,
                                    struct bni_candidate *candidates)
{
    const bitnet_token token = most_likely(row->logits, row->n_vocab);
    if (row->mask == NULL || token < 0 || bni_grammar_mask_allows(row->mask, token))
        return token;
    const size_t n =
        bni_grammar_mask_take_top(row->mask, row->logits, row->n_vocab, 1, candidates);
    return n > 0 ? candidates[0].token : BNI_SAMPLE_NOTHING_LEFT;
}

/* Whether what is drawn from is decided by min-p alone. */
static bool is_min_p_alone(const struct bni_sampler *sampler)
{
    return sampler->top_k == 0 && sampler->typical_p >= 1.0f &&
           sampler->top_p >= 1.0f && sampler->min_p > 0.0f;
}

/* With min-p alone, those that it will not drop: a few, where sorting all takes long. */
static size_t take_likely(const struct bni_sampler *sampler,
                          const struct bni_sample_row *row,
                          struct bni_candidate *candidates)
{
    struct bni_candidate first;
    bni_candidates_take_top(row->logits, row->n_vocab, 1, &first);
    float least = first.logit - bni_filter_min_p_depth(sampler->min_p);
    least -= fabsf(least) * 0x1p-22f; /* what the subtraction rounded */
    return bni_candidates_take_from(row->logits, row->n_vocab, least, candidates);
}

static bitnet_token choose(const struct bni_sampler *sampler,
                           const struct bni_sample_row *row,
                           struct bni_candidate *candidates)
{
    if (sampler->temperature == 0.0f) return choose_greedily(row, candidates);
    size_t n_kept = row->n_vocab;
    if (sampler->top_k != 0) n_kept = bni_size_min(n_kept, sampler->top_k);
    if (row->mask == NULL && is_min_p_alone(sampler))
        n_kept = take_likely(sampler, row, candidates);
    else if (row->mask == NULL)
        bni_candidates_take_top(row->logits, row->n_vocab, n_kept, candidates);
    else
        n_kept = bni_grammar_mask_take_top(row->mask, row->logits, row->n_vocab, n_kept,
                                           candidates);
    return filter_and_draw(sampler, candidates, n_kept, row->n_generated);
}

struct bni_logit_need bni_sampler_need(const struct bni_sampler *sampler,
                                       const bitnet_token *history, size_t n_history)
{
    struct bni_logit_need need = {
        .penalties = &sampler->penalties,
        .history = history,
        .n_history = n_history,
    };
    if (sampler->temperature == 0.0f)
        need.n_top = 1;
    else if (sampler->top_k != 0)
        need.n_top = sampler->top_k;
    else if (is_min_p_alone(sampler)) {
        need.n_top = 1;
        need.depth = bni_filter_min_p_depth(sampler->min_p);
    }
    return need;
}

bitnet_token bni_sample(const struct bni_sampler *sampler,
                        const struct bni_sample_row *row)
{
    struct bni_candidate *changes = row->scratch;
    struct bni_candidate *candidates = row->scratch + BNI_PENALTIES_MAX_CHANGES;
    const struct bni_logprob_sink *sink = row->logprobs;
    struct bni_softmax softmax;

    if (!bni_all_are_finite(row->logits, row->n_vocab)) return BNI_SAMPLE_NOT_FINITE;
    if (sink != NULL) {
        softmax = bni_softmax_of(row->logits, row->n_vocab);
        bni_logprobs_top(&softmax, row->logits, row->n_vocab, sink->n_top, candidates,
                         sink->top);
    }
    const size_t n_changes = bni_penalties_apply(&sampler->penalties, row->history,
                                                 row->n_history, row->logits, changes);
    const bitnet_token token = choose(sampler, row, candidates);
    if (sink != NULL && token >= 0)
        *sink->chosen =
            bni_logprob(&softmax, bni_penalties_former_logit(row->logits, changes,
                                                             n_changes, token));
    return token;
}
