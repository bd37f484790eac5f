/* SPDX-License-Identifier: MIT */
/*
 * model_text.c - text to tokens and back, for callers that have a model.
 *
 * What the tokenizer does, with the caller's buffers. The whole length is always
 * told; what does not fit is an error.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "base/size.h"
#include "model/model.h"

/* Says that a buffer is too small; 0 is how a caller asks for the size. */
static bitnet_status check_room(const char *function, const char *unit, size_t n_needed,
                                size_t n_room)
{
    if (n_room == 0 || n_needed <= n_room) return BITNET_OK;
    return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                     "%s: there is room for %zu %s, and %zu are needed", function,
                     n_room, unit, n_needed);
}

bitnet_status bitnet_tokenize(const bitnet_model *model, const char *text,
                              size_t text_len, const bitnet_tokenize_options *options,
                              bitnet_token *tokens, size_t max_tokens, size_t *n_tokens)
{
    bitnet_tokenize_options resolved = bitnet_tokenize_options_default();
    bitnet_token *block = NULL;
    size_t n_block = 0;
    if (model == NULL || n_tokens == NULL || (text == NULL && text_len > 0) ||
        (tokens == NULL && max_tokens > 0))
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "bitnet_tokenize: %s is NULL",
                         model == NULL                      ? "model"
                         : n_tokens == NULL                 ? "n_tokens"
                         : tokens == NULL && max_tokens > 0 ? "tokens"
                                                            : "text");
    bitnet_status status =
        bni_options_read("bitnet_tokenize", &resolved, sizeof(resolved), options);
    if (status != BITNET_OK) return status;
    status = bni_tokenizer_encode(model->tokenizer, text != NULL ? text : "", text_len,
                                  resolved.add_special, resolved.parse_special, &block,
                                  &n_block);
    if (status != BITNET_OK) return status;

    *n_tokens = n_block;
    status = check_room("bitnet_tokenize", "tokens", n_block, max_tokens);
    if (status == BITNET_OK && max_tokens > 0 && n_block > 0)
        memcpy(tokens, block, n_block * sizeof(*tokens));
    bni_free(block);
    return status;
}

static bool is_in_vocabulary(const bitnet_model *model, bitnet_token token)
{
    return token >= 0 && (size_t)token < bni_tokenizer_n_tokens(model->tokenizer);
}

static bitnet_status outside_vocabulary(const bitnet_model *model, const char *function,
                                        bitnet_token token)
{
    return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                     "%s: token %d is outside the vocabulary, which has %zu", function,
                     (int)token, bni_tokenizer_n_tokens(model->tokenizer));
}

/* Where a text goes that may turn out not to fit: then it is only counted. */
struct output {
    char *text;
    size_t n_room;
    size_t n_bytes; /* of the whole text so far */
};

static void append(struct output *output, const char *piece, size_t n_bytes)
{
    if (output->n_bytes < output->n_room) {
        const size_t n_fitting =
            bni_size_min(n_bytes, output->n_room - output->n_bytes);
        memcpy(output->text + output->n_bytes, piece, n_fitting);
    }
    output->n_bytes += n_bytes;
}

bitnet_status bitnet_detokenize(const bitnet_model *model, const bitnet_token *tokens,
                                size_t n_tokens, bool show_special, char *text,
                                size_t max_bytes, size_t *n_bytes)
{
    if (model == NULL || n_bytes == NULL || (tokens == NULL && n_tokens > 0) ||
        (text == NULL && max_bytes > 0))
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "bitnet_detokenize: %s is NULL",
                         model == NULL                   ? "model"
                         : n_bytes == NULL               ? "n_bytes"
                         : text == NULL && max_bytes > 0 ? "text"
                                                         : "tokens");
    for (size_t i = 0; i < n_tokens; i++)
        if (!is_in_vocabulary(model, tokens[i]))
            return outside_vocabulary(model, "bitnet_detokenize", tokens[i]);

    char *piece = bni_alloc(bni_detokenizer_max_piece_bytes(model->tokenizer));
    if (piece == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    struct output output = {text, max_bytes, 0};
    struct bni_detokenizer detokenizer;
    bni_detokenizer_init(&detokenizer, model->tokenizer, show_special, false);
    for (size_t i = 0; i < n_tokens; i++) {
        const size_t n_piece = bni_detokenizer_push(&detokenizer, tokens[i], piece);
        append(&output, piece, n_piece);
    }
    const size_t n_last = bni_detokenizer_flush(&detokenizer, piece);
    append(&output, piece, n_last);
    bni_free(piece);

    *n_bytes = output.n_bytes;
    return check_room("bitnet_detokenize", "bytes", output.n_bytes, max_bytes);
}

bitnet_status bitnet_token_bytes(const bitnet_model *model, bitnet_token token,
                                 const char **bytes, size_t *n_bytes)
{
    if (model == NULL || bytes == NULL || n_bytes == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_token_bytes: %s is NULL",
                         model == NULL   ? "model"
                         : bytes == NULL ? "bytes"
                                         : "n_bytes");
    if (!is_in_vocabulary(model, token))
        return outside_vocabulary(model, "bitnet_token_bytes", token);
    const struct bni_string string = bni_tokenizer_bytes(model->tokenizer, token, true);
    *bytes = string.bytes;
    *n_bytes = string.n_bytes;
    return BITNET_OK;
}
