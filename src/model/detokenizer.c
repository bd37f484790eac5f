/* SPDX-License-Identifier: MIT */
/*
 * detokenizer.c - tokens to text, never half a character.
 *
 * Bytes go one by one through a window of at most four. As soon as the window
 * begins with a character that is written out, as soon as it begins with what can
 * become none U+FFFD is: so bad bytes are not held back, only unfinished ones are.
 */
#include "model/tokenizer.h"

#include <string.h>

#include "model/tokenizer_parts.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD"; /* U+FFFD */

struct bni_string bni_tokenizer_bytes(const struct bni_tokenizer *tokenizer,
                                      bitnet_token token, bool show_special)
{
    struct bni_string bytes = bni_vocabulary_bytes(&tokenizer->vocabulary, token);
    switch ((enum bni_token_type)tokenizer->vocabulary.types[token]) {
    case BNI_TOKEN_CONTROL:
    case BNI_TOKEN_UNKNOWN:
    case BNI_TOKEN_UNUSED:
        if (!show_special) bytes.n_bytes = 0;
        break;
    default: break;
    }
    return bytes;
}

void bni_detokenizer_init(struct bni_detokenizer *detokenizer,
                          const struct bni_tokenizer *tokenizer, bool show_special,
                          bool continues_text)
{
    *detokenizer = (struct bni_detokenizer){
        .tokenizer = tokenizer,
        .show_special = show_special,
        .is_at_start = !continues_text,
    };
}

size_t bni_detokenizer_max_piece_bytes(const struct bni_tokenizer *tokenizer)
{
    /* The worst is that every byte, held ones included, becomes a U+FFFD. */
    const size_t n_bytes = tokenizer->vocabulary.max_token_bytes + BNI_UTF8_MAX_BYTES;
    return n_bytes * BNI_UTF8_REPLACEMENT_BYTES;
}

/* Writes out what the held bytes begin with, and drops it; 0 if it may still go on. */
static size_t release_held(struct bni_detokenizer *detokenizer, bool is_last, char *out)
{
    size_t length;
    const enum bni_utf8_kind kind =
        bni_utf8_next(detokenizer->held, detokenizer->n_held, &length);
    if (kind == BNI_UTF8_CUT && !is_last) return 0;

    const bool is_character = kind == BNI_UTF8_CHARACTER;
    const size_t n_written = is_character ? length : BNI_UTF8_REPLACEMENT_BYTES;
    memcpy(out, is_character ? (const char *)detokenizer->held : REPLACEMENT,
           n_written);
    detokenizer->n_held -= length;
    memmove(detokenizer->held, detokenizer->held + length, detokenizer->n_held);
    return n_written;
}

size_t bni_detokenizer_push(struct bni_detokenizer *detokenizer, bitnet_token token,
                            char *out)
{
    const struct bni_tokenizer *tokenizer = detokenizer->tokenizer;
    struct bni_string bytes =
        bni_tokenizer_bytes(tokenizer, token, detokenizer->show_special);
    if (bytes.n_bytes == 0) return 0;

    /* Encoding put a space before the text; a user-defined token has none of it. */
    if (detokenizer->is_at_start && tokenizer->is_spm &&
        tokenizer->spm.adds_space_prefix &&
        tokenizer->vocabulary.types[token] != BNI_TOKEN_USER_DEFINED &&
        bytes.bytes[0] == ' ') {
        bytes.bytes++;
        bytes.n_bytes--;
    }
    detokenizer->is_at_start = false;

    size_t n_written = 0;
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        size_t n_added = 1;
        detokenizer->held[detokenizer->n_held++] = (uint8_t)bytes.bytes[i];
        while (detokenizer->n_held > 0 && n_added > 0) {
            n_added = release_held(detokenizer, false, out + n_written);
            n_written += n_added;
        }
    }
    return n_written;
}

size_t bni_detokenizer_flush(struct bni_detokenizer *detokenizer, char *out)
{
    size_t n_written = 0;
    while (detokenizer->n_held > 0)
        n_written += release_held(detokenizer, true, out + n_written);
    return n_written;
}
