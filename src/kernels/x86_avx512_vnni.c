/* SPDX-License-Identifier: MIT */
/*
 * x86_avx512_vnni.c - the AVX-512 table with VNNI: a ternary product of its own.
 *
 * VNNI adds four u8 * s8 products to an int32 lane, so no sum has to be widened. An
 * addition takes four or five cycles and two can begin in each: the two halves of a block
 * have sums of their own, so that a row with one activation does not wait for itself
 * longer than for memory.
 */
#include <immintrin.h>
#include <stdbool.h>

#include "base/size.h"
#include "kernels/x86_avx512.h"

/* The tile functions take the tile's shape as constants, which only pays off if each
 * call becomes code of its own. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { MAX_TILE_ROWS = 8, MAX_TILE_X = 4 };

ALWAYS_INLINE void ternary_tile(const struct bni_ternary_args *args, size_t m,
                                size_t step, size_t i, size_t n_rows, size_t n_x,
                                enum bni_source source)
{
    const size_t stride = step * (args->n_cols / 4);
    const uint8_t *codes = args->codes + m * (args->n_cols / 4);
    const int8_t *q = args->q + i * args->n_cols;
    /* With several rows there are sums enough, and not so many registers. */
    const size_t n_chains = n_rows == 1 ? 2 : 1;

    __m512i sums[2][MAX_TILE_ROWS][MAX_TILE_X];
    for (size_t chain = 0; chain < n_chains; chain++)
        for (size_t r = 0; r < n_rows; r++)
            for (size_t j = 0; j < n_x; j++) sums[chain][r][j] = _mm512_setzero_si512();

    for (size_t block = 0; block < args->n_cols / BNI_TERNARY_BLOCK; block++) {
        __m512i x[2][MAX_TILE_X];
        for (size_t j = 0; j < n_x; j++)
            for (size_t half = 0; half < 2; half++)
                x[half][j] = _mm512_loadu_si512(q + j * args->n_cols +
                                                block * BNI_TERNARY_BLOCK + half * 64);
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *from = codes + r * stride + block * BNI_TERNARY_BLOCK_BYTES;
            if (source != BNI_FROM_CACHE && block % 2 == 0) bni_prefetch_ahead(from);
            const struct bni_avx512_codes c = bni_avx512_unpack(from);
            for (size_t half = 0; half < 2; half++) {
                const size_t chain = half % n_chains;
                for (size_t j = 0; j < n_x; j++)
                    sums[chain][r][j] = _mm512_dpbusd_epi32(sums[chain][r][j],
                                                            c.half[half], x[half][j]);
            }
        }
    }

    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < n_x; j++) {
            __m512i sum = sums[0][r][j];
            if (n_chains == 2) sum = _mm512_add_epi32(sum, sums[1][r][j]);
            bni_ternary_end(args, m + r * step, i + j, bni_avx512_sum_of_int32(sum));
        }
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

/* Twenty sums, four vectors of codes and one of activations: of 32 registers. */
ALWAYS_INLINE void strip_tile(const uint8_t *codes, const int8_t *q, size_t n_cols,
                              size_t n, size_t n_x, bool is_first,
                              __m512i (*sums)[BNI_STRIP_ROWS])
{
    __m512i tile[BNI_STRIP_ROWS][BNI_STRIP_TILE_X];
    for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
        for (size_t j = 0; j < n_x; j++)
            tile[r][j] = is_first ? _mm512_setzero_si512() : sums[j][r];

    for (size_t k = 0; k < n; k += 64) {
        __m512i c[BNI_STRIP_ROWS];
        for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
            c[r] = _mm512_load_si512(codes + r * n + k);
        for (size_t j = 0; j < n_x; j++) {
            const __m512i x = _mm512_loadu_si512(q + j * n_cols + k);
            for (size_t r = 0; r < BNI_STRIP_ROWS; r++)
                tile[r][j] = _mm512_dpbusd_epi32(tile[r][j], c[r], x);
        }
    }

    for (size_t j = 0; j < n_x; j++)
        for (size_t r = 0; r < BNI_STRIP_ROWS; r++) sums[j][r] = tile[r][j];
}

enum { STREAM_ROWS_1 = 1, SHARE_ROWS = 4, SHARE_ROWS_1 = 8 };
#include "kernels/x86_ternary_panels.h"

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    ternary_panels(args, row_begin, row_end);
}

const struct bni_kernels bni_kernels_avx512vnni =
    BNI_AVX512_TABLE("avx512vnni", ternary_matmul);
