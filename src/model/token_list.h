/* SPDX-License-Identifier: MIT */
/*
 * token_list.h - tokens in a block that grows.
 */
#ifndef BNI_MODEL_TOKEN_LIST_H
#define BNI_MODEL_TOKEN_LIST_H

#include <stddef.h>
#include <string.h>

#include <bitnet/model.h>

#include "base/alloc.h"

/* All zeros to begin with; the owner frees `tokens`. */
struct bni_token_list {
    bitnet_token *tokens;
    size_t n_tokens;
    size_t max_tokens;
};

/* Fails with OUT_OF_MEMORY, and then leaves the list as it was. */
static inline bitnet_status bni_token_list_append(struct bni_token_list *list,
                                                  bitnet_token token)
{
    enum { MIN_TOKENS = 48 };
    if (list->n_tokens == list->max_tokens) {
        const size_t max_tokens =
            list->max_tokens == 0 ? MIN_TOKENS : list->max_tokens * 2;
        bitnet_token *tokens = bni_calloc(max_tokens, sizeof(*tokens));
        if (tokens == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
        if (list->n_tokens > 0)
            memcpy(tokens, list->tokens, list->n_tokens * sizeof(*tokens));
        bni_free(list->tokens);
        list->tokens = tokens;
        list->max_tokens = max_tokens;
    }
    list->tokens[list->n_tokens++] = token;
    return BITNET_OK;
}

#endif
