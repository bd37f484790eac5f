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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_is_named),
        cmocka_unit_test(others_in_the_same_step_go_on),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
