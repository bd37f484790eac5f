/* SPDX-License-Identifier: MIT */
/*
 * bpe.c - merges as pairs of ids.
 *
 * The list in the file is text, "left right". Its strings are looked up once, so
 * that encoding compares ids and never builds a string. Decoding to bytes comes
 * before the look-up, as it does for the tokens, so merges know no alphabet.
 *
 * As in vocabulary.c the hash function is known to a file's author, so a pair that
 * finds no slot within MAX_PROBES makes the file refused.
 */
#include "model/bpe.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "model/byte_level.h"

static const char MERGES_KEY[] = "tokenizer.ggml.merges";

enum { MAX_PROBES = 1024 };

#define NO_MERGE UINT32_MAX /* a free slot */

static uint64_t hash_pair(bitnet_token left, bitnet_token right)
{
    uint64_t hash = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    hash = (hash ^ hash >> 31) * UINT64_C(0x9E3779B97F4A7C15);
    hash = (hash ^ hash >> 29) * UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

/* Returns the pair's slot, or the free one where it belongs; NULL after MAX_PROBES. */
static uint32_t *find_slot(const struct bni_bpe *bpe, bitnet_token left,
                           bitnet_token right)
{
    const uint64_t hash = hash_pair(left, right);
    for (size_t i = 0; i < MAX_PROBES; i++) {
        uint32_t *slot = &bpe->slots[(hash + i) & bpe->slot_mask];
        if (*slot == NO_MERGE) return slot;
        const struct bni_merge *merge = &bpe->merges[*slot];
        if (merge->left == left && merge->right == right) return slot;
    }
    return NULL;
}

/* Decodes one half of a merge behind the `*n_scratch` bytes that are there already. */
static bool decode_half(const char *text, size_t n_text, char *scratch,
                        size_t *n_scratch)
{
    size_t n_added;
    if (n_text > BNI_TOKEN_MAX_BYTES ||
        !bni_byte_level_decode(text, n_text, scratch + *n_scratch, &n_added))
        return false;
    *n_scratch += n_added;
    return true;
}

/* Looks up both halves and the whole; false if one of them is no normal token. */
static bool resolve(const struct bni_vocabulary *vocabulary, struct bni_string text,
                    size_t n_left, char *scratch, struct bni_merge *merge)
{
    size_t n_bytes = 0;
    if (!decode_half(text.bytes, n_left, scratch, &n_bytes)) return false;
    const size_t n_left_bytes = n_bytes;
    if (!decode_half(text.bytes + n_left + 1, text.n_bytes - n_left - 1, scratch,
                     &n_bytes))
        return false;

    merge->left = bni_vocabulary_find(vocabulary, scratch, n_left_bytes);
    merge->right =
        bni_vocabulary_find(vocabulary, scratch + n_left_bytes, n_bytes - n_left_bytes);
    merge->joined = bni_vocabulary_find(vocabulary, scratch, n_bytes);
    return merge->left != BITNET_NO_TOKEN && merge->right != BITNET_NO_TOKEN &&
           merge->joined != BITNET_NO_TOKEN;
}

/* Returns the length of the left half, or 0 if these are not two with one space. */
static size_t left_half(struct bni_string text)
{
    const char *space = memchr(text.bytes, ' ', text.n_bytes);
    if (space == NULL) return 0;
    const size_t n_left = (size_t)(space - text.bytes);
    const size_t n_right = text.n_bytes - n_left - 1;
    return n_right > 0 && memchr(space + 1, ' ', n_right) == NULL ? n_left : 0;
}

static bitnet_status read_merges(struct bni_bpe *bpe, const char *path,
                                 const struct bni_gguf_value *array, char *scratch)
{
    size_t n_left_out = 0;
    struct bni_string text;
    size_t index = 0;
    for (size_t cursor = 0; bni_gguf_next_string(array, &cursor, &text); index++) {
        struct bni_quote quote;
        const size_t n_left = left_half(text);
        if (n_left == 0)
            return bni_error(
                BITNET_ERROR_MODEL_LOAD_FAILED,
                "%s: key %s[%zu]: found \"%s\", expected two texts with one space "
                "between them",
                path, MERGES_KEY, index,
                bni_quote_bytes(&quote, text.bytes, text.n_bytes));

        struct bni_merge *merge = &bpe->merges[bpe->n_merges];
        if (!resolve(bpe->vocabulary, text, n_left, scratch, merge)) {
            n_left_out++;
            continue;
        }
        uint32_t *slot = find_slot(bpe, merge->left, merge->right);
        if (slot == NULL)
            return bni_error(
                BITNET_ERROR_MODEL_LOAD_FAILED,
                "%s: key %s[%zu]: found more than %d merges before it whose hashes "
                "collide, which merges not made for it never do",
                path, MERGES_KEY, index, MAX_PROBES);
        if (*slot == NO_MERGE) *slot = (uint32_t)bpe->n_merges++;
    }
    if (n_left_out > 0)
        bni_log(BITNET_LOG_WARNING,
                "%s: key %s: %zu of %zu merges name, or make, what is no normal token; "
                "they are "
                "left out",
                path, MERGES_KEY, n_left_out, index);
    return BITNET_OK;
}

bitnet_status bni_bpe_read(struct bni_bpe *bpe, const struct bni_gguf *gguf,
                           const struct bni_vocabulary *vocabulary,
                           bool looks_up_whole_pieces)
{
    struct bni_quote quote;
    const char *path = bni_quote_path(&quote, bni_gguf_path(gguf));
    const struct bni_gguf_value *array;
    *bpe = (struct bni_bpe){
        .vocabulary = vocabulary,
        .looks_up_whole_pieces = looks_up_whole_pieces,
    };
    bitnet_status status =
        bni_gguf_get_array(gguf, MERGES_KEY, BNI_GGUF_STRING, NULL, &array);
    if (status != BITNET_OK) return status;
    if (array->n_elements > UINT32_MAX / 4)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: has %" PRIu64
                         " elements, expected at most %" PRIu32,
                         path, MERGES_KEY, array->n_elements, UINT32_MAX / 4);

    const size_t n = (size_t)array->n_elements;
    size_t n_slots = 2;
    while (n_slots < n + n / 2 + 1) n_slots *= 2;
    char *scratch = bni_alloc(2 * BNI_TOKEN_MAX_BYTES);
    bpe->merges = bni_calloc(n, sizeof(*bpe->merges));
    bpe->slots = bni_calloc(n_slots, sizeof(*bpe->slots));
    bpe->slot_mask = n_slots - 1;
    status = BITNET_ERROR_OUT_OF_MEMORY;
    if (scratch != NULL && bpe->merges != NULL && bpe->slots != NULL) {
        for (size_t i = 0; i < n_slots; i++) bpe->slots[i] = NO_MERGE;
        status = read_merges(bpe, path, array, scratch);
    }
    bni_free(scratch);
    if (status != BITNET_OK) bni_bpe_clear(bpe);
    return status;
}

