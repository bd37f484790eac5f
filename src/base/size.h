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
