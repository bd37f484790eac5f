/* SPDX-License-Identifier: MIT */
/*
 * arm_neon_attention.c - attention with 128-bit vectors.
 *
 * As x86_avx2_attention.c, whose comment explains it, with pairs of vectors of four in
 * place of vectors of eight. There are 32 registers, so a tile is one pair for each of
 * the vectors there:
 *
 *     queries     1   2   4
 *     pairs       4   4   2
 */
#include "kernels/arm_functions.h"
#include "kernels/attention_tiles.h"

enum { CHANNELS = 8, SCORE_VECTORS = BNI_ATTENTION_BLOCK / 4, MAX_PAIRS = 4 };

/* Pairs of them, of positions or of channels. */
BNI_TILE size_t tile_vectors(size_t n_queries)
{
    return n_queries == 4 ? 2 : 4;
}

/* Loads eight values, widened. */
BNI_TILE struct bni_neon_eight load(const void *from, size_t index,
                                    enum bni_stored type)
{
    if (type == BNI_STORED_HALF)
        return bni_neon_load_f16((const uint16_t *)from + index);
    const int16x8_t values = vmovl_s8(vld1_s8((const int8_t *)from + index));
    return (struct bni_neon_eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(values))),
                                   vcvtq_f32_s32(vmovl_high_s16(values))};
}

/* sum += factor * x. */
BNI_TILE void multiply_add(struct bni_neon_eight *sum, float32x4_t factor,
                           struct bni_neon_eight x)
{
    sum->low = vfmaq_f32(sum->low, factor, x.low);
    sum->high = vfmaq_f32(sum->high, factor, x.high);
}

/* Writes the scaled scores of all 32 positions, of which some may be no positions. */
BNI_TILE void score(const struct bni_attention_query *queries, size_t n_queries,
                    const struct bni_kv_block *block, enum bni_stored type,
                    bni_block_floats scores)
{
    const size_t n_pairs = tile_vectors(n_queries);
    for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p += 8 * n_pairs) {
        struct bni_neon_eight sums[BNI_TILE_QUERIES][MAX_PAIRS];
        for (size_t i = 0; i < n_queries; i++)
            for (size_t j = 0; j < n_pairs; j++)
                sums[i][j].low = sums[i][j].high = vdupq_n_f32(0.0f);
        for (size_t d = 0; d < block->head_dim; d++) {
            bni_ask_for_next(block, block->k, p * block->head_dim + d * 8 * n_pairs,
                             8 * n_pairs, type);
            struct bni_neon_eight keys[MAX_PAIRS];
            for (size_t j = 0; j < n_pairs; j++)
                keys[j] = load(block->k, d * BNI_ATTENTION_BLOCK + p + 8 * j, type);
            for (size_t i = 0; i < n_queries; i++) {
                const float32x4_t q_d = vdupq_n_f32(queries[i].q[d]);
                for (size_t j = 0; j < n_pairs; j++)
                    multiply_add(&sums[i][j], q_d, keys[j]);
            }
        }
        for (size_t i = 0; i < n_queries; i++)
            for (size_t j = 0; j < n_pairs; j++) {
                vst1q_f32(scores[i] + p + 8 * j, sums[i][j].low);
                vst1q_f32(scores[i] + p + 8 * j + 4, sums[i][j].high);
            }
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p += 4) {
            float32x4_t sum = vld1q_f32(scores[i] + p);
            if (type == BNI_STORED_INT8)
                sum = vmulq_f32(sum, vld1q_f32(block->k_factors + p));
            vst1q_f32(scores[i] + p, vmulq_n_f32(sum, block->scale));
        }
}

/* Goes on with the softmax: makes weights of the scores, and returns by what the values
 * so far are to be multiplied. Positions past the end hold anything: they take no part
 * in the maximum, and their weight is +0. */
static float weigh(struct bni_attention_query *query, float scores[BNI_ATTENTION_BLOCK])
{
    static const uint32_t first_indices[4] = {0, 1, 2, 3};
    const uint32x4_t end = vdupq_n_u32((uint32_t)query->n_positions);
    uint32x4_t index = vld1q_u32(first_indices);
    uint32x4_t is_position[SCORE_VECTORS];
    float32x4_t max_lanes = vdupq_n_f32(query->max);
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const float32x4_t s = vld1q_f32(scores + 4 * j);
        is_position[j] = vcltq_u32(index, end);
        index = vaddq_u32(index, vdupq_n_u32(4));
        /* A NaN is not greater. */
        const uint32x4_t is_greater =
            vandq_u32(vcgtq_f32(s, max_lanes), is_position[j]);
        max_lanes = vbslq_f32(is_greater, s, max_lanes);
    }
    const float max = vmaxvq_f32(max_lanes) + 0.0f; /* -0 becomes +0 */

    float32x4_t lanes[4];
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const float32x4_t s = vld1q_f32(scores + 4 * j);
        const float32x4_t e = bni_neon_exp(vsubq_f32(s, vdupq_n_f32(max)));
        const float32x4_t weight =
            vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(e), is_position[j]));
        vst1q_f32(scores + 4 * j, weight);
        lanes[j % 4] = j < 4 ? weight : vaddq_f32(lanes[j % 4], weight);
    }
    const float sum = bni_neon_fold_lanes(lanes);

    const float correction = bni_exp(query->max - max);
    query->sum = query->sum * correction + sum;
    query->max = max;
    return correction;
}

/* acc = acc * correction, and then the weighted values of the positions [p, p_end), for
 * `n_pairs` times eight channels from d on. */
BNI_TILE void add_channels(const struct bni_attention_query *queries, size_t n_queries,
                           bni_block_floats weights, const float *corrections,
                           const struct bni_kv_block *block, enum bni_stored type,
                           size_t p, size_t p_end, size_t d, size_t n_pairs)
{
    struct bni_neon_eight sums[BNI_TILE_QUERIES][MAX_PAIRS];
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_pairs; j++) {
            const float *acc = queries[i].acc + d + 8 * j;
            sums[i][j].low = vmulq_n_f32(vld1q_f32(acc), corrections[i]);
            sums[i][j].high = vmulq_n_f32(vld1q_f32(acc + 4), corrections[i]);
        }
    for (; p < p_end; p++) {
        bni_ask_for_next(block, block->v, d * BNI_ATTENTION_BLOCK + p * 8 * n_pairs,
                         8 * n_pairs, type);
        struct bni_neon_eight values[MAX_PAIRS];
        for (size_t j = 0; j < n_pairs; j++)
            values[j] = load(block->v, p * block->head_dim + d + 8 * j, type);
        for (size_t i = 0; i < n_queries; i++) {
            const float32x4_t weight = vdupq_n_f32(weights[i][p]);
            for (size_t j = 0; j < n_pairs; j++)
                multiply_add(&sums[i][j], weight, values[j]);
        }
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_pairs; j++) {
            float *acc = queries[i].acc + d + 8 * j;
            vst1q_f32(acc, sums[i][j].low);
            vst1q_f32(acc + 4, sums[i][j].high);
        }
}

#include "kernels/attention_blocks.h"

void bni_neon_attention_block(struct bni_attention_query *queries, size_t n_queries,
                              const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_HALF);
}

void bni_neon_attention_block_int8(struct bni_attention_query *queries,
                                   size_t n_queries, const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_INT8);
}
