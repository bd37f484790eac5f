/* SPDX-License-Identifier: MIT */
/*
 * report_table.c - the results for people.
 */
#include <string.h>

#include "results.h"

/* "    24.0   6.0 GB/s  41 %" of one number of threads. */
static void write_rate(FILE *file, const struct bench_results *results,
                       const struct bench_result *result, size_t team)
{
    if (result->s[team] == 0) {
        fprintf(file, " | %21s", "");
        return;
    }
    const struct bench_rate rate = bench_rate_of(&results->limits, team, result);
    fprintf(file, " | %7.1f %7.1f ", rate.g_per_s, rate.gb_s);
    if (rate.limit != NULL)
        fprintf(file, "%3.0f %%", 100 * rate.share);
    else
        fprintf(file, "%5s", "");
}

static void write_limit(FILE *file, const struct bench_results *results,
                        const struct bench_result *result)
{
    const struct bench_rate rate = bench_rate_of(&results->limits, 0, result);
    fprintf(file, "  %s\n", rate.limit != NULL ? rate.limit : "");
}

static void write_threads(FILE *file, const struct bench_limits *limits,
                          const char *columns)
{
    fprintf(file, "%*s", 47, "");
    for (size_t t = 0; t < BENCH_N_TEAMS; t++)
        fprintf(file, " | %u thread%-13s", limits->n_threads[t],
                limits->n_threads[t] == 1 ? "" : "s");
    fprintf(file, "\n%-47s", columns);
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) fputs(" |     G/s    GB/s share", file);
    fputs("  limit (1 thread)\n", file);
}

/* "row of 2560: add, quantize", unless an operation before number `first` has that. */
static void write_operations_on(FILE *file, const struct bench_list *list, size_t first)
{
    const char *item = list->results[first].item;
    for (size_t i = 0; i < first; i++)
        if (strcmp(list->results[i].item, item) == 0) return;
    fprintf(file, "    %s:", item);
    for (size_t i = first; i < list->n; i++) {
        const bool is_first =
            i == first || list->results[i].name != list->results[i - 1].name;
        if (strcmp(list->results[i].item, item) != 0 || !is_first) continue;
        fprintf(file, "%s %s", i == first ? "" : ";", list->results[i].name);
    }
    fputc('\n', file);
}

static void write_operations(FILE *file, const struct bench_results *results)
{
    if (results->operations.n == 0) return;
    fprintf(file,
            "operations, table %s: 10^9 multiply-adds (MAC) or others (op) per second, "
            "bytes read, share of the limit\n",
            results->table);
    write_threads(file, &results->limits,
                  "  operation          from      x        ns each");
    for (size_t i = 0; i < results->operations.n; i++) {
        const struct bench_result *result = &results->operations.results[i];
        fprintf(file, "  %-18s %-6s %4zu %10.1f %-3s", result->name,
                result->is_from_memory ? "memory" : "cache", result->n_x,
                result->s[0] * 1e9, result->unit);
        for (size_t t = 0; t < BENCH_N_TEAMS; t++) write_rate(file, results, result, t);
        write_limit(file, results, result);
    }
    fputs("  x: activations of a product, or query heads; ns each: with 1 thread, a\n",
          file);
    for (size_t i = 0; i < results->operations.n; i++)
        write_operations_on(file, &results->operations, i);
    fputc('\n', file);
}

static void write_steps(FILE *file, const struct bench_results *results)
{
    if (results->model_skipped != NULL) {
        fprintf(file, "whole model: skipped: %s\n", results->model_skipped);
        return;
    }
    fprintf(file, "whole model %s\n", results->model_path);
    write_threads(file, &results->limits,
                  "  step      tokens  after    tokens/s, 1 / 2 thr.");
    for (size_t i = 0; i < results->steps.n; i++) {
        const struct bench_result *result = &results->steps.results[i];
        const double n = (double)result->n_x;
        fprintf(file, "  %-9s %6zu  %5zu   %9.1f %9.1f ", result->name, result->n_x,
                result->n_context, n / result->s[0], n / result->s[1]);
        for (size_t t = 0; t < BENCH_N_TEAMS; t++) write_rate(file, results, result, t);
        write_limit(file, results, result);
    }
}

void bench_write_table(FILE *file, const struct bench_results *results)
{
    const struct bench_limits *limits = &results->limits;
    bench_run_write(file, &results->run, limits->n_threads[BENCH_N_TEAMS - 1]);
    bench_write_limits(file, limits);
    write_operations(file, results);
    write_steps(file, results);
}
