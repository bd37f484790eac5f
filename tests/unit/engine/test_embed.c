/* SPDX-License-Identifier: MIT */
/*
 * Texts as vectors: the state that the output head reads, pooled in the documented
 * order, the same bits whatever the chunks, threads, cached prefixes and company.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/embed.h>
#include <bitnet/thread_manager.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/float16.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/forward_run.h"
#include "support/engine/held_engine.h"
#include "support/latch.h"

enum { WATCHDOG_S = 300, N_TOKENS = 75, MAX_EMBD = 4096 };

static struct watchdog dog;
static bitnet_model *model;
static bitnet_engine *engine;
static uint32_t n_embd;
static bitnet_token tokens[N_TOKENS];

static int set_up(void **state)
{
    (void)state;
    watchdog_start(&dog, "embeddings", WATCHDOG_S);
    model = load_model();
    engine = create_engine(model, NULL);
    n_embd = model->hparams.n_embd;
    assert_true(n_embd <= MAX_EMBD);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (bitnet_token)((i * 6151 + 5) % model->hparams.n_vocab);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    destroy_engine(engine);
    bitnet_model_release(model);
    watchdog_stop(&dog);
    return 0;
}

static bitnet_embed_options options_for(bitnet_pooling pooling, size_t n_tokens)
{
    bitnet_embed_options options = bitnet_embed_options_default();
    options.pooling = pooling;
    options.normalises = false;
    options.tokens = tokens;
    options.n_tokens = n_tokens;
    return options;
}

static void embed_well(bitnet_engine *with, const bitnet_embed_options *options,
                       const char *text, float *vector)
{
    if (bitnet_embed(with, options, text, vector, n_embd) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
}

static void the_last_state_is_what_the_head_reads(void **state)
{
    (void)state;
    const struct bni_dense_weight *head = &model->head;
    const bitnet_embed_options options = options_for(BITNET_POOLING_LAST, N_TOKENS);
    float vector[MAX_EMBD];
    embed_well(engine, &options, NULL, vector);
    float *logits = forward_run(model, bni_kernels_select(), 1, tokens, N_TOKENS, 64);
    const float *last = logits + (size_t)(N_TOKENS - 1) * head->n_rows;
    assert_int_equal(head->type, BNI_DENSE_F16);
    for (size_t t = 0; t < head->n_rows; t++) {
        const uint16_t *row = (const uint16_t *)head->values + t * n_embd;
        double sum = 0;
        for (uint32_t d = 0; d < n_embd; d++)
            sum += (double)bni_widen_f16(row[d]) * (double)vector[d];
        assert_float_equal(sum, last[t], 1e-3);
    }
    bni_free(logits);
}

static void the_mean_adds_up_states_in_the_order_of_positions(void **state)
{
    (void)state;
    double sums[MAX_EMBD] = {0};
    float vector[MAX_EMBD];
    for (size_t n = 1; n <= N_TOKENS; n++) {
        const bitnet_embed_options last = options_for(BITNET_POOLING_LAST, n);
        embed_well(engine, &last, NULL, vector);
        for (uint32_t d = 0; d < n_embd; d++) sums[d] += (double)vector[d];
    }
    const bitnet_embed_options mean = options_for(BITNET_POOLING_MEAN, N_TOKENS);
    embed_well(engine, &mean, NULL, vector);
    for (uint32_t d = 0; d < n_embd; d++)
        assert_true(vector[d] == (float)(sums[d] / N_TOKENS));
}

static void a_normalised_vector_has_length_one_and_the_same_direction(void **state)
{
    (void)state;
    float plain[MAX_EMBD];
    float unit[MAX_EMBD];
    bitnet_embed_options options = options_for(BITNET_POOLING_MEAN, N_TOKENS);
    embed_well(engine, &options, NULL, plain);
    options.normalises = true;
    embed_well(engine, &options, NULL, unit);
    double square = 0;
    for (uint32_t d = 0; d < n_embd; d++) square += (double)plain[d] * (double)plain[d];
    double length = 0;
    for (uint32_t d = 0; d < n_embd; d++) {
        assert_true(unit[d] == (float)((double)plain[d] / sqrt(square)));
        length += (double)unit[d] * (double)unit[d];
    }
    assert_float_equal(length, 1, 1e-5);
}

static void nothing_but_the_tokens_changes_a_bit(void **state)
{
    (void)state;
    static const uint32_t shapes[][3] = {/* step_tokens, max_batch, threads */
                                         {1, 1, 1},
                                         {9, 2, 2},
                                         {33, 32, 3},
                                         {256, 5, 1}};
    float expected[2][MAX_EMBD];
    float found[MAX_EMBD];
    for (int pooling = 0; pooling < 2; pooling++) {
        const bitnet_embed_options options =
            options_for((bitnet_pooling)pooling, N_TOKENS);
        embed_well(engine, &options, NULL, expected[pooling]);
    }
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        bitnet_engine_options engine_options = bitnet_engine_options_default();
        engine_options.step_tokens = shapes[i][0];
        engine_options.max_batch = shapes[i][1];
        bitnet_thread_manager_set_compute_threads(shapes[i][2]);
        bitnet_engine *other = create_engine(model, &engine_options);
        for (int round = 0; round < 4; round++) { /* the second finds pages */
            const bitnet_embed_options options =
                options_for((bitnet_pooling)(round % 2), N_TOKENS);
            embed_well(other, &options, NULL, found);
            assert_memory_equal(found, expected[round % 2], n_embd * sizeof(*found));
        }
        destroy_engine(other);
    }
    bitnet_thread_manager_set_compute_threads(0);
}

