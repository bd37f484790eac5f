/* SPDX-License-Identifier: MIT */
/*
 * peaks.h - for benchmarks: loops that do nothing but what they are named after, as fast
 * as the CPU can.
 */
#ifndef BENCH_COMMON_PEAKS_H
#define BENCH_COMMON_PEAKS_H

#include <stddef.h>
#include <stdint.h>

enum {
    /* What `load` reads over and over, in bytes: a first-level cache holds it. */
    BENCH_LOAD_BYTES = 16384,
    /* Bytes that a loop keeps its registers in, so that it is for something. */
    BENCH_SINK_BYTES = 64,
};

/* One instruction, or a few that belong together, again and again. */
struct bench_loop {
    const char *name; /* NULL: there is none */
    /* Runs `n_steps` times over. `data` is BENCH_LOAD_BYTES, and written to by none. */
    void (*run)(size_t n_steps, const uint8_t *data, uint8_t *sink);
    double per_step; /* multiply-adds, or bytes read */
};

struct bench_instructions {
    const char *table; /* of the kernels that use these */
    struct bench_loop integer;
    struct bench_loop narrow;
    struct bench_loop fused;
    struct bench_loop load;
};

/* Returns what the kernels of that table use; for a table that is not known the best
 * that this CPU has; NULL if none is known here. */
const struct bench_instructions *bench_instructions_of(const char *table);

#endif
