/* SPDX-License-Identifier: MIT */
/*
 * sampling.c - a token from a row of logits, with the options that a caller has who sets
 * none, and with a temperature of 0. An item is a row of logits.
 */
#include <bitnet/engine.h>

#include "common/report.h"
#include "engine/sampler.h"
#include "operations.h"

void bench_fill_logits(void *items, size_t n_items)
{
    bench_fill_floats(items, n_items * BENCH_N_VOCAB);
}

static void sample(const struct bench_call *call, float temperature)
{
    const bitnet_generate_options usual = bitnet_generate_options_default();
    const struct bni_sampler sampler = {
        .penalties = {.repeat = usual.repeat_penalty, .last_n = usual.repeat_last_n},
        .temperature = temperature,
        .typical_p = usual.typical_p,
        .top_p = usual.top_p,
        .min_p = usual.min_p,
        .top_k = usual.top_k,
    };
    const size_t n_scratch = bni_sampler_scratch_candidates(BENCH_N_VOCAB);
    if (n_scratch * sizeof(struct bni_candidate) > BENCH_OUT_BYTES)
        bench_give_up("sampling wants room for %zu candidates", n_scratch);
    for (size_t i = 0; i < call->n_items; i++) {
        const struct bni_sample_row row = {
            .logits = (float *)(void *)call->items + i * BENCH_N_VOCAB,
            .n_vocab = BENCH_N_VOCAB,
            .scratch = call->out,
        };
        if (bni_sample(&sampler, &row) < 0) bench_give_up("sampling gave no token");
    }
}

void bench_run_greedy(const struct bench_call *call)
{
    sample(call, 0.0f);
}

void bench_run_sampling(const struct bench_call *call)
{
    sample(call, bitnet_generate_options_default().temperature);
}
