/* SPDX-License-Identifier: MIT */
/*
 * report_json.c - the results for programs, not rounded.
 */
#include <jansson.h>
#include <string.h>

#include "results.h"

static json_t *rate_to_json(const struct bench_results *results,
                            const struct bench_result *result, size_t team)
{
    const struct bench_rate rate = bench_rate_of(&results->limits, team, result);
    json_t *object =
        json_pack("{s:i, s:f, s:f, s:f}", "n_threads",
                  (int)results->limits.n_threads[team], "seconds", result->s[team],
                  "g_per_s", rate.g_per_s, "gb_s", rate.gb_s);
    if (rate.limit != NULL) {
        json_object_set_new(object, "share_of_limit", json_real(rate.share));
        json_object_set_new(object, "limit", json_string(rate.limit));
    }
    return object;
}

static json_t *result_to_json(const struct bench_results *results,
                              const struct bench_result *result)
{
    const struct bench_work *work = &result->work;
    json_t *rates = json_array();
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
        if (result->s[t] > 0)
            json_array_append_new(rates, rate_to_json(results, result, t));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:o}", "name",
                     result->name, "item", result->item, "unit", result->unit, "from",
                     result->is_from_memory ? "memory" : "cache", "n_x",
                     (json_int_t)result->n_x, "n_context",
                     (json_int_t)result->n_context, "arithmetic",
                     work->n_integer + work->n_float, "bytes",
                     work->memory_bytes + work->cache_bytes, "rates", rates);
}

static json_t *list_to_json(const struct bench_results *results,
                            const struct bench_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(array, result_to_json(results, &list->results[i]));
    return array;
}

bool bench_write_json(FILE *file, const struct bench_results *results)
{
    json_t *root = bench_run_to_json(&results->run);
    json_object_set_new(root, "table", json_string(results->table));
    json_object_set_new(root, "limits", bench_limits_to_json(&results->limits));
    json_object_set_new(root, "operations",
                        list_to_json(results, &results->operations));
    if (results->model_skipped != NULL)
        json_object_set_new(root, "model_skipped", json_string(results->model_skipped));
    else
        json_object_set_new(root, "steps", list_to_json(results, &results->steps));
    return bench_write_object(file, root);
}
