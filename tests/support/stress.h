/* SPDX-License-Identifier: MIT */
/*
 * stress.h - for tests that act at random: a seed, printed, of which everything is
 * drawn; rounds until the time is over, each under a watchdog. Include cmocka.h first.
 *
 *     TEST [seed [seconds]]
 *
 * A round with the same seed and number makes the same draws. In a build with
 * BITNET_PERTURB the library's threads are held up here and there, as the seed says.
 */
#ifndef TESTS_SUPPORT_STRESS_H
#define TESTS_SUPPORT_STRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <bitnet/clock.h>
#include <bitnet/status.h>

#include "support/dice.h"
#include "support/latch.h"
#include "threads/perturb.h"

/* For one round, which takes a fraction of a second, or some with a sanitizer. */
enum { STRESS_ROUND_LIMIT_S = 120 };

static uint64_t stress_seed = 1;
static unsigned stress_seconds = 3;

static inline struct dice dice_of(uint64_t round, uint64_t actor)
{
    return dice_for(stress_seed, round, actor);
}

/* A deadline within microseconds, or in the past. */
static inline uint64_t soon(struct dice *dice)
{
    return bitnet_clock_ns() + 1000 * (uint64_t)roll(dice, 300);
}

static inline void stress_complain(uint64_t round, const char *what)
{
    fprintf(stderr, "seed %llu, round %llu: %s; last error: %s\n",
            (unsigned long long)stress_seed, (unsigned long long)round, what,
            bitnet_last_error());
}

static inline bool stress_read_arguments(int argc, char **argv)
{
    if (argc > 1) stress_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) stress_seconds = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3 || stress_seconds == 0) {
        fprintf(stderr, "usage: %s [seed [seconds]]\n", argv[0]);
        return false;
    }
    bni_perturb_seed(stress_seed);
    return true;
}

/* Plays rounds 0, 1, ... until the time is over; at least four. */
static inline void stress_play(const char *what, void (*play)(uint64_t round))
{
    const uint64_t end_ns = bitnet_deadline_after_ms(stress_seconds * UINT64_C(1000));
    print_message("seed %llu, %u s\n", (unsigned long long)stress_seed, stress_seconds);
    uint64_t round = 0;
    while (round < 4 || bitnet_clock_ns() < end_ns) {
        char title[128];
        snprintf(title, sizeof(title), "%s, seed %llu, round %llu", what,
                 (unsigned long long)stress_seed, (unsigned long long)round);
        struct watchdog dog;
        watchdog_start(&dog, title, STRESS_ROUND_LIMIT_S);
        play(round++);
        watchdog_stop(&dog);
    }
    print_message("%llu rounds\n", (unsigned long long)round);
}

#endif
