/* SPDX-License-Identifier: MIT */
#include "support/engine/random_requests.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 32 };

static const char *const grammar_texts[RANDOM_N_GRAMMARS] = {
    "root ::= [a-z] [a-z ]* \".\"",
    ("root ::= \"[\" item (\",\" item)* \"]\"\n"
     "item ::= [0-9]{1,4} | \"\\\"\" [a-f]* \"\\\"\""),
    "root ::= (line \"\\n\")+\nline ::= [^\\n]{3,12}",
};

static const char *const stop_texts[] = {"a",  "e",   ".",  " the", "he",
                                         "ab", "ing", "\n", "!!",   "\xc3\xa9"};

enum { N_STOP_TEXTS = sizeof(stop_texts) / sizeof(stop_texts[0]) };

/* ---- the mix --------------------------------------------------------------------- */

void make_request_mix(struct request_mix *mix, const bitnet_model *model)
{
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    *mix = (struct request_mix){.n_vocab = info.n_vocab, .n_ctx = info.n_ctx_train};
    assert_true(mix->n_ctx > RANDOM_MAX_PROMPT + RANDOM_MAX_GENERATED);
    for (int i = 0; i < RANDOM_N_GRAMMARS; i++)
        if (bitnet_grammar_parse(grammar_texts[i], &mix->grammars[i]) != BITNET_OK)
            fail_msg("grammar %d: %s", i, bitnet_last_error());
}

void free_request_mix(struct request_mix *mix)
{
    for (int i = 0; i < RANDOM_N_GRAMMARS; i++)
        bitnet_grammar_release(mix->grammars[i]);
}

void draw_families(struct request_mix *mix, struct dice *dice)
{
    for (int f = 0; f < RANDOM_N_FAMILIES; f++)
        for (int i = 0; i < RANDOM_MAX_PROMPT; i++)
            mix->families[f][i] = (bitnet_token)roll(dice, mix->n_vocab);
    /* Two families that part in the middle of a page; and one that repeats itself. */
    memcpy(mix->families[1], mix->families[0], 75 * sizeof(bitnet_token));
    for (int i = 7; i < RANDOM_MAX_PROMPT; i++)
        mix->families[2][i] = mix->families[2][i - 7];
}

/* ---- one request ----------------------------------------------------------------- */

/* A number of tokens; every second is about a whole number of pages. */
static size_t draw_length(struct dice *dice)
{
    if (one_in(dice, 2)) return 1 + roll(dice, RANDOM_MAX_PROMPT);
    return PAGE * (1 + roll(dice, 4)) + roll(dice, 3) - 1;
}

static void draw_prompt(const struct request_mix *mix, struct dice *dice,
                        struct random_request *request)
{
    const size_t n = draw_length(dice);
    const size_t n_shared = one_in(dice, 2) ? draw_length(dice) : n;
    request->family = roll(dice, RANDOM_N_FAMILIES);
    request->n_shared = n_shared < n ? n_shared : n;
    memcpy(request->prompt, mix->families[request->family],
           request->n_shared * sizeof(bitnet_token));
    for (size_t i = request->n_shared; i < n; i++)
        request->prompt[i] = (bitnet_token)roll(dice, mix->n_vocab);
    request->options.prompt_tokens = request->prompt;
    request->options.n_prompt_tokens = n;
}

static void draw_sampler(struct dice *dice, bitnet_generate_options *o)
{
    static const uint32_t top_ks[] = {0, 1, 2, 40, 100000};
    static const uint32_t windows[] = {0, 1, 64, 4096};
    o->seed =
        roll(dice, 4); /* samples of one prompt, and the very same request twice */
    o->temperature = one_in(dice, 3) ? 0.0f : 0.2f + 0.1f * (float)roll(dice, 20);
    o->top_k = top_ks[roll(dice, 5)];
    o->top_p = one_in(dice, 2) ? 1.0f : 0.5f + 0.05f * (float)roll(dice, 10);
    o->min_p = one_in(dice, 2) ? 0.0f : 0.02f * (float)roll(dice, 10);
    o->typical_p = one_in(dice, 3) ? 0.7f : 1.0f;
    o->repeat_penalty = one_in(dice, 2) ? 1.0f : 0.8f + 0.1f * (float)roll(dice, 8);
    o->repeat_last_n = windows[roll(dice, 4)];
    o->frequency_penalty = one_in(dice, 4) ? 0.3f : 0.0f;
    o->presence_penalty = one_in(dice, 4) ? -0.5f : 0.0f;
}

