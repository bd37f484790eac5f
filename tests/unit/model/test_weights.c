/* SPDX-License-Identifier: MIT */
/*
 * test_weights.c - tensors by role: what is bound, what is refused, in which words.
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

#include <bitnet/log.h>

#include "base/alloc.h"
#include "model/model.h"
#include "support/gguf_builder.h"

enum { F32 = 0, F16 = 1, BF16 = 30, I2_S = 36 };

/* A model and the bytes it lies in. */
struct fixture {
    uint8_t *bytes;
    bitnet_model *model;
};

static bitnet_status try_create(struct gguf_builder *builder, struct fixture *fixture)
{
    size_t n_bytes;
    struct bni_gguf *gguf;
    fixture->bytes = gguf_end(builder, &n_bytes);
    if (bni_gguf_open_memory(fixture->bytes, n_bytes, "built", &gguf) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return bni_model_create(gguf, false, &fixture->model);
}

static struct fixture create(struct gguf_builder *builder)
{
    struct fixture fixture;
    if (try_create(builder, &fixture) != BITNET_OK) fail_msg("%s", bitnet_last_error());
    return fixture;
}

static void destroy(struct fixture *fixture)
{
    bitnet_model_release(fixture->model);
    free(fixture->bytes);
}

static void assert_refused(struct gguf_builder *builder, bitnet_status status,
                           const char *sentence)
{
    struct fixture fixture;
    const uint64_t before = bni_alloc_in_use();
    const bitnet_status found = try_create(builder, &fixture);
    if (found != status || strstr(bitnet_last_error(), sentence) == NULL)
        fail_msg("%s \"%s\", expected %s \"%s\"", bitnet_status_name(found),
                 bitnet_last_error(), bitnet_status_name(status), sentence);
    assert_int_equal(bni_alloc_in_use(), before);
    free(fixture.bytes);
}

/* A tiny model without what `tensor` names, which the caller adds again. */
static void begin_without(struct gguf_builder *builder, const char *architecture,
                          const char *tensor)
{
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.architecture = architecture;
    gguf_begin(builder);
    builder->skipped = tensor;
    gguf_tiny_model(builder, &options);
    builder->skipped = NULL;
}

/* 128 x 128 codes of value 0, changed by the caller, and a scale. */
static void make_projection(uint8_t packed[128 * 128 / 4 + 32], float scale)
{
    memset(packed, 0, 128 * 128 / 4 + 32);
    memset(packed, 0x55, 128 * 128 / 4);
    memcpy(packed + 128 * 128 / 4, &scale, sizeof(scale));
}

static void add_projection(struct gguf_builder *builder, const char *name,
                           const uint8_t *packed)
{
    gguf_tensor(builder, name, I2_S, 2, (const uint64_t[]){128, 128}, packed,
                128 * 128 / 4 + 32);
}

static void keep_last_message(void *user, bitnet_log_level level, const char *message)
{
    char *last = user;
    (void)level;
    snprintf(last, 1024, "%s", message);
}

static void every_weight_is_bound_where_it_lies(void **state)
{
    (void)state;
    struct gguf_builder builder;
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.n_layers = 2;
    options.n_ff = 256;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, &options);
    struct fixture fixture = create(&builder);
    const bitnet_model *model = fixture.model;
    assert_true(model->has_weights);
    assert_ptr_equal(model->head.values, model->embedding.values);
    assert_int_equal(model->embedding.type, BNI_DENSE_F16);
    assert_int_equal(model->embedding.n_rows, 5);
    assert_int_equal(model->embedding.n_cols, 128);
    for (uint32_t i = 0; i < 2; i++) {
        char name[64];
        const struct bni_layer *layer = &model->layers[i];
        snprintf(name, sizeof(name), "blk.%u.ffn_down.weight", i);
        const struct bni_gguf_tensor *tensor = bni_gguf_find_tensor(model->gguf, name);
        assert_ptr_equal(layer->down.codes, tensor->bytes);
        assert_int_equal(layer->down.n_cols, 256);
        assert_int_equal(layer->down.n_rows, 128);
        assert_true(layer->down.scale == 1.0f / 16.0f);
        assert_int_equal(layer->k.n_rows, 64);
        assert_int_equal(layer->gate.n_rows, 256);
        snprintf(name, sizeof(name), "blk.%u.ffn_sub_norm.weight", i);
        tensor = bni_gguf_find_tensor(model->gguf, name);
        assert_memory_equal(layer->ffn_sub_norm, tensor->bytes, 256 * 4);
        snprintf(name, sizeof(name), "blk.%u.attn_norm.weight", i);
        tensor = bni_gguf_find_tensor(model->gguf, name);
        assert_memory_equal(layer->attn_norm, tensor->bytes, 128 * 4);
        assert_non_null(layer->attn_sub_norm);
    }
    assert_null(model->rope_factors);
    destroy(&fixture);
}

