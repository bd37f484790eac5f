/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512.c - the kernels for AVX-512 F, BW, DQ and VL.
 *
 * What takes the time is written for 512-bit vectors: the matrix products and SiLU here,
 * attention in x86_avx512_attention.c. The table takes the rest from AVX2, which every
 * such CPU has too. x86_avx512_vnni.c is the same table with a faster ternary product.
 *
 * Products work on tiles and panels as x86_ternary_panels.h explains. The sixteen lanes
 * of a float sum are one register.
 */
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>

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

/*
 * Ternary. A block is read into both halves of a register, and the halves are shifted by
 * different amounts, so that 64 codes come to lie as the 64 activations do:
 *
 *     32 bytes of codes    | bits 7:6 -> values 0..31  | bits 5:4 -> values 32..63  |
 *     the same, once more  | bits 3:2 -> values 64..95 | bits 1:0 -> values 96..127 |
 */

/* As with AVX2, but a block adds two products to a lane, not four. */
enum { BLOCKS_PER_WIDENING = 32 };
_Static_assert(BLOCKS_PER_WIDENING * 2 * 2 * 2 * 127 <= INT16_MAX,
               "int16 sums overflow");

/* Adds to sums[r][j] the products of at most so many blocks; rows are `stride` bytes
 * apart. */
ALWAYS_INLINE void add_ternary_blocks(const uint8_t *codes, const int8_t *q,
                                      size_t stride, size_t n_cols, size_t block,
                                      size_t block_end, size_t n_rows, size_t n_x,
                                      enum bni_source source,
                                      __m512i sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    __m512i narrow[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) narrow[r][j] = _mm512_setzero_si512();

    for (; block < block_end; block++) {
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *from = codes + r * stride + block * BNI_TERNARY_BLOCK_BYTES;
            if (source != BNI_FROM_CACHE && block % 2 == 0) bni_prefetch_ahead(from);
            const struct bni_avx512_codes c = bni_avx512_unpack(from);
            for (size_t j = 0; j < n_x; j++) {
                const int8_t *x = q + j * n_cols + block * BNI_TERNARY_BLOCK;
                narrow[r][j] = _mm512_add_epi16(
                    narrow[r][j],
                    _mm512_add_epi16(
                        _mm512_maddubs_epi16(c.half[0], _mm512_loadu_si512(x)),
                        _mm512_maddubs_epi16(c.half[1], _mm512_loadu_si512(x + 64))));
            }
        }
    }

    const __m512i ones = _mm512_set1_epi16(1);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] =
                _mm512_add_epi32(sums[r][j], _mm512_madd_epi16(narrow[r][j], ones));
}

ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m,
                                size_t step, size_t i, size_t n_rows, size_t n_x,
                                enum bni_source source)
{
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    const size_t n_blocks = args->n_cols / BNI_TERNARY_BLOCK;

    __m512i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm512_setzero_si512();
    for (size_t block = 0; block < n_blocks; block += BLOCKS_PER_WIDENING)
        add_ternary_blocks(codes, q, step * (args->n_cols / 4), args->n_cols, block,
                           bni_size_min(block + BLOCKS_PER_WIDENING, n_blocks), n_rows,
                           n_x, source, sums);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            bni_ternary_end(args, m + r * step, i + j,
                            bni_avx512_sum_of_int32(sums[r][j]));
}

/* What x86_ternary_strips.h asks for. */

typedef __m512i ternary_vector;

enum { STRIP_VECTOR_BYTES = 64 };

ALWAYS_INLINE void unpack_block(const uint8_t *from, uint8_t *to)
{
    const struct bni_avx512_codes c = bni_avx512_unpack(from);
    _mm512_store_si512(to, c.half[0]);
    _mm512_store_si512(to + 64, c.half[1]);
}

ALWAYS_INLINE __m256i ternary_eight(__m512i v)
{
    return bni_avx512_eight(v);
}

_Static_assert(BNI_STRIP_BLOCKS * 2 * 2 * 2 * 127 <= INT16_MAX, "int16 sums overflow");

/* Twenty sums, four vectors of codes, one of activations and a product: of 32 registers. */
ALWAYS_INLINE void strip_tile(const uint8_t *codes, const int8_t *q, size_t n_cols,
                              size_t n, size_t n_x, bool is_first,
                              __m512i (*sums)[BNI_STRIP_ROWS])
{
    __m512i narrow[BNI_STRIP_ROWS][BNI_STRIP_TILE_X];
    for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
        for (size_t j = 0; j < n_x; j++) narrow[r][j] = _mm512_setzero_si512();

    for (size_t k = 0; k < n; k += 64) {
        __m512i c[BNI_STRIP_ROWS];
        for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
            c[r] = _mm512_load_si512(codes + r * n + k);
        for (size_t j = 0; j < n_x; j++) {
            const __m512i x = _mm512_loadu_si512(q + j * n_cols + k);
            for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
                narrow[r][j] =
                    _mm512_add_epi16(narrow[r][j], _mm512_maddubs_epi16(c[r], x));
        }
    }

    const __m512i ones = _mm512_set1_epi16(1);
    for (size_t j = 0; j < n_x; j++)
        for (size_t r = 0; r < BNI_STRIP_ROWS; r++) {
            const __m512i wide = _mm512_madd_epi16(narrow[r][j], ones);
            sums[j][r] = is_first ? wide : _mm512_add_epi32(sums[j][r], wide);
        }
}

enum { STREAM_ROWS_1 = 1, SHARE_ROWS = 4, SHARE_ROWS_1 = 8 };
#include "kernels/x86_ternary_panels.h"

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    ternary_panels(args, row_begin, row_end);
}

/* Dense. */

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

void bni_avx512_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                                 size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F32);
}

void bni_avx512_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                                 size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F16);
}

void bni_avx512_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                  size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_BF16);
}

void bni_avx512_silu_mul(const float *gate, const float *up, size_t n, float *out)
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

const struct bni_kernels bni_kernels_avx512 =
    BNI_AVX512_TABLE("avx512", ternary_matmul);
