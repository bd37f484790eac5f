/* SPDX-License-Identifier: MIT */
/*
 * main.c - bench_kernels: how near each operation comes to what the machine can do.
 *
 *     bench_kernels [--json] [--svg FILE] [--table NAME] [--quick]
 *                   [--model FILE [--synth PROGRAM]] [--steps] [--count]
 *
 * Measures every operation of operations.c with one thread and with all that compute,
 * then, given a model, a token and a part of a prompt after contexts of up to 4096
 * tokens. Every figure stands beside the limit that binds it, measured in the same run,
 * for what comes from memory in the same second: how fast memory or the first-level cache
 * is read, or the peak of the instructions. For
 * a table of kernels other than the best (--table, as BITNET_ISA) the peaks are of its
 * own instructions. --svg draws the roofline.
 *
 * The model is made by `bitnet synth` when it is not there (--synth). --steps leaves the
 * single operations out, to compare models. --count only makes
 * one call of each operation, for scripts/count_instructions.py. --quick is for the test
 * of this program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet.h>

#include "common/meter.h"
#include "common/model_file.h"
#include "common/report.h"
#include "count.h"
#include "measure.h"
#include "results.h"
#include "whole_model.h"

const char bench_program[] = "bench_kernels";

struct options {
    bool is_json;
    bool is_quick;
    bool has_steps_only;
    bool is_counting;
    const char *svg_path;
    const char *table;
    const char *model_path;
    const char *synth_program;
};

static void usage(void)
{
    fputs("usage: bench_kernels [--json] [--svg FILE] [--table NAME] [--quick]\n"
          "                     [--model FILE [--synth PROGRAM]] [--steps] [--count]\n",
          stderr);
    exit(2);
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {0};
    const struct {
        const char *name;
        bool *flag;
        const char **value;
    } known[] = {
        {"--json", &options.is_json, NULL},
        {"--quick", &options.is_quick, NULL},
        {"--steps", &options.has_steps_only, NULL},
        {"--count", &options.is_counting, NULL},
        {"--svg", NULL, &options.svg_path},
        {"--table", NULL, &options.table},
        {"--model", NULL, &options.model_path},
        {"--synth", NULL, &options.synth_program},
    };
    const size_t n_known = sizeof(known) / sizeof(known[0]);
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < n_known && strcmp(argv[i], known[k].name) != 0) k++;
        if (k == n_known) usage();
        if (known[k].flag != NULL)
            *known[k].flag = true;
        else if (i + 1 < argc)
            *known[k].value = argv[++i];
        else
            usage();
    }
    return options;
}

static const struct bni_kernels *choose_kernels(const char *name)
{
    if (name != NULL) setenv("BITNET_ISA", name, 1);
    const struct bni_kernels *kernels = bni_kernels_select();
    if (kernels == NULL) bench_give_up("%s", bitnet_last_error());
    return kernels;
}

static void measure_all(const struct options *options,
                        const struct bni_kernels *kernels,
                        struct bench_results *results)
{
    results->table = kernels->name;
    results->model_path = options->model_path;
    results->model_skipped =
        bench_provide_model(options->model_path, options->synth_program,
                            options->is_quick);
    bench_run_begin(&results->run, options->is_quick);
    const unsigned n_threads[BENCH_N_TEAMS] = {
        1, bitnet_thread_manager_get_compute_threads()};
    struct bench_meter *meter =
        bench_meter_create(n_threads, kernels->name, options->is_quick);
    bench_meter_limits(meter, &results->limits);
    if (!options->has_steps_only)
        bench_measure_operations(kernels, n_threads, meter, options->is_quick,
                                 &results->operations);
    if (results->model_skipped == NULL)
        bench_measure_model(options->model_path, kernels, n_threads, meter,
                            options->is_quick, &results->steps);
    bench_meter_destroy(meter);
    bench_run_end(&results->run);
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    const struct bni_kernels *kernels = choose_kernels(options.table);
    if (options.is_counting) return bench_count_operations(kernels, stdout) ? 0 : 1;

    static struct bench_results results; /* large for a stack */
    measure_all(&options, kernels, &results);

    bool is_good = true;
    if (options.is_json)
        is_good = bench_write_json(stdout, &results);
    else
        bench_write_table(stdout, &results);
    if (options.svg_path != NULL) {
        FILE *file = bench_open(options.svg_path);
        if (file == NULL) return 1;
        bench_write_svg(file, &results);
        is_good = fclose(file) == 0 && is_good;
    }
    return is_good ? 0 : 1;
}
