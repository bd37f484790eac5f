/* SPDX-License-Identifier: MIT */
/*
 * sort.c - heapsort: the heap's largest is at its root, and goes to its place behind
 * the heap, which shrinks by one.
 *
 *     [ heap: parent i, children 2i+1, 2i+2 | sorted ]
 */
#include "formats/sort.h"

static void sift_down(uint32_t *heap, size_t root, size_t n, bni_compare_fn compare,
                      const void *context)
{
    const uint32_t sinking = heap[root];
    for (size_t child = 2 * root + 1; child < n; child = 2 * root + 1) {
        if (child + 1 < n && compare(context, heap[child], heap[child + 1]) < 0)
            child++;
        if (compare(context, sinking, heap[child]) >= 0) break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = sinking;
}

void bni_sort_indices(uint32_t *indices, size_t n, bni_compare_fn compare,
                      const void *context)
{
    for (size_t i = n / 2; i > 0; i--) sift_down(indices, i - 1, n, compare, context);
    for (size_t n_heap = n; n_heap > 1; n_heap--) {
        const uint32_t largest = indices[0];
        indices[0] = indices[n_heap - 1];
        indices[n_heap - 1] = largest;
        sift_down(indices, 0, n_heap - 1, compare, context);
    }
}
