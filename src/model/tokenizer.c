/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.c - putting a tokenizer together, and a text through it.
 *
 *     text -> valid UTF-8 -> cut at special tokens -> stretches of ordinary text
 *       BPE: a stretch -> pieces by the split pattern -> merges by rank -> tokens
 *       SPM: a stretch -> merges by score, bytes for what is left       -> tokens
 *
 * What the file leaves out is filled in here: which split pattern, which token
 * begins a text. docs/tokenizers.md has the rules.
 */
#include "model/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quote.h"
#include "model/tokenizer_parts.h"

static const char MODEL_KEY[] = "tokenizer.ggml.model";
static const char PRE_KEY[] = "tokenizer.ggml.pre";

enum {
    MAX_TEXT_BYTES = 1 << 30, /* so that 3 bytes for each still count in 32 bits */
    LLAMA3_BOS = 128000,
};

static bool string_is(struct bni_string string, const char *expected)
{
    return string.n_bytes == strlen(expected) &&
           memcmp(string.bytes, expected, string.n_bytes) == 0;
}

/* Files of these architectures were made without the key, for the Llama-3 pattern. */
static bool must_be_llama3(const struct bni_tokenizer *tokenizer,
                           struct bni_string architecture)
{
    if (string_is(architecture, "bitnet-25") || string_is(architecture, "bitnet-b1.58"))
        return true;
    return tokenizer->vocabulary.n_tokens > LLAMA3_BOS &&
           string_is(bni_vocabulary_bytes(&tokenizer->vocabulary, LLAMA3_BOS),
                     "<|begin_of_text|>");
}

/* Returns the error for a pre-tokenizer that is not known, with those that are. */
static bitnet_status refuse_pretokenizer(const char *path, struct bni_string name)
{
    char known[256] = "";
    size_t n = 0;
    const struct bni_pretokenizer_kind *kind;
    for (size_t i = 0; (kind = bni_pretokenizer_at(i)) != NULL && n < sizeof(known);
         i++)
        n += (size_t)snprintf(known + n, sizeof(known) - n, i == 0 ? "%s" : ", %s",
                              kind->name);
    struct bni_quote quote;
    return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                     "%s: key %s: found \"%s\", expected one of %s", path, PRE_KEY,
                     bni_quote_bytes(&quote, name.bytes, name.n_bytes), known);
}

static bitnet_status choose_pretokenizer(const struct bni_tokenizer *tokenizer,
                                         const struct bni_gguf *gguf, const char *path,
                                         struct bni_string architecture,
                                         const struct bni_pretokenizer_kind **kind)
{
    bool is_found;
    struct bni_string name;
    const bitnet_status status = bni_gguf_get_string(gguf, PRE_KEY, &is_found, &name);
    if (status != BITNET_OK) return status;
    if (!is_found) {
        const char *assumed =
            must_be_llama3(tokenizer, architecture) ? "llama-bpe" : "default";
        bni_log(BITNET_LOG_WARNING, "%s: key %s is missing: \"%s\" is assumed", path,
                PRE_KEY, assumed);
        name = (struct bni_string){assumed, strlen(assumed)};
    }
    *kind = bni_pretokenizer_find(name);
    return *kind == NULL ? refuse_pretokenizer(path, name) : BITNET_OK;
}

/* Text that needs such a byte loses it, as in llama.cpp, which does not say so. */
static void warn_of_missing_bytes(const struct bni_vocabulary *vocabulary,
                                  const char *path)
{
    int n_missing = 0;
    for (int i = 0; i < 256; i++)
        n_missing += vocabulary->byte_tokens[i] == BITNET_NO_TOKEN;
    if (n_missing > 0)
        bni_log(BITNET_LOG_WARNING,
                "%s: %d of the 256 bytes have no token: text loses those bytes", path,
                n_missing);
}

static bitnet_status read_bpe(struct bni_tokenizer *tokenizer,
                              const struct bni_gguf *gguf, const char *path,
                              struct bni_string architecture)
{
    const struct bni_pretokenizer_kind *kind = NULL;
    bitnet_status status = bni_vocabulary_read(&tokenizer->vocabulary, gguf, true);
    if (status == BITNET_OK)
        status = choose_pretokenizer(tokenizer, gguf, path, architecture, &kind);
    if (status != BITNET_OK) return status;

    warn_of_missing_bytes(&tokenizer->vocabulary, path);
    tokenizer->adds_bos = kind->adds_bos;
    snprintf(tokenizer->description, sizeof(tokenizer->description), "gpt2 (%s)",
             kind->name);
    status = bni_bpe_read(&tokenizer->bpe, gguf, &tokenizer->vocabulary,
                          kind->looks_up_whole_pieces);
    if (status != BITNET_OK) return status;
    return bni_pretokenizer_create(kind, true, &tokenizer->pretokenizer);
}

