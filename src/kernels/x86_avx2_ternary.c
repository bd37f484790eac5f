/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_ternary.c - the ternary product with 256-bit vectors.
 *
 * A tile is a few rows of weights against a few rows of activations, chosen so that the
 * sums fit the 16 registers: what is unpacked or loaded for a tile is used by all of it.
 * The order of the tiles is in x86_ternary_panels.h, and for many activations, which have
 * tiles of their own here, in x86_ternary_strips.h.
 *
 * The product uses the codes 0..2 as they are, as the unsigned operand of a u8 * s8
 * multiply-add, and subtracts the sum of the activations in the end:
 * sum (c - 1) q = sum c q - sum q. Integers are exact, so the order is free.
 */
#include <assert.h>
#include <immintrin.h>
#include <stdbool.h>

#include "base/size.h"
#include "kernels/x86_avx2.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A multiply-add puts the sum of two products, at most 2 * 2 * 127, in an int16 lane,
 * and a block takes four of them: after 16 blocks a lane holds at most 32512. */
enum { BLOCKS_PER_WIDENING = 16 };
_Static_assert(BLOCKS_PER_WIDENING * 4 * 2 * 2 * 127 <= INT16_MAX,
               "int16 sums overflow");

enum { MAX_TILE_ROWS = 4, MAX_TILE_X = 4 };

/* Returns a + b, and keeps the compiler from summing in another order: it would gather
 * all products of a block first, and run out of registers. */
ALWAYS_INLINE __m256i add_now(__m256i a, __m256i b)
{
    __m256i sum = _mm256_add_epi16(a, b);
    __asm__("" : "+x"(sum));
    return sum;
}

/* Returns v from a register: the compiler would read it from memory for each use. */
ALWAYS_INLINE __m256i in_register(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* Adds the products of one block, for n_rows rows of codes, `stride` bytes apart, and n_x
 * of activations. */
ALWAYS_INLINE void add_block(const uint8_t *codes, const int8_t *q, size_t stride,
                             size_t n_cols, size_t n_rows, size_t n_x,
                             __m256i narrow[MAX_TILE_ROWS][MAX_TILE_X])
{
    const __m256i low_bits = _mm256_set1_epi8(3);
    __m256i packed[MAX_TILE_ROWS];
    for (size_t r = 0; r < n_rows; r++)
        packed[r] = _mm256_loadu_si256((const __m256i *)(codes + r * stride));

        /* The last quarter of a block is in the lowest bits: begin with it. */
#pragma GCC unroll 4
    for (size_t quarter = 4; quarter-- > 0;) {
        for (size_t r = 0; r < n_rows; r++) {
            const __m256i c = _mm256_and_si256(packed[r], low_bits);
            for (size_t i = 0; i < n_x; i++) {
                const __m256i x = _mm256_loadu_si256(
                    (const __m256i *)(q + i * n_cols + quarter * 32));
                narrow[r][i] = add_now(narrow[r][i], _mm256_maddubs_epi16(c, x));
            }
            packed[r] = _mm256_srli_epi16(packed[r], 2);
        }
    }
}

/*
 * Adds to sums[r][i] the products of the next n_blocks blocks, at most
 * BLOCKS_PER_WIDENING, for n_rows rows of codes, `stride` bytes apart, and n_x of
 * activations. From memory a cache line of each, two blocks, is asked for at a time.
 */
ALWAYS_INLINE void add_ternary_blocks(const uint8_t *codes, const int8_t *q,
                                      size_t stride, size_t n_cols, size_t n_blocks,
                                      size_t n_rows, size_t n_x, enum bni_source source,
                                      __m256i sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    __m256i narrow[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_x; i++) narrow[r][i] = _mm256_setzero_si256();

    size_t block = 0;
    for (; source != BNI_FROM_CACHE && n_blocks - block >= 2; block += 2) {
        const uint8_t *from = codes + block * BNI_TERNARY_BLOCK_BYTES;
        const int8_t *x = q + block * BNI_TERNARY_BLOCK;
        for (size_t r = 0; r < n_rows; r++) bni_prefetch_ahead(from + r * stride);
        add_block(from, x, stride, n_cols, n_rows, n_x, narrow);
        add_block(from + BNI_TERNARY_BLOCK_BYTES, x + BNI_TERNARY_BLOCK, stride, n_cols,
                  n_rows, n_x, narrow);
    }
    for (; block < n_blocks; block++)
        add_block(codes + block * BNI_TERNARY_BLOCK_BYTES,
                  q + block * BNI_TERNARY_BLOCK, stride, n_cols, n_rows, n_x, narrow);

    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_x; i++)
            sums[r][i] =
                _mm256_add_epi32(sums[r][i], _mm256_madd_epi16(narrow[r][i], ones));
}

/* From memory one row at a time, though up to four have their ends in common, or one of
 * each stream. */
ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m,
                                size_t step, size_t i, size_t n_rows, size_t n_x,
                                enum bni_source source)
{
    const size_t at_once = source == BNI_FROM_MEMORY ? 1 : n_rows;
    const size_t stride = step * (args->n_cols / 4);
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    const size_t n_blocks = args->n_cols / BNI_TERNARY_BLOCK;

