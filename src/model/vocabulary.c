/* SPDX-License-Identifier: MIT */
/*
 * vocabulary.c - reading tokens, and the table from bytes to token.
 *
 * All texts lie in one block, because a vocabulary has a hundred thousand of
 * them. No token's bytes are longer than its text in the file, so that block, and
 * everything else here, is bounded by a small multiple of the file.
 *
 * The table is a hash whose function a file's author knows, so tokens could be
 * made to collide until loading takes forever. Honest texts fill a table that is
 * half empty in runs of a few dozen slots; a file that needs MAX_PROBES is refused.
 *
 * A token's stored type is not believed where that would let a text forge the end
 * of a turn: some converters write chat markers as user-defined, which ordinary
 * text is matched against. What looks like a marker is a control token.
 */
#include "model/vocabulary.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/size.h"
#include "model/byte_level.h"

static const char TOKENS_KEY[] = "tokenizer.ggml.tokens";
static const char TYPES_KEY[] = "tokenizer.ggml.token_type";
static const char SCORES_KEY[] = "tokenizer.ggml.scores";

enum {
    MAX_PROBES = 1024,
    BLOCK_BYTES = 3,     /* of U+2581, SPM's space */
    BYTE_TEXT_BYTES = 6, /* "<0x0A>" */
};

static const char BLOCK[] = "\xE2\x96\x81";

/* Generation ends at these, whatever file they are in. */
static const char *const END_TEXTS[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",   "<|endoftext|>",
    "</s>",       "<|eom_id|>", "<EOT>",   "<|end_of_text|>",
};

/* Other markers of turns that are not written <|...|>. */
static const char *const MARKER_TEXTS[] = {
    "<s>", "<bos>", "<eos>", "<BOS>", "<EOS>", "<start_of_turn>",
};

static bool text_is_one_of(struct bni_string text, const char *const *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(texts[i]) == text.n_bytes &&
            memcmp(texts[i], text.bytes, text.n_bytes) == 0)
            return true;
    }
    return false;
}

static bool text_is_end(struct bni_string text)
{
    return text_is_one_of(text, END_TEXTS, sizeof(END_TEXTS) / sizeof(*END_TEXTS));
}

/* Whether the text is <|...|>. */
static bool text_is_bracketed(struct bni_string text)
{
    return text.n_bytes > 4 && memcmp(text.bytes, "<|", 2) == 0 &&
           memcmp(text.bytes + text.n_bytes - 2, "|>", 2) == 0;
}

static bool text_is_marker(struct bni_string text)
{
    return text_is_bracketed(text) || text_is_end(text) ||
           text_is_one_of(text, MARKER_TEXTS,
                          sizeof(MARKER_TEXTS) / sizeof(*MARKER_TEXTS));
}

/* A normal token may well be called "</s>"; only <|eot_id|> and its like cannot. */
static enum bni_token_type corrected_type(struct bni_string text,
                                          enum bni_token_type type)
{
    if (type == BNI_TOKEN_USER_DEFINED && text_is_marker(text))
        return BNI_TOKEN_CONTROL;
    if (text_is_bracketed(text) && text_is_end(text)) return BNI_TOKEN_CONTROL;
    return type;
}

