/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2.h - the functions of the AVX2 table by name.
 *
 * Later tables use those that their instructions would not make faster. Only files
 * compiled for AVX2, FMA and F16C include this.
 */
#ifndef BNI_KERNELS_X86_AVX2_H
#define BNI_KERNELS_X86_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/prefetch.h"

/* The strips of x86_ternary_strips.h: rows; blocks and activations at a time, at most;
 * activations of a tile, at most and at least half as many. */
enum {
    BNI_STRIP_ROWS = 4,
    BNI_STRIP_BLOCKS = 16,
    BNI_STRIP_X = 48,
    BNI_STRIP_TILE_X = 5,
};

/* Unpacks the 32 bytes of a block to its 128 codes, in the order of the values. */
static inline void bni_avx2_unpack(const uint8_t *from, uint8_t *codes)
{
    const __m256i low_bits = _mm256_set1_epi8(3);
    __m256i packed = _mm256_loadu_si256((const __m256i *)from);
    /* The last quarter is in the lowest bits; those from the byte above are masked. */
    for (size_t quarter = 4; quarter-- > 0;) {
        _mm256_storeu_si256((__m256i *)(codes + quarter * 32),
                            _mm256_and_si256(packed, low_bits));
        packed = _mm256_srli_epi16(packed, 2);
    }
}

/* Returns the sum of the eight lanes. */
static inline int32_t bni_avx2_sum_of_int32(__m256i v)
{
    __m128i x =
        _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2)));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(x);
}

/*
 * The ends of four ternary sums at a time: on rows of a few hundred columns, adding up
 * lanes and dividing one by one takes longer than the products.
 */
static inline __m128i bni_avx2_sum_four(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i pairs =
        _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(pairs),
                         _mm256_extracti128_si256(pairs, 1));
}

/* ((sum - q_sum) / x_scale) * w_scale, rounded after each step as everywhere. */
static inline __m128 bni_avx2_scale_four(__m128i sum, __m128i q_sum, __m128 x_scale,
                                         float w_scale)
{
    const __m128 acc = _mm_cvtepi32_ps(_mm_sub_epi32(sum, q_sum));
    return _mm_mul_ps(_mm_div_ps(acc, x_scale), _mm_set1_ps(w_scale));
}

/* Makes output m for activation i of the sum of its codes' products; rounded after each
 * step as everywhere. */
static inline void bni_ternary_end(const struct bni_ternary_args *args, size_t m,
                                   size_t i, int32_t sum)
{
    args->out[i * args->out_stride + m] =
        ((float)(sum - args->q_sum[i]) / args->x_scale[i]) * args->w_scale;
}

/* Returns the largest of the eight lanes, none of which is NaN. */
static inline float bni_avx2_largest(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

/* Folds 16 lanes by halves; 0..7 are in `low` and 8..15 in `high`. */
static inline float bni_avx2_fold_lanes(__m256 low, __m256 high)
{
    const __m256 eight = _mm256_add_ps(low, high);
    const __m128 four =
        _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* bni_exp() of each element. */
static inline __m256 bni_avx2_exp(__m256 x)
{
    const __m256 round = _mm256_set1_ps(BNI_EXP_ROUND);
    const __m256 one = _mm256_set1_ps(1.0f);

    const __m256 scaled = _mm256_mul_ps(x, _mm256_set1_ps(BNI_EXP_LOG2_E));
    const __m256 n = _mm256_sub_ps(_mm256_add_ps(scaled, round), round);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(BNI_EXP_LN2_HI), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(BNI_EXP_LN2_LO), r);

    __m256 p = _mm256_set1_ps(BNI_EXP_C6);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNI_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNI_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNI_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNI_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);

    const __m256i exponent =
        _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    const __m256 inside = _mm256_mul_ps(p, power);

    /* NaN is neither below nor above, and is NaN already. */
    const __m256 is_below = _mm256_cmp_ps(x, _mm256_set1_ps(BNI_EXP_MIN), _CMP_LT_OQ);
    const __m256 is_above = _mm256_cmp_ps(x, _mm256_set1_ps(BNI_EXP_MAX), _CMP_GT_OQ);
    const __m256 not_below = _mm256_andnot_ps(is_below, inside);
    return _mm256_blendv_ps(not_below, _mm256_set1_ps(INFINITY), is_above);
}

