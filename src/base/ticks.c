/* SPDX-License-Identifier: MIT */
/*
 * ticks.c - see ticks.h.
 *
 * "Invariant" means that the counter runs at one rate whatever the core's frequency,
 * and does not stop while it sleeps (CPUID leaf 0x80000007, bit 8 of EDX); it is
 * the condition under which systems use it for their own clock.
 */
#include "base/ticks.h"

#include <pthread.h>
#include <stddef.h>

#if defined(__x86_64__)

#include <cpuid.h>

_Atomic bool bni_ticks_are_tsc;

/* Both clocks at one moment. Written once, by choose(). */
static uint64_t first_ns;
static uint64_t first_ticks;

static void choose(void)
{
    const unsigned power_leaf = 0x80000007;
    const unsigned invariant_bit = 8;
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;
    const bool is_invariant = __get_cpuid(power_leaf, &eax, &ebx, &ecx, &edx) != 0 &&
                              (edx >> invariant_bit & 1) != 0;
    first_ns = bitnet_clock_ns();
    first_ticks = __rdtsc();
    atomic_store_explicit(&bni_ticks_are_tsc, is_invariant, memory_order_relaxed);
}

void bni_ticks_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
}

void bni_ticks_to_ns(bitnet_durations *durations)
{
    if (!atomic_load_explicit(&bni_ticks_are_tsc, memory_order_relaxed)) return;
    const double n_ticks = (double)(__rdtsc() - first_ticks);
    if (n_ticks <= 0) return;
    const double ns_per_tick = (double)(bitnet_clock_ns() - first_ns) / n_ticks;
    uint64_t *const fields[] = {&durations->total_ns, &durations->p50_ns,
                                &durations->p90_ns,   &durations->p99_ns,
                                &durations->p999_ns,  &durations->max_ns};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        *fields[i] = (uint64_t)((double)*fields[i] * ns_per_tick);
}

#else

void bni_ticks_init(void)
{
}

void bni_ticks_to_ns(bitnet_durations *durations)
{
    (void)durations; /* a tick is a nanosecond */
}

#endif
