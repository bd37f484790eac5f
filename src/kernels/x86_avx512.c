/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512.c - the kernels for AVX-512 F, BW, DQ, VL and VNNI.
 *
 * What takes the time is written for 512-bit vectors: the matrix products and SiLU here,
 * attention in x86_avx512_attention.c. The table takes the rest from AVX2, which every
 * such CPU has too.
 *
 * Products work on tiles and panels as x86_avx2_matmul.c explains. A ternary block
 * is read into both halves of a register, and the halves are shifted by different
 * amounts, so that 64 codes come to lie as the 64 activations do:
 *
 *     32 bytes of codes    | bits 7:6 -> values 0..31  | bits 5:4 -> values 32..63  |
 *     the same, once more  | bits 3:2 -> values 64..95 | bits 1:0 -> values 96..127 |
 *
 * VNNI adds four u8 * s8 products to an int32 lane, so no sum has to be widened.
 * The sixteen lanes of a float sum are one register.
 */
#include <assert.h>
#include <immintrin.h>
#include <math.h>

#include "base/size.h"
#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx2.h"
#include "kernels/x86_avx512.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A tile of one activation has as many sums as one of four needs to hide latencies. */
enum { PANEL_ROWS = 32, MAX_TILE_ROWS = 8, MAX_TILE_X = 4 };

static int32_t sum_of_int32(__m512i v)
{
    return bni_avx2_sum_of_int32(
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)));
}

/* Whether a tile's weights are in the cache, or come from memory and must be asked for. */
enum source { FROM_CACHE, FROM_MEMORY };

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m, size_t i,
                                size_t n_rows, size_t n_x, enum source source)
{
    const size_t row_bytes = args->n_cols / 4;
    const uint8_t *codes = args->codes + m * row_bytes;
    const int8_t *q = args->q + i * args->n_cols;
    const __m512i low_bits = _mm512_set1_epi8(3);
    const __m512i shifts[2] = {_mm512_set_epi64(4, 4, 4, 4, 6, 6, 6, 6),
                               _mm512_set_epi64(0, 0, 0, 0, 2, 2, 2, 2)};

    __m512i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm512_setzero_si512();

    for (size_t block = 0; block < args->n_cols / BNI_TERNARY_BLOCK; block++) {
        __m512i x[2][MAX_TILE_X];
        for (size_t j = 0; j < n_x; j++)
            for (size_t half = 0; half < 2; half++)
                x[half][j] = _mm512_loadu_si512(q + j * args->n_cols +
                                                block * BNI_TERNARY_BLOCK + half * 64);
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *from =
                codes + r * row_bytes + block * BNI_TERNARY_BLOCK_BYTES;
            if (source == FROM_MEMORY && block % 2 == 0) bni_avx2_prefetch(from);
            const __m512i packed =
                _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)from));
            for (size_t half = 0; half < 2; half++) {
                /* Bits from the byte above are among those masked away. */
                const __m512i c =
                    _mm512_and_si512(_mm512_srlv_epi64(packed, shifts[half]), low_bits);
                for (size_t j = 0; j < n_x; j++)
                    sums[r][j] = _mm512_dpbusd_epi32(sums[r][j], c, x[half][j]);
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) {
            const int32_t acc = sum_of_int32(sums[r][j]) - args->q_sum[i + j];
            args->out[(i + j) * args->out_stride + m + r] =
                ((float)acc / args->x_scale[i + j]) * args->w_scale;
        }
}

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
ALWAYS_INLINE void ternary_rows(const struct bni_ternary_args *args, size_t m,
                                size_t m_end, size_t i, size_t tile_rows, size_t n_x,
                                enum source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        ternary_tile(args, m, i, tile_rows, n_x, source);
    for (; m < m_end; m++) ternary_tile(args, m, i, 1, n_x, source);
}

/* All activations with the rows of a panel: up to four, for which it is only read. */
ALWAYS_INLINE void stream_panel(const struct bni_ternary_args *args, size_t m,
                                size_t m_end)
{
    switch (args->n_x) {
    case 4: ternary_rows(args, m, m_end, 0, 1, 4, FROM_MEMORY); break;
    case 3: ternary_rows(args, m, m_end, 0, 1, 3, FROM_MEMORY); break;
    case 2: ternary_rows(args, m, m_end, 0, 1, 2, FROM_MEMORY); break;
    case 1: ternary_rows(args, m, m_end, 0, 1, 1, FROM_MEMORY); break;
    default: break;
    }
}