/* Puts the token that `key` names in `*token`; leaves it alone if there is none. */
static bitnet_status read_special_token(const struct bni_tokenizer *tokenizer,
                                        const struct bni_gguf *gguf, const char *path,
                                        const char *key, bitnet_token *token)
{
    bool is_found;
    uint64_t value;
    const bitnet_status status =
        bni_gguf_get_u64(gguf, key, 0, UINT64_MAX, &is_found, &value);
    if (status != BITNET_OK || !is_found) return status;
    if (value < tokenizer->vocabulary.n_tokens)
        *token = (bitnet_token)value;
    else
        bni_log(BITNET_LOG_WARNING,
                "%s: key %s: found %" PRIu64
                ", expected less than the %zu tokens: it is ignored",
                path, key, value, tokenizer->vocabulary.n_tokens);
    return BITNET_OK;
}

/* SPM files may leave these out: they are the first three tokens. */
static bitnet_token spm_default(const struct bni_tokenizer *tokenizer,
                                bitnet_token token)
{
    return tokenizer->is_spm && (size_t)token < tokenizer->vocabulary.n_tokens
               ? token
               : BITNET_NO_TOKEN;
}

static bitnet_status read_special_tokens(struct bni_tokenizer *tokenizer,
                                         const struct bni_gguf *gguf, const char *path)
{
    bitnet_token eot = BITNET_NO_TOKEN;
    bitnet_token eom = BITNET_NO_TOKEN;
    tokenizer->bos = spm_default(tokenizer, 1);
    tokenizer->eos = spm_default(tokenizer, 2);
    tokenizer->spm.unknown = spm_default(tokenizer, 0);
    const struct {
        const char *key;
        bitnet_token *token;
    } roles[] = {
        {"tokenizer.ggml.bos_token_id", &tokenizer->bos},
        {"tokenizer.ggml.eos_token_id", &tokenizer->eos},
        {"tokenizer.ggml.unknown_token_id", &tokenizer->spm.unknown},
        {"tokenizer.ggml.eot_token_id", &eot},
        {"tokenizer.ggml.eom_token_id", &eom},
    };
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
        const bitnet_status status =
            read_special_token(tokenizer, gguf, path, roles[i].key, roles[i].token);
        if (status != BITNET_OK) return status;
    }
    const bitnet_token ends[] = {tokenizer->eos, eot, eom};
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        if (ends[i] != BITNET_NO_TOKEN) tokenizer->vocabulary.is_end[ends[i]] = true;
    }
    return BITNET_OK;
}

/* Reads whether to add `token`, which cannot be added if there is none. */
static bitnet_status read_adds(const struct bni_gguf *gguf, const char *path,
                               const char *key, bitnet_token token, bool *adds)
{
    bool is_found;
    const bitnet_status status = bni_gguf_get_bool(gguf, key, &is_found, adds);
    if (status != BITNET_OK || token != BITNET_NO_TOKEN) return status;
    if (*adds)
        bni_log(BITNET_LOG_WARNING, "%s: key %s: there is no such token to add", path,
                key);
    *adds = false;
    return BITNET_OK;
}

static bitnet_status read_tokenizer(struct bni_tokenizer *tokenizer,
                                    const struct bni_gguf *gguf, const char *path,
                                    struct bni_string architecture)
{
    struct bni_quote quote;
    struct bni_string model;
    bitnet_status status = bni_gguf_get_string(gguf, MODEL_KEY, NULL, &model);
    if (status != BITNET_OK) return status;

    if (string_is(model, "gpt2")) {
        status = read_bpe(tokenizer, gguf, path, architecture);
    } else if (string_is(model, "llama")) {
        tokenizer->is_spm = true;
        tokenizer->adds_bos = true;
        snprintf(tokenizer->description, sizeof(tokenizer->description), "llama");
        status = bni_vocabulary_read(&tokenizer->vocabulary, gguf, false);
        if (status == BITNET_OK)
            status = bni_spm_read(&tokenizer->spm, gguf, &tokenizer->vocabulary);
    } else {
        status =
            bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                      "%s: key %s: found \"%s\", expected \"gpt2\" or \"llama\"", path,
                      MODEL_KEY, bni_quote_bytes(&quote, model.bytes, model.n_bytes));
    }
    if (status != BITNET_OK) return status;

    status = bni_special_set_create(&tokenizer->specials, &tokenizer->vocabulary);
    if (status == BITNET_OK) status = read_special_tokens(tokenizer, gguf, path);
    if (status == BITNET_OK)
        status = read_adds(gguf, path, "tokenizer.ggml.add_bos_token", tokenizer->bos,
                           &tokenizer->adds_bos);
    if (status == BITNET_OK)
        status = read_adds(gguf, path, "tokenizer.ggml.add_eos_token", tokenizer->eos,
                           &tokenizer->adds_eos);
    if (status != BITNET_OK || !tokenizer->is_spm) return status;
    bool is_found;
    tokenizer->spm.adds_space_prefix = true;
    return bni_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", &is_found,
                             &tokenizer->spm.adds_space_prefix);
}

