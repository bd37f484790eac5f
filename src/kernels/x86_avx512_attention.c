/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512_attention.c - attention with 512-bit vectors.
 *
 * As x86_avx2_attention.c, whose comment explains it, with vectors of sixteen: a block
 * has two vectors of positions, and a tile four queries and up to four vectors of
 * channels, for which there are 32 registers.
 */
#include <immintrin.h>
#include <math.h>

#include "kernels/attention_tiles.h"
#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx512.h"

enum { CHANNELS = 16, SCORE_VECTORS = BNI_ATTENTION_BLOCK / 16, MAX_VECTORS = 4 };

/* Of channels. */
BNI_TILE size_t tile_vectors(size_t n_queries)
{
    (void)n_queries;
    return MAX_VECTORS;
}

/* Loads sixteen values, widened. */
BNI_TILE __m512 load(const void *from, size_t index, enum bni_stored type)
{
    if (type == BNI_STORED_HALF)
        return _mm512_cvtph_ps(
            _mm256_loadu_si256((const __m256i *)((const uint16_t *)from + index)));
    const __m128i bytes =
        _mm_loadu_si128((const __m128i *)((const int8_t *)from + index));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* Writes the scaled scores of all 32 positions, of which some may be no positions. */
BNI_TILE void score(const struct bni_attention_query *queries, size_t n_queries,
                    const struct bni_kv_block *block, enum bni_stored type,
                    bni_block_floats scores)
{
    __m512 sums[BNI_TILE_QUERIES][SCORE_VECTORS];
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < SCORE_VECTORS; j++) sums[i][j] = _mm512_setzero_ps();
    for (size_t d = 0; d < block->head_dim; d++) {
        bni_ask_for_next(block, block->k, d * BNI_ATTENTION_BLOCK, BNI_ATTENTION_BLOCK,
                         type);
        __m512 keys[SCORE_VECTORS];
        for (size_t j = 0; j < SCORE_VECTORS; j++)
            keys[j] = load(block->k, d * BNI_ATTENTION_BLOCK + 16 * j, type);
        for (size_t i = 0; i < n_queries; i++) {
            const __m512 q_d = _mm512_set1_ps(queries[i].q[d]);
            for (size_t j = 0; j < SCORE_VECTORS; j++)
                sums[i][j] = _mm512_fmadd_ps(q_d, keys[j], sums[i][j]);
        }
    }
    const __m512 scale = _mm512_set1_ps(block->scale);
    for (size_t j = 0; j < SCORE_VECTORS; j++)
        for (size_t i = 0; i < n_queries; i++) {
            __m512 sum = sums[i][j];
            if (type == BNI_STORED_INT8)
                sum = _mm512_mul_ps(sum, _mm512_loadu_ps(block->k_factors + 16 * j));
            _mm512_storeu_ps(scores[i] + 16 * j, _mm512_mul_ps(sum, scale));
        }
}

/* Goes on with the softmax: makes weights of the scores, and returns by what the values
 * so far are to be multiplied. Positions past the end hold anything: they take no part
 * in the maximum, and their weight is +0. */
static float weigh(struct bni_attention_query *query, float scores[BNI_ATTENTION_BLOCK])
{
    const uint32_t is_position = (uint32_t)(((uint64_t)1 << query->n_positions) - 1);
    __m512 max_lanes = _mm512_set1_ps(query->max);
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const __m512 candidate =
            _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY),
                               (__mmask16)(is_position >> (16 * j)),
                               _mm512_loadu_ps(scores + 16 * j));
        /* The second operand is the answer when the first is NaN. */
        max_lanes = _mm512_max_ps(candidate, max_lanes);
    }
    const float max = bni_avx2_largest(_mm256_max_ps(bni_avx512_low_half(max_lanes),
                                                     bni_avx512_high_half(max_lanes))) +
                      0.0f; /* -0 becomes +0 */

    __m512 e[SCORE_VECTORS];
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const __m512 s = _mm512_loadu_ps(scores + 16 * j);
        e[j] = bni_avx512_exp(_mm512_sub_ps(s, _mm512_set1_ps(max)));
        e[j] = _mm512_maskz_mov_ps((__mmask16)(is_position >> (16 * j)), e[j]);
        _mm512_storeu_ps(scores + 16 * j, e[j]);
    }
    const float sum = bni_avx512_fold_lanes(_mm512_add_ps(e[0], e[1]));

    const float correction = bni_exp(query->max - max);
    query->sum = query->sum * correction + sum;
    query->max = max;
    return correction;
}

/* acc = acc * correction, and then the weighted values of the positions [p, p_end), for
 * `n_vectors` times 16 channels from d on. */
BNI_TILE void add_channels(const struct bni_attention_query *queries, size_t n_queries,
                           bni_block_floats weights, const float *corrections,
                           const struct bni_kv_block *block, enum bni_stored type,
                           size_t p, size_t p_end, size_t d, size_t n_vectors)
{
    __m512 sums[BNI_TILE_QUERIES][MAX_VECTORS];
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_vectors; j++)
            sums[i][j] = _mm512_mul_ps(_mm512_loadu_ps(queries[i].acc + d + 16 * j),
                                       _mm512_set1_ps(corrections[i]));
    for (; p < p_end; p++) {
        bni_ask_for_next(block, block->v, d * BNI_ATTENTION_BLOCK + p * 16 * n_vectors,
                         16 * n_vectors, type);
        __m512 values[MAX_VECTORS];
        for (size_t j = 0; j < n_vectors; j++)
            values[j] = load(block->v, p * block->head_dim + d + 16 * j, type);
        for (size_t i = 0; i < n_queries; i++) {
            const __m512 weight = _mm512_set1_ps(weights[i][p]);
            for (size_t j = 0; j < n_vectors; j++)
                sums[i][j] = _mm512_fmadd_ps(weight, values[j], sums[i][j]);
        }
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_vectors; j++)
            _mm512_storeu_ps(queries[i].acc + d + 16 * j, sums[i][j]);
}

#include "kernels/attention_blocks.h"

void bni_avx512_attention_block(struct bni_attention_query *queries, size_t n_queries,
                                const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_HALF);
}

void bni_avx512_attention_block_int8(struct bni_attention_query *queries,
                                     size_t n_queries, const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_INT8);
}