    __m256i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm256_setzero_si256();

#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r += at_once) {
        for (size_t block = 0; block < n_blocks; block += BLOCKS_PER_WIDENING)
            add_ternary_blocks(codes + r * stride + block * BNI_TERNARY_BLOCK_BYTES,
                               q + block * BNI_TERNARY_BLOCK, stride, args->n_cols,
                               bni_size_min(BLOCKS_PER_WIDENING, n_blocks - block),
                               at_once, n_x, source, sums + r);
    }

    if (n_x == 4) {
        for (size_t r = 0; r < n_rows; r++) {
            float y[4];
            const __m128i sum =
                bni_avx2_sum_four(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
            _mm_storeu_ps(y,
                          bni_avx2_scale_four(
                              sum, _mm_loadu_si128((const __m128i *)(args->q_sum + i)),
                              _mm_loadu_ps(args->x_scale + i), args->w_scale));
            for (size_t j = 0; j < 4; j++)
                args->out[(i + j) * args->out_stride + m + r * step] = y[j];
        }
    } else if (n_x == 1 && n_rows == 4) {
        const __m128i sum =
            bni_avx2_sum_four(sums[0][0], sums[1][0], sums[2][0], sums[3][0]);
        _mm_storeu_ps(args->out + i * args->out_stride + m,
                      bni_avx2_scale_four(sum, _mm_set1_epi32(args->q_sum[i]),
                                          _mm_set1_ps(args->x_scale[i]),
                                          args->w_scale));
    } else {
        for (size_t r = 0; r < n_rows; r++)
            for (size_t j = 0; j < n_x; j++)
                bni_ternary_end(args, m + r * step, i + j,
                                bni_avx2_sum_of_int32(sums[r][j]));
    }
}

/* ---- many activations ------------------------------------------------------------ */

/* What x86_ternary_strips.h asks for. */

typedef __m256i ternary_vector;

enum { STRIP_VECTOR_BYTES = 32, STRIP_TILE_ROWS = 2 };

_Static_assert(BNI_STRIP_BLOCKS * 4 * 2 * 2 * 127 <= INT16_MAX, "int16 sums overflow");

ALWAYS_INLINE void unpack_block(const uint8_t *from, uint8_t *to)
{
    bni_avx2_unpack(from, to);
}

ALWAYS_INLINE __m256i ternary_eight(__m256i v)
{
    return v;
}

/* Two rows against five activations: ten sums, two vectors of codes, one of activations
 * and a product. Six would take all sixteen registers, and gcc then moves sums to memory
 * and back. */
ALWAYS_INLINE void strip_tile_rows(const uint8_t *codes, const int8_t *q, size_t n_cols,
                                   size_t n, size_t n_x,
                                   __m256i narrow[STRIP_TILE_ROWS][BNI_STRIP_TILE_X])
{
    for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
        for (size_t j = 0; j < n_x; j++) narrow[r][j] = _mm256_setzero_si256();

    for (size_t k = 0; k < n; k += BNI_TERNARY_BLOCK) {
#pragma GCC unroll 4
        for (size_t quarter = 0; quarter < 4; quarter++) {
            const size_t at = k + quarter * 32;
            __m256i c[STRIP_TILE_ROWS];
            for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
                c[r] = in_register(
                    _mm256_load_si256((const __m256i *)(codes + r * n + at)));
#pragma GCC unroll 5
            for (size_t j = 0; j < n_x; j++) {
                const __m256i x = in_register(
                    _mm256_loadu_si256((const __m256i *)(q + j * n_cols + at)));
                for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
                    narrow[r][j] = add_now(narrow[r][j], _mm256_maddubs_epi16(c[r], x));
            }
        }
    }
}

ALWAYS_INLINE void strip_tile(const uint8_t *codes, const int8_t *q, size_t n_cols,
                              size_t n, size_t n_x, bool is_first,
                              __m256i (*sums)[BNI_STRIP_ROWS])
{
    for (size_t row = 0; row < BNI_STRIP_ROWS; row += STRIP_TILE_ROWS) {
        __m256i narrow[STRIP_TILE_ROWS][BNI_STRIP_TILE_X];
        strip_tile_rows(codes + row * n, q, n_cols, n, n_x, narrow);
        /* Not before the loop, where it would hold a register. */
        const __m256i ones = in_register(_mm256_set1_epi16(1));
        for (size_t j = 0; j < n_x; j++)
            for (size_t r = 0; r < STRIP_TILE_ROWS; r++) {
                const __m256i wide = _mm256_madd_epi16(narrow[r][j], ones);
                __m256i *sum = &sums[j][row + r];
                *sum = is_first ? wide : _mm256_add_epi32(*sum, wide);
            }
    }
}

enum { STREAM_ROWS_1 = 4, SHARE_ROWS = 2, SHARE_ROWS_1 = 4 };
#include "kernels/x86_ternary_panels.h"

void bni_avx2_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                             size_t row_end)
{
    ternary_panels(args, row_begin, row_end);
}
