/* SPDX-License-Identifier: MIT */
/*
 * fuzz_json_schema.c - any bytes as a JSON Schema; otherwise as fuzz_grammar.c.
 */
#include "grammar_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    return try_grammar_text(data, n_bytes, bitnet_grammar_from_json_schema);
}
