/* SPDX-License-Identifier: MIT */
/*
 * special.c - a trie that is a sorted array.
 *
 * In a sorted array the texts that begin with a given prefix lie side by side, so
 * walking down a trie is narrowing a range by one byte at a time, with two binary
 * searches. Nearly every position of a text ends at the first byte, by a look into
 * a table. Special texts have 256 bytes at most, which bounds the other positions.
 */
#include "model/special.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "formats/sort.h"

static bool token_is_in_set(const struct bni_vocabulary *vocabulary, size_t token)
{
    switch ((enum bni_token_type)vocabulary->types[token]) {
    case BNI_TOKEN_CONTROL:
    case BNI_TOKEN_UNKNOWN:
    case BNI_TOKEN_USER_DEFINED:
        return vocabulary->offsets[token] != vocabulary->offsets[token + 1];
    default: return false;
    }
}

/*
 * By bytes; of equal texts a control token first, so that a text is not recognised
 * without being asked for because some user-defined token has it too.
 */
static int compare_tokens(const void *context, uint32_t a, uint32_t b)
{
    const struct bni_vocabulary *vocabulary = context;
    const struct bni_string x = bni_vocabulary_bytes(vocabulary, (bitnet_token)a);
    const struct bni_string y = bni_vocabulary_bytes(vocabulary, (bitnet_token)b);
    const int order = memcmp(x.bytes, y.bytes, bni_size_min(x.n_bytes, y.n_bytes));
    if (order != 0) return order;
    if (x.n_bytes != y.n_bytes) return x.n_bytes < y.n_bytes ? -1 : 1;
    const bool a_is_user_defined = vocabulary->types[a] == BNI_TOKEN_USER_DEFINED;
    const bool b_is_user_defined = vocabulary->types[b] == BNI_TOKEN_USER_DEFINED;
    if (a_is_user_defined != b_is_user_defined) return a_is_user_defined ? 1 : -1;
    return a < b ? -1 : a > b;
}

static struct bni_string text_at(const struct bni_special_set *set, size_t index)
{
    return bni_vocabulary_bytes(set->vocabulary, (bitnet_token)set->tokens[index]);
}

/*
 * Returns the first index in [begin, end) whose byte at `depth` is `byte` or more;
 * all texts there are longer than `depth`, and equal before it.
 */
static size_t lower_bound(const struct bni_special_set *set, size_t begin, size_t end,
                          size_t depth, unsigned byte)
{
    while (begin < end) {
        const size_t middle = begin + (end - begin) / 2;
        if ((uint8_t)text_at(set, middle).bytes[depth] < byte)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* Keeps the first of those with the same text. */
static void drop_repeated_texts(struct bni_special_set *set)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < set->n_tokens; i++) {
        if (n_kept > 0) {
            const struct bni_string last = text_at(set, n_kept - 1);
            const struct bni_string text = text_at(set, i);
            if (last.n_bytes == text.n_bytes &&
                memcmp(last.bytes, text.bytes, text.n_bytes) == 0)
                continue;
        }
        set->tokens[n_kept++] = set->tokens[i];
    }
    set->n_tokens = n_kept;
}

bitnet_status bni_special_set_create(struct bni_special_set *set,
                                     const struct bni_vocabulary *vocabulary)
{
    size_t n = 0;
    *set = (struct bni_special_set){.vocabulary = vocabulary};
    for (size_t i = 0; i < vocabulary->n_tokens; i++)
        n += token_is_in_set(vocabulary, i);
    set->tokens = bni_calloc(n, sizeof(*set->tokens));
    if (set->tokens == NULL) return BITNET_ERROR_OUT_OF_MEMORY;

    for (size_t i = 0; i < vocabulary->n_tokens; i++) {
        if (token_is_in_set(vocabulary, i)) set->tokens[set->n_tokens++] = (uint32_t)i;
    }
    bni_sort_indices(set->tokens, n, compare_tokens, vocabulary);
    drop_repeated_texts(set);
    for (unsigned byte = 0; byte <= 256; byte++)
        set->first_begin[byte] = lower_bound(set, 0, set->n_tokens, 0, byte);
    return BITNET_OK;
}

void bni_special_set_clear(struct bni_special_set *set)
{
    bni_free(set->tokens);
    *set = (struct bni_special_set){0};
}

/* Returns the longest token that `text` begins with, or BITNET_NO_TOKEN. */
static bitnet_token longest_at(const struct bni_special_set *set, const char *text,
                               size_t n_bytes, bool parse_special)
{
    bitnet_token longest = BITNET_NO_TOKEN;
    size_t begin = set->first_begin[(uint8_t)text[0]];
    size_t end = set->first_begin[(uint8_t)text[0] + 1];
    for (size_t depth = 1; begin < end; depth++) {
        /* Here [begin, end) share the first `depth` bytes of the text. */
        if (text_at(set, begin).n_bytes == depth) {
            const bitnet_token token = (bitnet_token)set->tokens[begin];
            if (parse_special ||
                set->vocabulary->types[token] == BNI_TOKEN_USER_DEFINED)
                longest = token;
            begin++;
        }
        if (depth == n_bytes) break;
        const unsigned byte = (uint8_t)text[depth];
        const size_t narrowed = lower_bound(set, begin, end, depth, byte);
        end = lower_bound(set, narrowed, end, depth, byte + 1);
        begin = narrowed;
    }
    return longest;
}

bitnet_token bni_special_set_find(const struct bni_special_set *set, const char *text,
                                  size_t n_bytes, bool parse_special, size_t *begin)
{
    for (; *begin < n_bytes; (*begin)++) {
        const uint8_t first = (uint8_t)text[*begin];
        if (set->first_begin[first] == set->first_begin[first + 1]) continue;
        const bitnet_token token =
            longest_at(set, text + *begin, n_bytes - *begin, parse_special);
        if (token != BITNET_NO_TOKEN) return token;
    }
    return BITNET_NO_TOKEN;
}
