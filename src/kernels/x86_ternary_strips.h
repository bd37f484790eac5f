/* SPDX-License-Identifier: MIT */
/*
 * x86_ternary_strips.h - a ternary product with many activations: codes are unpacked once
 * for all of them. The same for every instruction set, which includes this after the
 * functions it compiles; x86_ternary_panels.h decides what is done so.
 *
 * Where a tile unpacks for itself, masks and shifts are a fifth of what its vector units
 * do, and take registers from its sums. Here a strip, four rows of weights, is unpacked a
 * stretch at a time, and tiles of up to five activations go over the stretch:
 *
 *                  stretch 0          stretch 1
 *     rows 0..3  | unpacked once,   | then the    |   sums[48 activations][4 rows], from
 *                | for 48           | next one    |   one stretch to the next
 *                | activations      |             |
 *
 * A stretch is so short that its codes (8 KB) and the activations of a tile (12 KB) stay
 * in the first-level cache together. All strips of a panel meet the same 48 activations,
 * which the second-level cache keeps, before the next 48 have their turn.
 *
 * Before the inclusion the file defines
 *
 *     ternary_vector     a vector of int32: parts of a sum, one in each lane
 *     STRIP_VECTOR_BYTES its size
 *     ternary_eight(v)   a sum's parts in eight lanes, as __m256i
 *     unpack_block(from, to)
 *                        the 128 codes of a block, as the activations lie
 *     strip_tile(codes, q, n_cols, n, n_x, is_first, sums)
 *                        adds the products of n columns of the strip with activations
 *                        j < n_x to sums[j][row], or is the first to set them
 */
#ifndef BNI_KERNELS_X86_TERNARY_STRIPS_H
#define BNI_KERNELS_X86_TERNARY_STRIPS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx2.h"

/* The codes of a strip, row by row, and the sums of its outputs. */
struct strip {
    _Alignas(STRIP_VECTOR_BYTES)
        uint8_t codes[BNI_STRIP_ROWS * BNI_STRIP_BLOCKS * BNI_TERNARY_BLOCK];
    ternary_vector sums[BNI_STRIP_X][BNI_STRIP_ROWS];
};

static inline void unpack_strip(const uint8_t *from, size_t row_bytes, size_t n_blocks,
                                uint8_t *codes)
{
    for (size_t r = 0; r < BNI_STRIP_ROWS; r++) {
        const uint8_t *block = from + r * row_bytes;
        for (size_t b = 0; b < n_blocks; b++) {
            if (b % 2 == 0) bni_prefetch_ahead(block);
            unpack_block(block, codes);
            block += BNI_TERNARY_BLOCK_BYTES;
            codes += BNI_TERNARY_BLOCK;
        }
    }
}

/* All tiles of a stretch of n columns, their activations as equal in number as can be. */
static inline void strip_stretch(struct strip *strip, const int8_t *q, size_t n_cols,
                                 size_t n, size_t n_x, bool is_first)
{
    size_t n_tiles = bni_size_div_up(n_x, BNI_STRIP_TILE_X);
    for (size_t j = 0, tile_x; j < n_x; j += tile_x, n_tiles--) {
        const int8_t *x = q + j * n_cols;
        ternary_vector(*sums)[BNI_STRIP_ROWS] = strip->sums + j;
        tile_x = bni_size_div_up(n_x - j, n_tiles);
        switch (tile_x) {
        case 5: strip_tile(strip->codes, x, n_cols, n, 5, is_first, sums); break;
        case 4: strip_tile(strip->codes, x, n_cols, n, 4, is_first, sums); break;
        default: strip_tile(strip->codes, x, n_cols, n, 3, is_first, sums); break;
        }
    }
}

/* Computes outputs m .. m + BNI_STRIP_ROWS for activations i .. i + n_x. */
static inline void ternary_strip(const struct bni_ternary_args *args, size_t m,
                                 size_t i, size_t n_x)
{
    const size_t row_bytes = args->n_cols / 4;
    const size_t n_blocks = args->n_cols / BNI_TERNARY_BLOCK;
    const size_t step =
        bni_size_div_up(n_blocks, bni_size_div_up(n_blocks, BNI_STRIP_BLOCKS));
    struct strip strip;
    for (size_t block = 0; block < n_blocks; block += step) {
        const size_t n = bni_size_min(step, n_blocks - block);
        unpack_strip(args->codes + m * row_bytes + block * BNI_TERNARY_BLOCK_BYTES,
                     row_bytes, n, strip.codes);
        strip_stretch(&strip, args->q + i * args->n_cols + block * BNI_TERNARY_BLOCK,
                      args->n_cols, n * BNI_TERNARY_BLOCK, n_x, block == 0);
    }
    for (size_t j = 0; j < n_x; j++) {
        const ternary_vector *sums = strip.sums[j];
        const __m128i sum =
            bni_avx2_sum_four(ternary_eight(sums[0]), ternary_eight(sums[1]),
                              ternary_eight(sums[2]), ternary_eight(sums[3]));
        _mm_storeu_ps(args->out + (i + j) * args->out_stride + m,
                      bni_avx2_scale_four(sum, _mm_set1_epi32(args->q_sum[i + j]),
                                          _mm_set1_ps(args->x_scale[i + j]),
                                          args->w_scale));
    }
}

/* As many strips as fit between m and m_end; returns where the next would begin. */
static inline size_t ternary_strips(const struct bni_ternary_args *args, size_t m,
                                    size_t m_end)
{
    const size_t end = m + (m_end - m) / BNI_STRIP_ROWS * BNI_STRIP_ROWS;
    size_t n_turns = bni_size_div_up(args->n_x, BNI_STRIP_X);
    for (size_t i = 0, n_x; i < args->n_x; i += n_x, n_turns--) {
        n_x = bni_size_div_up(args->n_x - i, n_turns);
        for (size_t row = m; row < end; row += BNI_STRIP_ROWS)
            ternary_strip(args, row, i, n_x);
    }
    return end;
}

#endif