bitnet_status bni_tokenizer_create(const struct bni_gguf *gguf,
                                   struct bni_string architecture,
                                   struct bni_tokenizer **out)
{
    struct bni_tokenizer *tokenizer = bni_calloc(1, sizeof(*tokenizer));
    if (tokenizer == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    struct bni_quote path;
    const bitnet_status status =
        read_tokenizer(tokenizer, gguf, bni_quote_path(&path, bni_gguf_path(gguf)),
                       architecture);
    if (status == BITNET_OK)
        *out = tokenizer;
    else
        bni_tokenizer_destroy(tokenizer);
    return status;
}

void bni_tokenizer_destroy(struct bni_tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
    bni_pretokenizer_destroy(tokenizer->pretokenizer);
    bni_special_set_clear(&tokenizer->specials);
    bni_bpe_clear(&tokenizer->bpe);
    bni_vocabulary_clear(&tokenizer->vocabulary);
    bni_free(tokenizer);
}

size_t bni_tokenizer_n_tokens(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.n_tokens;
}

const char *bni_tokenizer_description(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->description;
}

bitnet_token bni_tokenizer_bos(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

bitnet_token bni_tokenizer_eos(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool bni_tokenizer_adds_bos(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->adds_bos;
}

bool bni_tokenizer_adds_eos(const struct bni_tokenizer *tokenizer)
{
    return tokenizer->adds_eos;
}

bool bni_tokenizer_is_end(const struct bni_tokenizer *tokenizer, bitnet_token token)
{
    return token >= 0 && (size_t)token < tokenizer->vocabulary.n_tokens &&
           tokenizer->vocabulary.is_end[token];
}

/* One call of encode: its working memory and its result. */
struct encoding {
    const struct bni_tokenizer *tokenizer;
    struct bni_split_memory split;
    struct bni_merger merger;
    struct bni_token_list tokens;
};

static bitnet_status encode_piece(void *user, const char *piece, size_t n_bytes)
{
    struct encoding *encoding = user;
    return bni_bpe_encode(&encoding->tokenizer->bpe, piece, n_bytes, &encoding->merger,
                          &encoding->tokens);
}

/* Encodes ordinary text: what lies between special tokens. */
static bitnet_status encode_stretch(struct encoding *encoding, const char *text,
                                    size_t n_bytes)
{
    const struct bni_tokenizer *tokenizer = encoding->tokenizer;
    if (n_bytes == 0) return BITNET_OK;
    if (tokenizer->is_spm)
        return bni_spm_encode(&tokenizer->spm, text, n_bytes, &encoding->merger,
                              &encoding->tokens);
    return bni_pretokenize(tokenizer->pretokenizer, &encoding->split, text, n_bytes,
                           encode_piece, encoding);
}

static bitnet_status encode_text(struct encoding *encoding, const char *text,
                                 size_t n_bytes, bool parse_special)
{
    const struct bni_tokenizer *tokenizer = encoding->tokenizer;
    size_t n_done = 0;
    while (n_done < n_bytes) {
        size_t begin = n_done;
        const bitnet_token special =
            bni_special_set_find(&tokenizer->specials, text, n_bytes, parse_special,
                                 &begin);
        bitnet_status status = encode_stretch(encoding, text + n_done, begin - n_done);
        if (status != BITNET_OK || special == BITNET_NO_TOKEN) return status;
        status = bni_token_list_append(&encoding->tokens, special);
        if (status != BITNET_OK) return status;
        n_done = begin + bni_vocabulary_bytes(&tokenizer->vocabulary, special).n_bytes;
    }
    return BITNET_OK;
}

bitnet_status bni_tokenizer_encode(const struct bni_tokenizer *tokenizer,
                                   const char *text, size_t text_len, bool add_special,
                                   bool parse_special, bitnet_token **tokens,
                                   size_t *n_tokens)
{
    if (text_len > MAX_TEXT_BYTES)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot tokenize a text of %zu bytes: expected at most %d",
                         text_len, MAX_TEXT_BYTES);

    struct encoding encoding = {.tokenizer = tokenizer};
    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    const size_t n_bytes = bni_utf8_repair((const uint8_t *)text, text_len, NULL);
    char *repaired = bni_alloc(n_bytes);
    if (repaired == NULL) return status;
    bni_utf8_repair((const uint8_t *)text, text_len, (uint8_t *)repaired);

    status = BITNET_OK;
    if (!tokenizer->is_spm)
        status =
            bni_split_memory_init(&encoding.split, tokenizer->pretokenizer, n_bytes);
    if (status == BITNET_OK && add_special && tokenizer->adds_bos)
        status = bni_token_list_append(&encoding.tokens, tokenizer->bos);
    if (status == BITNET_OK)
        status = encode_text(&encoding, repaired, n_bytes, parse_special);
    if (status == BITNET_OK && add_special && tokenizer->adds_eos)
        status = bni_token_list_append(&encoding.tokens, tokenizer->eos);

    bni_free(repaired);
    bni_merger_clear(&encoding.merger);
    bni_split_memory_clear(&encoding.split);
    if (status != BITNET_OK) {
        bni_free(encoding.tokens.tokens);
        return status;
    }
    *tokens =
        encoding.tokens.tokens; /* NULL, which may be freed too, if there are none */
    *n_tokens = encoding.tokens.n_tokens;
    return BITNET_OK;
}
