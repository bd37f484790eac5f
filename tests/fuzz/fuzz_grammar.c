/* SPDX-License-Identifier: MIT */
/*
 * fuzz_grammar.c - any bytes as the text of a grammar.
 *
 * What is accepted is matched against the text's own bytes and others, since whoever
 * writes a grammar also chooses what the matcher goes through. All memory comes back.
 */
#include "grammar_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    return try_grammar_text(data, n_bytes, bitnet_grammar_parse);
}
