/* SPDX-License-Identifier: MIT */
/*
 * arm_dotprod.c - the kernels for 64-bit ARM with the dot product instructions.
 *
 * SDOT adds four products of bytes to a lane of int32, so no sum of a ternary product
 * has to be widened on the way: a row's are at most 2 * 127 * 2^20. Everything else in
 * the table is that of arm_neon.c.
 */
#include "kernels/arm_functions.h"
#include "kernels/arm_ternary.h"

BNI_ALWAYS_INLINE void add_blocks(const uint8_t *codes, const int8_t *q, size_t n_cols,
                                  size_t n_blocks, size_t n_rows, size_t n_x,
                                  struct bni_arm_sums *sums)
{
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
                    int32x4_t *sum = &sums->of[r][j];
                    *sum = vdotq_s32(*sum, c.val[0], vld1q_s8(x));
                    *sum = vdotq_s32(*sum, c.val[1], vld1q_s8(x + 16));
                }
            }
        }
    }
}

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    bni_arm_ternary_matmul(args, row_begin, row_end,
                           BNI_TERNARY_MAX_COLS / BNI_TERNARY_BLOCK, add_blocks);
}

const struct bni_kernels bni_kernels_dotprod = {
    .name = "dotprod",
    .quantize = bni_neon_quantize,
    .ternary_matmul = ternary_matmul,
    .dense_matmul =
        {
            [BNI_DENSE_F32] = bni_neon_dense_matmul_f32,
            [BNI_DENSE_F16] = bni_neon_dense_matmul_f16,
            [BNI_DENSE_BF16] = bni_neon_dense_matmul_bf16,
            [BNI_DENSE_Q8_0] = bni_neon_dense_matmul_q8_0,
            [BNI_DENSE_Q6_K] = bni_neon_dense_matmul_q6_k,
        },
    .coarse_matmul = bni_neon_coarse_matmul,
    .coarse_copy = bni_neon_coarse_copy,
    .widen =
        {
            [BNI_DENSE_F32] = bni_neon_widen_f32,
            [BNI_DENSE_F16] = bni_neon_widen_f16,
            [BNI_DENSE_BF16] = bni_neon_widen_bf16,
            [BNI_DENSE_Q8_0] = bni_neon_widen_q8_0,
            [BNI_DENSE_Q6_K] = bni_neon_widen_q6_k,
        },
    .rms_norm = bni_neon_rms_norm,
    .rope_neox = bni_neon_rope_neox,
    .rope_adjacent = bni_neon_rope_adjacent,
    .store_f16 = bni_neon_store_f16,
    .attention_block = bni_neon_attention_block,
    .attention_block_int8 = bni_neon_attention_block_int8,
    .relu2_mul = bni_neon_relu2_mul,
    .silu_mul = bni_neon_silu_mul,
    .add = bni_neon_add,
};
