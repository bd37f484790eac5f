/* SPDX-License-Identifier: MIT */
/*
 * meter.c - see meter.h.
 *
 * Memory: every thread adds up its part of a buffer that no cache holds, from one end to
 * the other or from four places at once, whichever is faster. The rest is in peaks.c.
 * The best of several repetitions is the limit, because whatever else the machine does
 * only takes away.
 */
#include "common/meter.h"

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

struct bench_meter {
    const struct effort *effort;
    const struct bench_instructions *instructions; /* or NULL */
    struct bni_team *teams[BENCH_N_TEAMS];
    uint64_t *words;
    size_t n_streams[BENCH_N_TEAMS]; /* of each thread: what was faster */
};

struct bench_meter *bench_meter_create(const unsigned n_threads[BENCH_N_TEAMS],
                                       const char *table, bool is_quick)
{
    struct bench_meter *meter = calloc(1, sizeof(*meter));
    if (meter == NULL) bench_give_up("out of memory");
    meter->effort = is_quick ? &quick : &full;
    meter->instructions = bench_instructions_of(table);
    meter->words = malloc(meter->effort->n_bytes);
    if (meter->words == NULL)
        bench_give_up("out of memory for %zu bytes", meter->effort->n_bytes);
    memset(meter->words, 1, meter->effort->n_bytes);
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        meter->teams[t] = bench_team(n_threads[t]);
        meter->n_streams[t] = 1;
    }
    return meter;
}

void bench_meter_destroy(struct bench_meter *meter)
{
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) bni_team_destroy(meter->teams[t]);
    free(meter->words);
    free(meter);
}

/* ---- reading memory ---------------------------------------------------------------- */

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

/* The best of what `budget_ns` has room for, or of one time if that is 0. */
static double best_s(struct bni_team *team, bench_part_fn work, void *user,
                     uint64_t budget_ns)
{
    return budget_ns == 0 ? bench_time_s(team, work, user)
                          : bench_best_time_s(team, work, user, budget_ns);
}

static double reading_gb_s(const struct bench_meter *meter, size_t team,
                           size_t n_streams, uint64_t budget_ns)
{
    static struct reading reading; /* large for a stack */
    const size_t n = bni_team_size(meter->teams[team]) * n_streams;
    const size_t n_all = meter->effort->n_bytes / sizeof(*meter->words);
    reading.words = meter->words;
    reading.n_streams = n_streams;
    reading.n_words = n_all / n / LINE_WORDS * LINE_WORDS;
    const double s = best_s(meter->teams[team], read_words, &reading, budget_ns);
    return (double)(n * reading.n_words * sizeof(*meter->words)) / s / 1e9;
}

static void measure_memory(struct bench_meter *meter, struct bench_limits *limits)
{
    const uint64_t budget_ns = meter->effort->budget_ns;
    limits->memory.name = "reading memory";
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        const double one = reading_gb_s(meter, t, 1, budget_ns);
        const double more = reading_gb_s(meter, t, MAX_STREAMS, budget_ns);
        meter->n_streams[t] = one > more ? 1 : MAX_STREAMS;
        limits->memory.g_per_s[t] = one > more ? one : more;
    }
}

/* ---- instructions ------------------------------------------------------------------ */

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

static double loop_g_per_s(const struct bench_meter *meter, size_t team,
                           const struct bench_loop *loop, uint64_t budget_ns)
{
    static uint8_t data[BENCH_LOAD_BYTES];
    struct repetition repetition = {loop, meter->effort->n_steps, data};
    memset(data, 1, sizeof(data));
    if (loop->per_step >= BENCH_LOAD_BYTES) repetition.n_steps /= 32;
    const double n =
        (double)repetition.n_steps * loop->per_step * bni_team_size(meter->teams[team]);
    return n / best_s(meter->teams[team], repeat, &repetition, budget_ns) / 1e9;
}

static void measure_loop(const struct bench_meter *meter, const struct bench_loop *loop,
                         struct bench_peak *peak)
{
    peak->name = loop->name;
    for (size_t t = 0; t < BENCH_N_TEAMS && loop->name != NULL; t++)
        peak->g_per_s[t] = loop_g_per_s(meter, t, loop, meter->effort->budget_ns);
}

void bench_meter_limits(struct bench_meter *meter, struct bench_limits *limits)
{
    const struct bench_instructions *instructions = meter->instructions;
    for (size_t t = 0; t < BENCH_N_TEAMS; t++)
        limits->n_threads[t] = bni_team_size(meter->teams[t]);
    measure_memory(meter, limits);
    if (instructions == NULL) return;
    measure_loop(meter, &instructions->integer, &limits->integer);
    measure_loop(meter, &instructions->narrow, &limits->narrow);
    measure_loop(meter, &instructions->fused, &limits->fused);
    measure_loop(meter, &instructions->load, &limits->cache);
}

/* ---- beside work --------------------------------------------------------------------- */

static struct bench_sample measure_once(const struct bench_meter *meter, size_t team)
{
    const struct bench_instructions *instructions = meter->instructions;
    struct bench_sample sample = {
        .memory_gb_s = reading_gb_s(meter, team, meter->n_streams[team], 0)};
    if (instructions != NULL && instructions->integer.name != NULL)
        sample.integer_g_per_s = loop_g_per_s(meter, team, &instructions->integer, 0);
    return sample;
}

void bench_samples_add(struct bench_samples *samples, struct bench_meter *meter,
                       size_t team)
{
    if (samples->n < BENCH_MAX_SAMPLES)
        samples->sample[samples->n++] = measure_once(meter, team);
}

struct bench_sample bench_samples_at(const struct bench_samples *samples, double share)
{
    double memory[BENCH_MAX_SAMPLES];
    double integer[BENCH_MAX_SAMPLES];
    if (samples->n == 0) return (struct bench_sample){0};
    for (size_t i = 0; i < samples->n; i++) {
        memory[i] = samples->sample[i].memory_gb_s;
        integer[i] = samples->sample[i].integer_g_per_s;
    }
    return (struct bench_sample){bench_real_percentile(memory, samples->n, share),
                                 bench_real_percentile(integer, samples->n, share)};
}
