/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_matmul.c - the matrix products with 256-bit vectors.
 *
 * Both products work on tiles: a few rows of weights against a few rows of
 * activations, chosen so that the sums fit the 16 registers. What is loaded or
 * unpacked for a tile is used by all of it. Rows of weights go by in panels; all
 * activations meet a panel before the next one is read, so weights come from
 * memory once, whatever the number of activations, and the activations of a tile
 * stay in the first-level cache for the length of a panel.
 *
 *            activations ->  tile 0   tile 1   ...
 *     panel 0   rows 0..1      1        17
 *               rows 2..3      2        18          (the order of the work)
 *               ...
 *     panel 1                 33
 *
 * Where the first tile of activations meets a row it comes from memory, and in the
 * order in which it lies there: see bni_avx2_prefetch(). With up to four activations
 * that is all that is read of it, so they take one row at a time; with more, two, as
 * then what is unpacked and loaded is used twice.
 *
 * A ternary product uses the codes 0..2 as they are, as the unsigned operand of a
 * u8 * s8 multiply-add, and subtracts the sum of the activations in the end:
 * sum (c - 1) q = sum c q - sum q. Integers are exact, so the order is free.
 * A dense product keeps its 16 lanes in two registers, and its order is written.
 */
#include <assert.h>
#include <immintrin.h>

#include "base/size.h"
#include "kernels/x86_avx2.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { PANEL_ROWS = 32 };

/* Ternary. */

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

/* Whether a tile's weights are in the cache, or come from memory and must be asked for. */
enum source { FROM_CACHE, FROM_MEMORY };

/*
 * Adds to sums[r][i] the products of the blocks [block, block_end), of which there are
 * at most BLOCKS_PER_WIDENING, for n_rows rows of codes and n_x of activations.
 */
ALWAYS_INLINE void add_ternary_blocks(const uint8_t *codes, const int8_t *q,
                                      size_t n_cols, size_t block, size_t block_end,
                                      size_t n_rows, size_t n_x, enum source source,
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
            if (source == FROM_MEMORY && block % 2 == 0) bni_avx2_prefetch(from);
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

/* Computes outputs m .. m + n_rows for activations i .. i + n_x, `at_once` rows at a
 * time. */
ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m, size_t i,
                                size_t n_rows, size_t at_once, size_t n_x,
                                enum source source)
{
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
            for (size_t j = 0; j < n_x; j++) {
                const int32_t acc =
                    bni_avx2_sum_of_int32(sums[r][j]) - args->q_sum[i + j];
                args->out[(i + j) * args->out_stride + m + r] =
                    ((float)acc / args->x_scale[i + j]) * args->w_scale;
            }
    }
}

/* Computes outputs m .. m_end for n_x activations, in tiles of `tile_rows` rows. */
ALWAYS_INLINE void ternary_rows(const struct bni_ternary_args *args, size_t m,
                                size_t m_end, size_t i, size_t tile_rows,
                                size_t at_once, size_t n_x, enum source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        ternary_tile(args, m, i, tile_rows, at_once, n_x, source);
    for (; m < m_end; m++) ternary_tile(args, m, i, 1, 1, n_x, source);
}

/* All activations with the rows of a panel: up to four, for which it is only read. */
ALWAYS_INLINE void stream_panel(const struct bni_ternary_args *args, size_t m,
                                size_t m_end)
{
    switch (args->n_x) {
    case 4: ternary_rows(args, m, m_end, 0, 1, 1, 4, FROM_MEMORY); break;
    case 3: ternary_rows(args, m, m_end, 0, 1, 1, 3, FROM_MEMORY); break;
    case 2: ternary_rows(args, m, m_end, 0, 1, 1, 2, FROM_MEMORY); break;
    case 1: ternary_rows(args, m, m_end, 0, 4, 1, 1, FROM_MEMORY); break;
    default: break;
    }
}

