/* SPDX-License-Identifier: MIT */
/*
 * sort.h - putting the indices of something in order.
 *
 * The order of what a file holds is the file author's choice, and so would be the
 * time that a quicksort takes. This is a heapsort: n log n whatever comes, in
 * place, without allocating (libc's qsort may allocate).
 */
#ifndef BNI_FORMATS_SORT_H
#define BNI_FORMATS_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Negative if `a` comes before `b`, positive if after, 0 if it does not matter. */
typedef int (*bni_compare_fn)(const void *context, uint32_t a, uint32_t b);

void bni_sort_indices(uint32_t *indices, size_t n, bni_compare_fn compare,
                      const void *context);

#endif
