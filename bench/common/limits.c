/* SPDX-License-Identifier: MIT */
/*
 * limits.c - see limits.h.
 */
#include "common/limits.h"

#include <stdbool.h>

struct bench_limits bench_limits_beside(const struct bench_limits *limits, size_t team,
                                        const struct bench_sample *sample)
{
    struct bench_limits beside = *limits;
    if (sample->memory_gb_s > 0) beside.memory.g_per_s[team] = sample->memory_gb_s;
    if (sample->integer_g_per_s > 0)
        beside.integer.g_per_s[team] = sample->integer_g_per_s;
    return beside;
}

/* Seconds for so much of what has this peak; 0 if there is none of it. Adds to
 * `is_known` whether the peak is known. */
static double seconds(const struct bench_peak *peak, size_t team, double amount,
                      bool *is_known)
{
    if (amount == 0) return 0;
    if (peak->name == NULL) *is_known = false;
    return peak->name == NULL ? 0 : amount / peak->g_per_s[team] / 1e9;
}

double bench_least_s(const struct bench_limits *limits, size_t team,
                     const struct bench_work *work, const char **name)
{
    bool is_known = true;
    const double memory_s =
        seconds(&limits->memory, team, work->memory_bytes, &is_known);
    const double cache_s = seconds(&limits->cache, team, work->cache_bytes, &is_known);
    const double integer_s =
        seconds(&limits->integer, team, work->n_integer, &is_known);
    const double float_s = seconds(&limits->fused, team, work->n_float, &is_known);
    double least_s = integer_s + float_s;
    *name = integer_s >= float_s ? limits->integer.name : limits->fused.name;
    if (cache_s > least_s) {
        least_s = cache_s;
        *name = limits->cache.name;
    }
    if (memory_s > least_s) {
        least_s = memory_s;
        *name = limits->memory.name;
    }
    if (is_known) return least_s;
    *name = NULL;
    return 0;
}

enum { N_PEAKS = 5 };

static void list_peaks(const struct bench_limits *limits,
                       const struct bench_peak *peaks[N_PEAKS])
{
    peaks[0] = &limits->memory;
    peaks[1] = &limits->cache;
    peaks[2] = &limits->integer;
    peaks[3] = &limits->narrow;
    peaks[4] = &limits->fused;
}

void bench_write_limits(FILE *file, const struct bench_limits *limits)
{
    static const char *const units[N_PEAKS] = {"GB/s", "GB/s", "GMAC/s", "GMAC/s",
                                               "GMAC/s"};
    const struct bench_peak *peaks[N_PEAKS];
    list_peaks(limits, peaks);
    fprintf(file, "this machine at most       %u thread%s  %u thread%s\n",
            limits->n_threads[0], limits->n_threads[0] == 1 ? " " : "s",
            limits->n_threads[1], limits->n_threads[1] == 1 ? "" : "s");
    for (size_t i = 0; i < N_PEAKS; i++) {
        if (peaks[i]->name == NULL) continue;
        fprintf(file, "  %-22s %10.1f %10.1f  %s\n", peaks[i]->name,
                peaks[i]->g_per_s[0], peaks[i]->g_per_s[1], units[i]);
    }
    fputc('\n', file);
}

json_t *bench_limits_to_json(const struct bench_limits *limits)
{
    static const char *const keys[N_PEAKS] = {"memory_gb_s", "cache_gb_s",
                                              "integer_gmac_s", "narrow_gmac_s",
                                              "fused_gmac_s"};
    const struct bench_peak *peaks[N_PEAKS];
    list_peaks(limits, peaks);
    json_t *rows = json_array();
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        json_t *row = json_pack("{s:i}", "n_threads", (int)limits->n_threads[t]);
        json_t *names = json_object();
        for (size_t i = 0; i < N_PEAKS; i++) {
            if (peaks[i]->name == NULL) continue;
            json_object_set_new(row, keys[i], json_real(peaks[i]->g_per_s[t]));
            json_object_set_new(names, keys[i], json_string(peaks[i]->name));
        }
        json_object_set_new(row, "names", names);
        json_array_append_new(rows, row);
    }
    return rows;
}
