/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_dense.c - products of dense matrices, 256-bit vectors.
 *
 * Tiles, panels and streams are as x86_ternary_panels.h explains them, in sizes of their
 * own. The 16 lanes of a sum are two registers, and its order is written.
 */
#include <assert.h>
#include <immintrin.h>

#include "base/size.h"
#include "kernels/x86_avx2.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { PANEL_ROWS = 32, PANEL_ROWS_1 = 64, MAX_TILE_ROWS = 4, MAX_TILE_X = 2 };

/* Sixteen lanes: low has 0..7, high has 8..15. */
struct lanes {
    __m256 low;
    __m256 high;
};

/* Loads eight weights, widened, from element `index` on. */
ALWAYS_INLINE __m256 load_weights(const void *weights, size_t index,
                                  enum bni_dense_type type)
{
    if (type == BNI_DENSE_F32)
        return _mm256_loadu_ps((const float *)((const char *)weights + index * 4));
    const __m128i half =
        _mm_loadu_si128((const __m128i *)((const char *)weights + index * 2));
    if (type == BNI_DENSE_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Adds the products of the 16 columns from k on. */
ALWAYS_INLINE void add_sixteen(const struct bni_dense_args *args, size_t m, size_t step,
                               size_t i, size_t k, size_t n_rows, size_t n_x,
                               enum bni_dense_type type,
                               struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    struct lanes x[MAX_TILE_X];
    for (size_t j = 0; j < n_x; j++) {
        const float *from = args->x + (i + j) * args->n_cols + k;
        x[j] = (struct lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
        /* Keeps the compiler from loading it again for every row. */
        __asm__("" : "+x"(x[j].low), "+x"(x[j].high));
    }
    for (size_t r = 0; r < n_rows; r++) {
        const size_t index = (m + r * step) * args->n_cols + k;
        const __m256 low = load_weights(args->weights, index, type);
        const __m256 high = load_weights(args->weights, index + 8, type);
        for (size_t j = 0; j < n_x; j++) {
            sums[r][j].low = _mm256_fmadd_ps(low, x[j].low, sums[r][j].low);
            sums[r][j].high = _mm256_fmadd_ps(high, x[j].high, sums[r][j].high);
        }
    }
}

/* Computes the n_rows outputs m, m + step, ... for activations i .. i + n_x. */
ALWAYS_INLINE void dense_tile(const struct bni_dense_args *args, size_t m, size_t step,
                              size_t i, size_t n_rows, size_t n_x,
                              enum bni_dense_type type, enum bni_source source)
{
    const size_t n_cols = args->n_cols;
    const size_t weight_bytes = type == BNI_DENSE_F32 ? 4 : 2;
    const size_t n_in_line = BNI_LINE_BYTES / weight_bytes;
    struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] = (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};

    size_t k = 0;
    for (; n_cols - k >= n_in_line; k += n_in_line) {
        for (size_t r = 0; r < n_rows && source == BNI_IN_STREAMS; r++)
            bni_prefetch_ahead((const char *)args->weights +
                               ((m + r * step) * n_cols + k) * weight_bytes);
#pragma GCC unroll 2
        for (size_t in_line = 0; in_line < n_in_line; in_line += 16)
            add_sixteen(args, m, step, i, k + in_line, n_rows, n_x, type, sums);
    }
    if (k < n_cols) add_sixteen(args, m, step, i, k, n_rows, n_x, type, sums);

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r * step] =
                bni_avx2_fold_lanes(sums[r][j].low, sums[r][j].high);
}

/* Computes outputs m .. m_end for n_x activations, weights in the cache. */
ALWAYS_INLINE void dense_rows(const struct bni_dense_args *args, size_t m, size_t m_end,
                              size_t i, size_t n_rows, size_t n_x,
                              enum bni_dense_type type)
{
    for (; m_end - m >= n_rows; m += n_rows)
        dense_tile(args, m, 1, i, n_rows, n_x, type, BNI_FROM_CACHE);
    for (; m < m_end; m++) dense_tile(args, m, 1, i, 1, n_x, type, BNI_FROM_CACHE);
}

/* The same for the first activations, weights from memory in so many streams. */
ALWAYS_INLINE void dense_streams(const struct bni_dense_args *args, size_t m,
                                 size_t m_end, size_t n_streams, size_t n_x,
                                 enum bni_dense_type type)
{
    const size_t n_rows = (m_end - m) / n_streams;
    for (size_t row = m; row < m + n_rows; row++)
        dense_tile(args, row, n_rows, 0, n_streams, n_x, type, BNI_IN_STREAMS);
    dense_rows(args, m + n_streams * n_rows, m_end, 0, 1, n_x, type);
}

/* Eight sums at a time, since a fused multiply-add takes four cycles and two can begin
 * in each. */
ALWAYS_INLINE void dense_matmul(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end, enum bni_dense_type type)
{
    assert(args->n_cols % 16 == 0);

    const size_t panel_rows = args->n_x == 1 ? PANEL_ROWS_1 : PANEL_ROWS;
    for (size_t m = row_begin; m < row_end; m += panel_rows) {
        const size_t m_end = bni_size_min(m + panel_rows, row_end);
        if (args->n_x == 1) {
            dense_streams(args, m, m_end, 4, 1, type);
            continue;
        }
        dense_streams(args, m, m_end, 2, 2, type);
        size_t i = 2;
        for (; args->n_x - i >= 2; i += 2) dense_rows(args, m, m_end, i, 2, 2, type);
        if (i < args->n_x) dense_rows(args, m, m_end, i, 4, 1, type);
    }
}

void bni_avx2_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F32);
}

void bni_avx2_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F16);
}

void bni_avx2_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_BF16);
}
