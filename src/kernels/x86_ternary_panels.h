/* SPDX-License-Identifier: MIT */
/*
 * x86_ternary_panels.h - in which order a ternary product is computed: the same for
 * every instruction set, which includes this after the tile function it compiles.
 *
 *     void ternary_tile(args, m, step, i, n_rows, n_x, source)
 *
 * computes outputs m, m + step, ..., n_rows of them, for activations i .. i + n_x; the
 * last three arguments are constants. Before the inclusion the file also defines what
 * x86_ternary_strips.h asks for and, as constants,
 *
 *     STREAM_ROWS_1         rows of a tile of one activation, weights from memory
 *     SHARE_ROWS            rows of a tile of two to four, weights in the cache
 *     SHARE_ROWS_1          and of one
 *
 * Up to three activations meet all weights in one tile. These come from memory in two
 * streams that lie far apart, a tile having a row of each: what is loaded of the
 * activations is used twice, and they come faster than one stream, or than two rows
 * beside each other (docs/performance.md).
 *
 *     row 0     1st tile        row 128   1st tile       (the order of the work)
 *     row 1     2nd tile        row 129   2nd tile
 *     ...                       ...
 *
 * With more activations rows of weights go by in panels; all activations meet a panel
 * before the next one is read, so weights come from memory once, whatever the number of
 * activations, and the activations of a tile stay in the first-level cache for the length
 * of a panel.
 *
 *            activations ->  tile 0   tile 1   ...
 *     panel 0   row 0          1        33
 *               row 1          2        33          (the order of the work)
 *               rows 2, 3     3, 4      34
 *               ...
 *     panel 1                 50
 *
 * Where the first tile of activations meets a row it comes from memory: a row at a time,
 * in the order in which they lie, as do rows that are too few for two streams. The other
 * tiles find it in the cache, and take several rows at a time: what is loaded of the
 * activations is used for all of them. With eight activations and more, whole strips of a
 * panel go by as x86_ternary_strips.h says, and only the last rows of a range this way.
 */
#ifndef BNI_KERNELS_X86_TERNARY_PANELS_H
#define BNI_KERNELS_X86_TERNARY_PANELS_H

#include <assert.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/kernels.h"
#include "kernels/x86_ternary_strips.h"

enum {
    TERNARY_PANEL_ROWS = 32,
    /* Of each of two streams: two that lie nearer than half of it are slower than one. */
    TERNARY_STREAM_BYTES = 80 << 10,
    /* With more activations arithmetic is the limit, and the sums of two rows leave too
     * few registers. */
    STREAMS_MAX_X = 3,
    /* With fewer activations, unpacking to a buffer takes as long as it saves. */
    STRIPS_MIN_X = 8,
};

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
static inline __attribute__((always_inline)) void ternary_rows(
    const struct bni_ternary_args *args, size_t m, size_t m_end, size_t i,
    size_t tile_rows, size_t n_x, enum bni_source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        ternary_tile(args, m, 1, i, tile_rows, n_x, source);
    for (; m < m_end; m++) ternary_tile(args, m, 1, i, 1, n_x, source);
}

/* The same, all of them, up to three, in two streams. */
static inline __attribute__((always_inline)) void ternary_two_streams(
    const struct bni_ternary_args *args, size_t m, size_t half)
{
    const size_t m_end = m + half;
    switch (args->n_x) {
    case 3:
        for (; m < m_end; m++) ternary_tile(args, m, half, 0, 2, 3, BNI_IN_STREAMS);
        break;
    case 2:
        for (; m < m_end; m++) ternary_tile(args, m, half, 0, 2, 2, BNI_IN_STREAMS);
        break;
    case 1:
        for (; m < m_end; m++) ternary_tile(args, m, half, 0, 2, 1, BNI_IN_STREAMS);
        break;
    default: break;
    }
}

/* The first activations, up to four; returns how many. */
static inline __attribute__((always_inline)) size_t stream_panel(
    const struct bni_ternary_args *args, size_t m, size_t m_end)
{
    const size_t n_x = bni_size_min(args->n_x, 4);
    switch (n_x) {
    case 4: ternary_rows(args, m, m_end, 0, 1, 4, BNI_FROM_MEMORY); break;
    case 3: ternary_rows(args, m, m_end, 0, 1, 3, BNI_FROM_MEMORY); break;
    case 2: ternary_rows(args, m, m_end, 0, 1, 2, BNI_FROM_MEMORY); break;
    case 1: ternary_rows(args, m, m_end, 0, STREAM_ROWS_1, 1, BNI_FROM_MEMORY); break;
    default: break;
    }
    return n_x;
}

/* The others, from number i on. */
static inline __attribute__((always_inline)) void share_panel(
    const struct bni_ternary_args *args, size_t m, size_t m_end, size_t i)
{
    for (; args->n_x - i >= 4; i += 4)
        ternary_rows(args, m, m_end, i, SHARE_ROWS, 4, BNI_FROM_CACHE);
    switch (args->n_x - i) {
    case 3: ternary_rows(args, m, m_end, i, SHARE_ROWS, 3, BNI_FROM_CACHE); break;
    case 2: ternary_rows(args, m, m_end, i, SHARE_ROWS, 2, BNI_FROM_CACHE); break;
    case 1: ternary_rows(args, m, m_end, i, SHARE_ROWS_1, 1, BNI_FROM_CACHE); break;
    default: break;
    }
}

/* Up to STREAMS_MAX_X activations. */
static inline void ternary_streams(const struct bni_ternary_args *args,
                                   size_t row_begin, size_t row_end)
{
    const size_t row_bytes = args->n_cols / 4;
    const size_t n_rows = bni_size_div_up(TERNARY_STREAM_BYTES, row_bytes);
    size_t m = row_begin;
    for (; row_end - m >= 2 * n_rows; m += 2 * n_rows)
        ternary_two_streams(args, m, n_rows);
    if (row_end - m >= n_rows) {
        const size_t half = (row_end - m) / 2;
        ternary_two_streams(args, m, half);
        m += 2 * half;
    }
    stream_panel(args, m, row_end);
}

static inline void ternary_panels(const struct bni_ternary_args *args, size_t row_begin,
                                  size_t row_end)
{
    assert(args->n_cols % BNI_TERNARY_BLOCK == 0 &&
           args->n_cols <= BNI_TERNARY_MAX_COLS);
    if (args->n_x <= STREAMS_MAX_X) {
        ternary_streams(args, row_begin, row_end);
        return;
    }
    for (size_t m = row_begin; m < row_end; m += TERNARY_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + TERNARY_PANEL_ROWS, row_end);
        const size_t rest =
            args->n_x < STRIPS_MIN_X ? m : ternary_strips(args, m, m_end);
        share_panel(args, rest, m_end, stream_panel(args, rest, m_end));
    }
}

#endif
