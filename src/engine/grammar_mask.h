/* SPDX-License-Identifier: MIT */
/*
 * grammar_mask.h - which tokens a grammar lets be chosen.
 *
 * A token is allowed if the text may go on with its bytes; one that ends a generation,
 * if the text is a root. Which of the allowed tokens come first is found in two ways
 * with one result: candidates are tried from the most likely on, which mostly ends
 * after a few; and if too many of them are refused, the whole vocabulary is walked in
 * the order of its bytes, which leaves out a beginning that is refused with all that
 * begin so. The first is fast where much is allowed, the second where little is.
 */
#ifndef BNI_ENGINE_GRAMMAR_MASK_H
#define BNI_ENGINE_GRAMMAR_MASK_H

#include "engine/candidates.h"
#include "engine/grammar_matcher.h"
#include "engine/stop.h"
#include "engine/token_order.h"

struct bni_grammar_mask {
    struct bni_grammar_matcher *matcher;
    const struct bni_token_order *order;
    const struct bni_tokenizer *tokenizer;
    const struct bni_stop_rules *stops; /* whose tokens end a generation too */
    bool ignores_eos;                   /* end-of-generation tokens are never allowed */
};

/* Whether `token` ends the generation by itself. */
bool bni_grammar_mask_is_end(const struct bni_grammar_mask *mask, bitnet_token token);

bool bni_grammar_mask_allows(const struct bni_grammar_mask *mask, bitnet_token token);

/*
 * Puts the `n_wanted` first allowed candidates of finite logits, in order, at the
 * beginning of `candidates`, which has room for n_vocab. Returns how many there are:
 * fewer if there are not as many.
 */
size_t bni_grammar_mask_take_top(const struct bni_grammar_mask *mask,
                                 const float *logits, uint32_t n_vocab, size_t n_wanted,
                                 struct bni_candidate *candidates);

/* Lists all that is allowed, of finite logits, in any order; returns how many. */
size_t bni_grammar_mask_list(const struct bni_grammar_mask *mask, const float *logits,
                             struct bni_candidate *candidates);

/* Lets the text go on with a token that was allowed. */
void bni_grammar_mask_take(const struct bni_grammar_mask *mask, bitnet_token token);

#endif
