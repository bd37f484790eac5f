/* SPDX-License-Identifier: MIT */
/*
 * synth_vocabulary.c - see synth_vocabulary.h. Texts are made one at a time, each from
 * its number, so the size of the vocabulary costs no memory.
 */
#include "synth_vocabulary.h"

#include <stdio.h>
#include <string.h>

#include "synth_metadata.h"

enum {
    N_BYTES = 256,
    N_SPECIAL = 2,
    N_LETTERS = 26,
    MAX_WORD = 16,
    TYPE_NORMAL = 1,
    TYPE_CONTROL = 3,
};

/*
 * The character that stands for a byte: itself if it can be seen, else the next one from
 * U+0100 on.
 */
static void byte_character(unsigned byte, char text[3])
{
    unsigned code = byte;
    if (byte <= 0x20)
        code = 0x100 + byte;
    else if (byte >= 0x7F && byte <= 0xA0)
        code = 0x121 + byte - 0x7F;
    else if (byte == 0xAD)
        code = 0x143;
    if (code < 0x80) {
        snprintf(text, 3, "%c", (int)code);
        return;
    }
    text[0] = (char)(0xC0 | code >> 6);
    text[1] = (char)(0x80 | (code & 0x3F));
    text[2] = '\0';
}

/* Word `number` of all those of one letter or more, from 1: a is 1, z 26, aa 27. */
static void word_of(uint64_t number, char text[MAX_WORD])
{
    char backwards[MAX_WORD];
    size_t n = 0;
    for (; number > 0; number = (number - 1) / N_LETTERS)
        backwards[n++] = (char)('a' + (number - 1) % N_LETTERS);
    for (size_t i = 0; i < n; i++) text[i] = backwards[n - 1 - i];
    text[n] = '\0';
}

/* The number of the word that is token `token`. */
static uint64_t word_number(uint64_t token)
{
    return token - N_BYTES + N_LETTERS + 1;
}

static void put_token(struct synth_sink *sink, uint64_t token, uint64_t n_vocab)
{
    char text[MAX_WORD];
    if (token == n_vocab - 2) {
        synth_put_text(sink, "<|begin_of_text|>");
    } else if (token == n_vocab - 1) {
        synth_put_text(sink, "<|end_of_text|>");
    } else {
        if (token < N_BYTES)
            byte_character((unsigned)token, text);
        else
            word_of(word_number(token), text);
        synth_put_text(sink, text);
    }
}

static void put_merge(struct synth_sink *sink, uint64_t token)
{
    char word[MAX_WORD];
    char merge[MAX_WORD + 1];
    word_of(word_number(token), word);
    const size_t n_left = strlen(word) - 1;
    snprintf(merge, sizeof(merge), "%.*s %c", (int)n_left, word, word[n_left]);
    synth_put_text(sink, merge);
}

uint64_t synth_put_vocabulary(struct synth_sink *sink, uint64_t n_vocab)
{
    uint64_t n_values = 0;
    n_values += synth_meta_text(sink, "tokenizer.ggml.model", "gpt2");
    n_values += synth_meta_text(sink, "tokenizer.ggml.pre", "llama-bpe");
    n_values +=
        synth_meta_array(sink, "tokenizer.ggml.tokens", SYNTH_META_TEXT, n_vocab);
    for (uint64_t i = 0; i < n_vocab; i++) put_token(sink, i, n_vocab);
    n_values +=
        synth_meta_array(sink, "tokenizer.ggml.token_type", SYNTH_META_I32, n_vocab);
    for (uint64_t i = 0; i < n_vocab; i++)
        synth_put_u32(sink, i < n_vocab - N_SPECIAL ? TYPE_NORMAL : TYPE_CONTROL);
    n_values += synth_meta_array(sink, "tokenizer.ggml.merges", SYNTH_META_TEXT,
                                 n_vocab - N_BYTES - N_SPECIAL);
    for (uint64_t i = N_BYTES; i < n_vocab - N_SPECIAL; i++) put_merge(sink, i);
    n_values +=
        synth_meta_u32(sink, "tokenizer.ggml.bos_token_id", (uint32_t)n_vocab - 2);
    n_values +=
        synth_meta_u32(sink, "tokenizer.ggml.eos_token_id", (uint32_t)n_vocab - 1);
    return n_values;
}
