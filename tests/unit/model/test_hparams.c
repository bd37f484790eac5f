/* SPDX-License-Identifier: MIT */
/*
 * test_hparams.c - hyper-parameters: what is read, what is refused, in which words.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/gguf_builder.h"

static bitnet_status read_built(struct gguf_builder *builder,
                                struct bni_hparams *hparams,
                                const struct bni_architecture **architecture)
{
    size_t n_bytes;
    struct bni_gguf *gguf;
    uint8_t *bytes = gguf_end(builder, &n_bytes);
    if (bni_gguf_open_memory(bytes, n_bytes, "built", &gguf) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    const bitnet_status status = bni_hparams_read(gguf, architecture, hparams);
    bni_gguf_close(gguf);
    free(bytes);
    return status;
}

static void assert_refused(struct gguf_builder *builder, bitnet_status status,
                           const char *sentence)
{
    struct bni_hparams hparams;
    const struct bni_architecture *architecture;
    const bitnet_status found = read_built(builder, &hparams, &architecture);
    if (found != status || strstr(bitnet_last_error(), sentence) == NULL)
        fail_msg("%s \"%s\", expected %s \"%s\"", bitnet_status_name(found),
                 bitnet_last_error(), bitnet_status_name(status), sentence);
}

/* A tiny model without what `key` names, which the caller adds again. */
static void begin_without(struct gguf_builder *builder, const char *architecture,
                          const char *key)
{
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.architecture = architecture;
    gguf_begin(builder);
    builder->skipped = key;
    gguf_tiny_model(builder, &options);
    builder->skipped = NULL;
}

static void the_four_architectures_are_what_they_are(void **state)
{
    (void)state;
    static const struct bni_architecture EXPECTED[] = {
        {"bitnet", BNI_ACTIVATION_SILU, BNI_ROPE_NEOX, true, false},
        {"bitnet-25", BNI_ACTIVATION_RELU2, BNI_ROPE_NEOX, true, true},
        {"bitnet-b1.58", BNI_ACTIVATION_RELU2, BNI_ROPE_NEOX, true, true},
        {"llama", BNI_ACTIVATION_SILU, BNI_ROPE_ADJACENT, false, true},
    };
    for (size_t i = 0; i < 4; i++) {
        struct gguf_builder builder;
        struct bni_hparams hparams;
        const struct bni_architecture *architecture;
        begin_without(&builder, EXPECTED[i].name, NULL);
        assert_int_equal(read_built(&builder, &hparams, &architecture), BITNET_OK);
        assert_string_equal(architecture->name, EXPECTED[i].name);
        assert_int_equal(architecture->activation, EXPECTED[i].activation);
        assert_int_equal(architecture->rope_style, EXPECTED[i].rope_style);
        assert_int_equal(architecture->has_sub_norms, EXPECTED[i].has_sub_norms);
        assert_int_equal(architecture->may_have_output, EXPECTED[i].may_have_output);
        assert_int_equal(hparams.n_layers, 1);
        assert_int_equal(hparams.n_embd, 128);
        assert_int_equal(hparams.n_ff, 128);
        assert_int_equal(hparams.n_heads, 2);
        assert_int_equal(hparams.n_kv_heads, 1);
        assert_int_equal(hparams.head_dim, 64);
        assert_int_equal(hparams.n_ctx_train, 64);
        assert_int_equal(hparams.n_vocab, 5);
        assert_true(hparams.rms_norm_epsilon == 1e-5f);
        assert_true(hparams.rope_freq_base == 10000.0f);
        assert_true(hparams.rope_scale == 1.0f);
    }
}

static void another_architecture_is_refused_by_name(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", "general.architecture");
    gguf_string(&builder, "general.architecture", "qwen3\n");
    assert_refused(
        &builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
        "built: key general.architecture: is \"qwen3\\x0a\", expected bitnet, "
        "bitnet-25, bitnet-b1.58 or llama");
    begin_without(&builder, "llama", "general.architecture");
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "built: key general.architecture: is missing");
    begin_without(&builder, "llama", "general.architecture");
    gguf_u32(&builder, "general.architecture", 7);
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "is of type u32, expected");
}

static void missing_keys_are_named(void **state)
{
    (void)state;
    static const char *const KEYS[] = {
        "bitnet-b1.58.block_count",
        "bitnet-b1.58.embedding_length",
        "bitnet-b1.58.feed_forward_length",
        "bitnet-b1.58.attention.head_count",
        "bitnet-b1.58.context_length",
        "bitnet-b1.58.attention.layer_norm_rms_epsilon",
    };
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
        struct gguf_builder builder;
        char sentence[128];
        snprintf(sentence, sizeof(sentence), "built: key %s: is missing", KEYS[i]);
        begin_without(&builder, "bitnet-b1.58", KEYS[i]);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED, sentence);
    }
}

