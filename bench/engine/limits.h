/* SPDX-License-Identifier: MIT */
/*
 * limits.h - what this machine does at most: reading memory, multiplying small integers.
 */
#ifndef BENCH_ENGINE_LIMITS_H
#define BENCH_ENGINE_LIMITS_H

#include "results.h"

/* Fills all but n_threads, which says with how many. */
void bench_measure_limits(struct bench_limits *limits, bool is_quick);

#endif