static bool type_is_special(enum bni_token_type type)
{
    return type == BNI_TOKEN_CONTROL || type == BNI_TOKEN_UNKNOWN ||
           type == BNI_TOKEN_USER_DEFINED;
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

/* Returns the byte that a text such as "<0x0A>" stands for, or -1. */
static int byte_text_value(struct bni_string text)
{
    if (text.n_bytes != BYTE_TEXT_BYTES || memcmp(text.bytes, "<0x", 3) != 0 ||
        text.bytes[5] != '>')
        return -1;
    const int high = hex_digit(text.bytes[3]);
    const int low = hex_digit(text.bytes[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static size_t replace_blocks(struct bni_string text, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n_bytes;) {
        const bool is_block = text.n_bytes - i >= BLOCK_BYTES &&
                              memcmp(text.bytes + i, BLOCK, BLOCK_BYTES) == 0;
        out[n++] = is_block ? ' ' : text.bytes[i];
        i += is_block ? BLOCK_BYTES : 1;
    }
    return n;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

static uint64_t hash_bytes(const char *bytes, size_t n_bytes)
{
    uint64_t hash = n_bytes;
    uint64_t word;
    size_t i = 0;
    for (; n_bytes - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        hash = mix(hash, word);
    }
    word = 0;
    memcpy(&word, bytes + i, n_bytes - i);
    return mix(mix(hash, word), 0);
}

/*
 * Returns the slot that holds these bytes, or the free one where they belong. NULL
 * after MAX_PROBES, which only happens while the table is filled.
 */
static struct bni_text_slot *find_slot(const struct bni_vocabulary *vocabulary,
                                       const char *bytes, size_t n_bytes, uint64_t hash)
{
    for (size_t i = 0; i < MAX_PROBES; i++) {
        struct bni_text_slot *slot =
            &vocabulary->slots[(hash + i) & vocabulary->slot_mask];
        if (slot->token == BITNET_NO_TOKEN) return slot;
        if (slot->hash != (uint32_t)(hash >> 32)) continue;
        const struct bni_string text = bni_vocabulary_bytes(vocabulary, slot->token);
        if (text.n_bytes == n_bytes && memcmp(text.bytes, bytes, n_bytes) == 0)
            return slot;
    }
    return NULL;
}

bitnet_token bni_vocabulary_find(const struct bni_vocabulary *vocabulary,
                                 const char *bytes, size_t n_bytes)
{
    if (n_bytes > vocabulary->max_token_bytes) return BITNET_NO_TOKEN;
    const struct bni_text_slot *slot =
        find_slot(vocabulary, bytes, n_bytes, hash_bytes(bytes, n_bytes));
    return slot == NULL ? BITNET_NO_TOKEN : slot->token;
}

/* Makes `token` findable, unless an earlier one has the same bytes. */
static bool add_to_table(struct bni_vocabulary *vocabulary, bitnet_token token)
{
    const struct bni_string text = bni_vocabulary_bytes(vocabulary, token);
    const uint64_t hash = hash_bytes(text.bytes, text.n_bytes);
    struct bni_text_slot *slot = find_slot(vocabulary, text.bytes, text.n_bytes, hash);
    if (slot == NULL) return false;
    if (slot->token == BITNET_NO_TOKEN)
        *slot = (struct bni_text_slot){(uint32_t)(hash >> 32), token};
    return true;
}

/* Everything that is read before the texts: how many there are and how long. */
struct source {
    const char *path; /* quoted */
    const struct bni_gguf_value *tokens;
    const struct bni_gguf_value *types;  /* or NULL */
    const struct bni_gguf_value *scores; /* or NULL */
    size_t n_text_bytes;
};

/* Finds an array that may be missing, and else has an element for each token. */
static bitnet_status find_per_token(const struct bni_gguf *gguf,
                                    const struct source *source, const char *key,
                                    enum bni_gguf_value_type type,
                                    const struct bni_gguf_value **out)
{
    bool is_found;
    const bitnet_status status = bni_gguf_get_array(gguf, key, type, &is_found, out);
    if (status != BITNET_OK || !is_found) return status;
    if ((*out)->n_elements == source->tokens->n_elements) return BITNET_OK;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                     "%s: key %s: has %" PRIu64 " elements, expected %" PRIu64
                     ", one for each token",
                     source->path, key, (*out)->n_elements, source->tokens->n_elements);
}

static bitnet_status read_source(const struct bni_gguf *gguf, const char *path,
                                 struct source *source)
{
    *source = (struct source){.path = path};
    bitnet_status status =
        bni_gguf_get_array(gguf, TOKENS_KEY, BNI_GGUF_STRING, NULL, &source->tokens);
    if (status != BITNET_OK) return status;

    const uint64_t n_tokens = source->tokens->n_elements;
    if (n_tokens == 0 || n_tokens > INT32_MAX / 2)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: has %" PRIu64 " elements, expected 1 to %d", path,
                         TOKENS_KEY, n_tokens, INT32_MAX / 2);
    status = find_per_token(gguf, source, TYPES_KEY, BNI_GGUF_I32, &source->types);
    if (status == BITNET_OK)
        status =
            find_per_token(gguf, source, SCORES_KEY, BNI_GGUF_F32, &source->scores);
    if (status != BITNET_OK) return status;

    struct bni_string text;
    size_t index = 0;
    for (size_t cursor = 0; bni_gguf_next_string(source->tokens, &cursor, &text);
         index++) {
        if (text.n_bytes > BNI_TOKEN_MAX_BYTES)
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: key %s[%zu]: has %zu bytes, expected at most %d",
                             path, TOKENS_KEY, index, text.n_bytes,
                             BNI_TOKEN_MAX_BYTES);
        source->n_text_bytes += text.n_bytes;
    }
    if (source->n_text_bytes > UINT32_MAX)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: has %zu bytes of text, expected at most %" PRIu32,
                         path, TOKENS_KEY, source->n_text_bytes, UINT32_MAX);
    return BITNET_OK;
}