static void norms_of_every_dense_type_become_the_same_floats(void **state)
{
    (void)state;
    static const uint32_t TYPES[] = {F32, F16, BF16};
    float expected[128] = {0};
    for (size_t i = 0; i < 3; i++) {
        struct gguf_builder builder;
        struct gguf_tiny_options options = gguf_tiny_options_default();
        options.norm_type = TYPES[i];
        options.dense_type = TYPES[i];
        gguf_begin(&builder);
        gguf_tiny_model(&builder, &options);
        struct fixture fixture = create(&builder);
        const float *norm = fixture.model->layers[0].ffn_norm;
        if (i == 0) memcpy(expected, norm, sizeof(expected));
        /* BF16 has fewer bits than the norms of the tiny model need. */
        for (size_t j = 0; j < 128; j++)
            assert_true(fabsf(norm[j] - expected[j]) <=
                        (TYPES[i] == BF16 ? 0.01f : 0.0f));
        destroy(&fixture);
    }
}

static void an_untied_head_is_used_where_there_may_be_one(void **state)
{
    (void)state;
    static const char *const ARCHITECTURES[] = {"llama", "bitnet-b1.58", "bitnet"};
    for (size_t i = 0; i < 3; i++) {
        struct gguf_builder builder;
        struct gguf_tiny_options options = gguf_tiny_options_default();
        options.architecture = ARCHITECTURES[i];
        options.has_output = true;
        gguf_begin(&builder);
        gguf_tiny_model(&builder, &options);
        struct fixture fixture = create(&builder);
        const bool is_untied =
            fixture.model->head.values != fixture.model->embedding.values;
        assert_int_equal(is_untied, strcmp(ARCHITECTURES[i], "bitnet") != 0);
        destroy(&fixture);
    }
}

static void missing_tensors_are_named(void **state)
{
    (void)state;
    static const char *const NAMES[] = {
        "token_embd.weight",         "output_norm.weight",
        "blk.0.attn_norm.weight",    "blk.0.attn_q.weight",
        "blk.0.attn_k.weight",       "blk.0.attn_v.weight",
        "blk.0.attn_output.weight",  "blk.0.attn_sub_norm.weight",
        "blk.0.ffn_norm.weight",     "blk.0.ffn_gate.weight",
        "blk.0.ffn_up.weight",       "blk.0.ffn_down.weight",
        "blk.0.ffn_sub_norm.weight",
    };
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        struct gguf_builder builder;
        char sentence[128];
        snprintf(sentence, sizeof(sentence), "built: tensor %s: is missing", NAMES[i]);
        begin_without(&builder, "bitnet-b1.58", NAMES[i]);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED, sentence);
    }
}

static void wrong_shapes_are_refused_with_both(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "bitnet", "blk.0.ffn_up.weight");
    gguf_tensor(&builder, "blk.0.ffn_up.weight", I2_S, 2, (const uint64_t[]){256, 128},
                NULL, 256 * 128 / 4 + 32);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor blk.0.ffn_up.weight: has dimensions {256, 128, 1, 1}, "
        "expected {128, 128, 1, 1}");
    begin_without(&builder, "bitnet", "blk.0.ffn_norm.weight");
    gguf_tensor(&builder, "blk.0.ffn_norm.weight", F32, 1, (const uint64_t[]){127},
                NULL, 127 * 4);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor blk.0.ffn_norm.weight: has dimensions {127, 1, 1, 1}, "
        "expected {128, 1, 1, 1}");
    begin_without(&builder, "llama", "token_embd.weight");
    gguf_tensor(&builder, "token_embd.weight", F32, 2, (const uint64_t[]){64, 10}, NULL,
                64 * 10 * 4);
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "has dimensions {64, 10, 1, 1}, expected {128, 10, 1, 1}");
}