/* The same for more, which find it in the cache but for the first four. */
ALWAYS_INLINE void share_panel(const struct bni_ternary_args *args, size_t m,
                               size_t m_end)
{
    ternary_rows(args, m, m_end, 0, 1, 4, FROM_MEMORY);
    size_t i = 4;
    for (; args->n_x - i >= 4; i += 4)
        ternary_rows(args, m, m_end, i, 4, 4, FROM_CACHE);
    switch (args->n_x - i) {
    case 3: ternary_rows(args, m, m_end, i, 4, 3, FROM_CACHE); break;
    case 2: ternary_rows(args, m, m_end, i, 4, 2, FROM_CACHE); break;
    case 1: ternary_rows(args, m, m_end, i, 8, 1, FROM_CACHE); break;
    default: break;
    }
}

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    assert(args->n_cols % BNI_TERNARY_BLOCK == 0 &&
           args->n_cols <= BNI_TERNARY_MAX_COLS);

    for (size_t m = row_begin; m < row_end; m += PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + PANEL_ROWS, row_end);
        if (args->n_x <= 4)
            stream_panel(args, m, m_end);
        else
            share_panel(args, m, m_end);
    }
}

/* Loads sixteen weights, widened, from element `index` on. */
ALWAYS_INLINE __m512 load_weights(const void *weights, size_t index,
                                  enum bni_dense_type type)
{
    const char *bytes = weights;
    if (type == BNI_DENSE_F32) return _mm512_loadu_ps(bytes + index * 4);
    const __m256i half = _mm256_loadu_si256((const __m256i *)(bytes + index * 2));
    if (type == BNI_DENSE_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
ALWAYS_INLINE void dense_tile(const struct bni_dense_args *args, size_t m, size_t i,
                              size_t n_rows, size_t n_x, enum bni_dense_type type)
{
    const size_t n_cols = args->n_cols;
    const float *x = args->x + i * n_cols;
    __m512 sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm512_setzero_ps();

    for (size_t k = 0; k < n_cols; k += 16) {
        for (size_t r = 0; r < n_rows; r++) {
            const __m512 w = load_weights(args->weights, (m + r) * n_cols + k, type);
            for (size_t j = 0; j < n_x; j++)
                sums[r][j] =
                    _mm512_fmadd_ps(w, _mm512_loadu_ps(x + j * n_cols + k), sums[r][j]);
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r] =
                bni_avx512_fold_lanes(sums[r][j]);
}

ALWAYS_INLINE void dense_rows(const struct bni_dense_args *args, size_t m, size_t m_end,
                              size_t i, size_t tile_rows, size_t n_x,
                              enum bni_dense_type type)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        dense_tile(args, m, i, tile_rows, n_x, type);
    for (; m < m_end; m++) dense_tile(args, m, i, 1, n_x, type);
}

ALWAYS_INLINE void dense_matmul(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end, enum bni_dense_type type)
{
    assert(args->n_cols % 16 == 0);

    for (size_t m = row_begin; m < row_end; m += PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + PANEL_ROWS, row_end);
        size_t i = 0;
        for (; args->n_x - i >= 4; i += 4) dense_rows(args, m, m_end, i, 4, 4, type);
        for (; args->n_x - i >= 2; i += 2) dense_rows(args, m, m_end, i, 4, 2, type);
        if (i < args->n_x) dense_rows(args, m, m_end, i, 8, 1, type);
    }
}

static void dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                             size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F32);
}

static void dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                             size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F16);
}

static void dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                              size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_BF16);
}

static void silu_mul(const float *gate, const float *up, size_t n, float *out)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const __m512 g = _mm512_loadu_ps(gate + i);
        const __m512 negated =
            _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(g), sign));
        const __m512 divisor = _mm512_add_ps(one, bni_avx512_exp(negated));
        _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_div_ps(g, divisor),
                                                _mm512_loadu_ps(up + i)));
    }
    for (; i < n; i++) out[i] = bni_silu_mul(gate[i], up[i]);
}

const struct bni_kernels bni_kernels_avx512 = {
    .name = "avx512",
    .quantize = bni_avx2_quantize,
    .ternary_matmul = ternary_matmul,
    .dense_matmul =
        {
            [BNI_DENSE_F32] = dense_matmul_f32,
            [BNI_DENSE_F16] = dense_matmul_f16,
            [BNI_DENSE_BF16] = dense_matmul_bf16,
        },
    .widen =
        {
            [BNI_DENSE_F32] = bni_avx2_widen_f32,
            [BNI_DENSE_F16] = bni_avx2_widen_f16,
            [BNI_DENSE_BF16] = bni_avx2_widen_bf16,
        },
    .rms_norm = bni_avx2_rms_norm,
    .rope_neox = bni_avx2_rope_neox,
    .rope_adjacent = bni_avx2_rope_adjacent,
    .store_f16 = bni_avx2_store_f16,
    .attention_block = bni_avx512_attention_block,
    .relu2_mul = bni_avx2_relu2_mul,
    .silu_mul = silu_mul,
    .add = bni_avx2_add,
};
