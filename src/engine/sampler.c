/* SPDX-License-Identifier: MIT */
/*
 * sampler.c - see sampler.h.
 *
 * The candidates are kept in a heap whose root is the worst of them: with top-k
 * only k are ever held, and emptying the heap from the back sorts what it held.
 * No library sort: theirs may allocate, and equal keys have no defined order.
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdbool.h>

#include "base/size.h"
#include "engine/random.h"
#include "kernels/elementary.h"

size_t bni_sampler_scratch_candidates(uint32_t n_vocab)
{
    return bni_size_max(n_vocab, BNI_SAMPLER_MAX_REPEAT_LAST_N);
}

/* ---- order ----------------------------------------------------------------------- */

static bool comes_before(struct bni_candidate a, struct bni_candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/* Lets heap[i] sink below every child that comes later in the order. */
static void sink(struct bni_candidate *heap, size_t n, size_t i)
{
    const struct bni_candidate item = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && comes_before(heap[child], heap[child + 1])) child++;
        if (!comes_before(item, heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static void make_heap(struct bni_candidate *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sink(heap, n, i);
}

/* Turns a heap into a list in order: the last goes to the back, again and again. */
static void sort_heap(struct bni_candidate *heap, size_t n)
{
    while (n > 1) {
        n--;
        const struct bni_candidate last = heap[0];
        heap[0] = heap[n];
        sink(heap, n, 0);
        heap[n] = last;
    }
}

/* ---- the steps -------------------------------------------------------------------- */

static bool all_are_finite(const float *logits, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n_vocab; i++)
        if (!isfinite(logits[i])) return false;
    return true;
}

/* Divides a positive logit, multiplies a negative one, once for each distinct token
 * of the window: Keskar et al., "CTRL", 2019, section 4.1. */
static void penalise_repetition(const struct bni_sampler *sampler, float *logits,
                                const bitnet_token *history, size_t n_history,
                                struct bni_candidate *scratch)
{
    const size_t n_window = bni_size_min(n_history, sampler->repeat_last_n);
    const bitnet_token *window = history + (n_history - n_window);
    for (size_t i = 0; i < n_window; i++)
        scratch[i] = (struct bni_candidate){.logit = 0, .token = window[i]};
    make_heap(scratch, n_window);
    sort_heap(scratch, n_window);
    for (size_t i = 0; i < n_window; i++) {
        const bitnet_token token = scratch[i].token;
        if (i > 0 && token == scratch[i - 1].token) continue;
        if (logits[token] > 0)
            logits[token] /= sampler->repeat_penalty;
        else
            logits[token] *= sampler->repeat_penalty;
    }
}

static bitnet_token most_likely(const float *logits, uint32_t n_vocab)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (bitnet_token)best;
}

/* Puts the `n_kept` first candidates in order. */
static void take_top(const float *logits, uint32_t n_vocab, size_t n_kept,
                     struct bni_candidate *kept)
{
    for (uint32_t i = 0; i < n_vocab; i++) {
        const struct bni_candidate candidate = {logits[i], (bitnet_token)i};
        if (i < n_kept) {
            kept[i] = candidate;
            if (i + 1 == n_kept) make_heap(kept, n_kept);
        } else if (comes_before(candidate, kept[0])) {
            kept[0] = candidate;
            sink(kept, n_kept, 0);
        }
    }
    sort_heap(kept, n_kept);
}

/* The shortest prefix with at least top_p of the probability; at least one. */
static size_t cut_top_p(const struct bni_candidate *sorted, size_t n, float top_p)
{
    float total = 0;
    for (size_t i = 0; i < n; i++) total += bni_exp(sorted[i].logit - sorted[0].logit);
    const float wanted = top_p * total;
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += bni_exp(sorted[i].logit - sorted[0].logit);
        if (sum >= wanted) return i + 1;
    }
    return n;
}

/* The prefix at least min_p times as likely as the first; at least one. */
static size_t cut_min_p(const struct bni_candidate *sorted, size_t n, float min_p)
{
    size_t n_kept = 1;
    while (n_kept < n && bni_exp(sorted[n_kept].logit - sorted[0].logit) >= min_p)
        n_kept++;
    return n_kept;
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

bitnet_token bni_sample(const struct bni_sampler *sampler, float *logits,
                        uint32_t n_vocab, const bitnet_token *history, size_t n_history,
                        uint64_t n_generated, struct bni_candidate *scratch)
{
    if (!all_are_finite(logits, n_vocab)) return BITNET_NO_TOKEN;
    if (sampler->repeat_penalty != 1.0f)
        penalise_repetition(sampler, logits, history, n_history, scratch);
    if (sampler->temperature == 0.0f) return most_likely(logits, n_vocab);

    size_t n_kept = n_vocab;
    if (sampler->top_k != 0) n_kept = bni_size_min(n_kept, sampler->top_k);
    take_top(logits, n_vocab, n_kept, scratch);
    if (sampler->top_p < 1.0f) n_kept = cut_top_p(scratch, n_kept, sampler->top_p);
    if (sampler->min_p > 0.0f) n_kept = cut_min_p(scratch, n_kept, sampler->min_p);
    return draw(scratch, n_kept, sampler->temperature,
                bni_random_unit(sampler->seed, n_generated));
}
