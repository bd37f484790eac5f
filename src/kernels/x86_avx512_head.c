/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512_head.c - the coarse product of the output head with 512-bit vectors.
 *
 * As x86_avx2_head.c, twice as wide; for both AVX-512 tables, so without VNNI.
 */
#include <immintrin.h>

#include "kernels/x86_avx2.h"
#include "kernels/x86_avx512.h"

/* What coarse_panels.h asks for. */

typedef __m512i coarse_sum;
typedef __m512i coarse_weights;

enum { COARSE_WIDTH = 32 };

static inline __m512i coarse_zero(void)
{
    return _mm512_setzero_si512();
}

static inline __m512i coarse_load(const int8_t *codes, size_t n)
{
    if (n == COARSE_WIDTH)
        return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)codes));
    return _mm512_cvtepi8_epi16(
        _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)codes)));
}

static inline __m512i coarse_add(__m512i sum, __m512i weights, const int16_t *q,
                                 size_t n)
{
    const __m512i x =
        n == COARSE_WIDTH
            ? _mm512_loadu_si512(q)
            : _mm512_inserti64x4(_mm512_setzero_si512(),
                                 _mm256_loadu_si256((const __m256i *)q), 0);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(weights, x));
}

static inline int32_t coarse_total(__m512i sum)
{
    return bni_avx512_sum_of_int32(sum);
}

enum { COARSE_ROWS = 4, COARSE_ROWS_1 = 4 };
#include "kernels/coarse_panels.h"

void bni_avx512_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                              size_t row_end)
{
    coarse_panels(args, row_begin, row_end);
}
