/* SPDX-License-Identifier: MIT */
/*
 * ticks.h - a clock for measuring what takes less time than reading the clock.
 *
 * On x86 with an invariant time-stamp counter it is that counter, a third of the cost
 * of the monotonic clock (12 against 34 ns on a virtual machine); elsewhere a tick is
 * a nanosecond of the monotonic clock. How long a tick is is found out while time
 * goes by: bni_ticks_to_ns() compares both clocks since the first use.
 *
 * For durations that are reported, never for deadlines.
 */
#ifndef BNI_BASE_TICKS_H
#define BNI_BASE_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/durations.h>

#if defined(__x86_64__)
#include <stdatomic.h>
#include <x86intrin.h>

/* Whether the counter is dependable; false until bni_ticks_init(). */
extern _Atomic bool bni_ticks_are_tsc;
#endif

/* Chooses the clock, once for the process: before the first use of all below. */
void bni_ticks_init(void);

static inline uint64_t bni_ticks(void)
{
#if defined(__x86_64__)
    /* Relaxed: set once, before whoever measures has been made. */
    if (atomic_load_explicit(&bni_ticks_are_tsc, memory_order_relaxed))
        return __rdtsc();
#endif
    return bitnet_clock_ns();
}

/* Ticks from `before` to `after`; 0 where two cores' counters disagree on the order. */
static inline uint64_t bni_ticks_between(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0;
}

/* About so many ticks; for thresholds that need not be exact. */
enum { BNI_TICKS_PER_US_ABOUT = 2500 };

/* Turns durations that were measured in ticks into nanoseconds. */
void bni_ticks_to_ns(bitnet_durations *durations);

#endif
