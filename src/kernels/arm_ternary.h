/* SPDX-License-Identifier: MIT */
/*
 * arm_ternary.h - the ternary product but for the one step in which instruction sets
 * differ: multiplying codes with activations and adding up.
 *
 * The work goes by tiles of rows of weights and rows of activations, eight sums at
 * most, in panels of rows, as x86_ternary_panels.h explains. The codes of a tile are
 * unpacked once and meet all its activations.
 *
 * A product uses the codes 0..2 as they are and subtracts the sum of the activations
 * in the end: sum (c - 1) q = sum c q - sum q. Integers are exact, so the order is free.
 */
#ifndef BNI_KERNELS_ARM_TERNARY_H
#define BNI_KERNELS_ARM_TERNARY_H

#include <arm_neon.h>
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/size.h"
#include "kernels/kernels.h"

/* The functions here take the tile's shape, and the step, as constants, which only pays
 * off if each call becomes code of its own. */
#define BNI_ALWAYS_INLINE static inline __attribute__((always_inline))

enum { BNI_ARM_PANEL_ROWS = 32, BNI_ARM_MAX_TILE_ROWS = 8, BNI_ARM_MAX_TILE_X = 4 };

/* One tile's sums of c * q, each spread over four lanes that are still to be added. */
struct bni_arm_sums {
    int32x4_t of[BNI_ARM_MAX_TILE_ROWS][BNI_ARM_MAX_TILE_X];
};

/*
 * Adds the products of `n_blocks` blocks, for n_rows rows of codes from `codes` on, and
 * n_x of activations from `q` on; of both, rows are those of a matrix of n_cols columns.
 */
typedef void (*bni_arm_add_blocks)(const uint8_t *codes, const int8_t *q, size_t n_cols,
                                   size_t n_blocks, size_t n_rows, size_t n_x,
                                   struct bni_arm_sums *sums);

/* A row's codes of one block, four to a byte. */
struct bni_arm_codes {
    uint8x16_t low;
    uint8x16_t high;
};

BNI_ALWAYS_INLINE struct bni_arm_codes bni_arm_load_codes(const uint8_t *block)
{
    return (struct bni_arm_codes){vld1q_u8(block), vld1q_u8(block + 16)};
}

/* Takes the 32 codes in the lowest bits, the last quarter of what is left, out of it. */
BNI_ALWAYS_INLINE int8x16x2_t bni_arm_take_quarter(struct bni_arm_codes *codes)
{
    const uint8x16_t low_bits = vdupq_n_u8(3);
    const int8x16x2_t quarter = {
        {vreinterpretq_s8_u8(vandq_u8(codes->low, low_bits)),
         vreinterpretq_s8_u8(vandq_u8(codes->high, low_bits))}};
    codes->low = vshrq_n_u8(codes->low, 2);
    codes->high = vshrq_n_u8(codes->high, 2);
    return quarter;
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
BNI_ALWAYS_INLINE void bni_arm_ternary_tile(const struct bni_ternary_args *args,
                                            size_t m, size_t i, size_t n_rows,
                                            size_t n_x, size_t max_blocks,
                                            bni_arm_add_blocks add_blocks)
{
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    const size_t n_blocks = args->n_cols / BNI_TERNARY_BLOCK;

    struct bni_arm_sums sums;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums.of[r][j] = vdupq_n_s32(0);

    for (size_t block = 0; block < n_blocks; block += max_blocks)
        add_blocks(codes + block * BNI_TERNARY_BLOCK_BYTES,
                   q + block * BNI_TERNARY_BLOCK, args->n_cols,
                   bni_size_min(max_blocks, n_blocks - block), n_rows, n_x, &sums);

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) {
            const int32_t acc = vaddvq_s32(sums.of[r][j]) - args->q_sum[i + j];
            args->out[(i + j) * args->out_stride + m + r] =
                ((float)acc / args->x_scale[i + j]) * args->w_scale;
        }
}

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
BNI_ALWAYS_INLINE void bni_arm_ternary_rows(const struct bni_ternary_args *args,
                                            size_t m, size_t m_end, size_t i,
                                            size_t tile_rows, size_t n_x,
                                            size_t max_blocks,
                                            bni_arm_add_blocks add_blocks)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        bni_arm_ternary_tile(args, m, i, tile_rows, n_x, max_blocks, add_blocks);
    for (; m < m_end; m++)
        bni_arm_ternary_tile(args, m, i, 1, n_x, max_blocks, add_blocks);
}

/* The kernel, made of a step that may be given `max_blocks` blocks at a time. */
BNI_ALWAYS_INLINE void bni_arm_ternary_matmul(const struct bni_ternary_args *args,
                                              size_t row_begin, size_t row_end,
                                              size_t max_blocks,
                                              bni_arm_add_blocks add_blocks)
{
    assert(args->n_cols % BNI_TERNARY_BLOCK == 0 &&
           args->n_cols <= BNI_TERNARY_MAX_COLS);

    for (size_t m = row_begin; m < row_end; m += BNI_ARM_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + BNI_ARM_PANEL_ROWS, row_end);
        size_t i = 0;
        for (; args->n_x - i >= 4; i += 4)
            bni_arm_ternary_rows(args, m, m_end, i, 2, 4, max_blocks, add_blocks);
        switch (args->n_x - i) {
        case 3:
            bni_arm_ternary_rows(args, m, m_end, i, 2, 3, max_blocks, add_blocks);
            break;
        case 2:
            bni_arm_ternary_rows(args, m, m_end, i, 4, 2, max_blocks, add_blocks);
            break;
        case 1:
            bni_arm_ternary_rows(args, m, m_end, i, 8, 1, max_blocks, add_blocks);
            break;
        default: break;
        }
    }
}

#endif
