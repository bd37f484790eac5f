/* SPDX-License-Identifier: MIT */
/*
 * parts.h - for benchmarks: the same work on each thread of a compute team, and how long
 * that takes.
 */
#ifndef BENCH_COMMON_PARTS_H
#define BENCH_COMMON_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "threads/team.h"

/* Does part number `part` of as many as the team has threads. */
typedef void (*bench_part_fn)(void *user, size_t part);

/* Creates a team; gives up if there cannot be one. */
struct bni_team *bench_team(unsigned n_threads);

/* Does every part, on a thread each, and returns the seconds until all are done. */
double bench_time_s(struct bni_team *team, bench_part_fn work, void *user);

/*
 * The least of as many times as `budget_ns` has room for, of two at least: whatever else
 * the machine does only makes a time longer.
 */
double bench_best_time_s(struct bni_team *team, bench_part_fn work, void *user,
                         uint64_t budget_ns);

#endif
