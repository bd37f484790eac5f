/* SPDX-License-Identifier: MIT */
/*
 * alloc.c - counted, limited, aligned allocation.
 *
 *     [ header: size, padded to 64 bytes ][ the block ... ]
 *                                         ^ 64-byte aligned, what callers see
 *
 * Two process-wide atomics: what is held, and the limit. They are globals because
 * the limit is the process's, and atomics because any thread allocates; nothing
 * else hangs on their values, so relaxed order is enough.
 */
#include "base/alloc.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/size.h"

struct header {
    size_t n_bytes; /* of the block, header and rounding included */
};

_Static_assert(sizeof(struct header) <= BNI_ALIGNMENT, "the header fits its padding");

static _Atomic uint64_t in_use_bytes;
static _Atomic uint64_t limit_bytes = UINT64_MAX;
static _Thread_local int64_t thread_balance;

/* Counts `n_bytes` in, or sets the error and returns false. */
static bool reserve(size_t n_bytes)
{
    const uint64_t limit = atomic_load_explicit(&limit_bytes, memory_order_relaxed);
    const uint64_t before =
        atomic_fetch_add_explicit(&in_use_bytes, n_bytes, memory_order_relaxed);
    if (before <= limit && n_bytes <= limit - before) {
        thread_balance += (int64_t)n_bytes;
        return true;
    }
    atomic_fetch_sub_explicit(&in_use_bytes, n_bytes, memory_order_relaxed);
    bni_error(BITNET_ERROR_OUT_OF_MEMORY,
              "cannot allocate %zu bytes: %" PRIu64
              " are in use and the limit is %" PRIu64,
              n_bytes, before, limit);
    return false;
}

static void unreserve(size_t n_bytes)
{
    thread_balance -= (int64_t)n_bytes;
    atomic_fetch_sub_explicit(&in_use_bytes, n_bytes, memory_order_relaxed);
}

void *bni_alloc(size_t n_bytes)
{
    size_t n_total;
    if (!bni_size_add(n_bytes, BNI_ALIGNMENT, &n_total) ||
        !bni_size_round_up(n_total, BNI_ALIGNMENT, &n_total) || n_total > PTRDIFF_MAX) {
        bni_error(BITNET_ERROR_OUT_OF_MEMORY, "cannot allocate %zu bytes: too many",
                  n_bytes);
        return NULL;
    }
    if (!reserve(n_total)) return NULL;

    struct header *header =
        bni_fault_is_due() ? NULL : aligned_alloc(BNI_ALIGNMENT, n_total);
    if (header == NULL) {
        unreserve(n_total);
        bni_error(BITNET_ERROR_OUT_OF_MEMORY, "cannot allocate %zu bytes", n_bytes);
        return NULL;
    }
    header->n_bytes = n_total;
    return (char *)header + BNI_ALIGNMENT;
}

void *bni_calloc(size_t n, size_t size_bytes)
{
    size_t n_bytes;
    if (!bni_size_mul(n, size_bytes, &n_bytes)) {
        bni_error(BITNET_ERROR_OUT_OF_MEMORY, "cannot allocate %zu times %zu bytes", n,
                  size_bytes);
        return NULL;
    }
    void *block = bni_alloc(n_bytes);
    if (block != NULL) memset(block, 0, n_bytes);
    return block;
}

void bni_free(void *block)
{
    if (block == NULL) return;
    struct header *header = (struct header *)(void *)((char *)block - BNI_ALIGNMENT);
    unreserve(header->n_bytes);
    free(header);
}

void *bni_map_zeroed(size_t n_bytes)
{
    if (!reserve(n_bytes)) return NULL;
    void *region = bni_fault_is_due()
                       ? MAP_FAILED
                       : mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
        unreserve(n_bytes);
        bni_error(BITNET_ERROR_OUT_OF_MEMORY, "cannot map %zu bytes of memory",
                  n_bytes);
        return NULL;
    }
    return region;
}

void bni_unmap(void *region, size_t n_bytes)
{
    if (region == NULL) return;
    munmap(region, n_bytes);
    unreserve(n_bytes);
}

void bni_map_advise_huge(void *region, size_t n_bytes)
{
#if defined(MADV_HUGEPAGE)
    madvise(region, n_bytes, MADV_HUGEPAGE);
#else
    (void)region;
    (void)n_bytes;
#endif
}

uint64_t bni_alloc_in_use(void)
{
    return atomic_load_explicit(&in_use_bytes, memory_order_relaxed);
}

int64_t bni_alloc_thread_balance(void)
{
    return thread_balance;
}

void bni_alloc_set_thread_balance(int64_t n_bytes)
{
    thread_balance = n_bytes;
}

void bni_alloc_set_limit(uint64_t n_bytes)
{
    atomic_store_explicit(&limit_bytes, n_bytes, memory_order_relaxed);
}

uint64_t bni_alloc_limit(void)
{
    return atomic_load_explicit(&limit_bytes, memory_order_relaxed);
}
