/* SPDX-License-Identifier: MIT */
/*
 * arm_functions.h - the functions of the NEON table by name, and what they share.
 *
 * The table for CPUs with dot products takes all of them but the ternary product.
 * Only files compiled for aarch64 include this. Everything here is in the first version
 * of the architecture (ARMv8.0): half precision converts, but is not computed with.
 *
 * No intrinsic here multiplies and adds with two roundings in one name (vmla, vmls):
 * vfma and vfms are the fused ones, and all others round once.
 */
#ifndef BNI_KERNELS_ARM_FUNCTIONS_H
#define BNI_KERNELS_ARM_FUNCTIONS_H

#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

/* Loads 16 bytes from any address. */
static inline uint8x16_t bni_neon_load_bytes(const void *from)
{
    return vld1q_u8(from);
}

/* Loads four floats from any address. */
static inline float32x4_t bni_neon_load_floats(const void *from)
{
    return vreinterpretq_f32_u8(bni_neon_load_bytes(from));
}

/* Eight numbers in two registers: 0..3 in `low`, 4..7 in `high`. */
struct bni_neon_eight {
    float32x4_t low;
    float32x4_t high;
};

/* Loads eight halves from any address, and widens them. The instruction does what
 * bni_widen_f16() does, subnormal numbers and the bits of a NaN included. */
static inline struct bni_neon_eight bni_neon_load_f16(const void *from)
{
    const float16x8_t halves = vreinterpretq_f16_u8(bni_neon_load_bytes(from));
    return (struct bni_neon_eight){vcvt_f32_f16(vget_low_f16(halves)),
                                   vcvt_high_f32_f16(halves)};
}

/* Likewise eight bfloat16, each the upper half of a float. */
static inline struct bni_neon_eight bni_neon_load_bf16(const void *from)
{
    const uint16x8_t halves = vreinterpretq_u16_u8(bni_neon_load_bytes(from));
    return (struct bni_neon_eight){vreinterpretq_f32_u32(
                                       vshll_n_u16(vget_low_u16(halves), 16)),
                                   vreinterpretq_f32_u32(vshll_high_n_u16(halves, 16))};
}

/* Folds 16 lanes by halves; register j has lanes 4 j .. 4 j + 3. */
static inline float bni_neon_fold_lanes(const float32x4_t lanes[4])
{
    const float32x4_t four =
        vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* bni_exp() of each element. */
static inline float32x4_t bni_neon_exp(float32x4_t x)
{
    const float32x4_t round = vdupq_n_f32(BNI_EXP_ROUND);
    const float32x4_t one = vdupq_n_f32(1.0f);

    const float32x4_t scaled = vmulq_f32(x, vdupq_n_f32(BNI_EXP_LOG2_E));
    const float32x4_t n = vsubq_f32(vaddq_f32(scaled, round), round);
    float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(BNI_EXP_LN2_HI));
    r = vfmsq_f32(r, n, vdupq_n_f32(BNI_EXP_LN2_LO));

    float32x4_t p = vdupq_n_f32(BNI_EXP_C6);
    p = vfmaq_f32(vdupq_n_f32(BNI_EXP_C5), p, r);
    p = vfmaq_f32(vdupq_n_f32(BNI_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(BNI_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(BNI_EXP_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);

    /* Unsigned: where the result is not selected below, this may wrap. */
    const uint32x4_t exponent =
        vaddq_u32(vreinterpretq_u32_s32(vcvtq_s32_f32(n)), vdupq_n_u32(127));
    const float32x4_t power = vreinterpretq_f32_u32(vshlq_n_u32(exponent, 23));
    const float32x4_t inside = vmulq_f32(p, power);

    /* NaN is neither below nor above, and is NaN already. */
    const uint32x4_t is_below = vcltq_f32(x, vdupq_n_f32(BNI_EXP_MIN));
    const uint32x4_t is_above = vcgtq_f32(x, vdupq_n_f32(BNI_EXP_MAX));
    const float32x4_t not_below = vbslq_f32(is_below, vdupq_n_f32(0.0f), inside);
    return vbslq_f32(is_above, vdupq_n_f32(INFINITY), not_below);
}

void bni_neon_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end);
void bni_neon_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end);
void bni_neon_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);
void bni_neon_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                             size_t row_end);

void bni_neon_dense_matmul_q8_0(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);
void bni_neon_dense_matmul_q6_k(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);
void bni_neon_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                            size_t row_end);
bool bni_neon_coarse_copy(const float *x, size_t n, int8_t *codes,
                          struct bni_coarse_copy *out);
void bni_neon_widen_q8_0(const void *from, size_t n, float *out);
void bni_neon_widen_q6_k(const void *from, size_t n, float *out);
void bni_neon_attention_block(struct bni_attention_query *queries, size_t n_queries,
                              const struct bni_kv_block *block);
void bni_neon_attention_block_int8(struct bni_attention_query *queries,
                                   size_t n_queries, const struct bni_kv_block *block);

void bni_neon_quantize(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum);
void bni_neon_widen_f32(const void *from, size_t n, float *out);
void bni_neon_widen_f16(const void *from, size_t n, float *out);
void bni_neon_widen_bf16(const void *from, size_t n, float *out);
void bni_neon_rms_norm(const float *x, const float *gain, size_t n, float epsilon,
                       float *out);
void bni_neon_rope_neox(float *x, const float *cos, const float *sin, size_t head_dim);
void bni_neon_rope_adjacent(float *x, const float *cos, const float *sin,
                            size_t head_dim);
void bni_neon_store_f16(const float *x, size_t n, uint16_t *out, size_t stride);
void bni_neon_relu2_mul(const float *gate, const float *up, size_t n, float *out);
void bni_neon_silu_mul(const float *gate, const float *up, size_t n, float *out);
void bni_neon_add(float *x, const float *y, size_t n);

#endif
