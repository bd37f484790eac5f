/* SPDX-License-Identifier: MIT */
/*
 * coarse_panels.h - a coarse product but for its arithmetic: tiles, and their order, the
 * same for every instruction set, which includes this after
 *
 *     coarse_sum           a vector of int32 sums of products
 *     coarse_weights       COARSE_WIDTH weights, widened to 16 bits
 *     COARSE_WIDTH         columns at a time: 16 or 32
 *     coarse_zero()        a sum of nothing
 *     coarse_load(codes, n)
 *                          widens n weights, COARSE_WIDTH or, of the last columns, 16;
 *                          the rest is 0
 *     coarse_add(sum, weights, q, n)
 *                          adds the products with as many activations
 *     coarse_total(sum)    adds up the lanes
 *     COARSE_ROWS          rows of a tile, weights in the cache
 *     COARSE_ROWS_1        and of one of one activation
 *
 * A panel of rows stays in the cache while all activations go over it. Where the first
 * of them meet it, it comes from memory, in two streams, one through each half: what is
 * loaded of the activations is used twice, and two streams that lie far apart come
 * faster than one, or than two rows beside each other (docs/performance.md).
 *
 *     row 0     1st tile        row 32    1st tile       (the order of the work)
 *     row 1     2nd tile        row 33    2nd tile
 *     ...                       ...
 */
#ifndef BNI_KERNELS_COARSE_PANELS_H
#define BNI_KERNELS_COARSE_PANELS_H

#include <assert.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/kernels.h"
#include "kernels/prefetch.h"

enum { COARSE_PANEL_ROWS = 64, COARSE_MAX_TILE_ROWS = 4, COARSE_MAX_TILE_X = 4 };

/* The functions here take the tile's shape as constants, which only pays off if each call
 * becomes code of its own. */
#define COARSE_INLINE static inline __attribute__((always_inline))

/* Adds the products of n columns, for n_rows rows of codes, `stride` bytes apart, and n_x
 * of activations. */
COARSE_INLINE void coarse_columns(
    const int8_t *codes, const int16_t *q, size_t stride, size_t n_cols, size_t n_rows,
    size_t n_x, size_t n, coarse_sum sums[COARSE_MAX_TILE_ROWS][COARSE_MAX_TILE_X])
{
    for (size_t r = 0; r < n_rows; r++) {
        const coarse_weights w = coarse_load(codes + r * stride, n);
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] = coarse_add(sums[r][j], w, q + j * n_cols, n);
    }
}

/* Computes the n_rows outputs m, m + step, ... for activations i .. i + n_x; the last
 * three arguments are constants. */
COARSE_INLINE void coarse_tile(const struct bni_coarse_args *args, size_t m,
                               size_t step, size_t i, size_t n_rows, size_t n_x,
                               enum bni_source source)
{
    const size_t n_cols = args->n_cols;
    const size_t stride = step * n_cols;
    const int8_t *codes = args->codes + m * n_cols;
    const int16_t *q = args->q + i * n_cols;
    coarse_sum sums[COARSE_MAX_TILE_ROWS][COARSE_MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = coarse_zero();

    size_t k = 0;
    for (; n_cols - k >= BNI_LINE_BYTES; k += BNI_LINE_BYTES) {
        for (size_t r = 0; r < n_rows && source != BNI_FROM_CACHE; r++)
            bni_prefetch_ahead(codes + r * stride + k);
#pragma GCC unroll 4
        for (size_t in_line = 0; in_line < BNI_LINE_BYTES; in_line += COARSE_WIDTH)
            coarse_columns(codes + k + in_line, q + k + in_line, stride, n_cols, n_rows,
                           n_x, COARSE_WIDTH, sums);
    }
    for (; n_cols - k >= COARSE_WIDTH; k += COARSE_WIDTH)
        coarse_columns(codes + k, q + k, stride, n_cols, n_rows, n_x, COARSE_WIDTH,
                       sums);
    if (COARSE_WIDTH > 16 && k < n_cols)
        coarse_columns(codes + k, q + k, stride, n_cols, n_rows, n_x, 16, sums);

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r * step] =
                (float)coarse_total(sums[r][j]) *
                (args->scales[m + r * step] * args->steps[i + j]);
}

/* Computes outputs m .. m_end for n_x activations, weights in the cache. */
COARSE_INLINE void coarse_rows(const struct bni_coarse_args *args, size_t m,
                               size_t m_end, size_t i, size_t n_rows, size_t n_x)
{
    for (; m_end - m >= n_rows; m += n_rows)
        coarse_tile(args, m, 1, i, n_rows, n_x, BNI_FROM_CACHE);
    for (; m < m_end; m++) coarse_tile(args, m, 1, i, 1, n_x, BNI_FROM_CACHE);
}

/* The same for the first activations, weights from memory. */
COARSE_INLINE void coarse_stream(const struct bni_coarse_args *args, size_t m,
                                 size_t m_end, size_t n_x)
{
    const size_t half = (m_end - m) / 2;
    for (size_t row = m; row < m + half; row++)
        coarse_tile(args, row, half, 0, 2, n_x, BNI_IN_STREAMS);
    if (m + 2 * half < m_end)
        coarse_tile(args, m_end - 1, 1, 0, 1, n_x, BNI_FROM_CACHE);
}

/* The first activations, up to four; returns how many. */
COARSE_INLINE size_t coarse_stream_panel(const struct bni_coarse_args *args, size_t m,
                                         size_t m_end)
{
    const size_t n_x = bni_size_min(args->n_x, 4);
    switch (n_x) {
    case 4: coarse_stream(args, m, m_end, 4); break;
    case 3: coarse_stream(args, m, m_end, 3); break;
    case 2: coarse_stream(args, m, m_end, 2); break;
    case 1: coarse_stream(args, m, m_end, 1); break;
    default: break;
    }
    return n_x;
}

static inline void coarse_panels(const struct bni_coarse_args *args, size_t row_begin,
                                 size_t row_end)
{
    assert(args->n_cols % 16 == 0);

    for (size_t m = row_begin; m < row_end; m += COARSE_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + COARSE_PANEL_ROWS, row_end);
        size_t i = coarse_stream_panel(args, m, m_end);
        for (; args->n_x - i >= 4; i += 4)
            coarse_rows(args, m, m_end, i, COARSE_ROWS, 4);
        switch (args->n_x - i) {
        case 3: coarse_rows(args, m, m_end, i, COARSE_ROWS, 3); break;
        case 2: coarse_rows(args, m, m_end, i, COARSE_ROWS, 2); break;
        case 1: coarse_rows(args, m, m_end, i, COARSE_ROWS_1, 1); break;
        default: break;
        }
    }
}

#endif
