/* SPDX-License-Identifier: MIT */
/*
 * coarse_panels.h - the order of the tiles of a coarse product: the same for every
 * instruction set, which includes this after
 *
 *     coarse_tile(args, m, step, i, n_rows, n_x, source)
 *                          computes the n_rows outputs m, m + step, ... for activations
 *                          i .. i + n_x, n_x up to 4; the last three are constants
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

enum { COARSE_PANEL_ROWS = 64 };

/* Computes outputs m .. m_end for n_x activations, weights in the cache. */
static inline __attribute__((always_inline)) void coarse_rows(
    const struct bni_coarse_args *args, size_t m, size_t m_end, size_t i, size_t n_rows,
    size_t n_x)
{
    for (; m_end - m >= n_rows; m += n_rows)
        coarse_tile(args, m, 1, i, n_rows, n_x, BNI_FROM_CACHE);
    for (; m < m_end; m++) coarse_tile(args, m, 1, i, 1, n_x, BNI_FROM_CACHE);
}

/* The same for the first activations, weights from memory. */
static inline __attribute__((always_inline)) void coarse_stream(
    const struct bni_coarse_args *args, size_t m, size_t m_end, size_t n_x)
{
    const size_t half = (m_end - m) / 2;
    for (size_t row = m; row < m + half; row++)
        coarse_tile(args, row, half, 0, 2, n_x, BNI_IN_STREAMS);
    if (m + 2 * half < m_end)
        coarse_tile(args, m_end - 1, 1, 0, 1, n_x, BNI_FROM_CACHE);
}

/* The first activations, up to four; returns how many. */
static inline __attribute__((always_inline)) size_t coarse_stream_panel(
    const struct bni_coarse_args *args, size_t m, size_t m_end)
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
