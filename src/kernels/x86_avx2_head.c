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

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { MAX_TILE_ROWS = 4, MAX_TILE_X = 4 };

/* Adds the products of 16 columns, for n_rows rows of codes, `stride` bytes
 * apart, and n_x of activations. */
ALWAYS_INLINE void add_sixteen(const int8_t *codes, const int16_t *q, size_t stride,
                               size_t n_cols, size_t n_rows, size_t n_x,
                               __m256i sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    for (size_t r = 0; r < n_rows; r++) {
        const __m256i w = _mm256_cvtepi8_epi16(
            _mm_loadu_si128((const __m128i *)(codes + r * stride)));
        for (size_t j = 0; j < n_x; j++) {
            const __m256i x = _mm256_loadu_si256((const __m256i *)(q + j * n_cols));
            sums[r][j] = _mm256_add_epi32(sums[r][j], _mm256_madd_epi16(w, x));
        }
    }
}

/* Computes the n_rows outputs m, m + step, ... for activations i .. i + n_x. */
ALWAYS_INLINE void coarse_tile(const struct bni_coarse_args *args, size_t m,
                               size_t step, size_t i, size_t n_rows, size_t n_x,
                               enum bni_source source)
{
    const size_t n_cols = args->n_cols;
    const int8_t *codes = args->codes + m * n_cols;
    const size_t stride = step * n_cols;
    const int16_t *q = args->q + i * n_cols;
    __m256i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm256_setzero_si256();

    size_t k = 0;
    for (; n_cols - k >= BNI_LINE_BYTES; k += BNI_LINE_BYTES) {
        for (size_t r = 0; r < n_rows && source != BNI_FROM_CACHE; r++)
            bni_prefetch_ahead(codes + r * stride + k);
#pragma GCC unroll 4
        for (size_t in_line = 0; in_line < BNI_LINE_BYTES; in_line += 16)
            add_sixteen(codes + k + in_line, q + k + in_line, stride, n_cols, n_rows,
                        n_x, sums);
    }
    for (; k < n_cols; k += 16)
        add_sixteen(codes + k, q + k, stride, n_cols, n_rows, n_x, sums);

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r * step] =
                (float)bni_avx2_sum_of_int32(sums[r][j]) *
                (args->scales[m + r * step] * args->steps[i + j]);
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
