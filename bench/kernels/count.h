/* SPDX-License-Identifier: MIT */
/*
 * count.h - each operation once, for somebody who counts instructions.
 */
#ifndef BENCH_KERNELS_COUNT_H
#define BENCH_KERNELS_COUNT_H

#include <stdbool.h>
#include <stdio.h>

#include "kernels/kernels.h"

/*
 * Makes one call of each operation and number of activations, up to 32, and writes what
 * they were, in the same order, as JSON. Each call is made by a function that is called
 * bench_counted_call in the symbol table.
 */
bool bench_count_operations(const struct bni_kernels *kernels, FILE *file);

#endif
