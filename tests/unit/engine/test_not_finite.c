/* SPDX-License-Identifier: MIT */
/*
 * Numbers that are not finite: one request ends, with the place named; others go on.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/engine/random_requests.h"

static bitnet_model *model;

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_model_release(model);
    return 0;
}

static bitnet_generate_options options_for(const bitnet_token *tokens, size_t n)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = n;
    options.max_tokens = 8;
    options.ignores_eos = true;
    return options;
}

/* Generates with one number of the model replaced, and expects to be told where. */
static void expect_failure_with(float *number, float value, const char *place)
{
    static const bitnet_token tokens[] = {5, 17, 300, 41};
    bitnet_engine *engine = create_engine(model, NULL);
    const bitnet_generate_options options = options_for(tokens, 4);
    const float before = *number;
    bitnet_result result;
    *number = value;
    assert_int_equal(bitnet_generate(engine, &options, NULL, &result),
                     BITNET_ERROR_INFERENCE_FAILED);
    if (strstr(bitnet_last_error(), place) == NULL)
        fail_msg("\"%s\" does not name %s", bitnet_last_error(), place);
    assert_non_null(strstr(bitnet_last_error(), "position 3"));
    assert_int_equal(result.finish, BITNET_FINISH_ERROR);
    assert_int_equal(result.n_tokens, 0);
    bitnet_result_release(&result);
    destroy_engine(engine);
    *number = before;
}

static void the_layer_is_named(void **state)
{
    (void)state;
    const uint32_t n_layers = model->hparams.n_layers;
    char place[32];
    for (uint32_t l = 0; l < n_layers; l++) {
        snprintf(place, sizeof(place), "in layer %u", l);
        /* The norms lie in a block of the model's own. */
        expect_failure_with((float *)(uintptr_t)model->layers[l].attn_norm, NAN, place);
        expect_failure_with((float *)(uintptr_t)model->layers[l].ffn_norm + 1, INFINITY,
                            place);
    }
    expect_failure_with((float *)(uintptr_t)model->output_norm, NAN, "output head");
}

/* A model of which one token's embedding is not a number. */
static void others_in_the_same_step_go_on(void **state)
{
    (void)state;
    enum { BAD = 77, N_PROMPT = 40 };
    const struct bni_dense_weight embedding = model->embedding;
    assert_int_equal(embedding.type, BNI_DENSE_F16);
    const size_t n_bytes = (size_t)embedding.n_rows * embedding.n_cols * 2;
    uint16_t *values = malloc(n_bytes);
    assert_non_null(values);
    memcpy(values, embedding.values, n_bytes);
    values[(size_t)BAD * embedding.n_cols] = 0x7e00; /* NaN */

    bitnet_token good[N_PROMPT];
    bitnet_token bad[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) good[i] = bad[i] = 100 + i;
    bad[N_PROMPT - 1] = BAD;
    bitnet_engine *alone = create_engine(model, NULL);
    bitnet_generate_options options = options_for(good, N_PROMPT);
    options.keeps_logits = true;
    bitnet_result expected = generate_well(alone, &options, NULL);
    destroy_engine(alone);

    model->embedding.values = values;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    const bitnet_generate_options bad_options = options_for(bad, N_PROMPT);
    bitnet_request *failing = submit_well(held.engine, &bad_options);
    bitnet_request *passing = submit_well(held.engine, &options);
    let_engine_go(&held);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(failing, &result),
                     BITNET_ERROR_INFERENCE_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "token 77"));
    assert_non_null(strstr(bitnet_last_error(), "embedding"));
    bitnet_result_release(&result);
    result = wait_well(passing);
    assert_same_result(&expected, &result, model->hparams.n_vocab);
    assert_int_equal(result.n_cached_tokens, 32); /* from the one that failed later */
    bitnet_result_release(&result);
    bitnet_result_release(&expected);
    bitnet_request_release(failing);
    bitnet_request_release(passing);
    destroy_engine(held.engine);
    model->embedding = embedding;
    free(values);
}

/* ---- in a layer, from one token on ---------------------------------------------------- */

