/* SPDX-License-Identifier: MIT */
/*
 * The output head in two passes, through engines: a model with a copy of its head
 * generates the tokens that it generates without, with grammars drawn at random too, and
 * nothing is left of a copy that could not be made.
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/dice.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "threads/compute_control.h"

static void a_copy_is_counted_and_changes_no_token(void **state)
{
    (void)state;
    bitnet_model *models[2] = {load_model_with(BITNET_HEAD_COPY_NEVER),
                               load_model_with(BITNET_HEAD_COPY_ALWAYS)};
    bitnet_model_info infos[2] = {{.struct_size = sizeof(infos[0])},
                                  {.struct_size = sizeof(infos[0])}};
    bitnet_engine *engines[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(bitnet_model_get_info(models[i], &infos[i]), BITNET_OK);
        engines[i] = create_engine(models[i], NULL);
    }
    assert_int_equal(infos[0].head_copy_bytes, 0);
    assert_int_equal(infos[1].head_copy_bytes,
                     infos[1].n_vocab * ((uint64_t)infos[1].n_embd + 12));
    assert_int_equal(infos[1].allocated_bytes,
                     infos[0].allocated_bytes + infos[1].head_copy_bytes);
    for (unsigned i = 0; i < 3 * N_PROMPTS; i++) {
        bitnet_generate_options options = mixed_options(i);
        options.temperature = i % 3 == 0 ? 0.0f : 0.9f;
        if (i % 3 == 2) options.top_k = 12;
        options.keeps_logits = false;
        bitnet_result results[2];
        for (int k = 0; k < 2; k++)
            results[k] =
                generate_well(engines[k], &options, test_prompts[i % N_PROMPTS]);
        assert_same_result(&results[0], &results[1], infos[0].n_vocab);
        for (int k = 0; k < 2; k++) bitnet_result_release(&results[k]);
    }
    assert_int_equal(stats_of(engines[0]).n_two_pass_rows, 0);
    assert_true(stats_of(engines[1]).n_two_pass_rows > 0);
    for (int i = 0; i < 2; i++) {
        destroy_engine(engines[i]);
        bitnet_model_release(models[i]);
    }
}

/* Generates with this grammar `n` times, greedily, of the first k or by min-p, without a
 * copy of the head and with one. */
static void compare_with_grammar(bitnet_engine *engines[2], const char *text,
                                 unsigned n)
{
    static const bitnet_logit_bias biases[] = {{300, 3.0f}, {301, -INFINITY}};
    bitnet_grammar *grammar;
    if (bitnet_grammar_parse(text, &grammar) != BITNET_OK)
        fail_msg("%s: %s", text, bitnet_last_error());
    for (unsigned i = 0; i < n; i++) {
        bitnet_generate_options options = bitnet_generate_options_default();
        options.seed = i;
        options.max_tokens = 24;
        options.grammar = grammar;
        options.temperature = i % 3 == 0 ? 0.0f : 1.2f;
        options.top_k = i % 3 == 2 ? 0 : 12;
        options.top_p = i % 3 == 2 ? 1.0f : 0.9f;
        options.min_p = i % 3 == 2 ? 0.1f : 0.0f;
        options.repeat_penalty = i % 2 == 0 ? 1.0f : 1.3f;
        if (i % 4 == 3) {
            options.logit_biases = biases;
            options.n_logit_biases = 2;
        }
        bitnet_result results[2];
        for (int k = 0; k < 2; k++)
            results[k] =
                generate_well(engines[k], &options, test_prompts[i % N_PROMPTS]);
        assert_same_result(&results[0], &results[1], 0);
        for (int k = 0; k < 2; k++) bitnet_result_release(&results[k]);
    }
    bitnet_grammar_release(grammar);
}

/* A model without and with a copy of its head, and an engine of each. */
struct pair {
    bitnet_model *models[2];
    bitnet_engine *engines[2];
};

static struct pair create_pair(void)
{
    struct pair pair = {.models = {load_model_with(BITNET_HEAD_COPY_NEVER),
                                   load_model_with(BITNET_HEAD_COPY_ALWAYS)}};
    for (int i = 0; i < 2; i++) pair.engines[i] = create_engine(pair.models[i], NULL);
    return pair;
}

static void destroy_pair(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        destroy_engine(pair->engines[i]);
        bitnet_model_release(pair->models[i]);
    }
}

