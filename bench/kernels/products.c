/* SPDX-License-Identifier: MIT */
/*
 * products.c - matrices times activations. An item is a row of weights.
 */
#include "operations.h"

void bench_fill_ternary(void *items, size_t n_items)
{
    uint8_t *codes = items;
    for (size_t i = 0; i < n_items * BENCH_N_COLS / 4; i++) {
        codes[i] = 0;
        for (int shift = 0; shift < 8; shift += 2)
            codes[i] = (uint8_t)(codes[i] | (bench_random() % 3) << shift);
    }
}

void bench_fill_f32(void *items, size_t n_items)
{
    bench_fill_floats(items, n_items * BENCH_N_COLS);
}

void bench_fill_f16(void *items, size_t n_items)
{
    bench_fill_halves(items, n_items * BENCH_N_COLS, BNI_DENSE_F16);
}

void bench_fill_bf16(void *items, size_t n_items)
{
    bench_fill_halves(items, n_items * BENCH_N_COLS, BNI_DENSE_BF16);
}

void bench_run_ternary(const struct bench_call *call)
{
    const struct bni_ternary_args args = {
        .codes = (const uint8_t *)call->items,
        .w_scale = 1.0f,
        .n_cols = BENCH_N_COLS,
        .q = call->operands->q,
        .x_scale = call->operands->x_scale,
        .q_sum = call->operands->q_sum,
        .n_x = call->n_x,
        .out = call->out,
        .out_stride = call->n_items,
    };
    call->kernels->ternary_matmul(&args, 0, call->n_items);
}

static void run_dense(const struct bench_call *call, enum bni_dense_type type)
{
    const struct bni_dense_args args = {
        .weights = call->items,
        .n_cols = BENCH_N_COLS,
        .x = call->operands->x,
        .n_x = call->n_x,
        .out = call->out,
        .out_stride = call->n_items,
    };
    call->kernels->dense_matmul[type](&args, 0, call->n_items);
}

void bench_run_dense_f32(const struct bench_call *call)
{
    run_dense(call, BNI_DENSE_F32);
}

void bench_run_dense_f16(const struct bench_call *call)
{
    run_dense(call, BNI_DENSE_F16);
}

void bench_run_dense_bf16(const struct bench_call *call)
{
    run_dense(call, BNI_DENSE_BF16);
}
