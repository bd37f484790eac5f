/* SPDX-License-Identifier: MIT */
/*
 * test_padded_rows.c - ternary rows that begin inside of a block: copied code by code,
 * told of, and refused for the same reasons as all others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "model/model.h"
#include "model/padded_rows.h"
#include "support/gguf_builder.h"

enum { I2_S = 36, N_EMBD = 96, N_FF = 160, N_KEY = 32 };

/* Code `column` of row `row`, by the definition of the format. */
static int flat_code(const uint8_t *codes, size_t n_cols, size_t row, size_t column)
{
    const size_t i = row * n_cols + column;
    return codes[i / 128 * 32 + i % 32] >> (6 - 2 * (i % 128 / 32)) & 3;
}

static void assert_padded(const uint8_t *padded, const uint8_t *flat, size_t n_cols,
                          size_t n_rows)
{
    const size_t n_padded = (n_cols + 127) / 128 * 128;
    assert_int_equal(bni_padded_cols(n_cols), n_padded);
    for (size_t row = 0; row < n_rows; row++)
        for (size_t column = 0; column < n_padded; column++) {
            const int expected =
                column < n_cols ? flat_code(flat, n_cols, row, column) : 1;
            if (flat_code(padded, n_padded, row, column) != expected)
                fail_msg("%zu x %zu: another code at row %zu, column %zu", n_rows,
                         n_cols, row, column);
        }
}

static void every_code_is_copied_to_its_row(void **state)
{
    (void)state;
    static const size_t COLUMNS[] = {32, 64, 96, 128, 160, 224, 320, 1056, 8640};
    enum { N_ROWS = 8 };
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof(COLUMNS) / sizeof(COLUMNS[0]); i++) {
        const size_t n_cols = COLUMNS[i];
        const size_t n_bytes = N_ROWS * bni_padded_cols(n_cols) / 4;
        uint8_t *flat = malloc(N_ROWS * n_cols / 4); /* so that a step too far shows */
        uint8_t *at_once = malloc(n_bytes);
        uint8_t *in_pieces = malloc(n_bytes);
        assert_true(flat != NULL && at_once != NULL && in_pieces != NULL);
        for (size_t b = 0; b < N_ROWS * n_cols / 4; b++) {
            random = random * 1664525u + 1013904223u;
            const uint8_t bits = (uint8_t)(random >> 24);
            flat[b] = (uint8_t)((bits & 0x55) + (bits >> 1 & 0x55)); /* 0, 1 or 2 */
        }
        memset(at_once, 0xFF, n_bytes);
        bni_pad_rows(flat, n_cols, 0, N_ROWS, at_once);
        assert_padded(at_once, flat, n_cols, N_ROWS);

        memset(in_pieces, 0xFF, n_bytes);
        bni_pad_rows(flat, n_cols, 5, N_ROWS, in_pieces);
        bni_pad_rows(flat, n_cols, 0, 1, in_pieces);
        bni_pad_rows(flat, n_cols, 1, 5, in_pieces);
        assert_memory_equal(in_pieces, at_once, n_bytes);
        free(in_pieces);
        free(at_once);
        free(flat);
    }
}

/* ---- in a model -------------------------------------------------------------------- */

/* A model of which no matrix has rows of whole blocks, without what `skipped` names. */
static uint8_t *make_file(const char *skipped, const char *replacement,
                          const uint8_t *packed, size_t *n_bytes)
{
    struct gguf_builder builder;
    struct gguf_tiny_options options = gguf_tiny_options_default();
    options.n_embd = N_EMBD;
    options.n_ff = N_FF;
    options.n_heads = 3;
    gguf_begin(&builder);
    builder.skipped = skipped;
    gguf_tiny_model(&builder, &options);
    builder.skipped = NULL;
    if (replacement != NULL)
        gguf_tensor(&builder, replacement, I2_S, 2, (const uint64_t[]){N_FF, N_EMBD},
                    packed, N_FF * N_EMBD / 4 + 32);
    return gguf_end(&builder, n_bytes);
}

