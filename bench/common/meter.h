/* SPDX-License-Identifier: MIT */
/*
 * meter.h - for benchmarks: measures what this machine does at most, once for all and
 * again beside what is to be compared with it.
 */
#ifndef BENCH_COMMON_METER_H
#define BENCH_COMMON_METER_H

#include <stdbool.h>

#include "common/limits.h"

struct bench_meter;

/* The peaks are of the instructions that the kernels of `table` use, or of the best that
 * the CPU has. Destroy it with bench_meter_destroy(). */
struct bench_meter *bench_meter_create(const unsigned n_threads[BENCH_N_TEAMS],
                                       const char *table, bool is_quick);
void bench_meter_destroy(struct bench_meter *meter);

/* Fills all of it, from the best of several measurements each. Call this first. */
void bench_meter_limits(struct bench_meter *meter, struct bench_limits *limits);

enum { BENCH_MAX_SAMPLES = 64 };

/* Samples beside one piece of work; those that find no room are dropped. */
struct bench_samples {
    size_t n;
    struct bench_sample sample[BENCH_MAX_SAMPLES];
};

/* Measures once, for some tens of milliseconds. */
void bench_samples_add(struct bench_samples *samples, struct bench_meter *meter,
                       size_t team);

/* Each limit that `share` of its samples do not exceed: 0.5 for work whose median time
 * counts, 1 for work whose best does. */
struct bench_sample bench_samples_at(const struct bench_samples *samples, double share);

#endif
