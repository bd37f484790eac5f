/* SPDX-License-Identifier: MIT */
/*
 * main.c - bench_engine: how fast one caller and many get their tokens.
 *
 *     bench_engine [--json] [--svg FILE] [--quick] [--only PART] [--model ID]
 *                  [--big FILE] [--synth PROGRAM] [--tokens N]
 *
 * Measures the shipped model and one of the 2B shape with random weights (--big), which
 * `bitnet synth` makes when it is not there (--synth). In parts, for each model:
 *
 *   one_caller   prompts of 128 and 512 tokens, 64 tokens one at a time, with one thread
 *                and with all that compute
 *   callers      1 to 32 at the same time: tokens per second in total, and the times to
 *                the first token and between tokens
 *   long_prompt  the same times for 4 callers, beside none and beside long prompts
 *
 * What the machine can do at most is measured in the same run. Single figures move by 10
 * to 30 % on a shared machine: shares of these limits, and the ratios of many callers to
 * one, mean more. --tokens makes every request that long, for when there is little time;
 * --quick is for the test of this program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet.h>

#include "common/machine.h"
#include "common/meter.h"
#include "common/model_file.h"
#include "common/report.h"
#include "kernels/kernels.h"
#include "load.h"
#include "results.h"

const char bench_program[] = "bench_engine";

enum { ONE_CALLER, CALLERS, LONG_PROMPT, N_PARTS };

static const char *const part_names[N_PARTS] = {"one_caller", "callers", "long_prompt"};
static const char *const model_ids[BENCH_MAX_MODELS] = {"shipped", "2b"};

/* The large model takes a few hundred times as long for each token. */
static const struct bench_effort small_effort = {3, 64, 6, 64, 4000};
static const struct bench_effort large_effort = {1, 64, 1, 24, 40000};
static const struct bench_effort quick_effort = {1, 4, 1, 4, 50};

struct options {
    bool is_json;
    bool is_quick;
    bool has_part[N_PARTS];
    bool has_model[BENCH_MAX_MODELS];
    const char *svg_path;
    const char *big_path;
    const char *synth_program;
    size_t n_tokens; /* 0: as many as is usual */
};

static void usage(void)
{
    fputs("usage: bench_engine [--json] [--svg FILE] [--quick] [--only PART] "
          "[--model ID]\n"
          "                    [--big FILE] [--synth PROGRAM] [--tokens N]\n"
          "parts: one_caller, callers, long_prompt\n"
          "models: shipped, 2b\n",
          stderr);
    exit(2);
}

/* Leaves only that one of the `n` which has this name. */
static void choose(const char *name, const char *const *names, bool *has, size_t n)
{
    bool is_known = false;
    for (size_t i = 0; i < n; i++) {
        has[i] = strcmp(name, names[i]) == 0;
        is_known = is_known || has[i];
    }
    if (!is_known) usage();
}

static size_t read_count(const char *text)
{
    char *end;
    const unsigned long n = strtoul(text, &end, 10);
    if (*end != '\0' || n < 2 || n > 256) usage();
    return n;
}

static struct options read_options(int argc, char **argv)
{
    struct options options = {.has_part = {true, true, true},
                              .has_model = {true, true}};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--json") == 0) {
            options.is_json = true;
            continue;
        }
        if (strcmp(argv[i], "--quick") == 0) {
            options.is_quick = true;
            continue;
        }
        if (value == NULL) usage();
        if (strcmp(argv[i], "--svg") == 0)
            options.svg_path = value;
        else if (strcmp(argv[i], "--only") == 0)
            choose(value, part_names, options.has_part, N_PARTS);
        else if (strcmp(argv[i], "--model") == 0)
            choose(value, model_ids, options.has_model, BENCH_MAX_MODELS);
        else if (strcmp(argv[i], "--big") == 0)
            options.big_path = value;
        else if (strcmp(argv[i], "--synth") == 0)
            options.synth_program = value;
        else if (strcmp(argv[i], "--tokens") == 0)
            options.n_tokens = read_count(value);
        else
            usage();
        i++;
    }
    return options;
}

/* How far the whole run is. */
struct progress {
    size_t n_done;
    size_t n_all;
};

static void step(struct progress *progress, const char *model, const char *what)
{
    char words[64];
    snprintf(words, sizeof(words), "%s, %s", model, what);
    bench_show_progress(progress->n_done++, progress->n_all, words);
}

static size_t n_steps_of(const struct options *options)
{
    size_t n = 1; /* opening */
    if (options->has_part[ONE_CALLER]) n++;
    if (options->has_part[CALLERS]) n += BENCH_N_CALLERS;
    if (options->has_part[LONG_PROMPT]) n++;
    return n;
}