/*
 * A small model of which one token, 'y', can be made bad. The first number of every
 * embedding is zero, and the first layer multiplies it by more than a float holds; so
 * nothing comes of that until the bad token's embedding is that number alone.
 */
struct fragile {
    bitnet_model *model;
    uint16_t *calm; /* embeddings */
    uint16_t *bad;
};

enum { BAD_TOKEN = 'y', F16_ONE = 0x3c00 };

static struct fragile make_fragile(void)
{
    struct fragile f = {.model = load_small_model(BITNET_HEAD_COPY_NEVER)};
    const struct bni_dense_weight *embedding = &f.model->embedding;
    const size_t n_cols = embedding->n_cols;
    const size_t n_bytes = (size_t)embedding->n_rows * n_cols * sizeof(uint16_t);
    assert_int_equal(embedding->type, BNI_DENSE_F16);
    f.calm = malloc(n_bytes);
    f.bad = malloc(n_bytes);
    assert_true(f.calm != NULL && f.bad != NULL);
    memcpy(f.calm, embedding->values, n_bytes);
    for (size_t row = 0; row < embedding->n_rows; row++) f.calm[row * n_cols] = 0;
    memcpy(f.bad, f.calm, n_bytes);
    memset(f.bad + BAD_TOKEN * n_cols, 0, n_cols * sizeof(uint16_t));
    f.bad[BAD_TOKEN * n_cols] = F16_ONE;
    /* The norms lie in a block of the model's own. */
    ((float *)(uintptr_t)f.model->layers[0].attn_norm)[0] = 3e38f;
    f.model->embedding.values = f.calm;
    return f;
}

static void free_fragile(struct fragile *f)
{
    bitnet_model_release(f->model);
    free(f->calm);
    free(f->bad);
}

/* Takes the tokens there are. */
static unsigned take_all(bitnet_request *request, bitnet_token *tokens)
{
    unsigned n = 0;
    while (bitnet_request_next(request, 0, &tokens[n], NULL, NULL) == BITNET_OK) n++;
    return n;
}

static void expect_to_fail_in_layer_0(bitnet_request *request, size_t position,
                                      bitnet_result *result)
{
    char place[32];
    snprintf(place, sizeof(place), "position %zu ", position);
    assert_int_equal(bitnet_request_wait(request, result),
                     BITNET_ERROR_INFERENCE_FAILED);
    if (strstr(bitnet_last_error(), "in layer 0,") == NULL ||
        strstr(bitnet_last_error(), place) == NULL)
        fail_msg("\"%s\" does not name layer 0 and %s", bitnet_last_error(), place);
    assert_int_equal(result->finish, BITNET_FINISH_ERROR);
}

/* The bad one's rows are prompt, in the middle of which the bad token stands. */
static void a_bad_prompt_ends_alone_in_chunks_of_any_size(void **state)
{
    (void)state;
    enum { N_PROMPT = 40 };
    static const uint32_t budgets[] = {8, 27, 128};
    struct fragile f = make_fragile();
    const bitnet_logit_bias not_bad = {BAD_TOKEN, -INFINITY};
    bitnet_token good[N_PROMPT];
    bitnet_token bad[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) good[i] = bad[i] = 'a' + i % 20;
    bad[N_PROMPT / 2] = BAD_TOKEN;
    f.model->embedding.values = f.bad;
    bitnet_generate_options options = options_for(good, N_PROMPT);
    options.keeps_logits = true;
    options.logit_biases = &not_bad;
    options.n_logit_biases = 1;
    bitnet_engine *alone = create_engine(f.model, NULL);
    bitnet_result expected = generate_well(alone, &options, NULL);
    destroy_engine(alone);

    for (size_t b = 0; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
        bitnet_engine_options engine_options = bitnet_engine_options_default();
        engine_options.max_batch = 4;
        engine_options.step_tokens = budgets[b];
        struct held_engine held = hold_engine(create_engine(f.model, &engine_options));
        const bitnet_generate_options bad_options = options_for(bad, N_PROMPT);
        bitnet_request *failing = submit_well(held.engine, &bad_options);
        bitnet_request *passing = submit_well(held.engine, &options);
        let_engine_go(&held);
        bitnet_result result;
        expect_to_fail_in_layer_0(failing, N_PROMPT - 1, &result);
        assert_int_equal(result.n_tokens, 0);
        bitnet_result_release(&result);
        result = wait_well(passing);
        assert_same_result(&expected, &result, f.model->hparams.n_vocab);
        bitnet_result_release(&result);
        bitnet_request_release(failing);
        bitnet_request_release(passing);
        destroy_engine(held.engine);
    }
    bitnet_result_release(&expected);
    free_fragile(&f);
}

