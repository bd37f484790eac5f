/* SPDX-License-Identifier: MIT */
/*
 * elementary.h - what happens to single numbers, defined operation by operation.
 *
 * A C library's expf() differs from the next one in the last bit, so we have our
 * own: every instruction set repeats exactly these operations, in this order, and
 * gets these bits. docs/numerics.md has the same definitions in words.
 */
#ifndef BNI_KERNELS_ELEMENTARY_H
#define BNI_KERNELS_ELEMENTARY_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/float16.h"

/* Smallest value that absmax quantisation divides by. */
#define BNI_QUANTIZE_MIN_ABSMAX 1e-5f

/* Outside of these, exp is 0 and infinity; inside, its result is a normal number. */
#define BNI_EXP_MIN (-87.0f)
#define BNI_EXP_MAX 88.0f

/* ln 2 = HI + LO. HI is a multiple of 2^-24, so x - n * HI is exact in one fma. */
#define BNI_EXP_LOG2_E 0x1.715476p+0f
#define BNI_EXP_LN2_HI 0x1.62e430p-1f
#define BNI_EXP_LN2_LO (-0x1.05c610p-29f)

/* 1.5 * 2^23: adding and subtracting it rounds to an integer, ties to even. */
#define BNI_EXP_ROUND 0x1.8p+23f

/*
 * exp(r) = 1 + r + C2 r^2 + ... + C6 r^6 within 3.1e-9 of the true value, relative,
 * for |r| <= ln(2) / 2: coefficients of least maximal error, found by Remez exchange
 * and then rounded to float.
 */
#define BNI_EXP_C2 0x1.fffffcp-2f
#define BNI_EXP_C3 0x1.555492p-3f
#define BNI_EXP_C4 0x1.5558f2p-5f
#define BNI_EXP_C5 0x1.1239e2p-7f
#define BNI_EXP_C6 0x1.6a2434p-10f

/* Within 1 ulp of the true value; NaN stays NaN. */
static inline float bni_exp(float x)
{
    if (isnan(x)) return x;
    if (x < BNI_EXP_MIN) return 0.0f;
    if (x > BNI_EXP_MAX) return INFINITY;

    const float n = (x * BNI_EXP_LOG2_E + BNI_EXP_ROUND) - BNI_EXP_ROUND;
    float r = fmaf(-n, BNI_EXP_LN2_HI, x);
    r = fmaf(-n, BNI_EXP_LN2_LO, r);

    float p = BNI_EXP_C6;
    p = fmaf(p, r, BNI_EXP_C5);
    p = fmaf(p, r, BNI_EXP_C4);
    p = fmaf(p, r, BNI_EXP_C3);
    p = fmaf(p, r, BNI_EXP_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);

    /* n is in -126..127, so 2^n is a normal number and the product exact. */
    return p * bni_float_from_bits((uint32_t)((int32_t)n + 127) << 23);
}

/* One element of relu2_mul() and of silu_mul(). */
static inline float bni_relu2_mul(float gate, float up)
{
    const float positive = gate < 0.0f ? 0.0f : gate; /* NaN stays */
    return (positive * positive) * up;
}

static inline float bni_silu_mul(float gate, float up)
{
    return (gate / (1.0f + bni_exp(-gate))) * up;
}

/* One pair of rope_neox() and rope_adjacent(). */
static inline void bni_rotate_pair(float *a, float *b, float cosine, float sine)
{
    const float rotated_a = fmaf(*a, cosine, -(*b * sine));
    const float rotated_b = fmaf(*a, sine, *b * cosine);
    *a = rotated_a;
    *b = rotated_b;
}

/* In lanes, without a way out, which is a few vectors: x * 0 is a zero, or NaN. */
static inline bool bni_all_are_finite(const float *values, size_t n)
{
    enum { LANES = 8 };
    float sums[LANES] = {0};
    size_t i = 0;
    for (; n - i >= LANES; i += LANES)
        for (size_t l = 0; l < LANES; l++) sums[l] += values[i + l] * 0.0f;
    for (; i < n; i++) sums[0] += values[i] * 0.0f;
    for (size_t l = 1; l < LANES; l++) sums[0] += sums[l];
    return sums[0] == 0.0f;
}

#endif
