/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_ternary.c - the ternary product with 256-bit vectors.
 *
 * A tile is a few rows of weights against a few rows of activations, chosen so that the
 * sums fit the 16 registers: what is unpacked or loaded for a tile is used by all of it.
 * The order of the tiles is in x86_ternary_panels.h.
 *
 * The product uses the codes 0..2 as they are, as the unsigned operand of a u8 * s8
 * multiply-add, and subtracts the sum of the activations in the end:
 * sum (c - 1) q = sum c q - sum q. Integers are exact, so the order is free.
 */
#include <assert.h>
#include <immintrin.h>

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

/*
 * Adds to sums[r][i] the products of the blocks [block, block_end), of which there are
 * at most BLOCKS_PER_WIDENING, for n_rows rows of codes and n_x of activations.
 */
ALWAYS_INLINE void add_ternary_blocks(const uint8_t *codes, const int8_t *q,
                                      size_t n_cols, size_t block, size_t block_end,
                                      size_t n_rows, size_t n_x, enum bni_source source,
                                      __m256i sums[MAX_TILE_ROWS][MAX_TILE_X])
{
    const __m256i low_bits = _mm256_set1_epi8(3);
    __m256i narrow[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_x; i++) narrow[r][i] = _mm256_setzero_si256();

    for (; block < block_end; block++) {
        __m256i packed[MAX_TILE_ROWS];
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *from =
                codes + r * (n_cols / 4) + block * BNI_TERNARY_BLOCK_BYTES;
            packed[r] = _mm256_loadu_si256((const __m256i *)from);
            if (source == BNI_FROM_MEMORY && block % 2 == 0) bni_avx2_prefetch(from);
        }

        /* The last quarter of a block is in the lowest bits: begin with it. */
#pragma GCC unroll 4
        for (size_t quarter = 4; quarter-- > 0;) {
            const int8_t *q_quarter = q + block * BNI_TERNARY_BLOCK + quarter * 32;
            for (size_t r = 0; r < n_rows; r++) {
                const __m256i c = _mm256_and_si256(packed[r], low_bits);
                for (size_t i = 0; i < n_x; i++) {
                    const __m256i x =
                        _mm256_loadu_si256((const __m256i *)(q_quarter + i * n_cols));
                    narrow[r][i] = add_now(narrow[r][i], _mm256_maddubs_epi16(c, x));
                }
                packed[r] = _mm256_srli_epi16(packed[r], 2);
            }
        }
    }

    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n_x; i++)
            sums[r][i] =
                _mm256_add_epi32(sums[r][i], _mm256_madd_epi16(narrow[r][i], ones));
}

/*
 * The ends of four sums at a time: on rows of a few hundred columns, adding up lanes
 * and dividing one by one takes longer than the products.
 */
ALWAYS_INLINE __m128i sum_four(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i pairs =
        _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(pairs),
                         _mm256_extracti128_si256(pairs, 1));
}

ALWAYS_INLINE __m128i load_four(const int32_t *values)
{
    return _mm_loadu_si128((const __m128i *)values);
}

/* ((sum - q_sum) / x_scale) * w_scale, rounded after each step as everywhere. */
ALWAYS_INLINE __m128 scale_four(__m128i sum, __m128i q_sum, __m128 x_scale,
                                float w_scale)
{
    const __m128 acc = _mm_cvtepi32_ps(_mm_sub_epi32(sum, q_sum));
    return _mm_mul_ps(_mm_div_ps(acc, x_scale), _mm_set1_ps(w_scale));
}

/* From memory one row at a time, though up to four have their ends in common. */
ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m, size_t i,
                                size_t n_rows, size_t n_x, enum bni_source source)
{
    const size_t at_once = source == BNI_FROM_MEMORY ? 1 : n_rows;
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    const size_t n_blocks = args->n_cols / BNI_TERNARY_BLOCK;

    __m256i sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) sums[r][j] = _mm256_setzero_si256();

#pragma GCC unroll 4
    for (size_t r = 0; r < n_rows; r += at_once) {
        for (size_t block = 0; block < n_blocks; block += BLOCKS_PER_WIDENING)
            add_ternary_blocks(codes + r * (args->n_cols / 4), q, args->n_cols, block,
                               bni_size_min(block + BLOCKS_PER_WIDENING, n_blocks),
                               at_once, n_x, source, sums + r);
    }

    if (n_x == 4) {
        for (size_t r = 0; r < n_rows; r++) {
            float y[4];
            const __m128i sum =
                sum_four(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
            _mm_storeu_ps(y,
                          scale_four(sum, load_four(args->q_sum + i),
                                     _mm_loadu_ps(args->x_scale + i), args->w_scale));
            for (size_t j = 0; j < 4; j++)
                args->out[(i + j) * args->out_stride + m + r] = y[j];
        }
    } else if (n_x == 1 && n_rows == 4) {
        const __m128i sum = sum_four(sums[0][0], sums[1][0], sums[2][0], sums[3][0]);
        _mm_storeu_ps(args->out + i * args->out_stride + m,
                      scale_four(sum, _mm_set1_epi32(args->q_sum[i]),
                                 _mm_set1_ps(args->x_scale[i]), args->w_scale));
    } else {
        for (size_t r = 0; r < n_rows; r++)
            for (size_t j = 0; j < n_x; j++)
                bni_ternary_end(args, m + r, i + j, bni_avx2_sum_of_int32(sums[r][j]));
    }
}

enum { STREAM_ROWS_1 = 4, SHARE_ROWS = 2, SHARE_ROWS_1 = 4 };
#include "kernels/x86_ternary_panels.h"

void bni_avx2_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                             size_t row_end)
{
    ternary_panels(args, row_begin, row_end);
}
