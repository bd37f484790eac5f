/* SPDX-License-Identifier: MIT */
/*
 * token_order.h - a vocabulary in the order of its tokens' bytes.
 *
 * With the number of first bytes that each token shares with the one before it, the
 * order is a trie without nodes: going through it from the front, every beginning is
 * met once, and all tokens with a beginning that is of no use stand together.
 *
 *     shared  token
 *        0    "a"
 *        1    "ab"
 *        2    "abc"      "ab" is refused: skip while shared >= 2
 *        1    "ac"
 *
 * Immutable once made.
 */
#ifndef BNI_ENGINE_TOKEN_ORDER_H
#define BNI_ENGINE_TOKEN_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "model/tokenizer.h"

struct bni_token_order {
    uint32_t n_tokens; /* that print something and do not end a generation */
    uint32_t n_ends;   /* that do */
    uint32_t *tokens;  /* [n_tokens], in order */
    uint32_t *shared;  /* [n_tokens] */
    uint32_t *ends;    /* [n_ends] */
};

/* The bytes of the order of a vocabulary. */
size_t bni_token_order_bytes(const struct bni_tokenizer *tokenizer);

/* Makes the order of a vocabulary; one block, for bni_free(). */
bitnet_status bni_token_order_create(const struct bni_tokenizer *tokenizer,
                                     struct bni_token_order **out);

#endif
