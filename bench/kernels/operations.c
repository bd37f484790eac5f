/* SPDX-License-Identifier: MIT */
/*
 * operations.c - the list.
 *
 * Multiply-adds are counted where they are what an operation is for. Elsewhere every
 * addition, multiplication, division, comparison or conversion of a float counts as one
 * op, for a vector unit does any of them about as often as a fused multiply-add.
 */
#include "operations.h"

enum {
    /* exp is 3 for range, 5 for reduction, 6 of a polynomial, 2 for the power of 2. */
    EXP_OPS = 16,
};

#define ON_ROWS \
    .item = "row of 2560", .unit = "op", .n_items = 2, .n_x = {1}, \
    .item_bytes = BENCH_N_COLS * 4, .fill = bench_fill_f32

#define ON_HEADS \
    .item = "head of 128", .unit = "op", .n_items = 25, .n_x = {1}, \
    .item_bytes = BENCH_HEAD_DIM * 4, .fill = bench_fill_heads

#define ON_GATE_AND_UP \
    .item = "row of 6912", .unit = "op", .n_items = 2, .n_x = {1}, \
    .item_bytes = BENCH_N_FF * 8, .fill = bench_fill_ff

#define ON_LOGITS \
    .item = "row of 128256", .unit = "op", .n_items = 1, .n_x = {1}, \
    .item_bytes = BENCH_N_VOCAB * 4, .is_serial = true, .fill = bench_fill_logits

#define ON_TWO_BYTES \
    .item = "row of 2560", .unit = "op", .n_per_item = BENCH_N_COLS, .n_items = 2, \
    .n_x = {1}, .item_bytes = BENCH_N_COLS * 2

#define DENSE \
    .item = "row of 2560", .unit = "MAC", .n_per_item = BENCH_N_COLS, .n_items = 64, \
    .n_x = {1, 4, 8, 32}, .is_streamed = true

const struct bench_operation bench_operations[] = {
    {
        .name = "ternary product",
        .item = "row of 2560",
        .unit = "MAC",
        .is_integer = true,
        .n_per_item = BENCH_N_COLS,
        .item_bytes = BENCH_N_COLS / 4,
        .n_items = 128,
        .n_x = {1, 2, 4, 8, 32, 128, 512},
        .is_streamed = true,
        .fill = bench_fill_ternary,
        .run = bench_run_ternary,
    },
    {
        .name = "F32 product",
        DENSE,
        .item_bytes = BENCH_N_COLS * 4,
        .fill = bench_fill_f32,
        .run = bench_run_dense_f32,
    },
    {
        .name = "F16 product",
        DENSE,
        .item_bytes = BENCH_N_COLS * 2,
        .fill = bench_fill_f16,
        .run = bench_run_dense_f16,
    },
    {
        .name = "BF16 product",
        DENSE,
        .item_bytes = BENCH_N_COLS * 2,
        .fill = bench_fill_bf16,
        .run = bench_run_dense_bf16,
    },
    {
        .name = "attention",
        .item = "page of 32 positions",
        .unit = "MAC",
        .n_per_item = BENCH_PAGE_HALFS, /* one for each key and for each value */
        .item_bytes = BENCH_PAGE_HALFS * 2,
        .n_items = 8,
        .n_x = {1, 4},
        .is_streamed = true,
        .fill = bench_fill_pages,
        .run = bench_run_attention,
    },
    {
        .name = "quantize",
        ON_ROWS,
        .n_per_item =
            5.0 * BENCH_N_COLS, /* largest; scaled, rounded, clamped; summed */
        .run = bench_run_quantize,
    },
    {
        .name = "rms_norm",
        ON_ROWS,
        .n_per_item = 3.0 * BENCH_N_COLS, /* squared and summed in one; scaled twice */
        .other_bytes = BENCH_N_COLS * 4,
        .run = bench_run_rms_norm,
    },
    {
        .name = "add",
        ON_ROWS,
        .n_per_item = BENCH_N_COLS,
        .other_bytes = BENCH_N_COLS * 4,
        .run = bench_run_add,
    },
    {
        .name = "rope_neox",
        ON_HEADS,
        .n_per_item = 2.0 * BENCH_HEAD_DIM, /* a product and a fused one */
        .other_bytes = BENCH_HEAD_DIM * 4,
        .run = bench_run_rope_neox,
    },
    {
        .name = "rope_adjacent",
        ON_HEADS,
        .n_per_item = 2.0 * BENCH_HEAD_DIM,
        .other_bytes = BENCH_HEAD_DIM * 4,
        .run = bench_run_rope_adjacent,
    },
    {
        .name = "store_f16, values",
        ON_HEADS,
        .n_per_item = BENCH_HEAD_DIM,
        .run = bench_run_store_values,
    },
    {
        .name = "store_f16, keys",
        ON_HEADS,
        .n_per_item = BENCH_HEAD_DIM,
        .run = bench_run_store_keys,
    },
    {
        .name = "relu2_mul",
        ON_GATE_AND_UP,
        .n_per_item = 3.0 * BENCH_N_FF, /* compared, squared, multiplied */
        .run = bench_run_relu2,
    },
    {
        .name = "silu_mul",
        ON_GATE_AND_UP,
        .n_per_item =
            (EXP_OPS + 4.0) * BENCH_N_FF, /* negated, added; divided, multiplied */
        .run = bench_run_silu,
    },
    {
        .name = "widen F16",
        ON_TWO_BYTES,
        .fill = bench_fill_f16,
        .run = bench_run_widen_f16,
    },
    {
        .name = "widen BF16",
        ON_TWO_BYTES,
        .fill = bench_fill_bf16,
        .run = bench_run_widen_bf16,
    },
    {
        .name = "greedy choice",
        ON_LOGITS,
        .n_per_item = 2.0 * BENCH_N_VOCAB, /* finite or not; largest or not */
        .run = bench_run_greedy,
    },
    {
        .name = "sampling",
        ON_LOGITS,
        .n_per_item = 2.0 * BENCH_N_VOCAB, /* finite or not; among the top 40 or not */
        .run = bench_run_sampling,
    },
};

const size_t bench_n_operations =
    sizeof(bench_operations) / sizeof(bench_operations[0]);
