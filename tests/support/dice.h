/* SPDX-License-Identifier: MIT */
/*
 * dice.h - for tests that act at random: numbers drawn from a seed that is printed.
 */
#ifndef TESTS_SUPPORT_DICE_H
#define TESTS_SUPPORT_DICE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/random.h"

/* A sequence of draws of its own for everybody who acts. */
struct dice {
    uint64_t seed;
    uint64_t n;
};

/* Dice of one actor, below 256, in one round of what `seed` names. */
static inline struct dice dice_for(uint64_t seed, uint64_t round, uint64_t actor)
{
    return (struct dice){bni_random_mix(seed) + (round << 8) + actor, 0};
}

/* Returns a number in [0, n_sides). */
static inline unsigned roll(struct dice *dice, unsigned n_sides)
{
    return (unsigned)(bni_random_unit(dice->seed, dice->n++) * n_sides);
}

static inline bool one_in(struct dice *dice, unsigned n)
{
    return roll(dice, n) == 0;
}

#endif
