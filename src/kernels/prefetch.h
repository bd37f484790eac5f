/* SPDX-License-Identifier: MIT */
/*
 * prefetch.h - asking for weights before their turn.
 *
 * A product whose weights come from memory asks for each cache line some way ahead: the
 * CPU's own prefetcher stops at the end of a page, and starts anew with each. Rows come
 * one after the other or, faster, in streams: places so far apart that the prefetcher
 * sees each for itself, of which a tile takes a row each. Figures, and what else was
 * tried, are in docs/performance.md.
 */
#ifndef BNI_KERNELS_PREFETCH_H
#define BNI_KERNELS_PREFETCH_H

#include <stdint.h>

/* Whether a tile's weights are in the cache, or come from memory and must be asked for,
 * a row after the other or, in streams that lie far apart, a row of each. */
enum bni_source { BNI_FROM_CACHE, BNI_FROM_MEMORY, BNI_IN_STREAMS };

/* How far ahead weights are asked for: about what memory delivers while a request for
 * it is under way, and more than one page. */
enum { BNI_PREFETCH_BYTES = 8192, BNI_LINE_BYTES = 64 };

/*
 * Asks for the cache line so far ahead, which may lie past the end: the CPU does not
 * fault. Called once for each line that is read. It must be inlined before gcc looks for
 * functions without effect: it takes a function that only prefetches for one, and leaves
 * out the calls.
 */
static inline __attribute__((always_inline)) void bni_prefetch_ahead(const void *from)
{
    __builtin_prefetch((const void *)((uintptr_t)from + BNI_PREFETCH_BYTES), 0, 2);
}

#endif