static void scores_and_texts_beside_it_change_no_bit(void **state)
{
    (void)state;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    enum { N_EACH = 4 };
    bitnet_request *embedded[2 * N_EACH];
    bitnet_request *generated[N_EACH];
    for (int i = 0; i < 2 * N_EACH; i++) {
        const bitnet_embed_options options =
            options_for((bitnet_pooling)(i % 2), N_TOKENS - (size_t)i / 2);
        assert_int_equal(bitnet_embed_async(held.engine, &options, NULL, &embedded[i]),
                         BITNET_OK);
    }
    for (unsigned i = 0; i < N_EACH; i++) {
        const bitnet_generate_options options = mixed_options(i);
        assert_int_equal(bitnet_generate_async(held.engine, &options, test_prompts[i],
                                               &generated[i]),
                         BITNET_OK);
    }
    let_engine_go(&held);
    for (int i = 0; i < 2 * N_EACH; i++) {
        const bitnet_embed_options options =
            options_for((bitnet_pooling)(i % 2), N_TOKENS - (size_t)i / 2);
        bitnet_result result = wait_well(embedded[i]);
        float expected[MAX_EMBD];
        const float *vector;
        size_t n;
        embed_well(engine, &options, NULL, expected);
        assert_int_equal(bitnet_request_get_embedding(embedded[i], &vector, &n),
                         BITNET_OK);
        assert_int_equal(n, n_embd);
        assert_memory_equal(vector, expected, n * sizeof(*vector));
        bitnet_result_release(&result);
        bitnet_request_release(embedded[i]);
    }
    for (unsigned i = 0; i < N_EACH; i++) {
        const bitnet_generate_options options = mixed_options(i);
        bitnet_result together = wait_well(generated[i]);
        bitnet_result alone = generate_well(engine, &options, test_prompts[i]);
        assert_same_result(&together, &alone, model->hparams.n_vocab);
        bitnet_result_release(&together);
        bitnet_result_release(&alone);
        bitnet_request_release(generated[i]);
    }
    destroy_engine(held.engine);
}