static void draw_lists(const struct request_mix *mix, struct dice *dice,
                       struct random_request *request)
{
    bitnet_generate_options *o = &request->options;
    if (one_in(dice, 4)) {
        o->logit_biases = request->biases;
        o->n_logit_biases = 1 + roll(dice, RANDOM_MAX_BIASES);
    }
    for (size_t i = 0; i < o->n_logit_biases; i++)
        request->biases[i] = (bitnet_logit_bias){
            .token = (bitnet_token)roll(dice, mix->n_vocab),
            .bias = one_in(dice, 3) ? -INFINITY : (float)roll(dice, 11) - 5.0f,
        };
    if (one_in(dice, 4)) {
        o->stop_strings = request->stop_strings;
        o->n_stop_strings = 1 + roll(dice, RANDOM_MAX_STOPS);
    }
    for (size_t i = 0; i < o->n_stop_strings; i++)
        request->stop_strings[i] = stop_texts[roll(dice, N_STOP_TEXTS)];
    if (one_in(dice, 6)) {
        o->stop_tokens = request->stop_tokens;
        o->n_stop_tokens = 1 + roll(dice, RANDOM_MAX_STOPS);
    }
    for (size_t i = 0; i < o->n_stop_tokens; i++)
        request->stop_tokens[i] = (bitnet_token)roll(dice, mix->n_vocab);
}

void draw_request(const struct request_mix *mix, struct dice *dice, bool keeps,
                  struct random_request *request)
{
    bitnet_generate_options *o = &request->options;
    *o = bitnet_generate_options_default();
    draw_prompt(mix, dice, request);
    draw_sampler(dice, o);
    draw_lists(mix, dice, request);
    o->max_tokens = 1 + roll(dice, RANDOM_MAX_GENERATED);
    o->ignores_eos = one_in(dice, 2);
    o->priority = (int32_t)roll(dice, 3) - 1;
    o->client_id = roll(dice, 5);
    o->max_draft_tokens = roll(dice, BITNET_MAX_DRAFT_TOKENS + 1);
    request->grammar = one_in(dice, 6) ? (int)roll(dice, RANDOM_N_GRAMMARS) : -1;
    if (request->grammar >= 0) o->grammar = mix->grammars[request->grammar];
    o->keeps_logits = keeps && one_in(dice, 2);
    o->keeps_logprobs = keeps && one_in(dice, 3);
    if (o->keeps_logprobs) o->top_logprobs = roll(dice, BITNET_MAX_TOP_LOGPROBS + 1);
}

void describe_request(const struct random_request *request, char *text, size_t n_bytes)
{
    const bitnet_generate_options *o = &request->options;
    snprintf(text, n_bytes,
             "prompt of %zu tokens, %zu of them of family %u; at most %" PRIu32
             " tokens; seed %" PRIu64 ", temperature %g, top_k %" PRIu32
             ", top_p %g, min_p %g, typical_p %g; penalties %g over %" PRIu32
             ", %g, %g; %zu biases, %zu stop strings, %zu stop tokens, grammar %d; "
             "logits %d, logprobs %d with %" PRIu32 "; ignores_eos %d, drafts %" PRIu32
             "; priority %" PRId32 ", client %" PRIu64,
             o->n_prompt_tokens, request->n_shared, request->family, o->max_tokens,
             o->seed, (double)o->temperature, o->top_k, (double)o->top_p,
             (double)o->min_p, (double)o->typical_p, (double)o->repeat_penalty,
             o->repeat_last_n, (double)o->frequency_penalty,
             (double)o->presence_penalty, o->n_logit_biases, o->n_stop_strings,
             o->n_stop_tokens, request->grammar, o->keeps_logits, o->keeps_logprobs,
             o->top_logprobs, o->ignores_eos, o->max_draft_tokens, o->priority,
             o->client_id);
}

/* ---- a model --------------------------------------------------------------------- */

bitnet_model *load_small_model(bitnet_head_copy head_copy)
{
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.n_layers = 2;
    options.n_ctx = 256;
    options.has_all_bytes = true;
    return load_tiny_model(&options, head_copy);
}

bitnet_model *load_tiny_model(const struct gguf_tiny_options *options,
                              bitnet_head_copy head_copy)
{
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, options);
    size_t n_bytes;
    uint8_t *bytes = gguf_end(&builder, &n_bytes);

    char path[] = "bitnet-test-XXXXXX";
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_true(gguf_write_file(path, bytes, n_bytes));
    free(bytes);
    bitnet_model *model;
    bitnet_model_options model_options = bitnet_model_options_default();
    model_options.head_copy = head_copy;
    const bitnet_status status = bitnet_model_load(path, &model_options, &model);
    remove(path); /* the mapping outlives the name */
    if (status != BITNET_OK) fail_msg("%s", bitnet_last_error());
    return model;
}
