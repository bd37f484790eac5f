/* SPDX-License-Identifier: MIT */
/*
 * rows.c - what is done to a row of activations alone. An item is a row, or a head of
 * one; with gate and up an item is both, end to end.
 */
#include "operations.h"

void bench_fill_heads(void *items, size_t n_items)
{
    bench_fill_floats(items, n_items * BENCH_HEAD_DIM);
}

void bench_fill_ff(void *items, size_t n_items)
{
    bench_fill_floats(items, n_items * 2 * BENCH_N_FF);
}

static float *row_of(const struct bench_call *call, size_t i, size_t n_floats)
{
    return (float *)(void *)call->items + i * n_floats;
}

void bench_run_quantize(const struct bench_call *call)
{
    float scale;
    int32_t sum;
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->quantize(row_of(call, i, BENCH_N_COLS), BENCH_N_COLS, call->out,
                                &scale, &sum);
}

void bench_run_rms_norm(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->rms_norm(row_of(call, i, BENCH_N_COLS), call->operands->gain,
                                BENCH_N_COLS, 1e-5f, call->out);
}

void bench_run_add(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->add(row_of(call, i, BENCH_N_COLS), call->operands->gain,
                           BENCH_N_COLS);
}

void bench_run_rope_neox(const struct bench_call *call)
{
    const struct bench_operands *o = call->operands;
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->rope_neox(row_of(call, i, BENCH_HEAD_DIM), o->cos, o->sin,
                                 BENCH_HEAD_DIM);
}

void bench_run_rope_adjacent(const struct bench_call *call)
{
    const struct bench_operands *o = call->operands;
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->rope_adjacent(row_of(call, i, BENCH_HEAD_DIM), o->cos, o->sin,
                                     BENCH_HEAD_DIM);
}

void bench_run_store_values(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->store_f16(row_of(call, i, BENCH_HEAD_DIM), BENCH_HEAD_DIM,
                                 (uint16_t *)call->out + i * BENCH_HEAD_DIM, 1);
}

void bench_run_store_keys(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->store_f16(row_of(call, i, BENCH_HEAD_DIM), BENCH_HEAD_DIM,
                                 (uint16_t *)call->out + i, BNI_ATTENTION_BLOCK);
}

void bench_run_relu2(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++) {
        const float *gate = row_of(call, i, (size_t)2 * BENCH_N_FF);
        call->kernels->relu2_mul(gate, gate + BENCH_N_FF, BENCH_N_FF, call->out);
    }
}

void bench_run_silu(const struct bench_call *call)
{
    for (size_t i = 0; i < call->n_items; i++) {
        const float *gate = row_of(call, i, (size_t)2 * BENCH_N_FF);
        call->kernels->silu_mul(gate, gate + BENCH_N_FF, BENCH_N_FF, call->out);
    }
}

static void widen(const struct bench_call *call, enum bni_dense_type type)
{
    const size_t row_bytes = BENCH_N_COLS * sizeof(uint16_t);
    for (size_t i = 0; i < call->n_items; i++)
        call->kernels->widen[type](call->items + i * row_bytes, BENCH_N_COLS,
                                   call->out);
}

void bench_run_widen_f16(const struct bench_call *call)
{
    widen(call, BNI_DENSE_F16);
}

void bench_run_widen_bf16(const struct bench_call *call)
{
    widen(call, BNI_DENSE_BF16);
}
