/* SPDX-License-Identifier: MIT */
/*
 * main.c - bench_threads: our job queue and compute team beside others, in one run.
 *
 *     bench_threads [--json] [--svg FILE] [--quick] [--rounds N] [--only WORKLOAD]
 *     bench_threads --measure WORKLOAD PEER [--quick]      one number, in this process
 *
 * Prints a table, or JSON. Within a workload the peers take turns, round after round,
 * so that what else the machine does falls on all of them; the median of the rounds
 * counts. Single figures move by 10 to 30 % on a shared machine, and only the ratios
 * within one run mean something. --quick is for the test of this program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/report.h"
#include "measure.h"
#include "process.h"
#include "results.h"

const char bench_program[] = "bench_threads";

struct options {
    bool is_json;
    bool is_quick;
    size_t n_rounds;
    const char *svg_path;
    const char *only;
};

static void usage(void)
{
    fputs("usage: bench_threads [--json] [--svg FILE] [--quick] [--rounds N] "
          "[--only WORKLOAD]\n"
          "       bench_threads --measure WORKLOAD PEER [--quick]\n"
          "workloads:",
          stderr);
    for (size_t w = 0; w < bench_n_workloads; w++)
        fprintf(stderr, " %s", bench_workloads[w].id);
    fputs("\npeers:", stderr);
    for (size_t p = 0; p < bench_n_peers; p++)
        fprintf(stderr, "%s \"%s\"", p > 0 ? "," : "", bench_peers[p].name);
    fputc('\n', stderr);
    exit(2);
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {.n_rounds = 5};
    bool has_rounds = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--json") == 0) {
            options.is_json = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            options.is_quick = true;
        } else if (strcmp(argv[i], "--svg") == 0 && value != NULL) {
            options.svg_path = argv[++i];
        } else if (strcmp(argv[i], "--only") == 0 && value != NULL) {
            options.only = argv[++i];
        } else if (strcmp(argv[i], "--rounds") == 0 && value != NULL) {
            options.n_rounds = strtoul(argv[++i], NULL, 10);
            has_rounds = true;
        } else {
            usage();
        }
    }
    if (options.only != NULL && bench_workload_find(options.only) == NULL) usage();
    if (options.is_quick && !has_rounds) options.n_rounds = 1;
    if (options.n_rounds < 1 || options.n_rounds > BENCH_MAX_ROUNDS) usage();
    return options;
}

static void prepare_row(struct bench_row *row, const struct bench_workload *workload)
{
    *row = (struct bench_row){.workload = workload};
    if (bench_workload_suits(workload, NULL)) row->n_cells = 1;
    for (size_t p = 0; p < bench_n_peers; p++) {
        if (bench_workload_suits(workload, &bench_peers[p]))
            row->cells[row->n_cells++].peer = &bench_peers[p];
    }
}

static void measure_round(struct bench_row *row, bool is_quick, size_t *n_done,
                          size_t n_all)
{
    struct bench_process processes[BENCH_MAX_PEERS];
    const struct bench_workload *workload = row->workload;
    if (workload->is_concurrent) {
        for (size_t c = 0; c < row->n_cells; c++)
            bench_process_start(&processes[c], workload, row->cells[c].peer, is_quick);
    }
    for (size_t c = 0; c < row->n_cells; c++) {
        char what[64];
        snprintf(what, sizeof(what), "%s, %s", workload->id,
                 bench_cell_name(&row->cells[c]));
        bench_show_progress(*n_done, n_all, what);
        if (!workload->is_concurrent)
            bench_process_start(&processes[c], workload, row->cells[c].peer, is_quick);
        bench_process_finish(&processes[c], workload, &row->cells[c]);
        ++*n_done;
    }
}

static void measure_all(const struct options *options, struct bench_results *results)
{
    size_t n_done = 0;
    size_t n_all = 0;
    const uint64_t begin_ns = bench_now_ns();
    const double foreign_s = bench_foreign_cpu_s();
    for (size_t w = 0; w < bench_n_workloads; w++) {
        const struct bench_workload *workload = &bench_workloads[w];
        if (options->only != NULL && strcmp(options->only, workload->id) != 0) continue;
        struct bench_row *row = &results->rows[results->n_rows++];
        prepare_row(row, workload);
        n_all += row->n_cells * options->n_rounds;
    }
    for (size_t r = 0; r < results->n_rows; r++) {
        for (size_t i = 0; i < options->n_rounds; i++)
            measure_round(&results->rows[r], options->is_quick, &n_done, n_all);
    }
    bench_show_progress(n_all, n_all, "done");
    results->elapsed_s = (double)(bench_now_ns() - begin_ns) / 1e9;
    results->n_foreign_cpus = (bench_foreign_cpu_s() - foreign_s) / results->elapsed_s;
    if (results->n_foreign_cpus < 0) results->n_foreign_cpus = 0; /* ticks are coarse */
}

static bool write_svg(const char *path, const struct bench_results *results)
{
    FILE *file = bench_open(path);
    if (file == NULL) return false;
    bench_write_svg(file, results);
    return fclose(file) == 0;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "--measure") == 0)
        bench_process_main(argv[2], argv[3],
                           argc > 4 && strcmp(argv[4], "--quick") == 0);

    const struct options options = read_options(argc, argv);
    struct bench_results results = {
        .is_quick = options.is_quick,
        .n_rounds = options.n_rounds,
        .rows = calloc(bench_n_workloads, sizeof(*results.rows)),
    };
    if (results.rows == NULL) bench_give_up("out of memory");
    measure_all(&options, &results);

    bool is_good = true;
    if (options.is_json)
        is_good = bench_write_json(stdout, &results);
    else
        bench_write_table(stdout, &results);
    if (options.svg_path != NULL)
        is_good = write_svg(options.svg_path, &results) && is_good;
    free(results.rows);
    return is_good ? 0 : 1;
}
