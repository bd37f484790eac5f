/* SPDX-License-Identifier: MIT */
/*
 * avx512_emulated.c - the AVX-512 kernels, made to run on CPUs that have only AVX2.
 *
 * SIMDe defines each 512-bit intrinsic by narrower ones or by plain C, so compiling
 * the kernels' own source against it checks their arithmetic to the bit on machines
 * that cannot run them. It says nothing about speed.
 */
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* The version of SIMDe that distributions ship lacks these: two halves each. */

static __m512 join_floats(__m256 low, __m256 high)
{
    return simde_mm512_castpd_ps(
        simde_mm512_insertf64x4(simde_mm512_castps_pd(simde_mm512_castps256_ps512(low)),
                                _mm256_castps_pd(high), 1));
}

static __m512i join_integers(__m256i low, __m256i high)
{
    return simde_mm512_inserti64x4(simde_mm512_castsi256_si512(low), high, 1);
}

static __m512 emulated_cvtph_ps(__m256i halves)
{
    return join_floats(_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                       _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)));
}

static __m512i emulated_cvtepu16_epi32(__m256i v)
{
    return join_integers(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
                         _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1)));
}

static __m512i emulated_cvtps_epi32(__m512 v)
{
    const __m256 low = simde_mm512_castps512_ps256(v);
    const __m256 high =
        _mm256_castpd_ps(simde_mm512_extractf64x4_pd(simde_mm512_castps_pd(v), 1));
    return join_integers(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
}

#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtps_epi32 emulated_cvtps_epi32

#define bni_kernels_avx512 bni_kernels_avx512_emulated
#define bni_avx512_attention_block bni_avx512_emulated_attention_block
#include "../../../src/kernels/x86_avx512.c"
#include "../../../src/kernels/x86_avx512_attention.c"
