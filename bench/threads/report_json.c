/* SPDX-License-Identifier: MIT */
/*
 * report_json.c - the results for programs. Values are in the units that their names
 * end with, and are not rounded.
 */
#include <jansson.h>
#include <unistd.h>

#include "common/machine.h"
#include "results.h"

static json_t *cell_to_json(const struct bench_workload *workload,
                            const struct bench_cell *cell)
{
    json_t *medians = json_object();
    json_t *rounds = json_object();
    for (size_t m = 0; workload->metrics[m].name != NULL; m++) {
        if (cell->n_rounds == 0 || !cell->has[m]) continue;
        json_t *values = json_array();
        for (size_t r = 0; r < cell->n_rounds; r++)
            json_array_append_new(values, json_real(cell->values[m][r]));
        json_object_set_new(rounds, workload->metrics[m].name, values);
        json_object_set_new(medians, workload->metrics[m].name,
                            json_real(bench_cell_median(cell, m)));
    }
    json_t *object = json_pack("{s:s, s:o, s:o}", "peer", bench_cell_name(cell),
                               "median", medians, "rounds", rounds);
    if (workload->measure_queue != NULL)
        json_object_set_new(object, "is_bounded", json_boolean(cell->peer->is_bounded));
    return object;
}

static void add_comparison(json_t *object, const char *key, const struct bench_row *row,
                           const struct bench_cell *peer)
{
    if (peer == NULL || bench_row_ours(row) == NULL) return;
    json_object_set_new(object, key,
                        json_pack("{s:s, s:f}", "peer", peer->peer->name,
                                  "times_as_good", bench_row_advantage(row, peer)));
}

static json_t *row_to_json(const struct bench_row *row)
{
    static const char *const verdicts[] = {"unknown", "missed", "met"};
    const struct bench_workload *workload = row->workload;
    json_t *object =
        json_pack("{s:s, s:s, s:b}", "id", workload->id, "title", workload->title,
                  "is_higher_better", (int)workload->is_higher_better);
    json_t *cells = json_array();
    for (size_t c = 0; c < row->n_cells; c++)
        json_array_append_new(cells, cell_to_json(workload, &row->cells[c]));
    json_object_set_new(object, "results", cells);
    if (workload->measure_queue != NULL)
        add_comparison(object, "ours_to_best_bounded", row,
                       bench_row_best_peer(row, true));
    add_comparison(object, "ours_to_best", row, bench_row_best_peer(row, false));
    json_t *targets = json_array();
    const struct bench_target *target = workload->targets;
    for (; target != NULL && target->kind != BENCH_TARGET_NONE; target++) {
        const char *verdict = verdicts[bench_row_verdict(row, target)];
        json_array_append_new(targets,
                              json_pack("{s:s, s:s, s:s}", "metric", target->metric,
                                        "words", target->words, "verdict", verdict));
    }
    json_object_set_new(object, "targets", targets);
    return object;
}

bool bench_write_json(FILE *file, const struct bench_results *results)
{
    char cpu[128];
    bench_cpu_name(cpu, sizeof(cpu));
    json_t *rows = json_array();
    for (size_t r = 0; r < results->n_rows; r++)
        json_array_append_new(rows, row_to_json(&results->rows[r]));
    json_t *root =
        json_pack("{s:s, s:I, s:s, s:i, s:i, s:I, s:b, s:f, s:f, s:o}", "cpu", cpu,
                  "n_cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "compiler",
                  __VERSION__, "n_workers", BENCH_N_WORKERS, "queue_size",
                  BENCH_QUEUE_SIZE, "n_rounds", (json_int_t)results->n_rounds,
                  "is_quick", (int)results->is_quick, "elapsed_s", results->elapsed_s,
                  "n_foreign_cpus", results->n_foreign_cpus, "workloads", rows);
    const bool is_written = root != NULL && json_dumpf(root, file, JSON_INDENT(2)) == 0;
    json_decref(root);
    fputc('\n', file);
    return is_written;
}
