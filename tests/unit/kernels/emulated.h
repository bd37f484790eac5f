/* SPDX-License-Identifier: MIT */
/*
 * emulated.h - AVX-512 and VNNI, made to run on CPUs that have only AVX2.
 *
 * SIMDe defines each 512-bit intrinsic by narrower ones or by plain C, so compiling
 * a kernel file's own source against it checks their arithmetic to the bit on machines
 * that cannot run them. It says nothing about speed.
 */
#ifndef BNI_TESTS_KERNELS_EMULATED_H
#define BNI_TESTS_KERNELS_EMULATED_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* The version of SIMDe that distributions ship lacks these: two halves each. */

static inline __m512 join_floats(__m256 low, __m256 high)
{
    return simde_mm512_castpd_ps(
        simde_mm512_insertf64x4(simde_mm512_castps_pd(simde_mm512_castps256_ps512(low)),
                                _mm256_castps_pd(high), 1));
}

static inline __m512i join_integers(__m256i low, __m256i high)
{
    return simde_mm512_inserti64x4(simde_mm512_castsi256_si512(low), high, 1);
}

static inline __m512 emulated_cvtph_ps(__m256i halves)
{
    return join_floats(_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                       _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
}

static inline __m512i emulated_cvtepu16_epi32(__m256i v)
{
    return join_integers(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
                         _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)));
}

static inline __m512i emulated_cvtps_epi32(__m512 v)
{
    const __m256 low = simde_mm512_castps512_ps256(v);
    const __m256 high =
        _mm256_castpd_ps(simde_mm512_extractf64x4_pd(simde_mm512_castps_pd(v), 1));
    return join_integers(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
}

static inline __m512i emulated_cvtepi8_epi32(__m128i v)
{
    return join_integers(_mm256_cvtepi8_epi32(v),
                         _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8)));
}

static inline __m512 emulated_cvtepi32_ps(__m512i v)
{
    const __m512d pairs = simde_mm512_castsi512_pd(v);
    const __m256d low = simde_mm512_castpd512_pd256(pairs);
    const __m256d high = simde_mm512_extractf64x4_pd(pairs, 1);
    return join_floats(_mm256_cvtepi32_ps(_mm256_castpd_si256(low)),
                       _mm256_cvtepi32_ps(_mm256_castpd_si256(high)));
}

/* And names this one wrongly. */
static inline __m512i emulated_madd_epi16(__m512i a, __m512i b)
{
    return simde_mm512_madd_epi16(a, b);
}
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 emulated_madd_epi16

#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps

/* The functions and the table get names of their own, beside the real ones. */
#define bni_kernels_avx512 bni_kernels_avx512_emulated
#define bni_avx512_dense_matmul_f32 bni_avx512_emulated_dense_matmul_f32
#define bni_avx512_dense_matmul_f16 bni_avx512_emulated_dense_matmul_f16
#define bni_avx512_dense_matmul_bf16 bni_avx512_emulated_dense_matmul_bf16
#define bni_avx512_coarse_matmul bni_avx512_emulated_coarse_matmul
#define bni_avx512_silu_mul bni_avx512_emulated_silu_mul
#define bni_avx512_attention_block bni_avx512_emulated_attention_block
#define bni_avx512_attention_block_int8 bni_avx512_emulated_attention_block_int8
#define bni_kernels_avx512vnni bni_kernels_avx512vnni_emulated
#define bni_kernels_avxvnni bni_kernels_avxvnni_emulated

#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32

#endif
