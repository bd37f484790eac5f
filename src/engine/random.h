/* SPDX-License-Identifier: MIT */
/*
 * random.h - counted randomness: number n of seed s, from nowhere else.
 *
 * A draw is a hash of (seed, n), so no draw depends on how many others were made
 * or by whom. The mix is the 64-bit finaliser of SplitMix64 (Steele, Lea and Flood,
 * "Fast splittable pseudorandom number generators", 2014), applied twice: neighbouring
 * seeds, which people choose, share nothing.
 */
#ifndef BNI_ENGINE_RANDOM_H
#define BNI_ENGINE_RANDOM_H

#include <stdint.h>

static inline uint64_t bni_random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Returns a number in [0, 1), a multiple of 2^-53. */
static inline double bni_random_unit(uint64_t seed, uint64_t n)
{
    const uint64_t key = bni_random_mix(seed + UINT64_C(0x9e3779b97f4a7c15));
    const uint64_t bits = bni_random_mix(key + (n + 1) * UINT64_C(0x9e3779b97f4a7c15));
    return (double)(bits >> 11) * 0x1p-53;
}

#endif
