/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512.h - what the files of the two AVX-512 tables share.
 *
 * Only files compiled for AVX-512 include this.
 */
#ifndef BNI_KERNELS_X86_AVX512_H
#define BNI_KERNELS_X86_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx2.h"

static inline __m256 bni_avx512_low_half(__m512 v)
{
    return _mm512_castps512_ps256(v);
}

static inline __m256 bni_avx512_high_half(__m512 v)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}

static inline float bni_avx512_fold_lanes(__m512 lanes)
{
    return bni_avx2_fold_lanes(bni_avx512_low_half(lanes), bni_avx512_high_half(lanes));
}

/* bni_exp() of each element. */
static inline __m512 bni_avx512_exp(__m512 x)
{
    const __m512 round = _mm512_set1_ps(BNI_EXP_ROUND);
    const __m512 one = _mm512_set1_ps(1.0f);

    const __m512 scaled = _mm512_mul_ps(x, _mm512_set1_ps(BNI_EXP_LOG2_E));
    const __m512 n = _mm512_sub_ps(_mm512_add_ps(scaled, round), round);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(BNI_EXP_LN2_HI), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(BNI_EXP_LN2_LO), r);

    __m512 p = _mm512_set1_ps(BNI_EXP_C6);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNI_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNI_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNI_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNI_EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);

    const __m512i exponent =
        _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    const __m512 power = _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
    const __m512 inside = _mm512_mul_ps(p, power);

    /* NaN is neither below nor above, and is NaN already. */
    const __mmask16 is_below =
        _mm512_cmp_ps_mask(x, _mm512_set1_ps(BNI_EXP_MIN), _CMP_LT_OQ);
    const __mmask16 is_above =
        _mm512_cmp_ps_mask(x, _mm512_set1_ps(BNI_EXP_MAX), _CMP_GT_OQ);
    const __m512 from_zero = _mm512_mask_mov_ps(inside, is_below, _mm512_setzero_ps());
    return _mm512_mask_mov_ps(from_zero, is_above, _mm512_set1_ps(INFINITY));
}

/* The lanes added up to eight. */
static inline __m256i bni_avx512_eight(__m512i v)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

static inline int32_t bni_avx512_sum_of_int32(__m512i v)
{
    return bni_avx2_sum_of_int32(bni_avx512_eight(v));
}

/* The codes of a block: values 0..63 and 64..127. */
struct bni_avx512_codes {
    __m512i half[2];
};

/* Unpacks the 32 bytes of a block. */
static inline struct bni_avx512_codes bni_avx512_unpack(const uint8_t *from)
{
    const __m512i low_bits = _mm512_set1_epi8(3);
    const __m512i packed =
        _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)from));
    /* Bits from the byte above are among those masked away. */
    return (struct bni_avx512_codes){{
        _mm512_and_si512(_mm512_srlv_epi64(packed,
                                           _mm512_set_epi64(4, 4, 4, 4, 6, 6, 6, 6)),
                         low_bits),
        _mm512_and_si512(_mm512_srlv_epi64(packed,
                                           _mm512_set_epi64(0, 0, 0, 0, 2, 2, 2, 2)),
                         low_bits),
    }};
}

void bni_avx512_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                                 size_t row_end);
void bni_avx512_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                                 size_t row_end);
void bni_avx512_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                  size_t row_end);
void bni_avx512_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                              size_t row_end);
void bni_avx512_silu_mul(const float *gate, const float *up, size_t n, float *out);
void bni_avx512_attention_block(struct bni_attention_query *queries, size_t n_queries,
                                const struct bni_kv_block *block);
void bni_avx512_attention_block_int8(struct bni_attention_query *queries,
                                     size_t n_queries,
                                     const struct bni_kv_block *block);

/* The table of this name that multiplies ternary matrices so. */
#define BNI_AVX512_TABLE(table_name, ternary) \
    { \
        .name = (table_name), .quantize = bni_avx2_quantize, \
        .ternary_matmul = (ternary), \
        .dense_matmul = \
            { \
                [BNI_DENSE_F32] = bni_avx512_dense_matmul_f32, \
                [BNI_DENSE_F16] = bni_avx512_dense_matmul_f16, \
                [BNI_DENSE_BF16] = bni_avx512_dense_matmul_bf16, \
                [BNI_DENSE_Q8_0] = bni_avx2_dense_matmul_q8_0, \
                [BNI_DENSE_Q6_K] = bni_avx2_dense_matmul_q6_k, \
            }, \
        .coarse_matmul = bni_avx512_coarse_matmul, \
        .coarse_copy = bni_avx2_coarse_copy, \
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
        .attention_block = bni_avx512_attention_block, \
        .attention_block_int8 = bni_avx512_attention_block_int8, \
        .relu2_mul = bni_avx2_relu2_mul, .silu_mul = bni_avx512_silu_mul, \
        .add = bni_avx2_add, \
    }

#endif
