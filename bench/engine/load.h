/* SPDX-License-Identifier: MIT */
/*
 * load.h - requests to an engine, and when their tokens came.
 */
#ifndef BENCH_ENGINE_LOAD_H
#define BENCH_ENGINE_LOAD_H

#include <bitnet.h>

#include "common/meter.h"
#include "results.h"

/* How much of it. */
struct bench_effort {
    size_t n_rounds;         /* of each rate of one caller; the median counts */
    size_t n_decoded;        /* tokens of one caller */
    size_t n_requests;       /* of each of several callers, one after the other */
    size_t n_caller_tokens;  /* of each of those requests */
    uint64_t disturbance_ms; /* of the measurement beside long prompts */
};

/* A prompt of random tokens, of which no two begin alike. */
struct bench_request {
    size_t n_prompt_tokens;
    size_t n_tokens; /* to generate */
    uint64_t seed;
    bool is_greedy;
    uint64_t client_id; /* the engine shares out its steps among these */
};

struct bench_timing {
    uint64_t first_ns; /* from the call */
    uint64_t rest_ns;  /* from the first token to the last */
};

/*
 * Generates and waits. `between_ns`, unless NULL, gets the n_tokens - 1 times from each
 * token to the next.
 */
struct bench_timing bench_generate(bitnet_engine *engine, uint32_t n_vocab,
                                   const struct bench_request *request,
                                   uint64_t *between_ns);

/* Fills has_one_caller and what belongs to it, for each number of threads, and the limits
 * between the requests. */
void bench_one_caller(bitnet_engine *engine, const bitnet_model_info *info,
                      const struct bench_effort *effort, const unsigned *n_threads,
                      struct bench_meter *meter, struct bench_model *model);

/* Fills row `row` of what several callers get. */
void bench_many_callers(bitnet_engine *engine, const bitnet_model_info *info,
                        const struct bench_effort *effort, size_t row,
                        struct bench_model *model);

/* Fills has_disturbance and what belongs to it. */
void bench_disturbance(bitnet_engine *engine, const bitnet_model_info *info,
                       const struct bench_effort *effort, struct bench_model *model);

#endif
