/* SPDX-License-Identifier: MIT */
/*
 * perturb.h - a seeded perturber of schedules, for tests.
 *
 * Wherever threads can come between each other - at every step of a lock or a
 * condition variable, and of the few words that are shared without a lock - the
 * library calls bni_perturb(). With the CMake option BITNET_PERTURB that holds the
 * thread up for a moment, or not, as a generator of its own says, so that orders which
 * a quiet machine shows once a year turn up within seconds. Without it, which is how
 * the library is built, all of this is empty and costs nothing.
 *
 * A seed does not repeat a schedule, as the system has a say in it too; it repeats how
 * the threads are disturbed, which most often finds the same mistake again.
 */
#ifndef BNI_THREADS_PERTURB_H
#define BNI_THREADS_PERTURB_H

#include <stdbool.h>
#include <stdint.h>

#ifdef BNI_PERTURB

/* What is measured in time to tell how the threads get on takes that much longer. */
enum { BNI_PERTURB_SLOWDOWN = 256 };

/* Threads that begin from now on draw from generators of this seed; 1 at first. */
void bni_perturb_seed(uint64_t seed);

/* Does nothing, gives up the CPU, or spins or sleeps for some microseconds. */
void bni_perturb(void);

/* Whether a wait that begins here should end at once, for no reason, as waits may. */
bool bni_perturb_wakes(void);

#else

enum { BNI_PERTURB_SLOWDOWN = 1 };

static inline void bni_perturb_seed(uint64_t seed)
{
    (void)seed;
}

static inline void bni_perturb(void)
{
}

static inline bool bni_perturb_wakes(void)
{
    return false;
}

#endif

#endif
