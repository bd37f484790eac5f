/* SPDX-License-Identifier: MIT */
/*
 * arm_neon_head.c - the output head for every 64-bit ARM: weights in blocks, Q8_0 and
 * Q6_K; the coarse product; and copying a row for it.
 *
 * A product of blocks widens a stretch of each row of a tile to floats, in a buffer that
 * stays in the first-level cache, and goes on as if the weights had been floats. The
 * coarse product widens eight-bit weights to 16 bits and adds products to int32 lanes at
 * once, so nothing can saturate. Tiles and panels are those of arm_neon_matmul.c.
 */
#include <assert.h>
#include <float.h>
#include <string.h>

#include "base/size.h"
#include "kernels/arm_functions.h"
#include "kernels/arm_ternary.h"
#include "kernels/prefetch.h"

/* ---- blocks -------------------------------------------------------------------------- */

enum { MAX_TILE_ROWS = 4, MAX_TILE_X = 4, STRETCH = 256 };

_Static_assert(STRETCH % BNI_Q8_0_BLOCK == 0 && STRETCH % BNI_Q6_K_BLOCK == 0,
               "a stretch is whole blocks");

/* The half from any address, widened by the instruction. */
static float32x4_t broadcast_half(const uint8_t *from)
{
    uint16_t half;
    memcpy(&half, from, sizeof(half));
    return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half)));
}

/* Sixteen integers as floats, times `factor`. */
BNI_ALWAYS_INLINE void store_sixteen(int8x16_t q, float32x4_t factor, float *out)
{
    const int16x8_t words[2] = {vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q)};
    for (size_t i = 0; i < 2; i++) {
        const float32x4_t low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words[i])));
        const float32x4_t high = vcvtq_f32_s32(vmovl_high_s16(words[i]));
        vst1q_f32(out + 8 * i, vmulq_f32(factor, low));
        vst1q_f32(out + 8 * i + 4, vmulq_f32(factor, high));
    }
}

void bni_neon_widen_q8_0(const void *from, size_t n, float *out)
{
    assert(n % BNI_Q8_0_BLOCK == 0);
    const uint8_t *block = from;
    for (; n > 0; n -= BNI_Q8_0_BLOCK) {
        const float32x4_t d = broadcast_half(block);
        const int8_t *q = (const int8_t *)block + sizeof(uint16_t);
        for (size_t i = 0; i < BNI_Q8_0_BLOCK; i += 16)
            store_sixteen(vld1q_s8(q + i), d, out + i);
        block += BNI_Q8_0_BYTES;
        out += BNI_Q8_0_BLOCK;
    }
}

/* Sixteen of the 32 places of half a block of Q6_K: one code of each of its four groups
 * (scalar.c draws them), each with its scale. */
static void widen_places(const uint8_t *low, const uint8_t *high, const uint8_t *scales,
                         float32x4_t d, float *out)
{
    const uint8x16_t low_bits = vdupq_n_u8(15);
    const uint8x16_t high_bits = vdupq_n_u8(0x30);
    const uint8x16_t h = vld1q_u8(high);
    const uint8x16_t a = vld1q_u8(low);
    const uint8x16_t b = vld1q_u8(low + 32);
    const uint8x16_t lows[4] = {vandq_u8(a, low_bits), vandq_u8(b, low_bits),
                                vshrq_n_u8(a, 4), vshrq_n_u8(b, 4)};
    const uint8x16_t highs[4] = {vshlq_n_u8(h, 4), vshlq_n_u8(h, 2), h,
                                 vshrq_n_u8(h, 2)};
    for (size_t g = 0; g < 4; g++) {
        const uint8x16_t code = vorrq_u8(lows[g], vandq_u8(highs[g], high_bits));
        const float scale = (float)(int8_t)scales[2 * g];
        store_sixteen(vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(32)),
                      vmulq_f32(d, vdupq_n_f32(scale)), out + 32 * g);
    }
}

