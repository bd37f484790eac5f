/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2_blocks.c - dense weights that are stored in blocks, Q8_0 and Q6_K, with
 * 256-bit vectors.
 *
 * A product widens a stretch of each row of a tile to floats, in a buffer that stays in
 * the first-level cache, and goes on as if the weights had been floats: the same 16
 * lanes in the same order. Panels are those of x86_avx2_dense.c; but with one activation
 * a tile is one row, so that memory is read as one stream, and weights are asked for
 * ahead.
 *
 *     2 rows of blocks --widen--> 2 x 256 floats --fma--> sums of the tile
 */
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "base/size.h"
#include "kernels/x86_avx2.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { PANEL_ROWS = 32, MAX_TILE_ROWS = 4, MAX_TILE_X = 2, STRETCH = 256 };

_Static_assert(STRETCH % BNI_Q8_0_BLOCK == 0 && STRETCH % BNI_Q6_K_BLOCK == 0,
               "a stretch is whole blocks");

static __m256 broadcast_half(const uint8_t *from)
{
    uint16_t half;
    memcpy(&half, from, sizeof(half));
    return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
}

/* Widens eight integers, times `factor`. */
static void store_eight(const int8_t *q, __m256 factor, float *out)
{
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)q));
    _mm256_storeu_ps(out, _mm256_mul_ps(factor, _mm256_cvtepi32_ps(wide)));
}

void bni_avx2_widen_q8_0(const void *from, size_t n, float *out)
{
    assert(n % BNI_Q8_0_BLOCK == 0);
    const uint8_t *block = from;
    for (; n > 0; n -= BNI_Q8_0_BLOCK) {
        const __m256 d = broadcast_half(block);
        const int8_t *q = (const int8_t *)block + sizeof(uint16_t);
        for (size_t i = 0; i < BNI_Q8_0_BLOCK; i += 8) store_eight(q + i, d, out + i);
        block += BNI_Q8_0_BYTES;
        out += BNI_Q8_0_BLOCK;
    }
}

/* One group of 32 codes with their two scales. */
static void store_group(__m256i codes, const uint8_t *scales, __m256 d, float *out)
{
    int8_t q[32];
    _mm256_storeu_si256((__m256i *)q, _mm256_sub_epi8(codes, _mm256_set1_epi8(32)));
    for (size_t i = 0; i < 32; i += 16) {
        const __m256 factor =
            _mm256_mul_ps(d, _mm256_set1_ps((float)(int8_t)scales[i / 16]));
        store_eight(q + i, factor, out + i);
        store_eight(q + i + 8, factor, out + i + 8);
    }
}

static void widen_half(const uint8_t *low, const uint8_t *high, const uint8_t *scales,
                       __m256 d, float *out)
{
    const __m256i low_bits = _mm256_set1_epi8(15);
    const __m256i high_bits = _mm256_set1_epi8(0x30);
    const __m256i h = _mm256_loadu_si256((const __m256i *)high);
    const __m256i a = _mm256_loadu_si256((const __m256i *)low);
    const __m256i b = _mm256_loadu_si256((const __m256i *)(low + 32));
    /* Shifts of 16 bits: what comes from the byte beside is masked away. */
    const __m256i lows[4] = {a, b, _mm256_srli_epi16(a, 4), _mm256_srli_epi16(b, 4)};
    const __m256i highs[4] = {_mm256_slli_epi16(h, 4), _mm256_slli_epi16(h, 2), h,
                              _mm256_srli_epi16(h, 2)};
    for (size_t g = 0; g < 4; g++)
        store_group(_mm256_or_si256(_mm256_and_si256(lows[g], low_bits),
                                    _mm256_and_si256(highs[g], high_bits)),
                    scales + 2 * g, d, out + 32 * g);
}

void bni_avx2_widen_q6_k(const void *from, size_t n, float *out)
{
    assert(n % BNI_Q6_K_BLOCK == 0);
    const uint8_t *block = from;
    for (; n > 0; n -= BNI_Q6_K_BLOCK) {
        const __m256 d = broadcast_half(block + BNI_Q6_K_D);
        for (size_t half = 0; half < 2; half++)
            widen_half(block + 64 * half, block + BNI_Q6_K_HIGH + 32 * half,
                       block + BNI_Q6_K_SCALES + 8 * half, d, out + 128 * half);
        block += BNI_Q6_K_BYTES;
        out += BNI_Q6_K_BLOCK;
    }
}

/* Sixteen lanes: low has 0..7, high has 8..15. */
struct lanes {
    __m256 low;
    __m256 high;
};