static void wrong_types_are_refused_by_name(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "bitnet", "blk.0.attn_q.weight");
    gguf_tensor(&builder, "blk.0.attn_q.weight", F16, 2, (const uint64_t[]){128, 128},
                NULL, 128 * 128 * 2);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "built: tensor blk.0.attn_q.weight: is of type F16, expected I2_S");
    begin_without(&builder, "bitnet", "blk.0.attn_norm.weight");
    gguf_tensor(&builder, "blk.0.attn_norm.weight", I2_S, 1, (const uint64_t[]){128},
                NULL, 64);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "is of type I2_S, expected F32, F16 or BF16");
    begin_without(&builder, "bitnet", "blk.0.attn_norm.weight");
    gguf_tensor(&builder, "blk.0.attn_norm.weight", 8, 1, (const uint64_t[]){128}, NULL,
                136);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "is of type Q8_0, expected F32, F16 or BF16");
    begin_without(&builder, "bitnet", "token_embd.weight");
    gguf_tensor(&builder, "token_embd.weight", I2_S, 2, (const uint64_t[]){128, 5},
                NULL, 128 * 5 / 4 + 32);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "built: tensor token_embd.weight: is of type I2_S");
}

static void blocks_of_the_embedding_are_checked(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "bitnet", "token_embd.weight");
    uint8_t blocks[5 * 4 * 34] = {0};
    blocks[7 * 34 + 1] = 0x7C; /* infinity */
    gguf_tensor(&builder, "token_embd.weight", 8, 2, (const uint64_t[]){128, 5}, blocks,
                sizeof(blocks));
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor token_embd.weight: the factor of block 7 is not finite");
}

static void a_code_of_3_anywhere_is_refused(void **state)
{
    (void)state;
    static const size_t PLACES[] = {0, 7, 8, 1000, 128 * 128 / 4 - 1};
    uint8_t packed[128 * 128 / 4 + 32];
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        for (unsigned shift = 0; shift < 8; shift += 2) {
            struct gguf_builder builder;
            make_projection(packed, 1.0f);
            packed[PLACES[i]] |= (uint8_t)(3u << shift);
            begin_without(&builder, "llama", "blk.0.ffn_up.weight");
            add_projection(&builder, "blk.0.ffn_up.weight", packed);
            assert_refused(
                &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                "built: tensor blk.0.ffn_up.weight: a code in the 8 bytes at");
        }
    }
    /* Bits of neighbouring codes that are both set are no code 3. */
    struct gguf_builder builder;
    make_projection(packed, 1.0f);
    memset(packed, 0x66, 128 * 128 / 4); /* 1 2 1 2 */
    begin_without(&builder, "llama", "blk.0.ffn_up.weight");
    add_projection(&builder, "blk.0.ffn_up.weight", packed);
    struct fixture fixture = create(&builder);
    destroy(&fixture);
}

static void scales_that_are_none_are_refused(void **state)
{
    (void)state;
    static const float SCALES[] = {-1.0f, NAN, INFINITY, -INFINITY};
    uint8_t packed[128 * 128 / 4 + 32];
    for (size_t i = 0; i < sizeof(SCALES) / sizeof(SCALES[0]); i++) {
        struct gguf_builder builder;
        make_projection(packed, SCALES[i]);
        begin_without(&builder, "llama", "blk.0.attn_q.weight");
        add_projection(&builder, "blk.0.attn_q.weight", packed);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                       "built: tensor blk.0.attn_q.weight: the scale is");
        begin_without(&builder, "llama", NULL);
        gguf_tensor(&builder, "blk.0.attn_q.scale", F32, 1, (const uint64_t[]){1},
                    &SCALES[i], 4);
        assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                       "built: tensor blk.0.attn_q.scale: the scale is");
    }
}