void bni_bpe_clear(struct bni_bpe *bpe)
{
    bni_free(bpe->merges);
    bni_free(bpe->slots);
    *bpe = (struct bni_bpe){0};
}

static bool join_by_rank(const void *context, bitnet_token left, bitnet_token right,
                         const char *bytes, size_t n_bytes, uint32_t *priority,
                         bitnet_token *joined)
{
    const struct bni_bpe *bpe = context;
    (void)bytes;
    (void)n_bytes;
    const uint32_t *slot = find_slot(bpe, left, right);
    if (slot == NULL || *slot == NO_MERGE) return false;
    *priority = *slot;
    *joined = bpe->merges[*slot].joined;
    return true;
}

bitnet_status bni_bpe_encode(const struct bni_bpe *bpe, const char *piece,
                             size_t n_bytes, struct bni_merger *merger,
                             struct bni_token_list *tokens)
{
    if (bpe->looks_up_whole_pieces) {
        const bitnet_token whole = bni_vocabulary_find(bpe->vocabulary, piece, n_bytes);
        if (whole != BITNET_NO_TOKEN) return bni_token_list_append(tokens, whole);
    }

    bitnet_status status = bni_merger_reserve(merger, n_bytes);
    if (status != BITNET_OK) return status;
    struct bni_symbol *symbols = merger->symbols;
    for (size_t i = 0; i < n_bytes; i++) {
        symbols[i].n_bytes = 1;
        symbols[i].token = bpe->vocabulary->byte_tokens[(uint8_t)piece[i]];
    }
    bni_merger_run(merger, piece, n_bytes, join_by_rank, bpe);

    for (size_t i = 0; i < n_bytes && status == BITNET_OK; i += symbols[i].n_bytes) {
        if (symbols[i].token != BITNET_NO_TOKEN)
            status = bni_token_list_append(tokens, symbols[i].token);
    }
    return status;
}
