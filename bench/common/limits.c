/* SPDX-License-Identifier: MIT */
/*
 * limits.c - see limits.h.
 *
 * Memory: every thread adds up its part of a buffer that no cache holds, from one end to
 * the other or from four places at once, whichever is faster. The rest is in peaks.c. The best of several repetitions is the limit, because whatever else the
 * machine does only takes away.
 */
#include "common/limits.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/parts.h"
#include "common/peaks.h"
#include "common/report.h"

enum { LINE_WORDS = 8, MAX_STREAMS = 4 };

/* Steps take a few milliseconds: less than the system lets a thread run at a stretch. */
struct effort {
    size_t n_bytes;
    size_t n_steps;
    uint64_t budget_ns; /* for each limit */
};

static const struct effort full = {(size_t)256 << 20, 1000000, 500000000};
static const struct effort quick = {(size_t)4 << 20, 10000, 1000000};

struct reading {
    const uint64_t *words;
    size_t n_streams;                    /* of each part */
    size_t n_words;                      /* of each stream */
    uint64_t sums[BNI_TEAM_MAX_THREADS]; /* so that the reading is for something */
};

static void read_words(void *user, size_t part)
{
    struct reading *reading = user;
    const size_t n_words = reading->n_words;
    const uint64_t *words = reading->words + part * reading->n_streams * n_words;
    uint64_t sums[LINE_WORDS] = {0};
    for (size_t i = 0; i < n_words; i += LINE_WORDS) {
        for (size_t stream = 0; stream < reading->n_streams; stream++) {
            const uint64_t *line = words + stream * n_words + i;
            for (size_t k = 0; k < LINE_WORDS; k++) sums[k] += line[k];
        }
    }
    for (size_t k = 0; k < LINE_WORDS; k++) reading->sums[part] += sums[k];
}

static double reading_gb_s(const uint64_t *words, struct bni_team *team,
                           size_t n_streams, const struct effort *effort)
{
    static struct reading reading; /* large for a stack */
    const size_t n = bni_team_size(team) * n_streams;
    reading.words = words;
    reading.n_streams = n_streams;
    reading.n_words = effort->n_bytes / sizeof(*words) / n / LINE_WORDS * LINE_WORDS;
    const double s = bench_best_time_s(team, read_words, &reading, effort->budget_ns);
    return (double)(n * reading.n_words * sizeof(*words)) / s / 1e9;
}

static void measure_memory(struct bench_limits *limits, struct bni_team **teams,
                           const struct effort *effort)
{
    uint64_t *words = malloc(effort->n_bytes);
    if (words == NULL) bench_give_up("out of memory for %zu bytes", effort->n_bytes);
    memset(words, 1, effort->n_bytes);
    limits->memory.name = "reading memory";
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        const double one = reading_gb_s(words, teams[t], 1, effort);
        const double more = reading_gb_s(words, teams[t], MAX_STREAMS, effort);
        limits->memory.g_per_s[t] = one > more ? one : more;
    }
    free(words);
}

struct repetition {
    const struct bench_loop *loop;
    size_t n_steps;
    const uint8_t *data;
};

static void repeat(void *user, size_t part)
{
    const struct repetition *repetition = user;
    uint8_t sink[BENCH_SINK_BYTES];
    (void)part;
    repetition->loop->run(repetition->n_steps, repetition->data, sink);
}

static void measure_loop(struct bench_limits *limits, struct bni_team **teams,
                         const struct effort *effort, const struct bench_loop *loop,
                         struct bench_peak *peak)
{
    static uint8_t data[BENCH_LOAD_BYTES];
    memset(data, 1, sizeof(data));
    peak->name = loop->name;
    if (loop->name == NULL) return;
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        struct repetition repetition = {loop, effort->n_steps, data};
        if (loop->per_step >= BENCH_LOAD_BYTES) repetition.n_steps /= 32;
        const double n =
            (double)repetition.n_steps * loop->per_step * limits->n_threads[t];
        const double s =
            bench_best_time_s(teams[t], repeat, &repetition, effort->budget_ns);
        peak->g_per_s[t] = n / s / 1e9;
    }
}

void bench_measure_limits(struct bench_limits *limits, const char *table, bool is_quick)
{
    const struct effort *effort = is_quick ? &quick : &full;
    const struct bench_instructions *instructions = bench_instructions_of(table);
    struct bni_team *teams[BENCH_N_TEAMS];
    for (size_t t = 0; t < BENCH_N_TEAMS; t++)
        teams[t] = bench_team(limits->n_threads[t]);
    measure_memory(limits, teams, effort);
    if (instructions != NULL) {
        measure_loop(limits, teams, effort, &instructions->integer, &limits->integer);
        measure_loop(limits, teams, effort, &instructions->narrow, &limits->narrow);
        measure_loop(limits, teams, effort, &instructions->fused, &limits->fused);
        measure_loop(limits, teams, effort, &instructions->load, &limits->cache);
    }
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) bni_team_destroy(teams[t]);
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
