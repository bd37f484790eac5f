/* SPDX-License-Identifier: MIT */
/*
 * random_requests.h - requests of every kind, drawn at random, for tests that mix them.
 *
 * What is drawn decides the answer: prompt, sampler, lists, grammar, what is kept; and
 * priority and client, which must not. When a request comes, how it is consumed and
 * whether it is cut short is the test's own business.
 *
 * Prompts are beginnings of a few families of tokens, often as long as a whole number
 * of cache pages or one off, some with an ending of their own; so many begin alike.
 */
#ifndef TESTS_SUPPORT_RANDOM_REQUESTS_H
#define TESTS_SUPPORT_RANDOM_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>
#include <bitnet/grammar.h>
#include <bitnet/model.h>

#include "support/dice.h"
#include "support/gguf_builder.h"

enum {
    RANDOM_N_FAMILIES = 4,
    RANDOM_N_GRAMMARS = 3,
    RANDOM_MAX_PROMPT = 160,
    RANDOM_MAX_GENERATED = 40,
    RANDOM_MAX_BIASES = 12,
    RANDOM_MAX_STOPS = 3,
};

/* What requests for one model are drawn from. */
struct request_mix {
    uint32_t n_vocab;
    uint32_t n_ctx; /* more than RANDOM_MAX_PROMPT + RANDOM_MAX_GENERATED */
    bitnet_token families[RANDOM_N_FAMILIES][RANDOM_MAX_PROMPT];
    bitnet_grammar *grammars[RANDOM_N_GRAMMARS];
};

/* A request, with the lists that its options point to. It must not be moved. */
struct random_request {
    bitnet_generate_options options;
    unsigned family;
    size_t n_shared; /* tokens of the family; the rest of the prompt is its own */
    int grammar;     /* -1: none */
    bitnet_token prompt[RANDOM_MAX_PROMPT];
    bitnet_logit_bias biases[RANDOM_MAX_BIASES];
    const char *stop_strings[RANDOM_MAX_STOPS];
    bitnet_token stop_tokens[RANDOM_MAX_STOPS];
};

/* Fail the running test if they do not succeed. */
void make_request_mix(struct request_mix *mix, const bitnet_model *model);
void free_request_mix(struct request_mix *mix);

/* Draws new families. */
void draw_families(struct request_mix *mix, struct dice *dice);

/* `keeps` lets some requests keep logits and log-probabilities. */
void draw_request(const struct request_mix *mix, struct dice *dice, bool keeps,
                  struct random_request *request);

/* Says what was drawn, for whoever has to find out what went wrong. */
void describe_request(const struct random_request *request, char *text, size_t n_bytes);

/* A model of random weights with two layers, 259 tokens and a context of 256, which
 * takes some microseconds for a row; made in a file that is gone again. */
bitnet_model *load_small_model(bitnet_head_copy head_copy);

/* Likewise any tiny model. */
bitnet_model *load_tiny_model(const struct gguf_tiny_options *options,
                              bitnet_head_copy head_copy);

#endif