void bni_neon_widen_q6_k(const void *from, size_t n, float *out)
{
    assert(n % BNI_Q6_K_BLOCK == 0);
    const uint8_t *block = from;
    for (; n > 0; n -= BNI_Q6_K_BLOCK) {
        const float32x4_t d = broadcast_half(block + BNI_Q6_K_D);
        for (size_t half = 0; half < 2; half++)
            for (size_t part = 0; part < 2; part++)
                widen_places(block + 64 * half + 16 * part,
                             block + BNI_Q6_K_HIGH + 32 * half + 16 * part,
                             block + BNI_Q6_K_SCALES + 8 * half + part, d,
                             out + 128 * half + 16 * part);
        block += BNI_Q6_K_BYTES;
        out += BNI_Q6_K_BLOCK;
    }
}

/* Sixteen lanes: register j has 4 j .. 4 j + 3. */
struct lanes {
    float32x4_t of[4];
};

BNI_ALWAYS_INLINE void widen_stretch(const uint8_t *rows, size_t row, size_t n_cols,
                                     size_t k, size_t n, enum bni_dense_type type,
                                     float *out)
{
    const uint8_t *from =
        rows + row * bni_dense_bytes(type, n_cols) + bni_dense_bytes(type, k);
    if (type == BNI_DENSE_Q8_0)
        bni_neon_widen_q8_0(from, n, out);
    else
        bni_neon_widen_q6_k(from, n, out);
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
BNI_ALWAYS_INLINE void block_tile(const struct bni_dense_args *args, size_t m, size_t i,
                                  size_t n_rows, size_t n_x, enum bni_dense_type type)
{
    const size_t n_cols = args->n_cols;
    float weights[MAX_TILE_ROWS][STRETCH];
    struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            for (size_t l = 0; l < 4; l++) sums[r][j].of[l] = vdupq_n_f32(0.0f);

    for (size_t begin = 0; begin < n_cols; begin += STRETCH) {
        const size_t n = bni_size_min(STRETCH, n_cols - begin);
        for (size_t r = 0; r < n_rows; r++)
            widen_stretch(args->weights, m + r, n_cols, begin, n, type, weights[r]);
        for (size_t k = 0; k < n; k += 16)
            for (size_t j = 0; j < n_x; j++) {
                const float *x = args->x + (i + j) * n_cols + begin + k;
                for (size_t l = 0; l < 4; l++) {
                    const float32x4_t four = vld1q_f32(x + 4 * l);
                    for (size_t r = 0; r < n_rows; r++)
                        sums[r][j].of[l] =
                            vfmaq_f32(sums[r][j].of[l],
                                      vld1q_f32(weights[r] + k + 4 * l), four);
                }
            }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r] =
                bni_neon_fold_lanes(sums[r][j].of);
}

BNI_ALWAYS_INLINE void block_rows(const struct bni_dense_args *args, size_t m,
                                  size_t m_end, size_t i, size_t tile_rows, size_t n_x,
                                  enum bni_dense_type type)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        block_tile(args, m, i, tile_rows, n_x, type);
    for (; m < m_end; m++) block_tile(args, m, i, 1, n_x, type);
}

BNI_ALWAYS_INLINE void block_matmul(const struct bni_dense_args *args, size_t row_begin,
                                    size_t row_end, enum bni_dense_type type)
{
    for (size_t m = row_begin; m < row_end; m += BNI_ARM_PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + BNI_ARM_PANEL_ROWS, row_end);
        size_t i = 0;
        for (; args->n_x - i >= 2; i += 2) block_rows(args, m, m_end, i, 2, 2, type);
        if (i < args->n_x) block_rows(args, m, m_end, i, 4, 1, type);
    }
}

void bni_neon_dense_matmul_q8_0(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    assert(args->n_cols % BNI_Q8_0_BLOCK == 0);
    block_matmul(args, row_begin, row_end, BNI_DENSE_Q8_0);
}

void bni_neon_dense_matmul_q6_k(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    assert(args->n_cols % BNI_Q6_K_BLOCK == 0);
    block_matmul(args, row_begin, row_end, BNI_DENSE_Q6_K);
}

/* ---- the coarse product -------------------------------------------------------------- */