/* Loads eight halves, widened. */
static inline __m256 bni_avx2_load_half(const uint16_t *from)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

void bni_avx2_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                             size_t row_end);

void bni_avx2_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end);
void bni_avx2_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end);
void bni_avx2_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);

void bni_avx2_dense_matmul_q8_0(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);
void bni_avx2_dense_matmul_q6_k(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end);
void bni_avx2_widen_q8_0(const void *from, size_t n, float *out);
void bni_avx2_widen_q6_k(const void *from, size_t n, float *out);

void bni_avx2_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                            size_t row_end);
bool bni_avx2_coarse_copy(const float *x, size_t n, int8_t *codes,
                          struct bni_coarse_copy *out);

void bni_avx2_quantize(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum);
void bni_avx2_widen_f32(const void *from, size_t n, float *out);
void bni_avx2_widen_f16(const void *from, size_t n, float *out);
void bni_avx2_widen_bf16(const void *from, size_t n, float *out);
void bni_avx2_rms_norm(const float *x, const float *gain, size_t n, float epsilon,
                       float *out);
void bni_avx2_rope_neox(float *x, const float *cos, const float *sin, size_t head_dim);
void bni_avx2_rope_adjacent(float *x, const float *cos, const float *sin,
                            size_t head_dim);
void bni_avx2_store_f16(const float *x, size_t n, uint16_t *out, size_t stride);
void bni_avx2_attention_block(struct bni_attention_query *queries, size_t n_queries,
                              const struct bni_kv_block *block);
void bni_avx2_attention_block_int8(struct bni_attention_query *queries,
                                   size_t n_queries, const struct bni_kv_block *block);
void bni_avx2_relu2_mul(const float *gate, const float *up, size_t n, float *out);
void bni_avx2_silu_mul(const float *gate, const float *up, size_t n, float *out);
void bni_avx2_add(float *x, const float *y, size_t n);

/* The table of this name that multiplies ternary matrices so. */
#define BNI_AVX2_TABLE(table_name, ternary) \
    { \
        .name = (table_name), .quantize = bni_avx2_quantize, \
        .ternary_matmul = (ternary), \
        .dense_matmul = \
            { \
                [BNI_DENSE_F32] = bni_avx2_dense_matmul_f32, \
                [BNI_DENSE_F16] = bni_avx2_dense_matmul_f16, \
                [BNI_DENSE_BF16] = bni_avx2_dense_matmul_bf16, \
                [BNI_DENSE_Q8_0] = bni_avx2_dense_matmul_q8_0, \
                [BNI_DENSE_Q6_K] = bni_avx2_dense_matmul_q6_k, \
            }, \
        .coarse_matmul = bni_avx2_coarse_matmul, .coarse_copy = bni_avx2_coarse_copy, \
        .widen = \
            { \
                [BNI_DENSE_F32] = bni_avx2_widen_f32, \
                [BNI_DENSE_F16] = bni_avx2_widen_f16, \
                [BNI_DENSE_BF16] = bni_avx2_widen_bf16, \
                [BNI_DENSE_Q8_0] = bni_avx2_widen_q8_0, \
                [BNI_DENSE_Q6_K] = bni_avx2_widen_q6_k, \
            }, \
        .rms_norm = bni_avx2_rms_norm, .rope_neox = bni_avx2_rope_neox, \
        .rope_adjacent = bni_avx2_rope_adjacent, .store_f16 = bni_avx2_store_f16, \
        .attention_block = bni_avx2_attention_block, \
        .attention_block_int8 = bni_avx2_attention_block_int8, \
        .relu2_mul = bni_avx2_relu2_mul, .silu_mul = bni_avx2_silu_mul, \
        .add = bni_avx2_add, \
    }

#endif
