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

static size_t weight_bytes_of(enum bni_dense_type type)
{
    return type == BNI_DENSE_F32 ? 4 : 2;
}

/* Loads eight weights, widened. */
ALWAYS_INLINE __m256 load_weights(const char *from, enum bni_dense_type type)
{
    if (type == BNI_DENSE_F32) return _mm256_loadu_ps((const float *)from);
    const __m128i half = _mm_loadu_si128((const __m128i *)from);
    if (type == BNI_DENSE_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Adds the products of 16 columns, for n_rows rows of weights, `stride` bytes apart, and
 * n_x of activations. */
ALWAYS_INLINE void add_sixteen(const char *weights, const float *x, size_t stride,
                               size_t n_cols, size_t n_rows, size_t n_x,
                               enum bni_dense_type type,
                               struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    struct lanes values[MAX_TILE_X];
    for (size_t j = 0; j < n_x; j++) {
        const float *from = x + j * n_cols;
        values[j] = (struct lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
        /* Keeps the compiler from loading it again for every row. */
        __asm__("" : "+x"(values[j].low), "+x"(values[j].high));
    }
    for (size_t r = 0; r < n_rows; r++) {
        const char *from = weights + r * stride;
        const __m256 low = load_weights(from, type);
        const __m256 high = load_weights(from + 8 * weight_bytes_of(type), type);
        for (size_t j = 0; j < n_x; j++) {
            sums[r][j].low = _mm256_fmadd_ps(low, values[j].low, sums[r][j].low);
            sums[r][j].high = _mm256_fmadd_ps(high, values[j].high, sums[r][j].high);
        }
    }
}

/* Computes the n_rows outputs m, m + step, ... for activations i .. i + n_x. */
ALWAYS_INLINE void dense_tile(const struct bni_dense_args *args, size_t m, size_t step,
                              size_t i, size_t n_rows, size_t n_x,
                              enum bni_dense_type type, enum bni_source source)
{
    const size_t n_cols = args->n_cols;
    const size_t weight_bytes = weight_bytes_of(type);
    const size_t n_in_line = BNI_LINE_BYTES / weight_bytes;
    const size_t stride = step * n_cols * weight_bytes;
    const char *weights = (const char *)args->weights + m * n_cols * weight_bytes;
    const float *x = args->x + i * n_cols;
    struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] = (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};

    size_t k = 0;
    for (; n_cols - k >= n_in_line; k += n_in_line) {
        const char *line = weights + k * weight_bytes;
        for (size_t r = 0; r < n_rows && source == BNI_IN_STREAMS; r++)
            bni_prefetch_ahead(line + r * stride);
#pragma GCC unroll 2
        for (size_t in_line = 0; in_line < n_in_line; in_line += 16)
            add_sixteen(line + in_line * weight_bytes, x + k + in_line, stride, n_cols,
                        n_rows, n_x, type, sums);
    }
    if (k < n_cols)
        add_sixteen(weights + k * weight_bytes, x + k, stride, n_cols, n_rows, n_x,
                    type, sums);

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
