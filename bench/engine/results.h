/* SPDX-License-Identifier: MIT */
/*
 * results.h - what bench_engine measured, and what follows from it.
 *
 * Rates of a model are compared with what the machine could do at most, measured in the
 * same run: the integer units bound how fast a prompt is read, the memory how fast one
 * caller gets tokens.
 */
#ifndef BENCH_ENGINE_RESULTS_H
#define BENCH_ENGINE_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/limits.h"
#include "common/run.h"

enum {
    BENCH_N_CALLERS = 6,
    BENCH_MAX_CALLERS = 32,
    BENCH_MAX_MODELS = 2,
    BENCH_MAX_TARGETS = 8,
};

extern const unsigned bench_callers[BENCH_N_CALLERS];

/* The time from a call to its first token, and from each token to the next. */
struct bench_latency {
    size_t n_requests; /* 0: not measured */
    double first_p50_ms, first_p99_ms;
    double between_p50_ms, between_p99_ms;
};

struct bench_prefill {
    size_t n_tokens; /* what the context holds, if that is less than asked for */
    double tokens_per_s[BENCH_N_TEAMS];
};

struct bench_model {
    const char *id;      /* "shipped" or "2b" */
    const char *skipped; /* why there are no numbers, or NULL */
    char path[4096];
    uint64_t n_bytes; /* of the file */
    uint64_t
        n_token_bytes; /* that choosing a token reads: the ternary matrices, and the
                                head or, if it has one, its copy in eight bits */
    uint64_t macs_per_token; /* of the ternary matrices */
    double open_to_first_ms; /* file in the page cache, a prompt of 10 tokens */
    double anonymous_mb;     /* held at the end, cache of keys and values included */

    bool has_one_caller;
    struct bench_prefill short_prompt, long_prompt;
    double decode_tokens_per_s[BENCH_N_TEAMS];
    struct bench_sample beside[BENCH_N_TEAMS]; /* limits of the same seconds */

    bool has_callers;
    double callers_tokens_per_s[BENCH_N_CALLERS];
    struct bench_latency callers[BENCH_N_CALLERS];

    bool has_disturbance;
    size_t n_disturbing_tokens; /* of the prompt that arrives in the middle */
    double step_ms;             /* of as many prompt tokens as one step has */
    struct bench_latency quiet, disturbed;
};

struct bench_results {
    struct bench_run run;
    struct bench_limits limits;
    size_t n_models;
    struct bench_model models[BENCH_MAX_MODELS];
};

/* One caller's rates if nothing but the limit took time; 0 where it is not known. */
double bench_prefill_limit(const struct bench_limits *limits,
                           const struct bench_model *model, size_t team);
double bench_decode_limit(const struct bench_limits *limits,
                          const struct bench_model *model, size_t team);

/* Tokens per second in total, over those of one caller. */
double bench_gain(const struct bench_model *model, size_t row);

struct bench_target {
    char words[96];
    double value;
    bool is_met;
};

/* The targets that are set for a 2B model and for which there are numbers; returns how
 * many. Other models have none. */
size_t bench_targets(const struct bench_limits *limits, const struct bench_model *model,
                     struct bench_target targets[BENCH_MAX_TARGETS]);

void bench_write_table(FILE *file, const struct bench_results *results);
bool bench_write_json(FILE *file, const struct bench_results *results);
void bench_write_svg(FILE *file, const struct bench_results *results);

#endif
