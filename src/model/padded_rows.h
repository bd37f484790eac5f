/* SPDX-License-Identifier: MIT */
/*
 * padded_rows.h - a copy of ternary codes whose rows begin where a block begins.
 *
 * I2_S packs 128 values together, flat over the whole tensor. Where a row's length is
 * no multiple of that, rows begin inside of a block and share it with their neighbours:
 *
 *     in the file    [ 0 0 0 0 ][ 0 1 1 1 ][ 1 1 2 2 ][ 2 2 2 3 ] ...   rows of 160
 *     in the copy    [ 0 0 0 0 ][ 0 - - - ][ 1 1 1 1 ][ 1 - - - ] ...
 *
 * (a digit is 32 values of that row, - is padding). Kernels work on whole blocks of one
 * row, so such a matrix is copied when it is loaded. The padding has weight 0, and meets
 * activations that are 0 too: no sum changes. Rows are a multiple of 32 long, so that
 * what moves is always the same two bits of all 32 bytes.
 */
#ifndef BNI_MODEL_PADDED_ROWS_H
#define BNI_MODEL_PADDED_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum { BNI_TERNARY_GROUP = 32 }; /* values; what the length of a row is a multiple of */

/* The values in a row as the kernels have it, codes and activations alike. */
static inline size_t bni_padded_cols(size_t n_cols)
{
    return (n_cols + BNI_TERNARY_BLOCK - 1) / BNI_TERNARY_BLOCK * BNI_TERNARY_BLOCK;
}

/* Whether rows lie in the file otherwise than the kernels have them. */
static inline bool bni_needs_padding(size_t n_cols)
{
    return n_cols % BNI_TERNARY_BLOCK != 0;
}

/*
 * Copies rows [row_begin, row_end) of flat codes to their places in `out`, which is
 * [rows][bni_padded_cols(n_cols) / 4 bytes]. `n_cols` is a multiple of 32.
 */
void bni_pad_rows(const uint8_t *codes, size_t n_cols, size_t row_begin, size_t row_end,
                  uint8_t *out);

#endif
