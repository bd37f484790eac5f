/* SPDX-License-Identifier: MIT */
/*
 * results.c - see results.h.
 */
#include "results.h"

#include <string.h>

/* A file below this may lie in a cache, whose bandwidth is not that of the memory. */
static const uint64_t cached_bytes = UINT64_C(256) << 20;

const unsigned bench_callers[BENCH_N_CALLERS] = {1, 2, 4, 8, 16, 32};

double bench_prefill_limit(const struct bench_limits *limits,
                           const struct bench_model *model, size_t team)
{
    const struct bench_limits beside =
        bench_limits_beside(limits, team, &model->beside[team]);
    return beside.integer.g_per_s[team] * 1e9 / (double)model->macs_per_token;
}

double bench_decode_limit(const struct bench_limits *limits,
                          const struct bench_model *model, size_t team)
{
    if (model->n_bytes < cached_bytes) return 0;
    const struct bench_limits beside =
        bench_limits_beside(limits, team, &model->beside[team]);
    return beside.memory.g_per_s[team] * 1e9 / (double)model->n_token_bytes;
}

double bench_gain(const struct bench_model *model, size_t row)
{
    return model->callers_tokens_per_s[row] / model->callers_tokens_per_s[0];
}

static void add(struct bench_target *targets, size_t *n, const char *words,
                double value, bool is_met)
{
    struct bench_target *target = &targets[(*n)++];
    snprintf(target->words, sizeof(target->words), "%s", words);
    target->value = value;
    target->is_met = is_met;
}

size_t bench_targets(const struct bench_limits *limits, const struct bench_model *model,
                     struct bench_target targets[BENCH_MAX_TARGETS])
{
    size_t n = 0;
    if (strcmp(model->id, "2b") != 0 || model->skipped != NULL) return 0;
    if (model->has_one_caller) {
        for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
            const double limit = bench_prefill_limit(limits, model, team);
            char words[sizeof(targets->words)];
            if (limit == 0) continue;
            const double share = model->long_prompt.tokens_per_s[team] / limit;
            snprintf(words, sizeof(words),
                     "long prompt, %u thread%s: 0.5 of the integer peak",
                     limits->n_threads[team], limits->n_threads[team] == 1 ? "" : "s");
            add(targets, &n, words, share, share >= 0.5);
        }
        const double limit = bench_decode_limit(limits, model, BENCH_N_TEAMS - 1);
        const double share =
            limit > 0 ? model->decode_tokens_per_s[BENCH_N_TEAMS - 1] / limit : 0;
        if (limit > 0)
            add(targets, &n, "one caller's tokens: 0.9 of the memory's bandwidth",
                share, share >= 0.9);
    }
    for (size_t row = 0; model->has_callers && row < BENCH_N_CALLERS; row++) {
        const double gain = bench_gain(model, row);
        if (bench_callers[row] == 4)
            add(targets, &n, "4 callers: 3.7 times one", gain, gain >= 3.7);
        if (bench_callers[row] == 16)
            add(targets, &n, "16 callers: 10 times one", gain, gain >= 10);
    }
    if (model->has_disturbance && model->disturbed.n_requests > 0) {
        const double steps = model->disturbed.first_p99_ms / model->step_ms;
        add(targets, &n, "first token beside a long prompt: under 1.5 steps, p99",
            steps, steps < 1.5);
    }
    add(targets, &n, "open to first token: under 500 ms", model->open_to_first_ms,
        model->open_to_first_ms < 500);
    return n;
}
