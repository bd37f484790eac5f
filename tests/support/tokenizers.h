/* SPDX-License-Identifier: MIT */
/*
 * tokenizers.h - for tests: a tokenizer with the file it lives on, and how its
 * answers are compared.
 */
#ifndef TESTS_SUPPORT_TOKENIZERS_H
#define TESTS_SUPPORT_TOKENIZERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "formats/gguf.h"
#include "model/tokenizer.h"

struct opened {
    struct bni_gguf *gguf;
    struct bni_tokenizer *tokenizer;
};

static inline struct bni_string string_of(const char *text)
{
    return (struct bni_string){text, strlen(text)};
}

/* Returns whether there is a file of that name that can be read. */
static inline bool file_exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file != NULL) fclose(file);
    return file != NULL;
}

/* Skips the test if there is no such file. */
static inline struct opened open_or_skip(const char *path)
{
    struct opened opened;
    struct bni_string architecture = {"", 0};
    if (!file_exists(path)) {
        print_message("there is no %s\n", path);
        skip();
    }
    bitnet_status status = bni_gguf_open(path, &opened.gguf);
    if (status == BITNET_OK)
        status = bni_gguf_get_string(opened.gguf, "general.architecture", NULL,
                                     &architecture);
    if (status == BITNET_OK)
        status = bni_tokenizer_create(opened.gguf, architecture, &opened.tokenizer);
    if (status != BITNET_OK) fail_msg("%s: %s", path, bitnet_last_error());
    return opened;
}

static inline void close_opened(struct opened *opened)
{
    bni_tokenizer_destroy(opened->tokenizer);
    bni_gguf_close(opened->gguf);
}

/* Whether `text` becomes these tokens; if not, prints both. */
static inline bool encodes_to(const struct bni_tokenizer *tokenizer, const char *text,
                              size_t text_len, bool parse_special,
                              const bitnet_token *expected, size_t n_expected)
{
    bitnet_token *tokens = NULL;
    size_t n_tokens = 0;
    const bitnet_status status =
        bni_tokenizer_encode(tokenizer, text, text_len, false, parse_special, &tokens,
                             &n_tokens);
    if (status != BITNET_OK) {
        print_error("encode: %s\n", bitnet_last_error());
        return false;
    }
    bool is_equal = n_tokens == n_expected;
    for (size_t i = 0; is_equal && i < n_tokens; i++)
        is_equal = tokens[i] == expected[i];
    if (!is_equal) {
        print_error("\"%.*s\" became", (int)(text_len < 80 ? text_len : 80), text);
        for (size_t i = 0; i < n_tokens && i < 80; i++)
            print_error(" %d", (int)tokens[i]);
        print_error("\n  expected");
        for (size_t i = 0; i < n_expected && i < 80; i++)
            print_error(" %d", (int)expected[i]);
        print_error("\n");
    }
    bni_free(tokens);
    return is_equal;
}

/* Returns the text of the tokens in a block for bni_free(), and its length. */
static inline char *decode(const struct bni_tokenizer *tokenizer,
                           const bitnet_token *tokens, size_t n_tokens,
                           bool show_special, size_t *n_text)
{
    const size_t max_piece = bni_detokenizer_max_piece_bytes(tokenizer);
    char *text = bni_alloc((n_tokens + 1) * max_piece);
    struct bni_detokenizer detokenizer;
    assert_non_null(text);
    bni_detokenizer_init(&detokenizer, tokenizer, show_special, false);
    size_t n = 0;
    for (size_t i = 0; i < n_tokens; i++)
        n += bni_detokenizer_push(&detokenizer, tokens[i], text + n);
    n += bni_detokenizer_flush(&detokenizer, text + n);
    *n_text = n;
    return text;
}

#endif
