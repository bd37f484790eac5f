/* SPDX-License-Identifier: MIT */
/*
 * text_stream.c - see text_stream.h.
 */
#include "engine/text_stream.h"

#include <string.h>

size_t bni_text_stream_buffer_bytes(const struct bni_tokenizer *tokenizer,
                                    const struct bni_stop_rules *rules)
{
    return bni_detokenizer_max_piece_bytes(tokenizer) + rules->longest_bytes;
}

void bni_text_stream_init(struct bni_text_stream *stream,
                          const struct bni_tokenizer *tokenizer,
                          const struct bni_stop_rules *rules, char *buffer)
{
    *stream = (struct bni_text_stream){.rules = rules, .buffer = buffer};
    bni_detokenizer_init(&stream->detokenizer, tokenizer, false, true);
}

/* Drops what was given out last time, so that new text follows what is held. */
static char *make_room(struct bni_text_stream *stream)
{
    memmove(stream->buffer, stream->buffer + stream->n_given, stream->n_held);
    stream->n_given = 0;
    return stream->buffer + stream->n_held;
}

/* Looks through `n_added` new bytes behind what is held; decides what goes out. */
static void take_in(struct bni_text_stream *stream, size_t n_added)
{
    const size_t n_text = stream->n_held + n_added;
    for (size_t i = stream->n_held; i < n_text; i++) {
        const size_t n_stop = bni_stop_matcher_push(&stream->matcher, stream->rules,
                                                    (uint8_t)stream->buffer[i]);
        if (n_stop == 0) continue;
        stream->is_stopped = true;
        stream->n_given = i + 1 - n_stop;
        stream->n_held = 0;
        return;
    }
    stream->n_held = bni_stop_matcher_n_held(&stream->matcher, stream->rules);
    stream->n_given = n_text - stream->n_held;
}

size_t bni_text_stream_push(struct bni_text_stream *stream, bitnet_token token)
{
    char *room = make_room(stream);
    if (stream->is_stopped) return 0;
    take_in(stream, bni_detokenizer_push(&stream->detokenizer, token, room));
    return stream->n_given;
}

size_t bni_text_stream_flush(struct bni_text_stream *stream)
{
    char *room = make_room(stream);
    if (stream->is_stopped) return 0;
    take_in(stream, bni_detokenizer_flush(&stream->detokenizer, room));
    stream->n_given += stream->n_held;
    stream->n_held = 0;
    return stream->n_given;
}
