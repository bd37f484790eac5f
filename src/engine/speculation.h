/* SPDX-License-Identifier: MIT */
/*
 * speculation.h - guessing a request's next tokens from its own text.
 *
 * Text repeats itself: names, quotations, code, the answer that copies from the
 * question. So the last tokens are looked up earlier in the request's prompt and answer,
 * and what followed there is proposed:
 *
 *     tokens   ... the red ball . He saw     the red
 *                  ^^^^^^^ match  ^^^^        ^^^^^^^ end
 *                          └─ proposed: ball . He saw
 *
 * The step computes proposed tokens like those of a prompt, one row each, and a row's
 * logits say what follows it if it is right. They are gone through in order: as long as
 * the token that is chosen from a row, by the sampler and all its state, is the next one
 * proposed, that one's row holds too. So proposals decide how many tokens a step
 * brings, and never which: the answer is the one without them, to the bit.
 *
 * Proposed tokens lie in the request's array, behind those that count, and their keys and
 * values in its own pages, behind the computed positions: what was wrong is written
 * over before it is read, and a page is not known to others before all of it is right.
 *
 * Each request learns whether it is worth it. A row costs the same whether it proves
 * right or not, and the more requests share a step the less is saved by taking fewer
 * steps; so the share of proposals that must prove right grows with their number.
 * Below it a request is left alone for longer and longer, but not for ever.
 */
#ifndef BNI_ENGINE_SPECULATION_H
#define BNI_ENGINE_SPECULATION_H

#include <stdint.h>

#include <bitnet/engine.h>

/* What a request has learned; the scheduler's alone. */
struct bni_speculation {
    uint32_t max_drafts; /* for one step; fixed; 0: never */
    uint32_t n_wanted;   /* when it is tried next */
    uint32_t n_to_skip;  /* steps until then */
    uint32_t skip_length;
    float rate;        /* of proposals that proved right, lately */
    float rate_needed; /* in the last step */
};

void bni_speculation_init(struct bni_speculation *speculation, uint32_t max_drafts);

/*
 * Counts a step in which `n_generating` requests have rows. Returns how many tokens
 * should be proposed for it, perhaps 0.
 */
uint32_t bni_speculation_begin_step(struct bni_speculation *speculation,
                                    uint32_t n_generating);

/* Learns from a step for which `n_drafts` > 0 were proposed. */
void bni_speculation_learn(struct bni_speculation *speculation, uint32_t n_drafts,
                           uint32_t n_accepted);

/*
 * Writes what may follow `tokens[0..n_tokens)` behind them, at most `n_wanted` tokens.
 * Returns how many: all, or none. Looks back a bounded number of tokens.
 */
uint32_t bni_draft(bitnet_token *tokens, uint32_t n_tokens, uint32_t n_wanted);

#endif
