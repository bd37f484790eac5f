/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - every byte the library holds comes from here.
 *
 * Blocks are 64-byte aligned, so that vectors load aligned and no two blocks
 * share a cache line. They are counted, held to a process-wide limit, and can be
 * made to fail on purpose (base/fault.h). On failure these set the thread's
 * error to OUT_OF_MEMORY, with the size, and return NULL.
 */
#ifndef BNI_BASE_ALLOC_H
#define BNI_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

enum { BNI_ALIGNMENT = 64 };

/* Returns `n_bytes` of unset memory; for 0 bytes, a block that may only be freed. */
void *bni_alloc(size_t n_bytes);

/* Returns `n * size_bytes` of zeroed memory; fails if the product does not fit. */
void *bni_calloc(size_t n, size_t size_bytes);

/* NULL does nothing. */
void bni_free(void *block);

/*
 * Maps `n_bytes` of zeroed memory that is only backed once it is touched: for the
 * few large regions. bni_unmap() takes the same size.
 */
void *bni_map_zeroed(size_t n_bytes);
void bni_unmap(void *region, size_t n_bytes);

/* Asks for huge pages behind a mapped region that will be read all over, before it is
 * touched. They may not be had: then nothing changes. */
void bni_map_advise_huge(void *region, size_t n_bytes);

/* Bytes held now by all of the above. */
uint64_t bni_alloc_in_use(void);
/* Bytes this thread has taken less those it has freed: two calls measure what lies
 * between them, whatever other threads do. */
int64_t bni_alloc_thread_balance(void);
/* Sets it back, so that what was taken since is not measured: for what belongs to the
 * process, whoever comes to make it. */
void bni_alloc_set_thread_balance(int64_t n_bytes);
/* The most that may be held; UINT64_MAX: no limit. */
void bni_alloc_set_limit(uint64_t n_bytes);
uint64_t bni_alloc_limit(void);

#endif
