/* SPDX-License-Identifier: MIT */
/*
 * arm_neon.c - the kernels for every 64-bit ARM: operations on vectors, and the table.
 *
 * Each function does what its namesake in scalar.c does, on four elements at a time or
 * a few times four. Sixteen lanes are four registers. What is left at the end of an
 * array is done one by one, with the scalar definitions, which give the same bits. The
 * matrix products are in arm_neon_matmul.c and arm_neon_head.c, attention is in
 * arm_neon_attention.c.
 *
 * Where a NaN decides, values are compared and selected: ARM's own minimum and maximum
 * treat a NaN in ways of their own.
 */
#include <assert.h>
#include <string.h>

#include "kernels/arm_functions.h"

/* Returns the largest of |x| as bits, which have the order of the numbers; infinity
 * and NaN come out above all numbers. */
static uint32_t max_magnitude_bits(const float *x, size_t n)
{
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    uint32x4_t max = vdupq_n_u32(0);
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const uint32x4_t bits = vreinterpretq_u32_f32(vld1q_f32(x + i));
        max = vmaxq_u32(max, vandq_u32(bits, magnitude));
    }
    uint32_t result = vmaxvq_u32(max);
    for (; i < n; i++) {
        const uint32_t bits = bni_float_bits(x[i]) & 0x7fffffffu;
        if (bits > result) result = bits;
    }
    return result;
}

/* Scales eight numbers and rounds them to nearest, ties to even. */
static int16x8_t round_scaled(const float *x, float32x4_t scale)
{
    const int32x4_t low = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x), scale));
    const int32x4_t high = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 4), scale));
    return vqmovn_high_s32(vqmovn_s32(low), high);
}

void bni_neon_quantize(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum)
{
    const uint32_t absmax_bits = max_magnitude_bits(x, n);
    if (absmax_bits >= bni_float_bits(INFINITY)) {
        memset(q, 0, n);
        *scale = NAN;
        *sum = 0;
        return;
    }
    const float absmax = bni_float_from_bits(absmax_bits);
    *scale =
        127.0f / (absmax > BNI_QUANTIZE_MIN_ABSMAX ? absmax : BNI_QUANTIZE_MIN_ABSMAX);

    /* Narrowing saturates at 127 and at -128. */
    const float32x4_t factor = vdupq_n_f32(*scale);
    int32x4_t sums = vdupq_n_s32(0);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const int8x16_t narrow =
            vqmovn_high_s16(vqmovn_s16(round_scaled(x + i, factor)),
                            round_scaled(x + i + 8, factor));
        const int8x16_t bytes = vmaxq_s8(narrow, vdupq_n_s8(-127));
        vst1q_s8(q + i, bytes);
        sums = vpadalq_s16(sums, vpaddlq_s8(bytes));
    }

    int32_t total = vaddvq_s32(sums);
    for (; i < n; i++) {
        const float rounded = rintf(x[i] * *scale);
        q[i] = (int8_t)fmaxf(fminf(rounded, 127.0f), -127.0f);
        total += q[i];
    }
    *sum = total;
}

void bni_neon_widen_f32(const void *from, size_t n, float *out)
{
    memcpy(out, from, n * sizeof(*out));
}

static void store_eight(float *out, struct bni_neon_eight x)
{
    vst1q_f32(out, x.low);
    vst1q_f32(out + 4, x.high);
}

void bni_neon_widen_f16(const void *from, size_t n, float *out)
{
    const char *bytes = from;
    size_t i = 0;
    for (; n - i >= 8; i += 8) store_eight(out + i, bni_neon_load_f16(bytes + i * 2));
    for (; i < n; i++) {
        uint16_t value;
        memcpy(&value, bytes + i * 2, sizeof(value));
        out[i] = bni_widen_f16(value);
    }
}

void bni_neon_widen_bf16(const void *from, size_t n, float *out)
{
    const char *bytes = from;
    size_t i = 0;
    for (; n - i >= 8; i += 8) store_eight(out + i, bni_neon_load_bf16(bytes + i * 2));
    for (; i < n; i++) {
        uint16_t value;
        memcpy(&value, bytes + i * 2, sizeof(value));
        out[i] = bni_widen_bf16(value);
    }
}

void bni_neon_rms_norm(const float *x, const float *gain, size_t n, float epsilon,
                       float *out)
{
    assert(n % 16 == 0);
    float32x4_t lanes[4];
    for (size_t j = 0; j < 4; j++) lanes[j] = vdupq_n_f32(0.0f);
    for (size_t i = 0; i < n; i += 16)
        for (size_t j = 0; j < 4; j++) {
            const float32x4_t a = vld1q_f32(x + i + 4 * j);
            lanes[j] = vfmaq_f32(lanes[j], a, a);
        }
    const float mean = bni_neon_fold_lanes(lanes) / (float)n;
    const float32x4_t factor = vdupq_n_f32(1.0f / sqrtf(mean + epsilon));
    for (size_t i = 0; i < n; i += 4) {
        const float32x4_t scaled = vmulq_f32(vld1q_f32(x + i), factor);
        vst1q_f32(out + i, vmulq_f32(scaled, vld1q_f32(gain + i)));
    }
}