static void counts_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t value;
        const char *sentence;
    } CASES[] = {
        {"llama.block_count", 0, "block_count: is 0, expected 1 to 1024"},
        {"llama.block_count", 1025, "block_count: is 1025, expected 1 to 1024"},
        {"llama.block_count", UINT32_MAX, "block_count: is 4294967295, expected"},
        {"llama.embedding_length", 0, "embedding_length: is 0, expected"},
        {"llama.embedding_length", UINT32_MAX, "embedding_length: is 4294967295"},
        {"llama.feed_forward_length", 0, "feed_forward_length: is 0"},
        {"llama.attention.head_count", 0, "attention.head_count: is 0, expected"},
        {"llama.attention.head_count_kv", 0, "attention.head_count_kv: is 0"},
        {"llama.attention.head_count_kv", 3,
         "attention.head_count_kv: is 3, expected a divisor of the 2 heads"},
        {"llama.context_length", 0, "context_length: is 0"},
        {"llama.context_length", UINT32_MAX, "context_length: is 4294967295"},
        {"llama.attention.key_length", 63, "heads have 63 dimensions"},
        {"llama.attention.key_length", 2048, "key_length: is 2048, expected 1 to 1024"},
        {"llama.vocab_size", 0, "vocab_size: is 0, expected 1 to 16777216"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        begin_without(&builder, "llama", CASES[i].key);
        gguf_u32(&builder, CASES[i].key, CASES[i].value);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED, CASES[i].sentence);
    }
}

static void heads_must_divide_the_width(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", "llama.attention.head_count");
    gguf_u32(&builder, "llama.attention.head_count", 3);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: key llama.attention.head_count: is 3, expected a divisor of the "
        "embedding length, 128");
    begin_without(&builder, "llama", "llama.attention.head_count");
    gguf_i32s(&builder, "llama.attention.head_count", (const int32_t[]){2, 2}, 2);
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "is of type array of i32, expected an integer");
    begin_without(&builder, "bitnet", NULL);
    gguf_u32(&builder, "bitnet.attention.key_length", 32);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "2 heads of 32 dimensions are 64 wide, expected the embedding length, "
        "128");
}

static void head_sizes_that_differ_are_refused(void **state)
{
    (void)state;
    static const char *const KEYS[] = {"llama.attention.value_length",
                                       "llama.rope.dimension_count"};
    for (size_t i = 0; i < 2; i++) {
        struct gguf_builder builder;
        begin_without(&builder, "llama", NULL);
        gguf_u32(&builder, KEYS[i], 32);
        assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                       "is 32, expected the dimensions of a head, 64");
    }
}

static void numbers_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        float value;
    } CASES[] = {
        {"llama.attention.layer_norm_rms_epsilon", NAN},
        {"llama.attention.layer_norm_rms_epsilon", 0.0f},
        {"llama.attention.layer_norm_rms_epsilon", -1e-5f},
        {"llama.attention.layer_norm_rms_epsilon", 2.0f},
        {"llama.rope.freq_base", 0.5f},
        {"llama.rope.freq_base", INFINITY},
        {"llama.rope.freq_base", NAN},
        {"llama.rope.scaling.factor", -1.0f},
        {"llama.rope.scaling.factor", NAN},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct gguf_builder builder;
        begin_without(&builder, "llama", CASES[i].key);
        gguf_f32(&builder, CASES[i].key, CASES[i].value);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED, CASES[i].key);
    }
}

static void linear_rope_scaling_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        float factor;
        float expected;
    } CASES[] = {{"linear", 4.0f, 4.0f},
                 {"linear", 0.0f, 1.0f},
                 {"none", 4.0f, 1.0f},
                 {"linear", 1.0f, 1.0f}};
    for (size_t i = 0; i < 4; i++) {
        struct gguf_builder builder;
        struct bni_hparams hparams;
        const struct bni_architecture *architecture;
        begin_without(&builder, "llama", NULL);
        gguf_string(&builder, "llama.rope.scaling.type", CASES[i].type);
        gguf_f32(&builder, "llama.rope.scaling.factor", CASES[i].factor);
        assert_int_equal(read_built(&builder, &hparams, &architecture), BITNET_OK);
        assert_true(hparams.rope_scale == CASES[i].expected);
    }
}

static void graphs_that_are_not_implemented_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", NULL);
    gguf_string(&builder, "llama.rope.scaling.type", "yarn");
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "built: key llama.rope.scaling.type: is \"yarn\", expected none or "
                   "linear");
    begin_without(&builder, "llama", NULL);
    gguf_bool(&builder, "llama.attention.causal", false);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "only causal attention");
    begin_without(&builder, "llama", NULL);
    gguf_u32(&builder, "llama.attention.sliding_window", 512);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION, "a sliding window");
    begin_without(&builder, "llama", NULL);
    gguf_u32(&builder, "llama.expert_count", 8);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "a mixture of experts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_architectures_are_what_they_are),
        cmocka_unit_test(another_architecture_is_refused_by_name),
        cmocka_unit_test(missing_keys_are_named),
        cmocka_unit_test(counts_out_of_range_are_refused),
        cmocka_unit_test(heads_must_divide_the_width),
        cmocka_unit_test(head_sizes_that_differ_are_refused),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(linear_rope_scaling_is_read),
        cmocka_unit_test(graphs_that_are_not_implemented_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