/* The same for more, which find it in the cache but for the first four. */
ALWAYS_INLINE void share_panel(const struct bni_ternary_args *args, size_t m,
                               size_t m_end)
{
    ternary_rows(args, m, m_end, 0, 1, 1, 4, FROM_MEMORY);
    size_t i = 4;
    for (; args->n_x - i >= 4; i += 4)
        ternary_rows(args, m, m_end, i, 2, 2, 4, FROM_CACHE);
    switch (args->n_x - i) {
    case 3: ternary_rows(args, m, m_end, i, 2, 2, 3, FROM_CACHE); break;
    case 2: ternary_rows(args, m, m_end, i, 2, 2, 2, FROM_CACHE); break;
    case 1: ternary_rows(args, m, m_end, i, 4, 4, 1, FROM_CACHE); break;
    default: break;
    }
}

void bni_avx2_ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
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

/* Dense. */

/* Sixteen lanes: low has 0..7, high has 8..15. */
struct lanes {
    __m256 low;
    __m256 high;
};

/* Loads eight weights, widened, from element `index` on. */
ALWAYS_INLINE __m256 load_weights(const void *weights, size_t index,
                                  enum bni_dense_type type)
{
    if (type == BNI_DENSE_F32)
        return _mm256_loadu_ps((const float *)((const char *)weights + index * 4));
    const __m128i half =
        _mm_loadu_si128((const __m128i *)((const char *)weights + index * 2));
    if (type == BNI_DENSE_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
ALWAYS_INLINE void dense_tile(const struct bni_dense_args *args, size_t m, size_t i,
                              size_t n_rows, size_t n_x, enum bni_dense_type type,
                              enum source source)
{
    const size_t n_cols = args->n_cols;
    const size_t weight_bytes = type == BNI_DENSE_F32 ? 4 : 2;
    enum { MAX_ROWS = 4, MAX_X = 2 };
    struct lanes sums[MAX_ROWS][MAX_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] = (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};

    for (size_t k = 0; k < n_cols; k += 16) {
        struct lanes x[MAX_X];
        for (size_t j = 0; j < n_x; j++) {
            const float *from = args->x + (i + j) * n_cols + k;
            x[j] = (struct lanes){_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
            /* Keeps the compiler from loading it again for every row. */
            __asm__("" : "+x"(x[j].low), "+x"(x[j].high));
        }
        for (size_t r = 0; r < n_rows; r++) {
            const size_t index = (m + r) * n_cols + k;
            if (source == FROM_MEMORY && k * weight_bytes % 64 == 0)
                bni_avx2_prefetch((const char *)args->weights + index * weight_bytes);
            const __m256 low = load_weights(args->weights, index, type);
            const __m256 high = load_weights(args->weights, index + 8, type);
            for (size_t j = 0; j < n_x; j++) {
                sums[r][j].low = _mm256_fmadd_ps(low, x[j].low, sums[r][j].low);
                sums[r][j].high = _mm256_fmadd_ps(high, x[j].high, sums[r][j].high);
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r] =
                bni_avx2_fold_lanes(sums[r][j].low, sums[r][j].high);
}

ALWAYS_INLINE void dense_rows(const struct bni_dense_args *args, size_t m, size_t m_end,
                              size_t i, size_t tile_rows, size_t n_x,
                              enum bni_dense_type type, enum source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        dense_tile(args, m, i, tile_rows, n_x, type, source);
    for (; m < m_end; m++) dense_tile(args, m, i, 1, n_x, type, source);
}

/* Eight sums at a time, since a fused multiply-add takes four cycles and two can begin
 * in each. */
ALWAYS_INLINE void dense_matmul(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end, enum bni_dense_type type)
{
    assert(args->n_cols % 16 == 0);

    for (size_t m = row_begin; m < row_end; m += PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + PANEL_ROWS, row_end);
        if (args->n_x == 1) {
            dense_rows(args, m, m_end, 0, 4, 1, type, FROM_MEMORY);
            continue;
        }
        dense_rows(args, m, m_end, 0, 2, 2, type, FROM_MEMORY);
        size_t i = 2;
        for (; args->n_x - i >= 2; i += 2)
            dense_rows(args, m, m_end, i, 2, 2, type, FROM_CACHE);
        if (i < args->n_x) dense_rows(args, m, m_end, i, 4, 1, type, FROM_CACHE);
    }
}

void bni_avx2_dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F32);
}

void bni_avx2_dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                               size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_F16);
}

void bni_avx2_dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    dense_matmul(args, row_begin, row_end, BNI_DENSE_BF16);
}
