/* SPDX-License-Identifier: MIT */
/*
 * run.h - for benchmarks: on what machine a run was, how long it took, and how much
 * else ran there. Every report begins with that.
 */
#ifndef BENCH_COMMON_RUN_H
#define BENCH_COMMON_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench_run {
    bool is_quick; /* the numbers mean nothing */
    uint64_t begin_ns;
    double foreign_begin_s; /* processor time that others had used by then */
    double elapsed_s;
    double n_foreign_cpus; /* kept busy by others meanwhile, on average */
};

void bench_run_begin(struct bench_run *run, bool is_quick);
void bench_run_end(struct bench_run *run);

/* A few lines, and an object to which the caller adds what was measured. */
void bench_run_write(FILE *file, const struct bench_run *run, unsigned n_threads);
json_t *bench_run_to_json(const struct bench_run *run);

/* Writes the object, which is then gone; false if that fails, also if it is NULL. */
bool bench_write_object(FILE *file, json_t *object);

#endif
