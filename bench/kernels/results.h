/* SPDX-License-Identifier: MIT */
/*
 * results.h - what bench_kernels measured: work, and how long it took.
 *
 * An item of an operation and a step of the whole model are alike in this: each reads so
 * many bytes, does so much arithmetic, and takes so long with one thread and with all.
 * Whatever a report says follows from these and from the machine's limits.
 */
#ifndef BENCH_KERNELS_RESULTS_H
#define BENCH_KERNELS_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/limits.h"
#include "common/run.h"

enum { BENCH_MAX_RESULTS = 256, BENCH_N_CONTEXTS = 4 };

struct bench_result {
    const char *name;
    const char *item; /* what the work and the times are for */
    const char *unit; /* of the arithmetic: "MAC" or "op" */
    bool is_from_memory;
    size_t n_x;       /* activations of a product, tokens of a step */
    size_t n_context; /* of a step: tokens before these */
    struct bench_work work;
    double s[BENCH_N_TEAMS]; /* 0: not measured with so many threads */
    struct bench_sample beside[BENCH_N_TEAMS]; /* limits of the same seconds, if any */
};

struct bench_list {
    size_t n;
    struct bench_result results[BENCH_MAX_RESULTS];
};

struct bench_results {
    struct bench_run run;
    struct bench_limits limits;
    const char *table; /* of kernels */
    struct bench_list operations;
    const char *model_path;
    const char *model_skipped; /* why there are no steps, or NULL */
    struct bench_list steps;
};

/* What a result says. */
struct bench_rate {
    double g_per_s;    /* arithmetic */
    double gb_s;       /* read */
    double intensity;  /* arithmetic for each byte */
    double share;      /* of the limit; 0 if that is not known */
    const char *limit; /* the one that binds, or NULL */
};

struct bench_rate bench_rate_of(const struct bench_limits *limits, size_t team,
                                const struct bench_result *result);

/* Appends a result of zeros but for what every one has, and returns it. */
struct bench_result *bench_list_add(struct bench_list *list, const char *name,
                                    const char *item, const char *unit);

void bench_write_table(FILE *file, const struct bench_results *results);
bool bench_write_json(FILE *file, const struct bench_results *results);
void bench_write_svg(FILE *file, const struct bench_results *results);

#endif
