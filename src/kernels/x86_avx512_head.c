/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512_head.c - the coarse product of the output head with 512-bit vectors.
 *
 * As x86_avx2_head.c, twice as wide; for both AVX-512 tables, so without VNNI.
 */
#include <immintrin.h>

#include "kernels/x86_avx2.h"
#include "kernels/x86_avx512.h"

enum { MAX_TILE_ROWS = 4, MAX_TILE_X = 4 };

/* The functions here take the tile's shape as constants, which only pays off if each call
 * becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Adds the products of 32 columns, for n_rows rows of codes, `stride` bytes
 * apart, and n_x of activations. */
ALWAYS_INLINE void add_thirty_two(const int8_t *codes, const int16_t *q, size_t stride,
                                  size_t n_cols, size_t n_rows, size_t n_x,
                                  __m512i sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    for (size_t r = 0; r < n_rows; r++) {
        const __m512i w = _mm512_cvtepi8_epi16(
            _mm256_loadu_si256((const __m256i *)(codes + r * stride)));
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] =
                _mm512_add_epi32(sums[r][j], _mm512_madd_epi16(w, _mm512_loadu_si512(
                                                                      q + j * n_cols)));
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
    __m512i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm512_setzero_si512();

    size_t k = 0;
    for (; n_cols - k >= BNI_LINE_BYTES; k += BNI_LINE_BYTES) {
        for (size_t r = 0; r < n_rows && source != BNI_FROM_CACHE; r++)
            bni_prefetch_ahead(codes + r * stride + k);
        add_thirty_two(codes + k, q + k, stride, n_cols, n_rows, n_x, sums);
        add_thirty_two(codes + k + 32, q + k + 32, stride, n_cols, n_rows, n_x, sums);
    }
    if (n_cols - k >= 32) {
        add_thirty_two(codes + k, q + k, stride, n_cols, n_rows, n_x, sums);
        k += 32;
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) {
            __m256i sum = _mm256_add_epi32(_mm512_castsi512_si256(sums[r][j]),
                                           _mm512_extracti64x4_epi64(sums[r][j], 1));
            if (k < n_cols) { /* the last 16 */
                const __m256i w = _mm256_cvtepi8_epi16(
                    _mm_loadu_si128((const __m128i *)(codes + r * stride + k)));
                const __m256i x =
                    _mm256_loadu_si256((const __m256i *)(q + j * n_cols + k));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
            }
            args->out[(i + j) * args->out_stride + m + r * step] =
                (float)bni_avx2_sum_of_int32(sum) *
                (args->scales[m + r * step] * args->steps[i + j]);
        }
}

enum { COARSE_ROWS = 4, COARSE_ROWS_1 = 4 };
#include "kernels/coarse_panels.h"

void bni_avx512_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                              size_t row_end)
{
    coarse_panels(args, row_begin, row_end);
}