/* Of row r of the n_rows side by side from `rows` on. What is asked for is that much
 * further ahead, so that the last of them is asked for in time. */
ALWAYS_INLINE void widen_stretch(const uint8_t *rows, size_t r, size_t n_rows,
                                 size_t n_cols, size_t k, size_t n,
                                 enum bni_dense_type type, enum bni_source source,
                                 float *out)
{
    const size_t row_bytes = bni_dense_bytes(type, n_cols);
    const uint8_t *from = rows + r * row_bytes + bni_dense_bytes(type, k);
    for (size_t i = 0; source == BNI_FROM_MEMORY && i < bni_dense_bytes(type, n);
         i += BNI_LINE_BYTES)
        bni_prefetch_ahead(from + (n_rows - 1) * row_bytes + i);
    if (type == BNI_DENSE_Q8_0)
        bni_avx2_widen_q8_0(from, n, out);
    else
        bni_avx2_widen_q6_k(from, n, out);
}

/* Computes outputs m .. m + n_rows for activations i .. i + n_x. */
ALWAYS_INLINE void block_tile(const struct bni_dense_args *args, size_t m, size_t i,
                              size_t n_rows, size_t n_x, enum bni_dense_type type,
                              enum bni_source source)
{
    const size_t n_cols = args->n_cols;
    const uint8_t *rows =
        (const uint8_t *)args->weights + m * bni_dense_bytes(type, n_cols);
    float weights[MAX_TILE_ROWS][STRETCH];
    struct lanes sums[MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            sums[r][j] = (struct lanes){_mm256_setzero_ps(), _mm256_setzero_ps()};

    for (size_t begin = 0; begin < n_cols; begin += STRETCH) {
        const size_t n = bni_size_min(STRETCH, n_cols - begin);
        for (size_t r = 0; r < n_rows; r++)
            widen_stretch(rows, r, n_rows, n_cols, begin, n, type, source, weights[r]);
        for (size_t k = 0; k < n; k += 16) {
            for (size_t j = 0; j < n_x; j++) {
                const float *x = args->x + (i + j) * n_cols + begin + k;
                const __m256 low = _mm256_loadu_ps(x);
                const __m256 high = _mm256_loadu_ps(x + 8);
                for (size_t r = 0; r < n_rows; r++) {
                    struct lanes *sum = &sums[r][j];
                    const float *w = weights[r] + k;
                    sum->low = _mm256_fmadd_ps(_mm256_loadu_ps(w), low, sum->low);
                    sum->high =
                        _mm256_fmadd_ps(_mm256_loadu_ps(w + 8), high, sum->high);
                }
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++)
            args->out[(i + j) * args->out_stride + m + r] =
                bni_avx2_fold_lanes(sums[r][j].low, sums[r][j].high);
}

ALWAYS_INLINE void block_rows(const struct bni_dense_args *args, size_t m, size_t m_end,
                              size_t i, size_t tile_rows, size_t n_x,
                              enum bni_dense_type type, enum bni_source source)
{
    for (; m_end - m >= tile_rows; m += tile_rows)
        block_tile(args, m, i, tile_rows, n_x, type, source);
    for (; m < m_end; m++) block_tile(args, m, i, 1, n_x, type, source);
}

ALWAYS_INLINE void block_matmul(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end, enum bni_dense_type type)
{
    for (size_t m = row_begin; m < row_end; m += PANEL_ROWS) {
        const size_t m_end = bni_size_min(m + PANEL_ROWS, row_end);
        if (args->n_x == 1) {
            block_rows(args, m, m_end, 0, 1, 1, type, BNI_FROM_MEMORY);
            continue;
        }
        block_rows(args, m, m_end, 0, 2, 2, type, BNI_FROM_MEMORY);
        size_t i = 2;
        for (; args->n_x - i >= 2; i += 2)
            block_rows(args, m, m_end, i, 2, 2, type, BNI_FROM_CACHE);
        if (i < args->n_x) block_rows(args, m, m_end, i, 4, 1, type, BNI_FROM_CACHE);
    }
}

void bni_avx2_dense_matmul_q8_0(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    assert(args->n_cols % BNI_Q8_0_BLOCK == 0);
    block_matmul(args, row_begin, row_end, BNI_DENSE_Q8_0);
}

void bni_avx2_dense_matmul_q6_k(const struct bni_dense_args *args, size_t row_begin,
                                size_t row_end)
{
    assert(args->n_cols % BNI_Q6_K_BLOCK == 0);
    block_matmul(args, row_begin, row_end, BNI_DENSE_Q6_K);
}