static void a_scale_tensor_multiplies(void **state)
{
    (void)state;
    struct gguf_builder builder;
    uint8_t packed[128 * 128 / 4 + 32];
    const float extra = 0.5f;
    make_projection(packed, 3.0f);
    packed[0] = 0x56;
    begin_without(&builder, "bitnet", "blk.0.attn_q.weight");
    add_projection(&builder, "blk.0.attn_q.weight", packed);
    gguf_tensor(&builder, "blk.0.attn_q.scale", F32, 1, (const uint64_t[]){1}, &extra,
                4);
    struct fixture fixture = create(&builder);
    assert_true(fixture.model->layers[0].q.scale == 1.5f);
    destroy(&fixture);

    begin_without(&builder, "bitnet", NULL);
    gguf_tensor(&builder, "blk.0.ffn_up.scale", F32, 1, (const uint64_t[]){2}, NULL, 8);
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "built: tensor blk.0.ffn_up.scale: has dimensions {2, 1, 1, 1}");
}

static void a_bias_is_refused_by_name(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", NULL);
    gguf_tensor(&builder, "blk.0.attn_v.bias", F32, 1, (const uint64_t[]){64}, NULL,
                256);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "built: tensor blk.0.attn_v.bias: projections with a bias");
}

static void norms_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    uint16_t halves[128] = {0};
    halves[99] = 0x7C00; /* infinity */
    begin_without(&builder, "bitnet", "blk.0.attn_sub_norm.weight");
    gguf_tensor(&builder, "blk.0.attn_sub_norm.weight", F16, 1, (const uint64_t[]){128},
                halves, sizeof(halves));
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "built: tensor blk.0.attn_sub_norm.weight: value 99 is not finite");
}

static void the_embedding_has_a_row_for_each_token(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "bitnet", "token_embd.weight");
    gguf_tensor(&builder, "token_embd.weight", F32, 2, (const uint64_t[]){128, 4}, NULL,
                128 * 4 * 4);
    assert_refused(&builder, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "built: tensor token_embd.weight: has 4 rows, expected at least the "
                   "number of tokens, 5");
}

static void rows_without_a_token_are_left_out(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", "token_embd.weight");
    gguf_tensor(&builder, "token_embd.weight", F32, 2, (const uint64_t[]){128, 7}, NULL,
                128 * 7 * 4);
    gguf_tensor(&builder, "output.weight", F16, 2, (const uint64_t[]){128, 7}, NULL,
                128 * 7 * 2);
    gguf_u32(&builder, "llama.vocab_size", 7);
    struct fixture fixture = create(&builder);
    assert_int_equal(fixture.model->hparams.n_vocab, 5);
    assert_int_equal(fixture.model->embedding.n_rows, 5);
    assert_int_equal(fixture.model->head.n_rows, 5);
    destroy(&fixture);

    begin_without(&builder, "llama", NULL); /* a head for another vocabulary */
    gguf_tensor(&builder, "output.weight", F16, 2, (const uint64_t[]){128, 7}, NULL,
                128 * 7 * 2);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor output.weight: has dimensions {128, 7, 1, 1}, expected "
        "{128, 5, 1, 1}");
}

