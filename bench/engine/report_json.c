/* SPDX-License-Identifier: MIT */
/*
 * report_json.c - the results for programs, not rounded.
 */
#include <jansson.h>

#include "results.h"

static json_t *latency_to_json(const struct bench_latency *latency)
{
    json_t *object = json_pack("{s:I}", "n_requests", (json_int_t)latency->n_requests);
    if (latency->n_requests == 0) return object;
    json_object_set_new(object, "first_p50_ms", json_real(latency->first_p50_ms));
    json_object_set_new(object, "first_p99_ms", json_real(latency->first_p99_ms));
    json_object_set_new(object, "between_p50_ms", json_real(latency->between_p50_ms));
    json_object_set_new(object, "between_p99_ms", json_real(latency->between_p99_ms));
    return object;
}

/* A rate, and its share of a limit that is known. */
static json_t *rate_to_json(double rate, double limit)
{
    json_t *object = json_pack("{s:f}", "tokens_per_s", rate);
    if (limit > 0)
        json_object_set_new(object, "share_of_limit", json_real(rate / limit));
    return object;
}

static json_t *one_caller_to_json(const struct bench_limits *limits,
                                  const struct bench_model *model)
{
    json_t *rows = json_array();
    for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
        const double prefill = bench_prefill_limit(limits, model, team);
        const double decode = bench_decode_limit(limits, model, team);
        json_array_append_new(
            rows,
            json_pack("{s:i, s:I, s:o, s:I, s:o, s:o}", "n_threads",
                      (int)limits->n_threads[team], "n_short_prompt",
                      (json_int_t)model->short_prompt.n_tokens, "short_prompt",
                      rate_to_json(model->short_prompt.tokens_per_s[team], prefill),
                      "n_long_prompt", (json_int_t)model->long_prompt.n_tokens,
                      "long_prompt",
                      rate_to_json(model->long_prompt.tokens_per_s[team], prefill),
                      "decode",
                      rate_to_json(model->decode_tokens_per_s[team], decode)));
    }
    return rows;
}

static json_t *callers_to_json(const struct bench_model *model)
{
    json_t *rows = json_array();
    for (size_t row = 0; row < BENCH_N_CALLERS; row++)
        json_array_append_new(rows, json_pack("{s:i, s:f, s:f, s:o}", "n_callers",
                                              (int)bench_callers[row], "tokens_per_s",
                                              model->callers_tokens_per_s[row], "gain",
                                              bench_gain(model, row), "latency",
                                              latency_to_json(&model->callers[row])));
    return rows;
}

static json_t *targets_to_json(const struct bench_limits *limits,
                               const struct bench_model *model)
{
    struct bench_target targets[BENCH_MAX_TARGETS];
    const size_t n = bench_targets(limits, model, targets);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:f, s:s}", "words", targets[i].words,
                                        "value", targets[i].value, "verdict",
                                        targets[i].is_met ? "met" : "missed"));
    return list;
}

static json_t *model_to_json(const struct bench_limits *limits,
                             const struct bench_model *model)
{
    json_t *object = json_pack("{s:s}", "id", model->id);
    if (model->skipped != NULL) {
        json_object_set_new(object, "skipped", json_string(model->skipped));
        return object;
    }
    json_object_set_new(object, "n_bytes", json_integer((json_int_t)model->n_bytes));
    json_object_set_new(object, "n_token_bytes",
                        json_integer((json_int_t)model->n_token_bytes));
    json_object_set_new(object, "macs_per_token",
                        json_integer((json_int_t)model->macs_per_token));
    json_object_set_new(object, "open_to_first_ms", json_real(model->open_to_first_ms));
    json_object_set_new(object, "anonymous_mb", json_real(model->anonymous_mb));
    if (model->has_one_caller)
        json_object_set_new(object, "one_caller", one_caller_to_json(limits, model));
    if (model->has_callers)
        json_object_set_new(object, "callers", callers_to_json(model));
    if (model->has_disturbance)
        json_object_set_new(object, "long_prompt",
                            json_pack("{s:I, s:f, s:o, s:o}", "n_prompt_tokens",
                                      (json_int_t)model->n_disturbing_tokens, "step_ms",
                                      model->step_ms, "alone",
                                      latency_to_json(&model->quiet), "beside",
                                      latency_to_json(&model->disturbed)));
    json_object_set_new(object, "targets", targets_to_json(limits, model));
    return object;
}

bool bench_write_json(FILE *file, const struct bench_results *results)
{
    json_t *models = json_array();
    for (size_t i = 0; i < results->n_models; i++)
        json_array_append_new(models,
                              model_to_json(&results->limits, &results->models[i]));
    json_t *root = bench_run_to_json(&results->run);
    json_object_set_new(root, "limits", bench_limits_to_json(&results->limits));
    json_object_set_new(root, "models", models);
    return bench_write_object(file, root);
}