/* What both need: a model and an engine that keeps no prompts. */
static void open_engine(const char *path, bitnet_model **model, bitnet_engine **engine)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.prefix_cache = false;
    options.speculation = false; /* every token is a step's */
    if (bitnet_model_load(path, NULL, model) != BITNET_OK ||
        bitnet_engine_create(*model, &options, engine) != BITNET_OK)
        bench_give_up("%s", bitnet_last_error());
}

/* Once to have the file in the page cache, and once to measure; the second stays. */
static void measure_opening(struct bench_model *out, bitnet_model **model,
                            bitnet_engine **engine, bitnet_model_info *info)
{
    const struct bench_request request = {10, 1, 1, true, 0};
    for (int i = 0; i < 2; i++) {
        const uint64_t begin_ns = bench_now_ns();
        open_engine(out->path, model, engine);
        *info = (bitnet_model_info){.struct_size = sizeof(*info)};
        bitnet_model_get_info(*model, info);
        bench_generate(*engine, info->n_vocab, &request, NULL);
        out->open_to_first_ms = (double)(bench_now_ns() - begin_ns) / 1e6;
        if (i > 0) break;
        bitnet_engine_destroy(*engine);
        bitnet_model_release(*model);
    }
    out->n_bytes = info->mapped_bytes;
    out->macs_per_token = bench_macs_per_token(info);
    out->n_token_bytes = info->head_copy_bytes == 0
                             ? info->mapped_bytes
                             : out->macs_per_token / 4 + info->head_copy_bytes;
}

static void measure_model(const struct options *options,
                          const struct bench_effort *effort,
                          const struct bench_limits *limits, struct bench_meter *meter,
                          struct bench_model *out, struct progress *progress)
{
    bitnet_model *model;
    bitnet_engine *engine;
    bitnet_model_info info;
    step(progress, out->id, "opening");
    measure_opening(out, &model, &engine, &info);
    if (options->has_part[ONE_CALLER]) {
        step(progress, out->id, "one caller");
        bench_one_caller(engine, &info, effort, limits->n_threads, meter, out);
    }
    for (size_t row = 0; options->has_part[CALLERS] && row < BENCH_N_CALLERS; row++) {
        char words[32];
        snprintf(words, sizeof(words), "%u callers", bench_callers[row]);
        step(progress, out->id, words);
        bench_many_callers(engine, &info, effort, row, out);
    }
    if (options->has_part[LONG_PROMPT]) {
        step(progress, out->id, "beside a long prompt");
        bench_disturbance(engine, &info, effort, out);
    }
    out->anonymous_mb = bench_anonymous_memory_mb();
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
}

static void prepare_models(const struct options *options, struct bench_results *results)
{
    const char *paths[BENCH_MAX_MODELS] = {BITNET_SOURCE_DIR
                                           "/models/tinystories-3.7m-i2_s.gguf",
                                           options->big_path};
    for (size_t i = 0; i < BENCH_MAX_MODELS; i++) {
        if (!options->has_model[i]) continue;
        struct bench_model *model = &results->models[results->n_models++];
        model->id = model_ids[i];
        if (i > 0)
            model->skipped = bench_provide_model(paths[i], options->synth_program,
                                                 options->is_quick);
        if (model->skipped == NULL)
            snprintf(model->path, sizeof(model->path), "%s", paths[i]);
    }
}

/* Of the table that the engine will use. */
static const char *kernels_name(void)
{
    const struct bni_kernels *kernels = bni_kernels_select();
    if (kernels == NULL) bench_give_up("%s", bitnet_last_error());
    return kernels->name;
}

static void measure_all(const struct options *options, struct bench_results *results)
{
    struct progress progress = {.n_all = 1};
    prepare_models(options, results);
    for (size_t i = 0; i < results->n_models; i++) {
        if (results->models[i].skipped == NULL) progress.n_all += n_steps_of(options);
    }
    bench_run_begin(&results->run, options->is_quick);
    const unsigned n_threads[BENCH_N_TEAMS] = {
        1, bitnet_thread_manager_get_compute_threads()};
    struct bench_meter *meter =
        bench_meter_create(n_threads, kernels_name(), options->is_quick);
    step(&progress, "this machine", "limits");
    bench_meter_limits(meter, &results->limits);
    for (size_t i = 0; i < results->n_models; i++) {
        struct bench_model *model = &results->models[i];
        struct bench_effort effort =
            strcmp(model->id, "2b") == 0 ? large_effort : small_effort;
        if (options->is_quick) effort = quick_effort;
        if (options->n_tokens > 0)
            effort.n_decoded = effort.n_caller_tokens = options->n_tokens;
        if (model->skipped == NULL)
            measure_model(options, &effort, &results->limits, meter, model, &progress);
    }
    bench_meter_destroy(meter);
    bench_show_progress(progress.n_all, progress.n_all, "done");
    bench_run_end(&results->run);
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    static struct bench_results results; /* with paths in it, large for a stack */
    measure_all(&options, &results);

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