/* bni_rotate_pair() of four pairs. */
static void rotate_pairs(float32x4_t *a, float32x4_t *b, float32x4_t c, float32x4_t s)
{
    const float32x4_t rotated_a = vfmaq_f32(vnegq_f32(vmulq_f32(*b, s)), *a, c);
    const float32x4_t rotated_b = vfmaq_f32(vmulq_f32(*b, c), *a, s);
    *a = rotated_a;
    *b = rotated_b;
}

void bni_neon_rope_neox(float *x, const float *cos, const float *sin, size_t head_dim)
{
    const size_t half = head_dim / 2;
    size_t i = 0;
    for (; half - i >= 4; i += 4) {
        float32x4_t a = vld1q_f32(x + i);
        float32x4_t b = vld1q_f32(x + half + i);
        rotate_pairs(&a, &b, vld1q_f32(cos + i), vld1q_f32(sin + i));
        vst1q_f32(x + i, a);
        vst1q_f32(x + half + i, b);
    }
    for (; i < half; i++) bni_rotate_pair(&x[i], &x[i + half], cos[i], sin[i]);
}

void bni_neon_rope_adjacent(float *x, const float *cos, const float *sin,
                            size_t head_dim)
{
    const size_t half = head_dim / 2;
    size_t i = 0;
    for (; half - i >= 4; i += 4) {
        float32x4x2_t ab = vld2q_f32(x + 2 * i); /* even elements apart from odd ones */
        rotate_pairs(&ab.val[0], &ab.val[1], vld1q_f32(cos + i), vld1q_f32(sin + i));
        vst2q_f32(x + 2 * i, ab);
    }
    for (; i < half; i++) bni_rotate_pair(&x[2 * i], &x[2 * i + 1], cos[i], sin[i]);
}

void bni_neon_store_f16(const float *x, size_t n, uint16_t *out, size_t stride)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const uint16x4_t half = vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i)));
        if (stride == 1) {
            vst1_u16(out + i, half);
            continue;
        }
        uint16_t values[4];
        vst1_u16(values, half);
        for (size_t j = 0; j < 4; j++) out[(i + j) * stride] = values[j];
    }
    for (; i < n; i++) out[i * stride] = bni_narrow_f16(x[i]);
}

void bni_neon_relu2_mul(const float *gate, const float *up, size_t n, float *out)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const float32x4_t g = vld1q_f32(gate + i);
        const uint32x4_t is_negative = vcltzq_f32(g); /* a NaN is not, and stays */
        const float32x4_t positive = vbslq_f32(is_negative, vdupq_n_f32(0.0f), g);
        const float32x4_t square = vmulq_f32(positive, positive);
        vst1q_f32(out + i, vmulq_f32(square, vld1q_f32(up + i)));
    }
    for (; i < n; i++) out[i] = bni_relu2_mul(gate[i], up[i]);
}

void bni_neon_silu_mul(const float *gate, const float *up, size_t n, float *out)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const float32x4_t g = vld1q_f32(gate + i);
        const float32x4_t divisor =
            vaddq_f32(vdupq_n_f32(1.0f), bni_neon_exp(vnegq_f32(g)));
        vst1q_f32(out + i, vmulq_f32(vdivq_f32(g, divisor), vld1q_f32(up + i)));
    }
    for (; i < n; i++) out[i] = bni_silu_mul(gate[i], up[i]);
}

void bni_neon_add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; n - i >= 4; i += 4)
        vst1q_f32(x + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    for (; i < n; i++) x[i] = x[i] + y[i];
}

const struct bni_kernels bni_kernels_neon = {
    .name = "neon",
    .quantize = bni_neon_quantize,
    .ternary_matmul = bni_neon_ternary_matmul,
    .dense_matmul =
        {
            [BNI_DENSE_F32] = bni_neon_dense_matmul_f32,
            [BNI_DENSE_F16] = bni_neon_dense_matmul_f16,
            [BNI_DENSE_BF16] = bni_neon_dense_matmul_bf16,
            [BNI_DENSE_Q8_0] = bni_neon_dense_matmul_q8_0,
            [BNI_DENSE_Q6_K] = bni_neon_dense_matmul_q6_k,
        },
    .coarse_matmul = bni_neon_coarse_matmul,
    .coarse_copy = bni_neon_coarse_copy,
    .widen =
        {
            [BNI_DENSE_F32] = bni_neon_widen_f32,
            [BNI_DENSE_F16] = bni_neon_widen_f16,
            [BNI_DENSE_BF16] = bni_neon_widen_bf16,
            [BNI_DENSE_Q8_0] = bni_neon_widen_q8_0,
            [BNI_DENSE_Q6_K] = bni_neon_widen_q6_k,
        },
    .rms_norm = bni_neon_rms_norm,
    .rope_neox = bni_neon_rope_neox,
    .rope_adjacent = bni_neon_rope_adjacent,
    .store_f16 = bni_neon_store_f16,
    .attention_block = bni_neon_attention_block,
    .attention_block_int8 = bni_neon_attention_block_int8,
    .relu2_mul = bni_neon_relu2_mul,
    .silu_mul = bni_neon_silu_mul,
    .add = bni_neon_add,
};
