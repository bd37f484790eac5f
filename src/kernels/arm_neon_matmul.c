/* SPDX-License-Identifier: MIT */
/*
 * arm_neon_matmul.c - the matrix products for every 64-bit ARM.
 *
 * Both work on tiles and panels as x86_ternary_panels.h explains, with 32 registers of
 * 128 bits for a tile's sums and what they are made of.
 */
#include <assert.h>

#include "base/size.h"
#include "kernels/arm_functions.h"
#include "kernels/arm_ternary.h"

/* Ternary. arm_ternary.h has all but the step below. */

/* A lane of int16 takes 16 products of a block, each at most 2 * 127: after eight
 * blocks it holds at most 32512, and its neighbour is added to it in 32 bits. */
enum { BLOCKS_PER_WIDENING = 8 };
_Static_assert(BNI_TERNARY_BLOCK / 8 * BLOCKS_PER_WIDENING * 2 * 127 <= INT16_MAX,
               "int16 sums overflow");

BNI_ALWAYS_INLINE int16x8_t add_products(int16x8_t sum, int8x16_t a, int8x16_t b)
{
    sum = vmlal_s8(sum, vget_low_s8(a), vget_low_s8(b));
    return vmlal_high_s8(sum, a, b);
}

BNI_ALWAYS_INLINE void add_blocks(const uint8_t *codes, const int8_t *q, size_t n_cols,
                                  size_t n_blocks, size_t n_rows, size_t n_x,
                                  struct bni_arm_sums *sums)
{
    int16x8_t narrow[BNI_ARM_MAX_TILE_ROWS][BNI_ARM_MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) narrow[r][j] = vdupq_n_s16(0);

    for (size_t block = 0; block < n_blocks; block++) {
        struct bni_arm_codes packed[BNI_ARM_MAX_TILE_ROWS];
        for (size_t r = 0; r < n_rows; r++)
            packed[r] = bni_arm_load_codes(codes + r * (n_cols / 4) +
                                           block * BNI_TERNARY_BLOCK_BYTES);
#pragma GCC unroll 4
        for (size_t quarter = 4; quarter-- > 0;) {
            const int8_t *q_quarter = q + block * BNI_TERNARY_BLOCK + quarter * 32;
            for (size_t r = 0; r < n_rows; r++) {
                const int8x16x2_t c = bni_arm_take_quarter(&packed[r]);
                for (size_t j = 0; j < n_x; j++) {
                    const int8_t *x = q_quarter + j * n_cols;
                    narrow[r][j] = add_products(narrow[r][j], c.val[0], vld1q_s8(x));
                    narrow[r][j] =
                        add_products(narrow[r][j], c.val[1], vld1q_s8(x + 16));
                }
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums->of[r][j] = vpadalq_s16(sums->of[r][j], narrow[r][j]);
}

void bni_neon_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                             size_t row_end)
{
    bni_arm_ternary_matmul(args, row_begin, row_end, BLOCKS_PER_WIDENING, add_blocks);
}

/* Dense. */

/* Sixteen lanes: register j has 4 j .. 4 j + 3. */
struct lanes {
    float32x4_t of[4];
};

/* Loads sixteen weights, widened, from element `index` on. */
BNI_ALWAYS_INLINE struct lanes load_weights(const void *weights, size_t index,
                                            enum bni_dense_type type)
{
    const char *bytes = weights;
    struct lanes w;
    if (type == BNI_DENSE_F32) {
        for (size_t l = 0; l < 4; l++)
            w.of[l] = bni_neon_load_floats(bytes + index * 4 + l * 16);
        return w;
    }
    for (size_t half = 0; half < 2; half++) {
        const char *from = bytes + index * 2 + half * 16;
        const struct bni_neon_eight eight =
            type == BNI_DENSE_F16 ? bni_neon_load_f16(from) : bni_neon_load_bf16(from);
        w.of[2 * half] = eight.low;
        w.of[2 * half + 1] = eight.high;
    }
    return w;
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
BNI_ALWAYS_INLINE void dense_tile(const struct bni_dense_args *args, size_t m, size_t i,
                                  size_t n_rows, size_t n_x, enum bni_dense_type type)
{
    enum { MAX_ROWS = 4, MAX_X = 2 };
    const size_t n_cols = args->n_cols;
    struct lanes sums[MAX_ROWS][MAX_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            for (size_t l = 0; l < 4; l++) sums[r][j].of[l] = vdupq_n_f32(0.0f);

    for (size_t k = 0; k < n_cols; k += 16) {
        struct lanes x[MAX_X];
        for (size_t j = 0; j < n_x; j++)
            for (size_t l = 0; l < 4; l++)
                x[j].of[l] = vld1q_f32(args->x + (i + j) * n_cols + k + 4 * l);
        for (size_t r = 0; r < n_rows; r++) {
            const struct lanes w =
                load_weights(args->weights, (m + r) * n_cols + k, type);
            for (size_t j = 0; j < n_x; j++)
                for (size_t l = 0; l < 4; l++)
                    sums[r][j].of[l] = vfmaq_f32(sums[r][j].of[l], w.of[l], x[j].of[l]);
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r] =
                bni_neon_fold_lanes(sums[r][j].of);
}

BNI_ALWAYS_INLINE void dense_rows(const struct bni_dense_args *args, size_t m,
                                  size_t m_end, size_t i, size_t tile_rows, size_t n_x,
                                  enum bni_dense_type type)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        dense_tile(args, m, i, tile_rows, n_x, type);
    for (; m < m_end; m++) dense_tile(args, m, i, 1, n_x, type);
}

/* Sixteen registers hold a tile's sums, and twelve what they are made of. */
BNI_ALWAYS_INLINE void dense_matmul(const struct bni_dense_args *args, size_t row_begin,
                                    size_t row_end, enum bni_dense_type type)
{
    assert(args->n_cols % 16 == 0);

    for (size_t m = row_begin; m < row_end; m += BNI_ARM_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + BNI_ARM_PANEL_ROWS, row_end);
        size_t i = 0;
        for (; args->n_x - i >= 2; i += 2) dense_rows(args, m, m_end, i, 2, 2, type);
        if (i < args->n_x) dense_rows(args, m, m_end, i, 4, 1, type);
    }
}

void bni_neon_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F32);
}

void bni_neon_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F16);
}

void bni_neon_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_BF16);
}
