/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_head.c - the coarse product of the output head with 256-bit vectors.
 *
 * Eight-bit weights are widened to 16 bits as they are loaded, and multiplied with
 * 16-bit activations, pairs of products being added in int32: nothing can saturate, so
 * there is nothing to correct. The work is one widening for a tile of weights and two
 * instructions for each row of activations that it meets, which is less than it takes
 * to bring the weights from memory.
 *
 * The order of the tiles is in coarse_panels.h. At the end is what copies a row.
 */
#include <assert.h>
#include <float.h>
#include <immintrin.h>

#include "kernels/x86_avx2.h"

/* What coarse_panels.h asks for. */

typedef __m256i coarse_sum;
typedef __m256i coarse_weights;

enum { COARSE_WIDTH = 16 };

static inline __m256i coarse_zero(void)
{
    return _mm256_setzero_si256();
}

static inline __m256i coarse_load(const int8_t *codes, size_t n)
{
    (void)n; /* always 16 */
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)codes));
}

static inline __m256i coarse_add(__m256i sum, __m256i weights, const int16_t *q,
                                 size_t n)
{
    (void)n;
    const __m256i x = _mm256_loadu_si256((const __m256i *)q);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(weights, x));
}

static inline int32_t coarse_total(__m256i sum)
{
    return bni_avx2_sum_of_int32(sum);
}

enum { COARSE_ROWS = 2, COARSE_ROWS_1 = 4 };
#include "kernels/coarse_panels.h"

void bni_avx2_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                            size_t row_end)
{
    coarse_panels(args, row_begin, row_end);
}

/* Narrows sixteen integers in -127..127, of which `low` has the first eight. */
static __m128i narrow_to_bytes(__m256i low, __m256i high)
{
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high),
                                                   _MM_SHUFFLE(3, 1, 2, 0));
    return _mm_packs_epi16(_mm256_castsi256_si128(words),
                           _mm256_extracti128_si256(words, 1));
}

bool bni_avx2_coarse_copy(const float *x, size_t n, int8_t *codes,
                          struct bni_coarse_copy *out)
{
    assert(n % 16 == 0);
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 max = _mm256_setzero_ps(); /* of no consequence if there is a NaN */
    __m256 low = _mm256_setzero_ps();
    __m256 high = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + i + 8);
        max = _mm256_max_ps(max, _mm256_max_ps(_mm256_and_ps(a, magnitude),
                                               _mm256_and_ps(b, magnitude)));
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    const float squares = bni_avx2_fold_lanes(low, high);
    if (!isfinite(squares)) return false;

    const float scale = bni_avx2_largest(max) / 127.0f;
    const __m256 factor = _mm256_set1_ps(scale);
    const __m256 inverse = _mm256_set1_ps(scale >= FLT_MIN ? 1.0f / scale : 0.0f);
    low = _mm256_setzero_ps();
    high = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + i + 8);
        const __m256i codes_a = _mm256_cvtps_epi32(_mm256_mul_ps(a, inverse));
        const __m256i codes_b = _mm256_cvtps_epi32(_mm256_mul_ps(b, inverse));
        _mm_storeu_si128((__m128i *)(codes + i), narrow_to_bytes(codes_a, codes_b));
        const __m256 rest_a = _mm256_fnmadd_ps(factor, _mm256_cvtepi32_ps(codes_a), a);
        const __m256 rest_b = _mm256_fnmadd_ps(factor, _mm256_cvtepi32_ps(codes_b), b);
        low = _mm256_fmadd_ps(rest_a, rest_a, low);
        high = _mm256_fmadd_ps(rest_b, rest_b, high);
    }
    *out = (struct bni_coarse_copy){scale, squares, bni_avx2_fold_lanes(low, high)};
    return true;
}