/* Whatever a grammar allows, much or next to nothing. */
static void a_grammar_gets_the_same_tokens(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "root ::= [a-z] [a-z ]* \".\"",
        ("root ::= \"[\" item (\",\" item)* \"]\"\nitem ::= [0-9]{1,4} | \"\\\"\" "
         "[a-f]* \"\\\"\""),
        "root ::= (\"yes\" | \"no\") \"!\"{3}",
        "root ::= [^\\n]+",
    };
    struct pair pair = create_pair();
    for (unsigned g = 0; g < sizeof(texts) / sizeof(texts[0]); g++) {
        const uint64_t n_before = stats_of(pair.engines[1]).n_two_pass_rows;
        compare_with_grammar(pair.engines, texts[g], 3 * N_PROMPTS);
        assert_true(stats_of(pair.engines[1]).n_two_pass_rows > n_before);
    }
    destroy_pair(&pair);
}

/* A class of characters, all but some, or a word, how often it may come added. */
static void draw_part(struct dice *dice, char *end, size_t n_bytes)
{
    static const char *const words[] = {"the ", "and", ".", "Once", "0"};
    static const char *const repeats[] = {"", "", "?", "*", "+", "{2}", "{1,5}"};
    const unsigned from = roll(dice, 26);
    const unsigned to = from + roll(dice, 26 - from);
    const char *repeat = repeats[roll(dice, sizeof(repeats) / sizeof(repeats[0]))];
    if (one_in(dice, 3))
        snprintf(end, n_bytes, " \"%s\"%s",
                 words[roll(dice, sizeof(words) / sizeof(words[0]))], repeat);
    else
        snprintf(end, n_bytes, " [%s%c-%c ]%s", one_in(dice, 4) ? "^" : "",
                 (char)('a' + from), (char)('a' + to), repeat);
}

/* One to three choices of one to three parts each, again and again. */
static void draw_grammar(struct dice *dice, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "root ::= (");
    for (unsigned choice = 0, n = 1 + roll(dice, 3); choice < n; choice++) {
        if (choice > 0) strcat(text, " |");
        for (unsigned part = 0, n_parts = 1 + roll(dice, 3); part < n_parts; part++)
            draw_part(dice, text + strlen(text), n_bytes - strlen(text) - 8);
    }
    strcat(text, " )+");
}

static void random_grammars_get_the_same_tokens(void **state)
{
    (void)state;
    const uint64_t seed = 20261129;
    print_message("seed %" PRIu64 "\n", seed);
    struct pair pair = create_pair();
    for (unsigned g = 0; g < 8; g++) {
        struct dice dice = dice_for(seed, g, 0);
        char text[512];
        draw_grammar(&dice, text, sizeof(text));
        compare_with_grammar(pair.engines, text, 6);
    }
    assert_true(stats_of(pair.engines[1]).n_two_pass_rows > 0);
    destroy_pair(&pair);
}

/* Loading and creating with a copy, with the n-th allocation failing, for every n. */
static void whatever_allocation_fails_nothing_is_left(void **state)
{
    (void)state;
    bitnet_model_options model_options = bitnet_model_options_default();
    model_options.head_copy = BITNET_HEAD_COPY_ALWAYS;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_batch = 2;
    bni_compute_cleanup();
    const uint64_t before = bni_alloc_in_use();
    bool is_done = false;
    unsigned n = 0;
    while (!is_done) {
        bitnet_model *model = NULL;
        bitnet_engine *engine = NULL;
        bni_compute_cleanup(); /* the load needs the team, and makes it anew */
        bni_fault_arm(++n);    /* allocations, and threads */
        bitnet_status status =
            bitnet_model_load(BITNET_SOURCE_DIR "/models/tinystories-3.7m-i2_s.gguf",
                              &model_options, &model);
        if (status == BITNET_OK)
            status = bitnet_engine_create(model, &engine_options, &engine);
        is_done = bni_fault_count() < n;
        bni_fault_arm(0);
        assert_int_equal(status == BITNET_OK, is_done);
        bitnet_engine_destroy(engine);
        bitnet_model_release(model);
        bni_compute_cleanup();
        assert_int_equal(bni_alloc_in_use(), before);
    }
    print_message("%u refusals\n", n - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_counted_and_changes_no_token),
        cmocka_unit_test(a_grammar_gets_the_same_tokens),
        cmocka_unit_test(random_grammars_get_the_same_tokens),
        cmocka_unit_test(whatever_allocation_fails_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
