/* SPDX-License-Identifier: MIT */
/*
 * grammar_mask.c - see grammar_mask.h.
 */
#include "engine/grammar_mask.h"

#include <math.h>
#include <string.h>

#include "base/size.h"

enum {
    N_SPARE_TRIES = 64,   /* beyond those wanted, before the vocabulary is walked */
    MAX_WALK_BYTES = 256, /* of a token: longer ones are tried one by one */
};

static struct bni_string bytes_of(const struct bni_grammar_mask *mask,
                                  bitnet_token token)
{
    return bni_tokenizer_bytes(mask->tokenizer, token, false);
}

bool bni_grammar_mask_is_end(const struct bni_grammar_mask *mask, bitnet_token token)
{
    return bni_stop_rules_have_token(mask->stops, token) ||
           bni_tokenizer_is_end(mask->tokenizer, token);
}

static bool allows_end(const struct bni_grammar_mask *mask, bitnet_token token)
{
    if (!bni_matcher_current(mask->matcher)->can_end) return false;
    return !mask->ignores_eos || bni_stop_rules_have_token(mask->stops, token);
}

bool bni_grammar_mask_allows(const struct bni_grammar_mask *mask, bitnet_token token)
{
    if (bni_grammar_mask_is_end(mask, token)) return allows_end(mask, token);
    const struct bni_string bytes = bytes_of(mask, token);
    return bytes.n_bytes > 0 &&
           bni_matcher_allows(mask->matcher, bytes.bytes, bytes.n_bytes);
}

/* ---- the likely ones first ----------------------------------------------------------- */

/* Tries candidates in their order. True if that decides which are the first `n_wanted`;
 * `*n_found` are then at the beginning of `candidates`. */
static bool try_likely(const struct bni_grammar_mask *mask, const float *logits,
                       uint32_t n_vocab, size_t n_wanted,
                       struct bni_candidate *candidates, size_t *n_found)
{
    for (uint32_t t = 0; t < n_vocab; t++)
        candidates[t] = (struct bni_candidate){logits[t], (bitnet_token)t};
    bni_candidates_make_queue(candidates, n_vocab);
    /* What is found goes to the end, from the back, where the queue has left room. */
    size_t n_queued = n_vocab;
    size_t n_left = n_wanted + N_SPARE_TRIES;
    *n_found = 0;
    while (*n_found < n_wanted && n_queued > 0 && isfinite(candidates[0].logit)) {
        if (n_left-- == 0) return false;
        const struct bni_candidate first =
            bni_candidates_take_first(candidates, &n_queued);
        if (bni_grammar_mask_allows(mask, first.token))
            candidates[n_vocab - ++*n_found] = first;
    }
    for (size_t i = 0, from; i < *n_found && i < (from = n_vocab - 1 - i); i++) {
        const struct bni_candidate swapped = candidates[i];
        candidates[i] = candidates[from];
        candidates[from] = swapped;
    }
    return true;
}

/* ---- all of them --------------------------------------------------------------------- */

struct walk {
    struct bni_matcher_state states[MAX_WALK_BYTES + 1]; /* after so many bytes */
};

static size_t add_allowed(const float *logits, bitnet_token token,
                          struct bni_candidate *candidates, size_t n)
{
    if (isfinite(logits[token]))
        candidates[n++] = (struct bni_candidate){logits[token], token};
    return n;
}

static size_t add_ends(const struct bni_grammar_mask *mask, const float *logits,
                       struct bni_candidate *candidates, size_t n)
{
    for (uint32_t i = 0; i < mask->order->n_ends; i++) {
        const bitnet_token token = (bitnet_token)mask->order->ends[i];
        if (allows_end(mask, token)) n = add_allowed(logits, token, candidates, n);
    }
    for (uint32_t i = 0; i < mask->stops->n_tokens; i++) {
        const bitnet_token token = mask->stops->tokens[i];
        bool is_known = bni_tokenizer_is_end(mask->tokenizer, token);
        for (uint32_t k = 0; k < i; k++) is_known |= mask->stops->tokens[k] == token;
        if (!is_known && allows_end(mask, token))
            n = add_allowed(logits, token, candidates, n);
    }
    return n;
}

/* Walks the vocabulary in the order of its bytes. */
size_t bni_grammar_mask_list(const struct bni_grammar_mask *mask, const float *logits,
                             struct bni_candidate *candidates)
{
    const struct bni_token_order *order = mask->order;
    struct walk walk;
    uint32_t n_valid = 0; /* states [0, n_valid] are those of the token before */
    uint32_t n_refused = UINT32_MAX; /* its beginning of so many bytes is refused */
    size_t n_found = 0;
    walk.states[0] = *bni_matcher_current(mask->matcher);
    for (uint32_t i = 0; i < order->n_tokens; i++) {
        const bitnet_token token = (bitnet_token)order->tokens[i];
        if (order->shared[i] >= n_refused) continue;
        const struct bni_string bytes = bytes_of(mask, token);
        n_refused = UINT32_MAX;
        if (order->shared[i] < n_valid) n_valid = order->shared[i];
        bni_matcher_cut(mask->matcher, &walk.states[n_valid]);
        const uint32_t n_walked =
            (uint32_t)bni_size_min(bytes.n_bytes, (size_t)MAX_WALK_BYTES);
        while (n_valid < n_walked &&
               bni_matcher_step(mask->matcher, &walk.states[n_valid],
                                (uint8_t)bytes.bytes[n_valid],
                                &walk.states[n_valid + 1]))
            n_valid++;
        if (n_valid < n_walked) {
            n_refused = n_valid + 1;
            continue;
        }
        if (bni_stop_rules_have_token(mask->stops, token)) continue; /* an end */
        bool is_allowed = true;
        if (bytes.n_bytes > MAX_WALK_BYTES) {
            bni_matcher_cut(mask->matcher, &walk.states[0]);
            is_allowed = bni_matcher_allows(mask->matcher, bytes.bytes, bytes.n_bytes);
            n_valid = 0;
        }
        if (is_allowed) n_found = add_allowed(logits, token, candidates, n_found);
    }
    bni_matcher_cut(mask->matcher, &walk.states[0]);
    return add_ends(mask, logits, candidates, n_found);
}

size_t bni_grammar_mask_take_top(const struct bni_grammar_mask *mask,
                                 const float *logits, uint32_t n_vocab, size_t n_wanted,
                                 struct bni_candidate *candidates)
{
    size_t n_found;
    if (n_wanted < n_vocab &&
        try_likely(mask, logits, n_vocab, n_wanted, candidates, &n_found))
        return n_found;
    n_found = bni_grammar_mask_list(mask, logits, candidates);
    const size_t n_kept = bni_size_min(n_found, n_wanted);
    bni_candidates_keep_top(candidates, n_found, n_kept);
    return n_kept;
}

void bni_grammar_mask_take(const struct bni_grammar_mask *mask, bitnet_token token)
{
    if (bni_grammar_mask_is_end(mask, token)) return;
    const struct bni_string bytes = bytes_of(mask, token);
    bni_matcher_take(mask->matcher, bytes.bytes, bytes.n_bytes);
}