static bitnet_status create(const uint8_t *bytes, size_t n_bytes, bitnet_model **model)
{
    struct bni_gguf *gguf;
    const bitnet_status status = bni_gguf_open_memory(bytes, n_bytes, "built", &gguf);
    return status == BITNET_OK ? bni_model_create(gguf, false, model) : status;
}

static void a_model_has_padded_copies_and_tells_their_bytes(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    size_t n_bytes;
    bitnet_model *model = NULL;
    uint8_t *bytes = make_file(NULL, NULL, NULL, &n_bytes);
    if (create(bytes, n_bytes, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    const struct bni_layer *layer = &model->layers[0];
    const struct {
        const char *name;
        const struct bni_ternary_weight *weight;
        uint32_t n_cols;
        uint32_t n_rows;
    } all[] = {
        {"attn_q", &layer->q, N_EMBD, N_EMBD},
        {"attn_k", &layer->k, N_EMBD, N_KEY},
        {"attn_v", &layer->v, N_EMBD, N_KEY},
        {"attn_output", &layer->output, N_EMBD, N_EMBD},
        {"ffn_gate", &layer->gate, N_EMBD, N_FF},
        {"ffn_up", &layer->up, N_EMBD, N_FF},
        {"ffn_down", &layer->down, N_FF, N_EMBD},
    };
    uint64_t expected_bytes = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char name[64];
        snprintf(name, sizeof(name), "blk.0.%s.weight", all[i].name);
        const struct bni_gguf_tensor *tensor = bni_gguf_find_tensor(model->gguf, name);
        assert_int_equal(all[i].weight->n_cols, all[i].n_cols);
        assert_int_equal(all[i].weight->n_rows, all[i].n_rows);
        assert_padded(all[i].weight->codes, tensor->bytes, all[i].n_cols,
                      all[i].n_rows);
        expected_bytes += (uint64_t)all[i].n_rows * (all[i].n_cols == N_FF ? 64 : 32);
    }

    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_int_equal(info.repacked_bytes, expected_bytes);
    assert_true(info.allocated_bytes > expected_bytes);
    assert_true(bni_alloc_in_use() - before >= expected_bytes);
    bitnet_model_release(model);
    assert_int_equal(bni_alloc_in_use(), before);
    free(bytes);
}

static void only_what_straddles_is_copied(void **state)
{
    (void)state;
    struct gguf_builder builder;
    struct gguf_tiny_options options = gguf_tiny_options_default();
    size_t n_bytes;
    bitnet_model *model = NULL;
    options.n_ff = N_FF; /* like the 3B model, whose other widths are whole blocks */
    gguf_begin(&builder);
    gguf_tiny_model(&builder, &options);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    if (create(bytes, n_bytes, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    assert_null(model->layers[0].gate.padded);
    assert_null(model->layers[0].output.padded);
    assert_non_null(model->layers[0].down.padded);
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_int_equal(info.repacked_bytes, 128 * 64);
    bitnet_model_release(model);
    free(bytes);
}

static void whichever_allocation_fails_nothing_is_left_behind(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    size_t n_bytes;
    uint8_t *bytes = make_file(NULL, NULL, NULL, &n_bytes);
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_model *model = NULL;
        bni_fault_arm(n);
        const bitnet_status status = create(bytes, n_bytes, &model);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (!was_asked) {
            assert_int_equal(status, BITNET_OK);
            bitnet_model_release(model);
            break;
        }
        assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        assert_null(model);
        assert_int_equal(bni_alloc_in_use(), before);
        n_failed++;
    }
    assert_int_equal(bni_alloc_in_use(), before);
    assert_true(n_failed > 7); /* the copies of the seven matrices, and all else */
    free(bytes);
}

static void a_limit_that_the_copies_exceed_is_an_error(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    size_t n_bytes;
    bitnet_model *model = NULL;
    uint8_t *bytes = make_file(NULL, NULL, NULL, &n_bytes);
    assert_int_equal(create(bytes, n_bytes, &model), BITNET_OK);
    const uint64_t needed = bni_alloc_in_use() - before;
    bitnet_model_release(model);
    model = NULL;

    bni_alloc_set_limit(before + needed - 1);
    assert_int_equal(create(bytes, n_bytes, &model), BITNET_ERROR_OUT_OF_MEMORY);
    bni_alloc_set_limit(UINT64_MAX);
    assert_null(model);
    assert_int_equal(bni_alloc_in_use(), before);
    free(bytes);
}

/* ---- hostile files ------------------------------------------------------------------- */

static void assert_refused(const uint8_t *bytes, size_t n_bytes, bitnet_status status,
                           const char *sentence)
{
    const uint64_t before = bni_alloc_in_use();
    bitnet_model *model = NULL;
    const bitnet_status found = create(bytes, n_bytes, &model);
    if (found != status || strstr(bitnet_last_error(), sentence) == NULL)
        fail_msg("%s \"%s\", expected %s \"%s\"", bitnet_status_name(found),
                 bitnet_last_error(), bitnet_status_name(status), sentence);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void a_code_of_3_anywhere_is_refused(void **state)
{
    (void)state;
    static const size_t PLACES[] = {0, 39, 40, 2000, N_FF * N_EMBD / 4 - 1};
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        for (unsigned shift = 0; shift < 8; shift += 2) {
            uint8_t packed[N_FF * N_EMBD / 4 + 32] = {0};
            size_t n_bytes;
            packed[PLACES[i]] = (uint8_t)(3u << shift);
            uint8_t *bytes = make_file("blk.0.ffn_down.weight", "blk.0.ffn_down.weight",
                                       packed, &n_bytes);
            assert_refused(bytes, n_bytes, BITNET_ERROR_MODEL_LOAD_FAILED,
                           "built: tensor blk.0.ffn_down.weight: a code in the 8 bytes "
                           "at");
            free(bytes);
        }
    }
}

static void a_file_that_is_cut_short_is_refused(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t packed[N_FF * N_EMBD / 4 + 32] = {0};
    uint8_t *bytes =
        make_file("blk.0.ffn_down.weight", "blk.0.ffn_down.weight", packed, &n_bytes);
    assert_refused(bytes, n_bytes - 1, BITNET_ERROR_MODEL_LOAD_FAILED,
                   "built: tensor blk.0.ffn_down.weight: ends at byte");
    free(bytes);
}

/* Makes a model of these widths and expects it to be refused. */
static void assert_widths_refused(uint32_t n_embd, uint32_t n_ff, uint32_t n_heads,
                                  bitnet_status status, const char *sentence)
{
    struct gguf_builder builder;
    struct gguf_tiny_options options = gguf_tiny_options_default();
    size_t n_bytes;
    options.architecture = "llama";
    options.n_embd = n_embd;
    options.n_ff = n_ff;
    options.n_heads = n_heads;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, &options);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    assert_refused(bytes, n_bytes, status, sentence);
    free(bytes);
}

static void other_lengths_of_rows_are_refused(void **state)
{
    (void)state;
    assert_widths_refused(128, 48, 2, BITNET_ERROR_UNSUPPORTED_OPERATION,
                          "built: tensor blk.0.ffn_down.weight: rows of 48 values, "
                          "expected a multiple of 32");
    assert_widths_refused(80, 256, 5, BITNET_ERROR_UNSUPPORTED_OPERATION,
                          "built: tensor blk.0.attn_q.weight: rows of 80 values, "
                          "expected a multiple of 32");
    /* 96 times the 6 outputs of a key head: four blocks and a half. */
    assert_widths_refused(96, 128, 16, BITNET_ERROR_MODEL_LOAD_FAILED,
                          "built: tensor blk.0.attn_k.weight: 576 elements, expected a "
                          "multiple of I2_S's 128");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_is_copied_to_its_row),
        cmocka_unit_test(a_model_has_padded_copies_and_tells_their_bytes),
        cmocka_unit_test(only_what_straddles_is_copied),
        cmocka_unit_test(whichever_allocation_fails_nothing_is_left_behind),
        cmocka_unit_test(a_limit_that_the_copies_exceed_is_an_error),
        cmocka_unit_test(a_code_of_3_anywhere_is_refused),
        cmocka_unit_test(a_file_that_is_cut_short_is_refused),
        cmocka_unit_test(other_lengths_of_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
