/* SPDX-License-Identifier: MIT */
/*
 * penalties.c - see penalties.h.
 */
#include "engine/penalties.h"

#include "base/size.h"

static bool changes_by_history(const struct bni_penalties *p)
{
    return p->repeat != 1.0f || p->frequency != 0.0f || p->presence != 0.0f;
}

static float penalised(const struct bni_penalties *p, float logit, size_t n_times)
{
    const float scaled = logit > 0 ? logit / p->repeat : logit * p->repeat;
    return scaled - ((float)n_times * p->frequency + p->presence);
}

size_t bni_penalties_window(const struct bni_penalties *penalties,
                            const bitnet_token *history, size_t n_history,
                            const bitnet_token **window)
{
    const size_t n_window =
        changes_by_history(penalties) ? bni_size_min(n_history, penalties->last_n) : 0;
    *window = history + (n_history - n_window);
    return n_window;
}

/* Sorts the window, so that equal tokens stand together, and writes each token's
 * former logit over the entries that have been read. Returns the distinct tokens. */
static size_t penalise_history(const struct bni_penalties *p,
                               const bitnet_token *history, size_t n_history,
                               float *logits, struct bni_candidate *changes)
{
    const bitnet_token *window;
    const size_t n_window = bni_penalties_window(p, history, n_history, &window);
    for (size_t i = 0; i < n_window; i++)
        changes[i] = (struct bni_candidate){.logit = 0, .token = window[i]};
    bni_candidates_sort(changes, n_window);

    size_t n_distinct = 0;
    for (size_t begin = 0, end; begin < n_window; begin = end) {
        const bitnet_token token = changes[begin].token;
        for (end = begin + 1; end < n_window && changes[end].token == token;) end++;
        changes[n_distinct++] = (struct bni_candidate){logits[token], token};
        logits[token] = penalised(p, logits[token], end - begin);
    }
    return n_distinct;
}

size_t bni_penalties_apply(const struct bni_penalties *penalties,
                           const bitnet_token *history, size_t n_history, float *logits,
                           struct bni_candidate *changes)
{
    size_t n_changes = penalise_history(penalties, history, n_history, logits, changes);
    for (uint32_t i = 0; i < penalties->n_biases; i++) {
        const bitnet_token token = penalties->biases[i].token;
        changes[n_changes++] = (struct bni_candidate){logits[token], token};
        logits[token] += penalties->biases[i].bias;
    }
    return n_changes;
}

float bni_penalties_former_logit(const float *logits,
                                 const struct bni_candidate *changes, size_t n_changes,
                                 bitnet_token token)
{
    for (size_t i = 0; i < n_changes; i++)
        if (changes[i].token == token) return changes[i].logit;
    return logits[token];
}
