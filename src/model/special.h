/* SPDX-License-Identifier: MIT */
/*
 * special.h - finding special tokens' texts in a text.
 *
 * Before text is tokenised it is cut at the texts of special tokens, the leftmost
 * first and of those that begin at one place the longest. User-defined tokens are
 * always recognised. Control tokens and the unknown token are recognised only where
 * the caller asks for it, because they end turns: in text that a stranger wrote
 * they are nothing but text.
 */
#ifndef BNI_MODEL_SPECIAL_H
#define BNI_MODEL_SPECIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/vocabulary.h"

/* Fixed once created. All zeros is an empty set that may be cleared. */
struct bni_special_set {
    const struct bni_vocabulary *vocabulary;
    uint32_t *tokens; /* sorted by their bytes */
    size_t n_tokens;
    size_t first_begin[257]; /* [b] to [b + 1]: those whose first byte is b */
};

/* Fails with OUT_OF_MEMORY, and then needs no clear. */
bitnet_status bni_special_set_create(struct bni_special_set *set,
                                     const struct bni_vocabulary *vocabulary);

void bni_special_set_clear(struct bni_special_set *set);

/*
 * Finds the first special token at or after `*begin` in a text of `n_bytes`: puts
 * where it begins there, and returns it. BITNET_NO_TOKEN, and `n_bytes`, at the end.
 */
bitnet_token bni_special_set_find(const struct bni_special_set *set, const char *text,
                                  size_t n_bytes, bool parse_special, size_t *begin);

#endif
