/* SPDX-License-Identifier: MIT */
/*
 * Embeddings and heads in blocks, Q8_0 and Q6_K: whole models of them against models
 * that hold the same weights as plain floats, to the bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/forward_run.h"
#include "support/engine/held_engine.h"
#include "support/engine/random_requests.h"

enum { F16 = 1, Q8_0 = 8, Q6_K = 14, N_TOKENS = 24, N_EMBD = 256 };

static struct gguf_tiny_options options_of(uint32_t type, bool has_output)
{
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.architecture = has_output ? "llama" : "bitnet-b1.58";
    options.has_output = has_output;
    options.n_layers = 2;
    options.n_embd = N_EMBD;
    options.n_ctx = 256;
    options.has_all_bytes = true;
    options.dense_type = type;
    return options;
}

static float *logits_of(const bitnet_model *model, const struct bni_kernels *kernels)
{
    bitnet_token tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 37 + 5) % 256;
    return forward_run(model, kernels, 2, tokens, N_TOKENS, 7);
}

static void assert_same_logits(const bitnet_model *a, const bitnet_model *b)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    const size_t n_bytes = N_TOKENS * (size_t)a->hparams.n_vocab * sizeof(float);
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        const struct bni_kernels *kernels = bni_kernels_by_name(isas[i]);
        if (kernels == NULL) continue;
        float *expected = logits_of(a, &bni_kernels_scalar);
        float *got = logits_of(b, kernels);
        assert_memory_equal(expected, got, n_bytes);
        bni_free(expected);
        bni_free(got);
    }
}

/* The tiny model's weights are multiples of 1/64, in either type. */
static void a_q8_0_model_gives_what_its_f16_twin_gives(void **state)
{
    (void)state;
    for (int has_output = 0; has_output < 2; has_output++) {
        const struct gguf_tiny_options f16 = options_of(F16, has_output);
        const struct gguf_tiny_options q8_0 = options_of(Q8_0, has_output);
        bitnet_model *a = load_tiny_model(&f16, BITNET_HEAD_COPY_NEVER);
        bitnet_model *b = load_tiny_model(&q8_0, BITNET_HEAD_COPY_NEVER);
        assert_int_equal(b->head.type, BNI_DENSE_Q8_0);
        assert_same_logits(a, b);
        bitnet_model_release(a);
        bitnet_model_release(b);
    }
}

static float *widened(const struct bni_dense_weight *weight)
{
    const size_t n = (size_t)weight->n_rows * weight->n_cols;
    float *values = malloc(n * sizeof(*values));
    assert_non_null(values);
    bni_kernels_scalar.widen[weight->type](weight->values, n, values);
    return values;
}

static void a_q6_k_model_gives_what_its_weights_as_floats_give(void **state)
{
    (void)state;
    for (int has_output = 0; has_output < 2; has_output++) {
        const struct gguf_tiny_options options = options_of(Q6_K, has_output);
        bitnet_model *model = load_tiny_model(&options, BITNET_HEAD_COPY_NEVER);
        assert_int_equal(model->head.type, BNI_DENSE_Q6_K);
        float *embedding = widened(&model->embedding);
        float *head = widened(&model->head);
        /* Only read: nobody counts its references. */
        bitnet_model *plain = malloc(sizeof(*plain));
        assert_non_null(plain);
        memcpy(plain, model, sizeof(*plain));
        plain->embedding.values = embedding;
        plain->embedding.type = BNI_DENSE_F32;
        plain->head.values = head;
        plain->head.type = BNI_DENSE_F32;
        assert_same_logits(plain, model);
        free(plain);
        free(head);
        free(embedding);
        bitnet_model_release(model);
    }
}

static void a_copy_of_such_a_head_changes_no_token(void **state)
{
    (void)state;
    static const uint32_t types[] = {Q8_0, Q6_K};
    for (size_t t = 0; t < 2; t++) {
        const struct gguf_tiny_options options = options_of(types[t], false);
        bitnet_model *models[2] = {load_tiny_model(&options, BITNET_HEAD_COPY_NEVER),
                                   load_tiny_model(&options, BITNET_HEAD_COPY_ALWAYS)};
        bitnet_engine *engines[2] = {create_engine(models[0], NULL),
                                     create_engine(models[1], NULL)};
        for (unsigned i = 0; i < 12; i++) {
            bitnet_generate_options generate = mixed_options(i);
            generate.max_tokens = 20;
            generate.top_k = 8;
            generate.keeps_logits = false;
            bitnet_result a = generate_well(engines[0], &generate, "ab");
            bitnet_result b = generate_well(engines[1], &generate, "ab");
            assert_same_result(&a, &b, models[0]->hparams.n_vocab);
            bitnet_result_release(&a);
            bitnet_result_release(&b);
        }
        assert_true(stats_of(engines[1]).n_two_pass_rows > 0);
        for (int i = 0; i < 2; i++) {
            destroy_engine(engines[i]);
            bitnet_model_release(models[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_q8_0_model_gives_what_its_f16_twin_gives),
        cmocka_unit_test(a_q6_k_model_gives_what_its_weights_as_floats_give),
        cmocka_unit_test(a_copy_of_such_a_head_changes_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
