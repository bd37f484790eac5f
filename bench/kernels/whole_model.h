/* SPDX-License-Identifier: MIT */
/*
 * whole_model.h - steps of a model: one token, and a part of a prompt, after contexts of
 * several lengths.
 */
#ifndef BENCH_KERNELS_WHOLE_MODEL_H
#define BENCH_KERNELS_WHOLE_MODEL_H

#include <stdbool.h>

#include "common/meter.h"
#include "kernels/kernels.h"
#include "results.h"

/* Appends the steps of the model in this file. */
void bench_measure_model(const char *path, const struct bni_kernels *kernels,
                         const unsigned n_threads[BENCH_N_TEAMS],
                         struct bench_meter *meter, bool is_quick,
                         struct bench_list *list);

#endif
