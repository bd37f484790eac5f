/* SPDX-License-Identifier: MIT */
/*
 * report_table.c - the results for people.
 */
#include <inttypes.h>

#include "results.h"

/* A rate and, if there is a limit, which share of it that is. */
static void write_rate(FILE *file, double rate, double limit)
{
    fprintf(file, " %9.1f", rate);
    if (limit > 0)
        fprintf(file, " (%5.1f %%)", 100 * rate / limit);
    else
        fputs("          ", file);
}

static void write_one_caller(FILE *file, const struct bench_limits *limits,
                             const struct bench_model *model)
{
    fprintf(file,
            "  one caller, tokens/s, and the share of the limit\n"
            "  threads  prompt of %zu        prompt of %zu       one at a time\n",
            model->short_prompt.n_tokens, model->long_prompt.n_tokens);
    for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
        const double prefill = bench_prefill_limit(limits, model, team);
        const double decode = bench_decode_limit(limits, model, team);
        fprintf(file, "  %7u", limits->n_threads[team]);
        write_rate(file, model->short_prompt.tokens_per_s[team], prefill);
        write_rate(file, model->long_prompt.tokens_per_s[team], prefill);
        write_rate(file, model->decode_tokens_per_s[team], decode);
        fputc('\n', file);
    }
}

static void write_latency(FILE *file, const struct bench_latency *latency)
{
    if (latency->n_requests == 0)
        fputs("   no request ended in time", file);
    else
        fprintf(file, " %9.2f %9.2f   %9.2f %9.2f", latency->first_p50_ms,
                latency->first_p99_ms, latency->between_p50_ms,
                latency->between_p99_ms);
    fprintf(file, " %9zu\n", latency->n_requests);
}

static const char latency_heading[] = "first ms p50     p99     between p50     p99  "
                                      "requests\n";

static void write_callers(FILE *file, const struct bench_model *model)
{
    fprintf(file, "  callers  tokens/s  gain   %s", latency_heading);
    for (size_t row = 0; row < BENCH_N_CALLERS; row++) {
        fprintf(file, "  %7u %9.1f %5.2f", bench_callers[row],
                model->callers_tokens_per_s[row], bench_gain(model, row));
        write_latency(file, &model->callers[row]);
    }
}

static void write_disturbance(FILE *file, const struct bench_model *model)
{
    fprintf(file, "  4 callers                 %s", latency_heading);
    fprintf(file, "  %-24s", "alone");
    write_latency(file, &model->quiet);
    char words[40];
    snprintf(words, sizeof(words), "beside %zu-token prompts",
             model->n_disturbing_tokens);
    fprintf(file, "  %-24s", words);
    write_latency(file, &model->disturbed);
    fprintf(file, "  a step of prompt tokens takes %.2f ms\n", model->step_ms);
}

static void write_model(FILE *file, const struct bench_results *results,
                        const struct bench_model *model)
{
    if (model->skipped != NULL) {
        fprintf(file, "%s model: skipped: %s\n\n", model->id, model->skipped);
        return;
    }
    fprintf(
        file,
        "%s model: %.1f MB, %.1f million ternary products and %.1f MB read per token\n"
        "  open to first token %.1f ms; %.1f MB held beyond the file\n",
        model->id, (double)model->n_bytes / 1e6, (double)model->macs_per_token / 1e6,
        (double)model->n_token_bytes / 1e6, model->open_to_first_ms,
        model->anonymous_mb);
    if (model->has_one_caller) write_one_caller(file, &results->limits, model);
    if (model->has_callers) write_callers(file, model);
    if (model->has_disturbance) write_disturbance(file, model);
    struct bench_target targets[BENCH_MAX_TARGETS];
    const size_t n = bench_targets(&results->limits, model, targets);
    for (size_t i = 0; i < n; i++)
        fprintf(file, "  target %s: %s (%.3g)\n", targets[i].words,
                targets[i].is_met ? "met" : "MISSED", targets[i].value);
    fputc('\n', file);
}

void bench_write_table(FILE *file, const struct bench_results *results)
{
    const struct bench_limits *limits = &results->limits;
    bench_run_write(file, &results->run, limits->n_threads[BENCH_N_TEAMS - 1]);
    bench_write_limits(file, limits);
    for (size_t i = 0; i < results->n_models; i++)
        write_model(file, results, &results->models[i]);
}
