/* SPDX-License-Identifier: MIT */
/*
 * coarse_panels.h - the order of the tiles of a coarse product: the same for every
 * instruction set, which includes this after
 *
 *     coarse_tile(args, m, i, n_rows, n_x)   computes outputs m .. m + n_rows for
 *                                            activations i .. i + n_x, n_x up to 4; the
 *                                            last two are constants
 *     COARSE_ROWS, COARSE_ROWS_1             rows of a tile, and of one of one activation
 *
 * A panel of rows stays in the cache while all activations go over it.
 */
#ifndef BNI_KERNELS_COARSE_PANELS_H
#define BNI_KERNELS_COARSE_PANELS_H

#include <assert.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/kernels.h"

enum { COARSE_PANEL_ROWS = 32 };

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
static inline __attribute__((always_inline)) void coarse_rows(
    const struct bni_coarse_args *args, size_t m, size_t m_end, size_t i,
    size_t tile_rows, size_t n_x)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        coarse_tile(args, m, i, tile_rows, n_x);
    for (; m < m_end; m++) coarse_tile(args, m, i, 1, n_x);
}

static inline void coarse_panels(const struct bni_coarse_args *args, size_t row_begin,
                                 size_t row_end)
{
    assert(args->n_cols % 16 == 0);

    for (size_t m = row_begin; m < row_end; m += COARSE_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + COARSE_PANEL_ROWS, row_end);
        size_t i = 0;
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
