/* SPDX-License-Identifier: MIT */
/*
 * token_order.c - see token_order.h.
 */
#include "engine/token_order.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "formats/sort.h"

static struct bni_string bytes_of(const struct bni_tokenizer *tokenizer, uint32_t token)
{
    return bni_tokenizer_bytes(tokenizer, (bitnet_token)token, false);
}

static int compare_bytes(const void *context, uint32_t a, uint32_t b)
{
    const struct bni_string x = bytes_of(context, a);
    const struct bni_string y = bytes_of(context, b);
    const int order = memcmp(x.bytes, y.bytes, bni_size_min(x.n_bytes, y.n_bytes));
    if (order != 0) return order;
    if (x.n_bytes != y.n_bytes) return x.n_bytes < y.n_bytes ? -1 : 1;
    return a < b ? -1 : a > b;
}

static uint32_t n_shared_bytes(struct bni_string x, struct bni_string y)
{
    const size_t n_least = bni_size_min(x.n_bytes, y.n_bytes);
    size_t n = 0;
    while (n < n_least && x.bytes[n] == y.bytes[n]) n++;
    return (uint32_t)n;
}

size_t bni_token_order_bytes(const struct bni_tokenizer *tokenizer)
{
    return sizeof(struct bni_token_order) +
           3 * bni_tokenizer_n_tokens(tokenizer) * sizeof(uint32_t);
}

bitnet_status bni_token_order_create(const struct bni_tokenizer *tokenizer,
                                     struct bni_token_order **out)
{
    const size_t n_vocab = bni_tokenizer_n_tokens(tokenizer);
    struct bni_token_order *order = bni_calloc(1, bni_token_order_bytes(tokenizer));
    if (order == NULL) return bitnet_last_status();
    order->tokens = (uint32_t *)(void *)(order + 1);
    order->shared = order->tokens + n_vocab;
    order->ends = order->shared + n_vocab;
    for (uint32_t t = 0; t < n_vocab; t++) {
        if (bni_tokenizer_is_end(tokenizer, (bitnet_token)t))
            order->ends[order->n_ends++] = t;
        else if (bytes_of(tokenizer, t).n_bytes > 0)
            order->tokens[order->n_tokens++] = t;
    }
    bni_sort_indices(order->tokens, order->n_tokens, compare_bytes, tokenizer);
    for (uint32_t i = 1; i < order->n_tokens; i++)
        order->shared[i] = n_shared_bytes(bytes_of(tokenizer, order->tokens[i - 1]),
                                          bytes_of(tokenizer, order->tokens[i]));
    *out = order;
    return BITNET_OK;
}
