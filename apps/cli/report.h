/* SPDX-License-Identifier: MIT */
/*
 * report.h - what a run measured, as a table for people or JSON for programs.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "batch.h"

struct report {
    const bitnet_model_info *model;
    const struct serving *serving;
    const struct batch *together;
    const struct batch *alone;  /* one at a time; no requests: not measured */
    size_t first_alone;         /* which of together's requests alone begins with */
    unsigned n_compute_threads; /* 0: not told */
    bool is_verified;           /* alone has all requests, and they were compared */
    bool is_interrupted;
};

/* How request `index` compares with the same request alone. */
enum comparison { COMPARISON_NONE, COMPARISON_EQUAL, COMPARISON_DIFFERENT };
enum comparison report_compare(const struct report *report, size_t index);

/* Returns whether every request that was compared is equal, and at least one was. */
bool report_is_equal(const struct report *report);

void report_print_table(const struct report *report, FILE *out);

/* Returns false, with one line on standard error, if there is no memory for it. */
bool report_print_json(const struct report *report, FILE *out);

#endif
