/* SPDX-License-Identifier: MIT */
/*
 * x86_avxvnni.c - the AVX2 table with VNNI for 256-bit vectors: a ternary product of its
 * own.
 *
 * Tiles are those of x86_avx2_ternary.c. VNNI adds four u8 * s8 products to an int32
 * lane, so no sum has to be widened; but an addition takes four or five cycles and two
 * can begin in each, so the quarters of a block take turns with several sums where a tile
 * has few.
 */
#include <immintrin.h>
#include <stdbool.h>

#include "base/size.h"
#include "kernels/x86_avx2.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { MAX_TILE_ROWS = 4, MAX_TILE_X = 4, MAX_CHAINS = 4 };

ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m,
                                size_t step, size_t i, size_t n_rows, size_t n_x,
                                enum bni_source source)
{
    const size_t stride = step * (args->n_cols / 4);
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    const __m256i low_bits = _mm256_set1_epi8(3);
    const size_t n_chains = n_rows * n_x == 1 ? 4 : n_rows * n_x <= 4 ? 2 : 1;

    __m256i sums[MAX_CHAINS][MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t chain = 0; chain < n_chains; chain++)
        for (size_t r = 0; r < n_rows; r++)
            for (size_t j = 0; j < n_x; j++) sums[chain][r][j] = _mm256_setzero_si256();

    for (size_t block = 0; block < args->n_cols / BNI_TERNARY_BLOCK; block++) {
        __m256i packed[MAX_TILE_ROWS];
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *from = codes + r * stride + block * BNI_TERNARY_BLOCK_BYTES;
            packed[r] = _mm256_loadu_si256((const __m256i *)from);
            if (source != BNI_FROM_CACHE && block % 2 == 0) bni_prefetch_ahead(from);
        }
        /* The last quarter of a block is in the lowest bits: begin with it. */
#pragma GCC unroll 4
        for (size_t quarter = 4; quarter-- > 0;) {
            const int8_t *q_quarter = q + block * BNI_TERNARY_BLOCK + quarter * 32;
            const size_t chain = quarter % n_chains;
            for (size_t r = 0; r < n_rows; r++) {
                const __m256i c = _mm256_and_si256(packed[r], low_bits);
                for (size_t j = 0; j < n_x; j++) {
                    const __m256i x = _mm256_loadu_si256(
                        (const __m256i *)(q_quarter + j * args->n_cols));
                    sums[chain][r][j] =
                        _mm256_dpbusd_avx_epi32(sums[chain][r][j], c, x);
                }
                packed[r] = _mm256_srli_epi16(packed[r], 2);
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) {
            __m256i sum = sums[0][r][j];
            for (size_t chain = 1; chain < n_chains; chain++)
                sum = _mm256_add_epi32(sum, sums[chain][r][j]);
            bni_ternary_end(args, m + r * step, i + j, bni_avx2_sum_of_int32(sum));
        }
}

/* What x86_ternary_strips.h asks for. */

typedef __m256i ternary_vector;

enum { STRIP_VECTOR_BYTES = 32, STRIP_TILE_ROWS = 2 };

ALWAYS_INLINE void unpack_block(const uint8_t *from, uint8_t *to)
{
    bni_avx2_unpack(from, to);
}

ALWAYS_INLINE __m256i ternary_eight(__m256i v)
{
    return v;
}

/* Two rows at a time, as in x86_avx2_ternary.c: ten sums hide the latency. */
ALWAYS_INLINE void strip_tile(const uint8_t *codes, const int8_t *q, size_t n_cols,
                              size_t n, size_t n_x, bool is_first,
                              __m256i (*sums)[BNI_STRIP_ROWS])
{
    for (size_t row = 0; row < BNI_STRIP_ROWS; row += STRIP_TILE_ROWS) {
        __m256i tile[STRIP_TILE_ROWS][BNI_STRIP_TILE_X];
        for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
            for (size_t j = 0; j < n_x; j++)
                tile[r][j] = is_first ? _mm256_setzero_si256() : sums[j][row + r];

        for (size_t k = 0; k < n; k += 32) {
            __m256i c[STRIP_TILE_ROWS];
            for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
                c[r] = _mm256_load_si256((const __m256i *)(codes + (row + r) * n + k));
            for (size_t j = 0; j < n_x; j++) {
                const __m256i x =
                    _mm256_loadu_si256((const __m256i *)(q + j * n_cols + k));
                for (size_t r = 0; r < STRIP_TILE_ROWS; r++)
                    tile[r][j] = _mm256_dpbusd_avx_epi32(tile[r][j], c[r], x);
            }
        }

        for (size_t j = 0; j < n_x; j++)
            for (size_t r = 0; r < STRIP_TILE_ROWS; r++) sums[j][row + r] = tile[r][j];
    }
}

enum { STREAM_ROWS_1 = 1, SHARE_ROWS = 2, SHARE_ROWS_1 = 4 };
#include "kernels/x86_ternary_panels.h"

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    ternary_panels(args, row_begin, row_end);
}

const struct bni_kernels bni_kernels_avxvnni =
    BNI_AVX2_TABLE("avxvnni", ternary_matmul);
