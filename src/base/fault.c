/* SPDX-License-Identifier: MIT */
/*
 * fault.c - see fault.h. Two atomics, process-wide because what fails in real
 * life is process-wide too; only tests ever arm them.
 */
#include "base/fault.h"

#include <stdatomic.h>

static _Atomic uint64_t fails_at; /* 0: disarmed */
static _Atomic uint64_t n_asked;

bool bni_fault_is_due(void)
{
    const uint64_t n = atomic_load_explicit(&fails_at, memory_order_relaxed);
    if (n == 0) return false;
    return atomic_fetch_add_explicit(&n_asked, 1, memory_order_relaxed) + 1 == n;
}

void bni_fault_arm(uint64_t n)
{
    atomic_store_explicit(&fails_at, 0, memory_order_relaxed);
    atomic_store_explicit(&n_asked, 0, memory_order_relaxed);
    atomic_store_explicit(&fails_at, n, memory_order_relaxed);
}

uint64_t bni_fault_count(void)
{
    return atomic_load_explicit(&n_asked, memory_order_relaxed);
}
