/* SPDX-License-Identifier: MIT */
/*
 * report_table.c - the results for people.
 */
#include <unistd.h>

#include "common/machine.h"
#include "results.h"

/* The machine's steps: one line each, there being one column. */
static void write_machine(FILE *file, const struct bench_row *row)
{
    const struct bench_workload *workload = row->workload;
    fprintf(file, "%s\n", workload->title);
    for (size_t m = 0; workload->metrics[m].name != NULL; m++) {
        if (row->cells[0].has[m])
            fprintf(file, "  %-32s %10.*f\n", workload->metrics[m].heading,
                    workload->metrics[m].n_decimals,
                    bench_cell_median(&row->cells[0], m));
    }
    fputc('\n', file);
}

static void write_cell(FILE *file, const struct bench_workload *workload,
                       const struct bench_cell *cell)
{
    const bool is_unbounded =
        workload->measure_queue != NULL && !cell->peer->is_bounded;
    fprintf(file, "  %-16s %-10s", cell->peer->name, is_unbounded ? "unbounded" : "");
    if (cell->n_rounds == 0) fputs("  failed; see above", file);
    for (size_t m = 0; workload->metrics[m].name != NULL; m++) {
        const struct bench_metric *metric = &workload->metrics[m];
        if (cell->n_rounds > 0 && cell->has[m])
            fprintf(file, " %13.*f", metric->n_decimals,
                    bench_cell_median(cell, m) * metric->scale);
    }
    fputc('\n', file);
}

static void write_comparison(FILE *file, const struct bench_row *row)
{
    const struct bench_cell *best_bounded = bench_row_best_peer(row, true);
    const struct bench_cell *best = bench_row_best_peer(row, false);
    if (bench_row_ours(row) == NULL) return;
    if (best_bounded != NULL)
        fprintf(file, "  ours is %.3g times as good as the best bounded peer, %s\n",
                bench_row_advantage(row, best_bounded), best_bounded->peer->name);
    if (best != NULL && best != best_bounded)
        fprintf(file, "  ours is %.3g times as good as the best of all, %s\n",
                bench_row_advantage(row, best), best->peer->name);
    const struct bench_target *target = row->workload->targets;
    for (; target != NULL && target->kind != BENCH_TARGET_NONE; target++) {
        static const char *const words[] = {"unknown", "MISSED", "met"};
        fprintf(file, "  target %s: %s\n", target->words,
                words[bench_row_verdict(row, target)]);
    }
}

void bench_write_table(FILE *file, const struct bench_results *results)
{
    char cpu[128];
    bench_cpu_name(cpu, sizeof(cpu));
    fprintf(file,
            "%s, %ld CPUs; %d workers in each queue, room for %d jobs where bounded\n"
            "medians of %zu rounds, each in a process of its own; %.0f s in all%s\n"
            "others kept %.1f CPUs busy meanwhile%s\n\n",
            cpu, sysconf(_SC_NPROCESSORS_ONLN), BENCH_N_WORKERS, BENCH_QUEUE_SIZE,
            results->n_rounds, results->elapsed_s,
            results->is_quick ? "; --quick: the numbers mean nothing" : "",
            results->n_foreign_cpus,
            results->n_foreign_cpus > 0.2 ? ": not a quiet machine" : "");
    for (size_t r = 0; r < results->n_rows; r++) {
        const struct bench_row *row = &results->rows[r];
        if (row->workload->measure_machine != NULL) {
            write_machine(file, row);
            continue;
        }
        fprintf(file, "%s\n  %-27s", row->workload->title, "");
        for (size_t m = 0; row->workload->metrics[m].name != NULL; m++)
            fprintf(file, " %13s", row->workload->metrics[m].heading);
        fputc('\n', file);
        for (size_t c = 0; c < row->n_cells; c++)
            write_cell(file, row->workload, &row->cells[c]);
        write_comparison(file, row);
        fputc('\n', file);
    }
}
