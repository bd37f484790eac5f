/* SPDX-License-Identifier: MIT */
/*
 * operands.c - the random activations that the operations share.
 */
#include <math.h>
#include <stdlib.h>

#include "common/report.h"
#include "operations.h"

uint32_t bench_random(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return state ^ state >> 16; /* the lowest bits alone would repeat themselves */
}

void bench_fill_floats(float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(int32_t)bench_random() * 0x1p-31f;
}

/* A random sign and some random digits after 0.5. */
void bench_fill_halves(uint16_t *values, size_t n, enum bni_dense_type type)
{
    const uint16_t half = type == BNI_DENSE_F16 ? 0x3800 : 0x3f00;
    for (size_t i = 0; i < n; i++)
        values[i] = (uint16_t)((bench_random() & 0x807f) | half);
}

struct bench_operands *bench_operands_create(void)
{
    const size_t n = (size_t)BENCH_MAX_X * BENCH_N_COLS;
    struct bench_operands *operands = calloc(1, sizeof(*operands));
    if (operands == NULL) bench_give_up("out of memory");
    operands->x = malloc(n * sizeof(*operands->x));
    operands->q = malloc(n);
    if (operands->x == NULL || operands->q == NULL) bench_give_up("out of memory");
    bench_fill_floats(operands->x, n);
    bench_fill_floats(operands->gain, BENCH_N_COLS);
    for (size_t i = 0; i < BENCH_HEAD_DIM / 2; i++) {
        operands->cos[i] = (float)cos((double)i);
        operands->sin[i] = (float)sin((double)i);
    }
    for (size_t i = 0; i < BENCH_MAX_X; i++) {
        const size_t row = i * BENCH_N_COLS;
        bni_kernels_scalar.quantize(operands->x + row, BENCH_N_COLS, operands->q + row,
                                    &operands->x_scale[i], &operands->q_sum[i]);
    }
    return operands;
}

void bench_operands_free(struct bench_operands *operands)
{
    free(operands->x);
    free(operands->q);
    free(operands);
}