/* Adds the products of eight weights with eight activations. */
BNI_ALWAYS_INLINE int32x4_t add_products(int32x4_t sum, int16x8_t w, int16x8_t x)
{
    sum = vmlal_s16(sum, vget_low_s16(w), vget_low_s16(x));
    return vmlal_high_s16(sum, w, x);
}

/* What coarse_panels.h asks for. */

typedef int32x4_t coarse_sum;

typedef struct {
    int16x8_t low;
    int16x8_t high;
} coarse_weights;

enum { COARSE_WIDTH = 16 };

BNI_ALWAYS_INLINE int32x4_t coarse_zero(void)
{
    return vdupq_n_s32(0);
}

BNI_ALWAYS_INLINE coarse_weights coarse_load(const int8_t *codes, size_t n)
{
    (void)n; /* always 16 */
    const int8x16_t w = vld1q_s8(codes);
    return (coarse_weights){vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w)};
}

BNI_ALWAYS_INLINE int32x4_t coarse_add(int32x4_t sum, coarse_weights weights,
                                       const int16_t *q, size_t n)
{
    (void)n;
    sum = add_products(sum, weights.low, vld1q_s16(q));
    return add_products(sum, weights.high, vld1q_s16(q + 8));
}

BNI_ALWAYS_INLINE int32_t coarse_total(int32x4_t sum)
{
    return vaddvq_s32(sum);
}

enum { COARSE_ROWS = 4, COARSE_ROWS_1 = 4 };
#include "kernels/coarse_panels.h"

void bni_neon_coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                            size_t row_end)
{
    coarse_panels(args, row_begin, row_end);
}

/* Copying a row for it. */

/* The nearest integers, ties to even. */
BNI_ALWAYS_INLINE int32x4_t scale_and_round(float32x4_t x, float32x4_t factor)
{
    return vcvtnq_s32_f32(vmulq_f32(x, factor));
}

/* The largest of |x| where none is NaN, and the lanes of the sum of squares. */
static float measure(const float *x, size_t n, float32x4_t lanes[4])
{
    float32x4_t max = vdupq_n_f32(0.0f);
    for (size_t l = 0; l < 4; l++) lanes[l] = vdupq_n_f32(0.0f);
    for (size_t i = 0; i < n; i += 16)
        for (size_t l = 0; l < 4; l++) {
            const float32x4_t a = vld1q_f32(x + i + 4 * l);
            max = vmaxq_f32(max, vabsq_f32(a));
            lanes[l] = vfmaq_f32(lanes[l], a, a);
        }
    return vmaxvq_f32(max);
}

bool bni_neon_coarse_copy(const float *x, size_t n, int8_t *codes,
                          struct bni_coarse_copy *out)
{
    assert(n % 16 == 0);
    float32x4_t lanes[4];
    const float largest = measure(x, n, lanes);
    const float squares = bni_neon_fold_lanes(lanes);
    if (!isfinite(squares)) return false;

    const float scale = largest / 127.0f;
    const float32x4_t factor = vdupq_n_f32(scale);
    const float32x4_t inverse = vdupq_n_f32(scale >= FLT_MIN ? 1.0f / scale : 0.0f);
    for (size_t l = 0; l < 4; l++) lanes[l] = vdupq_n_f32(0.0f);
    for (size_t i = 0; i < n; i += 16) {
        int16x4_t words[4];
        for (size_t l = 0; l < 4; l++) {
            const float32x4_t a = vld1q_f32(x + i + 4 * l);
            const int32x4_t code = scale_and_round(a, inverse);
            const float32x4_t rest = vfmsq_f32(a, factor, vcvtq_f32_s32(code));
            lanes[l] = vfmaq_f32(lanes[l], rest, rest);
            words[l] = vmovn_s32(code);
        }
        vst1q_s8(codes + i, vcombine_s8(vmovn_s16(vcombine_s16(words[0], words[1])),
                                        vmovn_s16(vcombine_s16(words[2], words[3]))));
    }
    *out = (struct bni_coarse_copy){scale, squares, bni_neon_fold_lanes(lanes)};
    return true;
}
