/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_attention.c - attention with 256-bit vectors.
 *
 * Query heads that share keys and values go through a block together, up to four at a
 * time: what is loaded and widened for one is used by all, and their sums, which are
 * chains and so cannot be split, hide each other's latency. For the scores positions are
 * lanes, for the values channels are lanes; how many vectors of them a tile takes is
 * chosen so that the sums fit the 16 registers:
 *
 *     queries     1   2   4
 *     vectors     4   4   2
 *
 * Queries of one sequence's neighbouring rows see one position more each in the last
 * block. What all of them see is done together, the rest one by one.
 *
 * Half floats and int8 differ in how they are loaded; the factors of int8 are applied to
 * scores and weights, of which there are few.
 */
#include <immintrin.h>
#include <math.h>

#include "kernels/attention_tiles.h"
#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx2.h"

enum { CHANNELS = 8, SCORE_VECTORS = BNI_ATTENTION_BLOCK / 8, MAX_VECTORS = 4 };

/* Of positions or of channels. */
BNI_TILE size_t tile_vectors(size_t n_queries)
{
    return n_queries == 4 ? 2 : 4;
}

/* Loads eight values, widened. */
BNI_TILE __m256 load(const void *from, size_t index, enum bni_stored type)
{
    if (type == BNI_STORED_HALF)
        return bni_avx2_load_half((const uint16_t *)from + index);
    const __m128i bytes =
        _mm_loadl_epi64((const __m128i *)((const int8_t *)from + index));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* Writes the scaled scores of all 32 positions, of which some may be no positions. */
BNI_TILE void score(const struct bni_attention_query *queries, size_t n_queries,
                    const struct bni_kv_block *block, enum bni_stored type,
                    bni_block_floats scores)
{
    const size_t n_vectors = tile_vectors(n_queries);
    for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p += 8 * n_vectors) {
        __m256 sums[BNI_TILE_QUERIES][MAX_VECTORS];
        for (size_t i = 0; i < n_queries; i++)
            for (size_t j = 0; j < n_vectors; j++) sums[i][j] = _mm256_setzero_ps();
        for (size_t d = 0; d < block->head_dim; d++) {
            bni_ask_for_next(block, block->k, p * block->head_dim + d * 8 * n_vectors,
                             8 * n_vectors, type);
            __m256 keys[MAX_VECTORS];
            for (size_t j = 0; j < n_vectors; j++)
                keys[j] = load(block->k, d * BNI_ATTENTION_BLOCK + p + 8 * j, type);
            for (size_t i = 0; i < n_queries; i++) {
                const __m256 q_d = _mm256_set1_ps(queries[i].q[d]);
                for (size_t j = 0; j < n_vectors; j++)
                    sums[i][j] = _mm256_fmadd_ps(q_d, keys[j], sums[i][j]);
            }
        }
        const __m256 scale = _mm256_set1_ps(block->scale);
        for (size_t j = 0; j < n_vectors; j++)
            for (size_t i = 0; i < n_queries; i++) {
                __m256 sum = sums[i][j];
                if (type == BNI_STORED_INT8)
                    sum = _mm256_mul_ps(sum,
                                        _mm256_loadu_ps(block->k_factors + p + 8 * j));
                _mm256_storeu_ps(scores[i] + p + 8 * j, _mm256_mul_ps(sum, scale));
            }
    }
}

/* Goes on with the softmax: makes weights of the scores, and returns by what the values
 * so far are to be multiplied. Positions past the end hold anything: they take no part
 * in the maximum, and their weight is +0. */
static float weigh(struct bni_attention_query *query, float scores[BNI_ATTENTION_BLOCK])
{
    __m256 is_position[SCORE_VECTORS];
    __m256 max_lanes = _mm256_set1_ps(query->max);
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const __m256i index =
            _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                             _mm256_set1_epi32((int)(8 * j)));
        is_position[j] = _mm256_castsi256_ps(
            _mm256_cmpgt_epi32(_mm256_set1_epi32((int)query->n_positions), index));
        /* The second operand is the answer when the first is NaN. */
        const __m256 candidate =
            _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_loadu_ps(scores + 8 * j),
                             is_position[j]);
        max_lanes = _mm256_max_ps(candidate, max_lanes);
    }
    const float max = bni_avx2_largest(max_lanes) + 0.0f; /* -0 becomes +0 */

    __m256 e[SCORE_VECTORS];
    for (size_t j = 0; j < SCORE_VECTORS; j++) {
        const __m256 s = _mm256_loadu_ps(scores + 8 * j);
        e[j] = bni_avx2_exp(_mm256_sub_ps(s, _mm256_set1_ps(max)));
        e[j] = _mm256_and_ps(e[j], is_position[j]);
        _mm256_storeu_ps(scores + 8 * j, e[j]);
    }
    const float sum =
        bni_avx2_fold_lanes(_mm256_add_ps(e[0], e[2]), _mm256_add_ps(e[1], e[3]));

    const float correction = bni_exp(query->max - max);
    query->sum = query->sum * correction + sum;
    query->max = max;
    return correction;
}

/* acc = acc * correction, and then the weighted values of the positions [p, p_end), for
 * `n_vectors` times eight channels from d on. */
BNI_TILE void add_channels(const struct bni_attention_query *queries, size_t n_queries,
                           bni_block_floats weights, const float *corrections,
                           const struct bni_kv_block *block, enum bni_stored type,
                           size_t p, size_t p_end, size_t d, size_t n_vectors)
{
    __m256 sums[BNI_TILE_QUERIES][MAX_VECTORS];
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_vectors; j++)
            sums[i][j] = _mm256_mul_ps(_mm256_loadu_ps(queries[i].acc + d + 8 * j),
                                       _mm256_set1_ps(corrections[i]));
    for (; p < p_end; p++) {
        bni_ask_for_next(block, block->v, d * BNI_ATTENTION_BLOCK + p * 8 * n_vectors,
                         8 * n_vectors, type);
        __m256 values[MAX_VECTORS];
        for (size_t j = 0; j < n_vectors; j++)
            values[j] = load(block->v, p * block->head_dim + d + 8 * j, type);
        for (size_t i = 0; i < n_queries; i++) {
            const __m256 weight = _mm256_set1_ps(weights[i][p]);
            for (size_t j = 0; j < n_vectors; j++)
                sums[i][j] = _mm256_fmadd_ps(weight, values[j], sums[i][j]);
        }
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t j = 0; j < n_vectors; j++)
            _mm256_storeu_ps(queries[i].acc + d + 8 * j, sums[i][j]);
}

#include "kernels/attention_blocks.h"

void bni_avx2_attention_block(struct bni_attention_query *queries, size_t n_queries,
                              const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_HALF);
}

void bni_avx2_attention_block_int8(struct bni_attention_query *queries,
                                   size_t n_queries, const struct bni_kv_block *block)
{
    attend_all(queries, n_queries, block, BNI_STORED_INT8);
}
