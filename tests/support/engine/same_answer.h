/* SPDX-License-Identifier: MIT */
/*
 * same_answer.h - whether a result is, to the bit, what the same request got elsewhere:
 * tokens, logits and log-probabilities as far as they were kept. Returns NULL, or in
 * what the two differ. For threads of a test, in which assertions may not fail.
 */
#ifndef TESTS_SUPPORT_SAME_ANSWER_H
#define TESTS_SUPPORT_SAME_ANSWER_H

#include <stddef.h>

#include <bitnet/engine.h>

/* Whether `result`, of a request that was cut short, is the beginning of `alone`. Its
 * text is not looked at: it may end inside of a character. */
const char *begins_otherwise(const bitnet_result *result, const bitnet_result *alone,
                             size_t n_vocab);

/* Whether it is the whole answer, its text and its end included. */
const char *answers_otherwise(const bitnet_result *result, const bitnet_result *alone,
                              size_t n_vocab);

#endif
