/* SPDX-License-Identifier: MIT */
/*
 * synth_vocabulary.h - a byte-level vocabulary of any size, made up.
 *
 *     0 .. 255       the bytes
 *     256 .. n - 3   aa, ab, ... zz, aaa, ...: all words of small letters, in order
 *     n - 2, n - 1   the beginning and the end of a text
 *
 * Each word is made by one merge, of the word without its last letter and that letter.
 */
#ifndef CLI_SYNTH_VOCABULARY_H
#define CLI_SYNTH_VOCABULARY_H

#include <stdint.h>

#include "synth_sink.h"

/* Writes the tokenizer's metadata; returns how many values that were. */
uint64_t synth_put_vocabulary(struct synth_sink *sink, uint64_t n_vocab);

#endif
