/* SPDX-License-Identifier: MIT */
/*
 * report.h - for benchmarks: giving up, showing how far one is, and files of results.
 */
#ifndef BENCH_COMMON_REPORT_H
#define BENCH_COMMON_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What messages begin with. Each program has its own. */
extern const char bench_program[];

/* Says why on stderr and ends the process. */
void bench_give_up(const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 1, 2), noreturn))
#endif
    ;

/* A bar on a terminal, nothing elsewhere. */
void bench_show_progress(size_t n_done, size_t n_all, const char *what);

/* Sorts the numbers, of which there is one at least, and returns that which `share` of
 * them do not exceed: 0.5 is the median. */
uint64_t bench_percentile(uint64_t *values, size_t n, double share);
double bench_real_percentile(double *values, size_t n, double share);

/* Opens a file for writing; NULL if that is refused, and stderr says why. */
FILE *bench_open(const char *path);

/* The first lines of a drawing, up to its white background. "</svg>" ends it. */
void bench_svg_begin(FILE *file, int width, int height);

/* A bar with its label on the left and words on the right of it. */
struct bench_bar {
    int left;
    int top;
    double width;
    int height;
    int is_ours;
    const char *label;
    const char *words;
};

void bench_svg_bar(FILE *file, const struct bench_bar *bar);

#ifdef __cplusplus
}
#endif

#endif
