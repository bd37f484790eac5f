/* SPDX-License-Identifier: MIT */
/*
 * spm.c - see spm.h. Pairs are looked up by the bytes they would make, so there is
 * no merge list; a pair longer than any token is not looked up at all, which
 * bounds what a look-up costs.
 */
#include "model/spm.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"

static const char SCORES_KEY[] = "tokenizer.ggml.scores";
static const char BLOCK[] = "\xE2\x96\x81"; /* U+2581 */

bitnet_status bni_spm_read(struct bni_spm *spm, const struct bni_gguf *gguf,
                           const struct bni_vocabulary *vocabulary)
{
    struct bni_quote quote;
    const char *path = bni_quote_path(&quote, bni_gguf_path(gguf));
    *spm = (struct bni_spm){.vocabulary = vocabulary, .unknown = BITNET_NO_TOKEN};
    if (vocabulary->scores == NULL)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: is missing, expected a score for each token",
                         path, SCORES_KEY);
    for (size_t i = 0; i < vocabulary->n_tokens; i++) {
        const float score = bni_gguf_f32_at(vocabulary->scores, i);
        if (score != score)
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: key %s[%zu]: found NaN, expected a number", path,
                             SCORES_KEY, i);
    }
    return BITNET_OK;
}

/*
 * Maps scores to numbers that fall as scores rise. The bits of floats of one sign
 * are ordered like the floats, so only the sign needs care; 0 and -0 are equal.
 */
static uint32_t priority_of(float score)
{
    const float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof(bits));
    const bool is_negative = bits >> 31 != 0;
    return is_negative ? bits : ~(bits | UINT32_C(0x80000000));
}

static bool join_by_score(const void *context, bitnet_token left, bitnet_token right,
                          const char *bytes, size_t n_bytes, uint32_t *priority,
                          bitnet_token *joined)
{
    const struct bni_spm *spm = context;
    (void)left;
    (void)right;
    *joined = bni_vocabulary_find(spm->vocabulary, bytes, n_bytes);
    if (*joined == BITNET_NO_TOKEN) return false;
    *priority =
        priority_of(bni_gguf_f32_at(spm->vocabulary->scores, (uint64_t)*joined));
    return true;
}

/* Copies `text`, U+2581 as a space, behind a space if the model wants one. */
static size_t normalise(const struct bni_spm *spm, const char *text, size_t n_bytes,
                        char *out)
{
    const size_t n_block = sizeof(BLOCK) - 1;
    size_t n = 0;
    if (spm->adds_space_prefix) out[n++] = ' ';
    for (size_t i = 0; i < n_bytes;) {
        const bool is_block =
            n_bytes - i >= n_block && memcmp(text + i, BLOCK, n_block) == 0;
        out[n++] = is_block ? ' ' : text[i];
        i += is_block ? n_block : 1;
    }
    return n;
}

static void split_characters(const struct bni_spm *spm, const char *text,
                             size_t n_bytes, struct bni_symbol *symbols)
{
    size_t length;
    for (size_t i = 0; i < n_bytes; i += length) {
        (void)bni_utf8_next((const uint8_t *)text + i, n_bytes - i, &length);
        symbols[i].n_bytes = (uint32_t)length;
        symbols[i].token = bni_vocabulary_find(spm->vocabulary, text + i, length);
    }
}

/* Appends a symbol's token, or its bytes' tokens if it has none. */
static bitnet_status append_symbol(const struct bni_spm *spm, const char *bytes,
                                   const struct bni_symbol *symbol,
                                   struct bni_token_list *tokens)
{
    if (symbol->token != BITNET_NO_TOKEN)
        return bni_token_list_append(tokens, symbol->token);
    for (size_t i = 0; i < symbol->n_bytes; i++) {
        bitnet_token token = spm->vocabulary->byte_tokens[(uint8_t)bytes[i]];
        if (token == BITNET_NO_TOKEN) token = spm->unknown;
        if (token == BITNET_NO_TOKEN) continue;
        const bitnet_status status = bni_token_list_append(tokens, token);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

bitnet_status bni_spm_encode(const struct bni_spm *spm, const char *text,
                             size_t n_bytes, struct bni_merger *merger,
                             struct bni_token_list *tokens)
{
    char *normal = bni_alloc(n_bytes + 1);
    if (normal == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    const size_t n_normal = normalise(spm, text, n_bytes, normal);

    bitnet_status status = bni_merger_reserve(merger, n_normal);
    if (status == BITNET_OK) {
        split_characters(spm, normal, n_normal, merger->symbols);
        bni_merger_run(merger, normal, n_normal, join_by_score, spm);
    }
    for (size_t i = 0; i < n_normal && status == BITNET_OK;
         i += merger->symbols[i].n_bytes)
        status = append_symbol(spm, normal + i, &merger->symbols[i], tokens);
    bni_free(normal);
    return status;
}
