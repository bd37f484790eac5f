/* SPDX-License-Identifier: MIT */
/*
 * engines.h - the shipped model at work, for tests: load, generate, compare.
 */
#ifndef TESTS_SUPPORT_ENGINES_H
#define TESTS_SUPPORT_ENGINES_H

#include <stddef.h>

#include <bitnet/engine.h>
#include <bitnet/model.h>

/* Fail the running test, with the library's message, if they do not succeed. */
bitnet_model *load_model(void);
bitnet_model *load_model_with(bitnet_head_copy head_copy);
bitnet_engine *create_engine(bitnet_model *model, const bitnet_engine_options *options);
void destroy_engine(bitnet_engine *engine);
bitnet_result generate_well(bitnet_engine *engine,
                            const bitnet_generate_options *options, const char *prompt);

/* Twelve openings of stories. */
enum { N_PROMPTS = 12 };
extern const char *const test_prompts[N_PROMPTS];

/* Options of request `i` of a mix: samplers, seeds and lengths all differ. */
bitnet_generate_options mixed_options(unsigned i);

/* Fails unless tokens, text and logits (if both have them) are the same bytes. */
void assert_same_result(const bitnet_result *a, const bitnet_result *b, size_t n_vocab);

#endif