/* A grammar has the text go round, so that every draft is right; between two steps the
 * token that will be in the middle of the next ones turns bad. */
static void a_bad_draft_ends_its_request_behind_the_tokens_before_it(void **state)
{
    (void)state;
    enum { N_PROMPT = 12, N_GENERATED = 60 };
    struct fragile f = make_fragile();
    bitnet_grammar *round_and_round;
    assert_int_equal(bitnet_grammar_parse("root ::= (\"wxyz\")+", &round_and_round),
                     BITNET_OK);
    bitnet_token prompt[N_PROMPT];
    bitnet_token other_prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) {
        prompt[i] = "wxyz"[i % 4];
        other_prompt[i] = 'a' + i;
    }
    const bitnet_logit_bias not_bad = {BAD_TOKEN, -INFINITY};
    bitnet_generate_options other = options_for(other_prompt, N_PROMPT);
    other.max_tokens = N_GENERATED;
    other.logit_biases = &not_bad;
    other.n_logit_biases = 1;
    other.max_draft_tokens = 0;
    bitnet_generate_options options = options_for(prompt, N_PROMPT);
    options.max_tokens = N_GENERATED;
    options.grammar = round_and_round;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.is_stepped = true;
    bitnet_engine *engine = create_engine(f.model, &engine_options);
    bitnet_result expected = generate_well(engine, &other, NULL);

    bitnet_token tokens[N_GENERATED];
    bitnet_request *failing = submit_well(engine, &options);
    bitnet_request *passing = submit_well(engine, &other);
    /* Until a step has brought four tokens or more: the next has four drafts at least,
     * each token of the round among them, with 'y' neither the first nor the last. */
    unsigned n = 0;
    unsigned n_new = 0;
    while (n_new < 4 || tokens[n - 1] != 'w') {
        assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
        n_new = take_all(failing, tokens + n);
        n += n_new;
        assert_int_equal(bitnet_request_finish(failing), BITNET_FINISH_NONE);
    }
    const uint64_t n_drafted = stats_of(engine).n_drafted;
    f.model->embedding.values = f.bad;
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
    f.model->embedding.values = f.calm;
    /* Behind 'w' the drafts are x, y, z and more: x and y are right and delivered, and
     * what would follow y is not known. */
    assert_true(stats_of(engine).n_drafted >= n_drafted + 3);
    assert_int_equal(bitnet_request_finish(failing), BITNET_FINISH_ERROR);
    assert_int_equal(take_all(failing, tokens + n), 2);
    n += 2;
    for (unsigned i = 0; i < n; i++) assert_int_equal(tokens[i], "wxyz"[i % 4]);
    bitnet_result result;
    expect_to_fail_in_layer_0(failing, N_PROMPT + n - 1, &result);
    assert_int_equal(result.n_tokens, n);
    assert_memory_equal(result.tokens, tokens, n * sizeof(*tokens));
    assert_int_equal(result.text_len, n);
    bitnet_result_release(&result);
    result = wait_well(passing);
    assert_same_result(&expected, &result, f.model->hparams.n_vocab);
    bitnet_result_release(&result);
    bitnet_result_release(&expected);
    bitnet_request_release(failing);
    bitnet_request_release(passing);
    destroy_engine(engine);
    bitnet_grammar_release(round_and_round);
    free_fragile(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_is_named),
        cmocka_unit_test(others_in_the_same_step_go_on),
        cmocka_unit_test(a_bad_prompt_ends_alone_in_chunks_of_any_size),
        cmocka_unit_test(a_bad_draft_ends_its_request_behind_the_tokens_before_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