static void zero_and_extra_tensors_are_reported(void **state)
{
    (void)state;
    struct gguf_builder builder;
    char last[1024] = "";
    uint8_t packed[128 * 128 / 4 + 32];
    make_projection(packed, 1.0f);
    bitnet_set_log(keep_last_message, last, BITNET_LOG_WARNING);
    begin_without(&builder, "bitnet", "blk.0.ffn_up.weight");
    add_projection(&builder, "blk.0.ffn_up.weight", packed);
    struct fixture fixture = create(&builder);
    assert_string_equal(last, "built: tensor blk.0.ffn_up.weight: all values are zero");
    destroy(&fixture);

    begin_without(&builder, "llama", NULL);
    gguf_tensor(&builder, "extra\n", F32, 1, (const uint64_t[]){1}, NULL, 4);
    fixture = create(&builder);
    assert_string_equal(
        last, "built: tensor extra\\x0a: is not part of a llama model; ignored");
    destroy(&fixture);

    begin_without(&builder, "llama", NULL);
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "extra.%u", i);
        gguf_tensor(&builder, name, F32, 1, (const uint64_t[]){1}, NULL, 4);
    }
    fixture = create(&builder);
    assert_string_equal(last, "built: 92 tensors more were ignored");
    destroy(&fixture);
    bitnet_set_log(NULL, NULL, BITNET_LOG_WARNING);
}

static void a_layer_s_tensor_that_has_no_place_is_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", NULL);
    gguf_tensor(&builder, "blk.0.attn_q_norm.weight", F32, 1, (const uint64_t[]){1},
                NULL, 4);
    assert_refused(
        &builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
        "built: tensor blk.0.attn_q_norm.weight: a llama model as this library "
        "runs it has no such tensor, and without it the answers would be wrong");
}

static void rope_factors_are_read_and_checked(void **state)
{
    (void)state;
    struct gguf_builder builder;
    float factors[32];
    for (size_t i = 0; i < 32; i++) factors[i] = (float)(i + 1);
    begin_without(&builder, "llama", NULL);
    gguf_tensor(&builder, "rope_freqs.weight", F32, 1, (const uint64_t[]){32}, factors,
                sizeof(factors));
    struct fixture fixture = create(&builder);
    assert_memory_equal(fixture.model->rope_factors, factors, sizeof(factors));
    destroy(&fixture);

    factors[3] = 0.0f;
    begin_without(&builder, "llama", NULL);
    gguf_tensor(&builder, "rope_freqs.weight", F32, 1, (const uint64_t[]){32}, factors,
                sizeof(factors));
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor rope_freqs.weight: value 3 is 0, expected more than 0");
}

static void widths_that_do_not_match_or_divide_are_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    begin_without(&builder, "llama", "llama.feed_forward_length");
    gguf_u32(&builder, "llama.feed_forward_length", 64);
    assert_refused(
        &builder, BITNET_ERROR_MODEL_LOAD_FAILED,
        "built: tensor blk.0.ffn_gate.weight: has dimensions {128, 128, 1, 1}, "
        "expected {128, 64, 1, 1}");

    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.architecture = "llama";
    options.n_ff = 48; /* the builder writes it: 48 x 128 codes are whole blocks */
    gguf_begin(&builder);
    gguf_tiny_model(&builder, &options);
    assert_refused(&builder, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "built: tensor blk.0.ffn_down.weight: rows of 48 values, expected a "
                   "multiple of 32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_weight_is_bound_where_it_lies),
        cmocka_unit_test(blocks_of_the_embedding_are_checked),
        cmocka_unit_test(norms_of_every_dense_type_become_the_same_floats),
        cmocka_unit_test(an_untied_head_is_used_where_there_may_be_one),
        cmocka_unit_test(missing_tensors_are_named),
        cmocka_unit_test(wrong_shapes_are_refused_with_both),
        cmocka_unit_test(wrong_types_are_refused_by_name),
        cmocka_unit_test(a_code_of_3_anywhere_is_refused),
        cmocka_unit_test(scales_that_are_none_are_refused),
        cmocka_unit_test(a_scale_tensor_multiplies),
        cmocka_unit_test(a_bias_is_refused_by_name),
        cmocka_unit_test(norms_that_are_not_finite_are_refused),
        cmocka_unit_test(the_embedding_has_a_row_for_each_token),
        cmocka_unit_test(rows_without_a_token_are_left_out),
        cmocka_unit_test(zero_and_extra_tensors_are_reported),
        cmocka_unit_test(a_layer_s_tensor_that_has_no_place_is_refused),
        cmocka_unit_test(rope_factors_are_read_and_checked),
        cmocka_unit_test(widths_that_do_not_match_or_divide_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
