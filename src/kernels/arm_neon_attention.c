/* SPDX-License-Identifier: MIT */
/*
 * arm_neon_attention.c - one block of attention with 128-bit vectors, a query at a time.
 *
 * Positions are lanes for the scores, channels are lanes for the values, so that each
 * of the chains that docs/numerics.md defines runs down one lane:
 *
 *     scores    eight registers of four positions    += q[d] * k[d][p],   d = 0, 1, ...
 *     values    eight registers of four channels     += e[p] * v[p][d],   p = 0, 1, ...
 */
#include <assert.h>

#include "kernels/arm_functions.h"

enum { SCORE_VECTORS = BNI_ATTENTION_BLOCK / 4 };

/* Adds the weighted values of `n_eights` times eight channels, from channel d on. */
static inline __attribute__((always_inline)) void add_values(
    const float *weights, const uint16_t *v, size_t head_dim, size_t n_positions,
    float correction, size_t d, size_t n_eights, float *acc)
{
    struct bni_neon_eight sums[4];
    for (size_t j = 0; j < n_eights; j++) {
        sums[j].low = vmulq_n_f32(vld1q_f32(acc + d + 8 * j), correction);
        sums[j].high = vmulq_n_f32(vld1q_f32(acc + d + 8 * j + 4), correction);
    }
    for (size_t p = 0; p < n_positions; p++) {
        const float32x4_t weight = vdupq_n_f32(weights[p]);
        const uint16_t *values = v + p * head_dim + d;
        for (size_t j = 0; j < n_eights; j++) {
            const struct bni_neon_eight value = bni_neon_load_f16(values + 8 * j);
            sums[j].low = vfmaq_f32(sums[j].low, weight, value.low);
            sums[j].high = vfmaq_f32(sums[j].high, weight, value.high);
        }
    }
    for (size_t j = 0; j < n_eights; j++) {
        vst1q_f32(acc + d + 8 * j, sums[j].low);
        vst1q_f32(acc + d + 8 * j + 4, sums[j].high);
    }
}

static void attend(struct bni_attention_query *query, const uint16_t *k,
                   const uint16_t *v, size_t head_dim, float scale)
{
    const size_t n_positions = query->n_positions;
    float *acc = query->acc;
    assert(n_positions >= 1 && n_positions <= BNI_ATTENTION_BLOCK);

    float32x4_t scores[SCORE_VECTORS];
    for (size_t j = 0; j < SCORE_VECTORS; j++) scores[j] = vdupq_n_f32(0.0f);
    for (size_t d = 0; d < head_dim; d++) {
        const float32x4_t q_d = vdupq_n_f32(query->q[d]);
        const uint16_t *keys = k + d * BNI_ATTENTION_BLOCK;
        for (size_t j = 0; j < SCORE_VECTORS; j += 2) {
            const struct bni_neon_eight key = bni_neon_load_f16(keys + 4 * j);
            scores[j] = vfmaq_f32(scores[j], q_d, key.low);
            scores[j + 1] = vfmaq_f32(scores[j + 1], q_d, key.high);
        }
    }

    /* Positions past the end hold anything: they take no part in the maximum, and
     * their weight is +0. */
    static const uint32_t first_indices[4] = {0, 1, 2, 3};
    const uint32x4_t end = vdupq_n_u32((uint32_t)n_positions);
    uint32x4_t index = vld1q_u32(first_indices);
    uint32x4_t is_position[SCORE_VECTORS];
    float32x4_t max_lanes = vdupq_n_f32(query->max);
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        is_position[j] = vcltq_u32(index, end);
        index = vaddq_u32(index, vdupq_n_u32(4));
        scores[j] = vmulq_n_f32(scores[j], scale);
        /* A NaN is not greater. */
        const uint32x4_t is_greater =
            vandq_u32(vcgtq_f32(scores[j], max_lanes), is_position[j]);
        max_lanes = vbslq_f32(is_greater, scores[j], max_lanes);
    }
    const float max = vmaxvq_f32(max_lanes) + 0.0f; /* -0 becomes +0 */

    float weights[BNI_ATTENTION_BLOCK];
    float32x4_t lanes[4];
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const float32x4_t e = bni_neon_exp(vsubq_f32(scores[j], vdupq_n_f32(max)));
        const float32x4_t weight =
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(e), is_position[j]));
        vst1q_f32(weights + 4 * j, weight);
        lanes[j % 4] = j < 4 ? weight : vaddq_f32(lanes[j % 4], weight);
    }
    const float sum = bni_neon_fold_lanes(lanes);

    const float correction = bni_exp(query->max - max);
    query->sum = query->sum * correction + sum;
    query->max = max;

    size_t d = 0;
    for (; head_dim - d >= 32; d += 32)
        add_values(weights, v, head_dim, n_positions, correction, d, 4, acc);
    for (; head_dim - d >= 8; d += 8)
        add_values(weights, v, head_dim, n_positions, correction, d, 1, acc);
    for (; d < head_dim; d++) {
        float value = acc[d] * correction;
        for (size_t p = 0; p < n_positions; p++)
            value = fmaf(weights[p], bni_widen_f16(v[p * head_dim + d]), value);
        acc[d] = value;
    }
}

void bni_neon_attention_block(struct bni_attention_query *queries, size_t n_queries,
                              const uint16_t *k, const uint16_t *v, size_t head_dim,
                              float scale)
{
    for (size_t i = 0; i < n_queries; i++) attend(&queries[i], k, v, head_dim, scale);
}

/* Not written for NEON yet. */
void bni_neon_attention_block_int8(struct bni_attention_query *queries,
                                   size_t n_queries, const int8_t *k,
                                   const float *k_factors, const int8_t *v,
                                   const float *v_factors, size_t head_dim, float scale)
{
    bni_kernels_scalar.attention_block_int8(queries, n_queries, k, k_factors, v,
                                            v_factors, head_dim, scale);
}