static bitnet_status allocate(struct bni_vocabulary *vocabulary,
                              const struct source *source)
{
    const size_t n = (size_t)source->tokens->n_elements;
    size_t n_slots = 2;
    while (n_slots < 2 * n) n_slots *= 2;

    vocabulary->bytes = bni_alloc(source->n_text_bytes);
    vocabulary->offsets = bni_calloc(n + 1, sizeof(*vocabulary->offsets));
    vocabulary->types = bni_calloc(n, sizeof(*vocabulary->types));
    vocabulary->is_end = bni_calloc(n, sizeof(*vocabulary->is_end));
    vocabulary->slots = bni_calloc(n_slots, sizeof(*vocabulary->slots));
    if (vocabulary->bytes == NULL || vocabulary->offsets == NULL ||
        vocabulary->types == NULL || vocabulary->is_end == NULL ||
        vocabulary->slots == NULL)
        return BITNET_ERROR_OUT_OF_MEMORY;

    vocabulary->n_tokens = n;
    vocabulary->slot_mask = n_slots - 1;
    for (size_t i = 0; i < n_slots; i++) vocabulary->slots[i].token = BITNET_NO_TOKEN;
    for (size_t i = 0; i < 256; i++) vocabulary->byte_tokens[i] = BITNET_NO_TOKEN;
    return BITNET_OK;
}

/* Reads the type of token `index`, corrected and fit for this kind of vocabulary. */
static bitnet_status read_type(const struct bni_vocabulary *vocabulary,
                               const struct source *source, size_t index,
                               struct bni_string text, enum bni_token_type *out)
{
    const bool is_byte_text = !vocabulary->is_byte_level && byte_text_value(text) >= 0;
    int32_t stored = is_byte_text ? BNI_TOKEN_BYTE : BNI_TOKEN_NORMAL;
    if (source->types != NULL) stored = bni_gguf_i32_at(source->types, index);
    if (stored < 0 || stored >= BNI_N_TOKEN_TYPES)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s[%zu]: found %" PRId32 ", expected 0 to %d",
                         source->path, TYPES_KEY, index, stored, BNI_N_TOKEN_TYPES - 1);

    struct bni_quote quote;
    enum bni_token_type type = corrected_type(text, (enum bni_token_type)stored);
    if (type == BNI_TOKEN_UNDEFINED) type = BNI_TOKEN_NORMAL;
    if (type == BNI_TOKEN_BYTE && vocabulary->is_byte_level) type = BNI_TOKEN_NORMAL;
    if (type == BNI_TOKEN_BYTE && !is_byte_text)
        return bni_error(
            BITNET_ERROR_MODEL_LOAD_FAILED,
            "%s: key %s[%zu]: a byte token has the text \"%s\", expected the form "
            "<0x0A>",
            source->path, TOKENS_KEY, index,
            bni_quote_bytes(&quote, text.bytes, text.n_bytes));
    if (type_is_special(type) && text.n_bytes > BNI_SPECIAL_MAX_BYTES)
        return bni_error(
            BITNET_ERROR_MODEL_LOAD_FAILED,
            "%s: key %s[%zu]: a special token has %zu bytes, expected at most %d",
            source->path, TOKENS_KEY, index, text.n_bytes, BNI_SPECIAL_MAX_BYTES);
    *out = type;
    return BITNET_OK;
}

