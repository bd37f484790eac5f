/* SPDX-License-Identifier: MIT */
/*
 * size.h - arithmetic on sizes that cannot wrap.
 */
#ifndef BNI_BASE_SIZE_H
#define BNI_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Both return false, and leave `*out` alone, if the result does not fit. */
static inline bool bni_size_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

static inline bool bni_size_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *out = sum;
    return true;
}

/* Rounds up to a multiple of `alignment`, a power of two; false if it does not fit. */
static inline bool bni_size_round_up(size_t size, size_t alignment, size_t *out)
{
    size_t sum;
    if (!bni_size_add(size, alignment - 1, &sum)) return false;
    *out = sum & ~(alignment - 1);
    return true;
}

/* Cuts an aligned array of n_rows * n_columns * size_bytes off at *offset, for who lays
 * out a block of several; false if it does not fit. `alignment` as above. */
static inline bool bni_size_cut(size_t *offset, size_t n_rows, size_t n_columns,
                                size_t size_bytes, size_t alignment, size_t *begin)
{
    size_t n_bytes;
    *begin = *offset;
    return bni_size_mul(n_rows, n_columns, &n_bytes) &&
           bni_size_mul(n_bytes, size_bytes, &n_bytes) &&
           bni_size_round_up(n_bytes, alignment, &n_bytes) &&
           bni_size_add(*offset, n_bytes, offset);
}

static inline size_t bni_size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t bni_size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t bni_size_div_up(size_t n, size_t divisor)
{
    return n / divisor + (n % divisor != 0);
}

#endif
