/* SPDX-License-Identifier: MIT */
/*
 * spin.h - waiting awake, for a bounded time.
 *
 *     struct bni_spin spin = bni_spin_begin(limit_ns);
 *     while (!is_ready()) {
 *         if (!bni_spin_again(&spin)) go_to_sleep();
 *     }
 *
 * The clock is read every few dozen pauses, so that looking stays frequent.
 */
#ifndef BNI_THREADS_SPIN_H
#define BNI_THREADS_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include <bitnet/clock.h>

enum { BNI_SPIN_PAUSES_PER_CLOCK = 32 };

struct bni_spin {
    uint64_t limit_ns;
    uint64_t end_ns; /* 0 until the clock was first read */
    unsigned n_pauses;
};

/* Tells the CPU that this is a spin loop: saves power, and yields to a sibling. */
static inline void bni_cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline struct bni_spin bni_spin_begin(uint64_t limit_ns)
{
    return (struct bni_spin){.limit_ns = limit_ns};
}

/* Pauses, and returns true; false, at once, when the time is over. */
static inline bool bni_spin_again(struct bni_spin *spin)
{
    if (spin->limit_ns == 0) return false;
    if (spin->n_pauses++ % BNI_SPIN_PAUSES_PER_CLOCK == BNI_SPIN_PAUSES_PER_CLOCK - 1) {
        const uint64_t now_ns = bitnet_clock_ns();
        if (spin->end_ns == 0) spin->end_ns = now_ns + spin->limit_ns;
        if (now_ns >= spin->end_ns) return false;
    }
    bni_cpu_pause();
    return true;
}

#endif
