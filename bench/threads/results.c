/* SPDX-License-Identifier: MIT */
/*
 * results.c - see results.h.
 */
#include "results.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_cell_median(const struct bench_cell *cell, size_t metric)
{
    double sorted[BENCH_MAX_ROUNDS];
    const size_t n = cell->n_rounds;
    memcpy(sorted, cell->values[metric], n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_value);
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static bool is_measured(const struct bench_cell *cell)
{
    return cell->n_rounds > 0 && cell->has[0];
}

const struct bench_cell *bench_row_ours(const struct bench_row *row)
{
    for (size_t i = 0; i < row->n_cells; i++) {
        const struct bench_cell *cell = &row->cells[i];
        if (cell->peer != NULL && cell->peer->is_ours && is_measured(cell)) return cell;
    }
    return NULL;
}

const struct bench_cell *bench_row_best_peer(const struct bench_row *row,
                                             bool bounded_only)
{
    const struct bench_cell *best = NULL;
    for (size_t i = 0; i < row->n_cells; i++) {
        const struct bench_cell *cell = &row->cells[i];
        if (cell->peer == NULL || cell->peer->is_ours || !is_measured(cell)) continue;
        if (bounded_only && !cell->peer->is_bounded) continue;
        const bool is_higher =
            best == NULL || bench_cell_median(cell, 0) > bench_cell_median(best, 0);
        if (best == NULL || is_higher == row->workload->is_higher_better) best = cell;
    }
    return best;
}

double bench_row_advantage(const struct bench_row *row, const struct bench_cell *peer)
{
    const double ours = bench_cell_median(bench_row_ours(row), 0);
    const double theirs = bench_cell_median(peer, 0);
    const double better = row->workload->is_higher_better ? ours : theirs;
    const double worse = row->workload->is_higher_better ? theirs : ours;
    return worse > 0 ? better / worse : 0;
}

static size_t metric_index(const struct bench_workload *workload, const char *name)
{
    size_t i = 0;
    while (strcmp(workload->metrics[i].name, name) != 0) i++;
    return i;
}

enum bench_verdict bench_row_verdict(const struct bench_row *row,
                                     const struct bench_target *target)
{
    const struct bench_cell *ours = bench_row_ours(row);
    if (ours == NULL) return BENCH_VERDICT_UNKNOWN;
    const double value =
        bench_cell_median(ours, metric_index(row->workload, target->metric));
    bool is_met;
    if (target->kind == BENCH_TARGET_AT_MOST) {
        is_met = value <= target->value;
    } else if (target->kind == BENCH_TARGET_WITHIN_BOUND) {
        is_met =
            value <= bench_cell_median(ours, metric_index(row->workload, "bound_mb"));
    } else {
        const struct bench_cell *best = bench_row_best_peer(row, true);
        if (best == NULL) return BENCH_VERDICT_UNKNOWN;
        is_met = bench_row_advantage(row, best) >= target->value;
    }
    return is_met ? BENCH_VERDICT_MET : BENCH_VERDICT_MISSED;
}

const char *bench_cell_name(const struct bench_cell *cell)
{
    return cell->peer == NULL ? "this machine" : cell->peer->name;
}