/* Decodes `text` to `out`; returns whether it can be found by its bytes. */
static bool decode_text(bool is_byte_level, enum bni_token_type type,
                        struct bni_string text, char *out, size_t *n_out)
{
    if (type == BNI_TOKEN_BYTE) {
        *out = (char)byte_text_value(text);
        *n_out = 1;
        return false;
    }
    if (type == BNI_TOKEN_NORMAL || type == BNI_TOKEN_UNUSED) {
        if (!is_byte_level) {
            *n_out = replace_blocks(text, out);
            return type == BNI_TOKEN_NORMAL && *n_out > 0;
        }
        if (bni_byte_level_decode(text.bytes, text.n_bytes, out, n_out))
            return type == BNI_TOKEN_NORMAL && *n_out > 0;
    }
    memcpy(out, text.bytes, text.n_bytes);
    *n_out = text.n_bytes;
    return false;
}

static bitnet_status read_tokens(struct bni_vocabulary *vocabulary,
                                 const struct source *source)
{
    struct bni_string text;
    size_t n_bytes = 0;
    size_t cursor = 0;
    for (size_t i = 0; i < vocabulary->n_tokens; i++) {
        size_t n_added;
        enum bni_token_type type = BNI_TOKEN_NORMAL;
        if (!bni_gguf_next_string(source->tokens, &cursor, &text)) break;
        const bitnet_status status = read_type(vocabulary, source, i, text, &type);
        if (status != BITNET_OK) return status;

        const bool is_findable = decode_text(vocabulary->is_byte_level, type, text,
                                             vocabulary->bytes + n_bytes, &n_added);
        n_bytes += n_added;
        vocabulary->offsets[i + 1] = (uint32_t)n_bytes;
        vocabulary->max_token_bytes =
            bni_size_max(vocabulary->max_token_bytes, n_added);
        vocabulary->types[i] = (uint8_t)type;
        vocabulary->is_end[i] = type_is_special(type) && text_is_end(text);
        if (type == BNI_TOKEN_BYTE) {
            const uint8_t byte = (uint8_t)byte_text_value(text);
            if (vocabulary->byte_tokens[byte] == BITNET_NO_TOKEN)
                vocabulary->byte_tokens[byte] = (bitnet_token)i;
        }
        if (is_findable && !add_to_table(vocabulary, (bitnet_token)i))
            return bni_error(
                BITNET_ERROR_MODEL_LOAD_FAILED,
                "%s: key %s[%zu]: found more than %d tokens before it whose hashes "
                "collide, which texts not made for it never do",
                source->path, TOKENS_KEY, i, MAX_PROBES);
    }
    if (!vocabulary->is_byte_level) return BITNET_OK;
    for (size_t i = 0; i < 256; i++) {
        const char byte = (char)i;
        vocabulary->byte_tokens[i] = bni_vocabulary_find(vocabulary, &byte, 1);
    }
    return BITNET_OK;
}

bitnet_status bni_vocabulary_read(struct bni_vocabulary *vocabulary,
                                  const struct bni_gguf *gguf, bool is_byte_level)
{
    struct bni_quote path;
    struct source source;
    *vocabulary = (struct bni_vocabulary){.is_byte_level = is_byte_level};
    bitnet_status status =
        read_source(gguf, bni_quote_path(&path, bni_gguf_path(gguf)), &source);
    if (status == BITNET_OK) status = allocate(vocabulary, &source);
    vocabulary->scores = source.scores;
    if (status == BITNET_OK) status = read_tokens(vocabulary, &source);
    if (status != BITNET_OK) bni_vocabulary_clear(vocabulary);
    return status;
}

void bni_vocabulary_clear(struct bni_vocabulary *vocabulary)
{
    bni_free(vocabulary->bytes);
    bni_free(vocabulary->offsets);
    bni_free(vocabulary->types);
    bni_free(vocabulary->is_end);
    bni_free(vocabulary->slots);
    *vocabulary = (struct bni_vocabulary){0};
}
