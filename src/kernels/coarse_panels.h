/* SPDX-License-Identifier: MIT */
/*
 * coarse_panels.h - the order of the tiles of a coarse product: the same for every
 * instruction set, which includes this after
 *
 *     coarse_tile(args, m, i, n_rows, n_x, source)
 *                                   computes outputs m .. m + n_rows for activations
 *                                   i .. i + n_x, n_x up to 4; the last three are
 *                                   constants
 *     COARSE_ROWS, COARSE_ROWS_1    rows of a tile, weights in the cache, and of one of
 *                                   one activation
 *
 * A panel of rows stays in the cache while all activations go over it. Where the first
 * of them meet a row it comes from memory: a row at a time, as x86_ternary_panels.h
 * explains it.
 */
#ifndef BNI_KERNELS_COARSE_PANELS_H
#define BNI_KERNELS_COARSE_PANELS_H

#include <assert.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/kernels.h"
#include "kernels/prefetch.h"

enum { COARSE_PANEL_ROWS = 32 };

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
static inline __attribute__((always_inline)) void coarse_rows(
    const struct bni_coarse_args *args, size_t m, size_t m_end, size_t i,
    size_t tile_rows, size_t n_x, enum bni_source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        coarse_tile(args, m, i, tile_rows, n_x, source);
    for (; m < m_end; m++) coarse_tile(args, m, i, 1, n_x, source);
}

/* The first activations, up to four; returns how many. */
static inline __attribute__((always_inline)) size_t coarse_stream_panel(
    const struct bni_coarse_args *args, size_t m, size_t m_end)
{
    const size_t n_x = bni_size_min(args->n_x, 4);
    switch (n_x) {
    case 4: coarse_rows(args, m, m_end, 0, 1, 4, BNI_FROM_MEMORY); break;
    case 3: coarse_rows(args, m, m_end, 0, 1, 3, BNI_FROM_MEMORY); break;
    case 2: coarse_rows(args, m, m_end, 0, 1, 2, BNI_FROM_MEMORY); break;
    case 1: coarse_rows(args, m, m_end, 0, 1, 1, BNI_FROM_MEMORY); break;
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
            coarse_rows(args, m, m_end, i, COARSE_ROWS, 4, BNI_FROM_CACHE);
        switch (args->n_x - i) {
        case 3: coarse_rows(args, m, m_end, i, COARSE_ROWS, 3, BNI_FROM_CACHE); break;
        case 2: coarse_rows(args, m, m_end, i, COARSE_ROWS, 2, BNI_FROM_CACHE); break;
        case 1: coarse_rows(args, m, m_end, i, COARSE_ROWS_1, 1, BNI_FROM_CACHE); break;
        default: break;
        }
    }
}

#endif
