/* SPDX-License-Identifier: MIT */
/*
 * results.h - what was measured, and what follows from it.
 *
 * A cell is one workload with one peer: the values of each metric in each round. The
 * median of the rounds is what counts.
 */
#ifndef BENCH_THREADS_RESULTS_H
#define BENCH_THREADS_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "peer.h"
#include "workload.h"

enum { BENCH_MAX_ROUNDS = 9, BENCH_MAX_PEERS = 12 };

struct bench_cell {
    const struct bench_peer *peer; /* NULL: the machine itself */
    size_t n_rounds;               /* that were measured well */
    bool has[BENCH_MAX_METRICS];   /* whether the metric was reported */
    double values[BENCH_MAX_METRICS][BENCH_MAX_ROUNDS];
};

struct bench_row {
    const struct bench_workload *workload;
    size_t n_cells;
    struct bench_cell cells[BENCH_MAX_PEERS];
};

struct bench_results {
    bool is_quick;
    size_t n_rounds;
    double elapsed_s;
    double n_foreign_cpus; /* kept busy by others meanwhile, on average */
    size_t n_rows;
    struct bench_row *rows;
};

/* The median of the metric; `has` and n_rounds say whether there is one. */
double bench_cell_median(const struct bench_cell *cell, size_t metric);

/* Ours, or NULL where we do not take part or failed. */
const struct bench_cell *bench_row_ours(const struct bench_row *row);

/* The best of the others by the first metric, or NULL. */
const struct bench_cell *bench_row_best_peer(const struct bench_row *row,
                                             bool bounded_only);

/* How many times as good as `peer` ours is, by the first metric: above 1 is better. */
double bench_row_advantage(const struct bench_row *row, const struct bench_cell *peer);

enum bench_verdict { BENCH_VERDICT_UNKNOWN, BENCH_VERDICT_MISSED, BENCH_VERDICT_MET };

enum bench_verdict bench_row_verdict(const struct bench_row *row,
                                     const struct bench_target *target);

/* The name of a cell's peer. */
const char *bench_cell_name(const struct bench_cell *cell);

void bench_write_table(FILE *file, const struct bench_results *results);
bool bench_write_json(FILE *file, const struct bench_results *results);
void bench_write_svg(FILE *file, const struct bench_results *results);

#endif
