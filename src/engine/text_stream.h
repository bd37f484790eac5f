/* SPDX-License-Identifier: MIT */
/*
 * text_stream.h - generated tokens to the text that is given out.
 *
 * Detokenises and looks for stop strings. Text that could still become one is held
 * back; once one is complete the text before it is the last there is.
 *
 *     buffer  [ given out | held back |  room for one more piece ]
 *             0           n_given     n_given + n_held
 */
#ifndef BNI_ENGINE_TEXT_STREAM_H
#define BNI_ENGINE_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/stop.h"
#include "model/tokenizer.h"

struct bni_text_stream {
    struct bni_detokenizer detokenizer;
    const struct bni_stop_rules *rules;
    struct bni_stop_matcher matcher;
    char *buffer;
    size_t n_given; /* by the last push or flush */
    size_t n_held;
    bool is_stopped; /* a stop string is complete */
};

/* Bytes that the buffer of a stream with these rules must have. */
size_t bni_text_stream_buffer_bytes(const struct bni_tokenizer *tokenizer,
                                    const struct bni_stop_rules *rules);

/* Begins an empty text. `rules` and `buffer` must outlive the stream. */
void bni_text_stream_init(struct bni_text_stream *stream,
                          const struct bni_tokenizer *tokenizer,
                          const struct bni_stop_rules *rules, char *buffer);

/* Returns how many bytes at the start of the buffer the token gives out, maybe 0. */
size_t bni_text_stream_push(struct bni_text_stream *stream, bitnet_token token);

/* Ends the text: what was held back goes out, unless a stop string is complete. */
size_t bni_text_stream_flush(struct bni_text_stream *stream);

#endif
