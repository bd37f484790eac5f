/* SPDX-License-Identifier: MIT */
/*
 * measure.h - each operation for itself: how long it takes.
 */
#ifndef BENCH_KERNELS_MEASURE_H
#define BENCH_KERNELS_MEASURE_H

#include <stdbool.h>

#include "common/meter.h"
#include "operations.h"
#include "results.h"

/* Appends every operation, from where and with how many activations its entry says,
 * measured with each number of threads. */
void bench_measure_operations(const struct bni_kernels *kernels,
                              const unsigned n_threads[BENCH_N_TEAMS],
                              struct bench_meter *meter, bool is_quick,
                              struct bench_list *list);

#endif