static void text_is_its_tokens(void **state)
{
    (void)state;
    bitnet_token encoded[64];
    bitnet_embed_options options = bitnet_embed_options_default();
    float from_text[MAX_EMBD];
    float from_tokens[MAX_EMBD];
    embed_well(engine, NULL, test_prompts[0], from_text);
    assert_int_equal(bitnet_tokenize(model, test_prompts[0], strlen(test_prompts[0]),
                                     NULL, encoded, 64, &options.n_tokens),
                     BITNET_OK);
    options.tokens = encoded;
    embed_well(engine, &options, NULL, from_tokens);
    assert_memory_equal(from_text, from_tokens, n_embd * sizeof(float));
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    float vector[MAX_EMBD];
    const bitnet_status invalid = BITNET_ERROR_INVALID_ARGUMENT;
    bitnet_embed_options options = options_for(BITNET_POOLING_MEAN, 0);
    assert_int_equal(bitnet_embed(NULL, NULL, "a", vector, n_embd), invalid);
    assert_int_equal(bitnet_embed(engine, NULL, "a", NULL, n_embd), invalid);
    assert_int_equal(bitnet_embed(engine, NULL, NULL, vector, n_embd), invalid);
    assert_int_equal(bitnet_embed(engine, NULL, "a", vector, n_embd - 1), invalid);
    assert_non_null(strstr(bitnet_last_error(), "n_vector"));
    assert_int_equal(bitnet_embed(engine, &options, NULL, vector, n_embd), invalid);
    options = options_for((bitnet_pooling)2, 4);
    assert_int_equal(bitnet_embed(engine, &options, NULL, vector, n_embd), invalid);
    assert_non_null(strstr(bitnet_last_error(), "pooling"));

    const bitnet_embed_options good = options_for(BITNET_POOLING_MEAN, 4);
    bitnet_request *request;
    const float *found;
    size_t n;
    bitnet_generate_options generate = bitnet_generate_options_default();
    generate.max_tokens = 1;
    assert_int_equal(bitnet_generate_async(engine, &generate, "a", &request),
                     BITNET_OK);
    assert_int_equal(bitnet_request_get_embedding(request, &found, &n), invalid);
    assert_non_null(strstr(bitnet_last_error(), "another kind"));
    bitnet_request_release(request);
    embed_well(engine, &good, NULL, vector);
}

static void a_state_that_is_not_finite_ends_it(void **state)
{
    (void)state;
    float *norm = (float *)(uintptr_t)model->layers[1].ffn_norm;
    const float before = *norm;
    float vector[MAX_EMBD];
    for (int pooling = 0; pooling < 2; pooling++) {
        /* Its own engine: pages of other tests have good numbers. */
        bitnet_engine *other = create_engine(model, NULL);
        const bitnet_embed_options options =
            options_for((bitnet_pooling)pooling, N_TOKENS);
        *norm = NAN;
        assert_int_equal(bitnet_embed(other, &options, NULL, vector, n_embd),
                         BITNET_ERROR_INFERENCE_FAILED);
        *norm = before;
        assert_non_null(strstr(bitnet_last_error(), "embed: "));
        assert_non_null(strstr(bitnet_last_error(), "in layer 1"));
        destroy_engine(other);
    }
}

static void every_refused_allocation_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    uint64_t n = 0;
    while (status != BITNET_OK) {
        bitnet_request *request;
        const uint64_t before = bni_alloc_in_use();
        bni_fault_arm(++n);
        status = bitnet_embed_async(engine, NULL, test_prompts[1], &request);
        bni_fault_arm(0);
        assert_true(n < 50);
        if (status != BITNET_OK) {
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_int_equal(bni_alloc_in_use(), before);
            continue;
        }
        bitnet_request_release(request);
    }
    assert_true(n > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_state_is_what_the_head_reads),
        cmocka_unit_test(the_mean_adds_up_states_in_the_order_of_positions),
        cmocka_unit_test(a_normalised_vector_has_length_one_and_the_same_direction),
        cmocka_unit_test(nothing_but_the_tokens_changes_a_bit),
        cmocka_unit_test(scores_and_texts_beside_it_change_no_bit),
        cmocka_unit_test(text_is_its_tokens),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_state_that_is_not_finite_ends_it),
        cmocka_unit_test(every_refused_allocation_is_told_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
