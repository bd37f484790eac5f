/* SPDX-License-Identifier: MIT */
/*
 * run.c - `bitnet run`: prompts in, texts and measurements out.
 *
 *     prompts -> model -> engine -> batch, N callers at once -> report
 *                                -> batch, one at a time (to compare) -^
 *
 * The second batch has every prompt with --verify, and otherwise only the one whose
 * text became longest, which is enough for a rate to compare with.
 */
#include <stdio.h>
#include <string.h>

#include <bitnet/engine.h>
#include <bitnet/model.h>
#include <bitnet/thread_manager.h>

#include "batch.h"
#include "commands.h"
#include "complain.h"
#include "display.h"
#include "grammar_file.h"
#include "interrupt.h"
#include "kv_type.h"
#include "model_path.h"
#include "options.h"
#include "prompts.h"
#include "report.h"

enum {
    MAX_CALLERS = 1024,
    USUAL_CALLERS = 32,
    MAX_THREADS = BITNET_MAX_COMPUTE_THREADS
};

/* JSON numbers are exact up to here. */
static const double max_seed = 9007199254740992.0;

static const char example_prompts[] = "prompts.txt";

struct settings {
    const char *model;
    const char *file;
    uint64_t n_callers;
    uint64_t n_threads;
    const char *kv_type_name; /* or NULL */
    bitnet_kv_type kv_type;
    uint64_t max_tokens;
    uint64_t seed;
    uint64_t top_k;
    double temperature;
    double top_p;
    double min_p;
    double typical_p;
    double repeat_penalty;
    double frequency_penalty;
    double presence_penalty;
    uint64_t repeat_last_n;
    struct option_texts stops;
    const char *grammar_path;
    const char *schema_path;
    bitnet_grammar *grammar; /* read from one of them, or NULL */
    bool is_without_copy;
    bool is_verified;
    bool is_json;
};

static enum options_result read_settings(int argc, char **argv,
                                         struct settings *settings, int *n_operands)
{
    const bitnet_generate_options usual = bitnet_generate_options_default();
    *settings = (struct settings){
        .max_tokens = usual.max_tokens,
        .seed = 1,
        .top_k = usual.top_k,
        .temperature = (double)usual.temperature,
        .top_p = (double)usual.top_p,
        .min_p = (double)usual.min_p,
        .typical_p = (double)usual.typical_p,
        .repeat_penalty = (double)usual.repeat_penalty,
        .frequency_penalty = (double)usual.frequency_penalty,
        .presence_penalty = (double)usual.presence_penalty,
        .repeat_last_n = usual.repeat_last_n,
    };
    struct settings *s = settings;
    const struct option options[] = {
        {"model", 'm', OPTION_TEXT, &s->model, "FILE",
         "GGUF file; default: the shipped model", 0, 0},
        {"file", 'f', OPTION_TEXT, &s->file, "FILE",
         "prompts, one per line; - is standard input", 0, 0},
        {"callers", 'c', OPTION_WHOLE, &s->n_callers, "N",
         "threads that call at once; 0: one per prompt, at most 32", 0, MAX_CALLERS},
        {"threads", 't', OPTION_WHOLE, &s->n_threads, "N",
         "threads that compute; 0: what the machine grants", 0, MAX_THREADS},
        {"kv-type", 0, OPTION_TEXT, &s->kv_type_name, "TYPE", KV_TYPE_HELP, 0, 0},
        {"max-tokens", 'n', OPTION_WHOLE, &s->max_tokens, "N",
         "to generate per prompt; 0: what the context holds", 0, 1000000},
        {"seed", 's', OPTION_WHOLE, &s->seed, "N",
         "of the first prompt; prompt i has N + i - 1", 0, max_seed},
        {"temperature", 0, OPTION_DECIMAL, &s->temperature, "X",
         "0: always the most likely token", 0, 100},
        {"top-k", 0, OPTION_WHOLE, &s->top_k, "N",
         "draw from the N most likely; 0: from all", 0, 1000000},
        {"top-p", 0, OPTION_DECIMAL, &s->top_p, "X",
         "draw from the most likely that make up X; 1: off", 1e-6, 1},
        {"min-p", 0, OPTION_DECIMAL, &s->min_p, "X",
         "drop those under X times the most likely; 0: off", 0, 1},
        {"typical-p", 0, OPTION_DECIMAL, &s->typical_p, "X",
         "draw from those of usual surprise that make up X; 1: off", 1e-6, 1},
        {"repeat-penalty", 0, OPTION_DECIMAL, &s->repeat_penalty, "X", "1: off", 0.1,
         10},
        {"frequency-penalty", 0, OPTION_DECIMAL, &s->frequency_penalty, "X",
         "for each time a token came; 0: off", -10, 10},
        {"presence-penalty", 0, OPTION_DECIMAL, &s->presence_penalty, "X",
         "once for a token that came; 0: off", -10, 10},
        {"repeat-last-n", 0, OPTION_WHOLE, &s->repeat_last_n, "N",
         "tokens that penalties look back", 0, 4096},
        {"stop", 0, OPTION_TEXTS, &s->stops, "TEXT",
         "end before this text; may be given several times", 0, 0},
        {"grammar", 0, OPTION_TEXT, &s->grammar_path, "FILE",
         "rules (GBNF) that the text must follow", 0, 0},
        {"json-schema", 0, OPTION_TEXT, &s->schema_path, "FILE",
         "JSON schema that the text must fit", 0, 0},
        {"no-head-copy", 0, OPTION_FLAG, &s->is_without_copy, NULL,
         "less memory, slower steps, the same texts", 0, 0},
        {"verify", 0, OPTION_FLAG, &s->is_verified, NULL,
         "run each prompt alone too and compare the tokens", 0, 0},
        {"json", 0, OPTION_FLAG, &s->is_json, NULL,
         "one JSON document instead of texts and table", 0, 0},
    };
    const struct command command = {
        .name = "run",
        .arguments = "[options] [PROMPT...]",
        .summary = "Continues each prompt. All run at once, each from a thread of its "
                   "own, and each\n"
                   "gives the same text as if it ran alone. Texts go to standard "
                   "output, the table\n"
                   "to standard error. Without a prompt, those piped in are used, or "
                   "examples.",
        .examples = "  bitnet run \"Once upon a time\"\n"
                    "  bitnet run --file prompts.txt --callers 8 --verify\n"
                    "  echo \"The little dog\" | bitnet run --temperature 0 --json\n",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    return options_read(&command, argc, argv, n_operands);
}

static int read_prompts(const struct settings *settings, char **operands,
                        int n_operands, struct prompts *out)
{
    if (n_operands > 0 && settings->file != NULL) {
        complain("run: prompts as arguments and --file %s: give one or the other",
                 settings->file);
        return EXIT_WRONG_USAGE;
    }
    if (n_operands > 0) return prompts_from_arguments(operands, n_operands, out);
    if (settings->file != NULL) return prompts_from_file(settings->file, out);
    if (prompts_are_piped_in()) return prompts_from_file("-", out);

    char path[MODEL_PATH_BYTES];
    if (!model_path_shipped(example_prompts, path)) return EXIT_FAILED;
    if (!settings->is_json) fprintf(stderr, "no prompt given: using the examples\n\n");
    return prompts_from_file(path, out);
}

static bitnet_generate_options sampling_of(const struct settings *settings)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = (uint32_t)settings->max_tokens;
    options.top_k = (uint32_t)settings->top_k;
    options.temperature = (float)settings->temperature;
    options.top_p = (float)settings->top_p;
    options.min_p = (float)settings->min_p;
    options.typical_p = (float)settings->typical_p;
    options.repeat_penalty = (float)settings->repeat_penalty;
    options.frequency_penalty = (float)settings->frequency_penalty;
    options.presence_penalty = (float)settings->presence_penalty;
    options.repeat_last_n = (uint32_t)settings->repeat_last_n;
    options.stop_strings = settings->stops.texts;
    options.n_stop_strings = settings->stops.n;
    options.grammar = settings->grammar;
    return options;
}

/* Names the requests that failed. Returns how many; an interrupt is no failure. */
static size_t complain_of_failures(const struct batch *batch)
{
    size_t n_failed = 0;
    for (size_t i = 0; i < batch->n_requests; i++) {
        const struct request *request = &batch->requests[i];
        if (request->status == BITNET_OK || request->status == BITNET_ERROR_CANCELLED)
            continue;
        complain("prompt %zu: %s", i + 1, request->error);
        n_failed++;
    }
    return n_failed;
}

static size_t longest_request(const struct batch *batch)
{
    size_t longest = 0;
    for (size_t i = 1; i < batch->n_requests; i++) {
        if (batch->requests[i].result.n_tokens >
            batch->requests[longest].result.n_tokens)
            longest = i;
    }
    return longest;
}

/* Serves all of report->together's prompts one at a time, or the longest of them. */
static bool serve_alone(struct report *report, const struct prompts *prompts,
                        struct batch *alone)
{
    const bool is_all = report->is_verified;
    report->first_alone = is_all ? 0 : longest_request(report->together);
    if (!batch_init(alone, prompts->texts + report->first_alone,
                    is_all ? prompts->n : 1,
                    report->together->requests[report->first_alone].seed)) {
        complain("cannot run the prompts alone: out of memory");
        return false;
    }
    const struct serving quiet = {.engine = report->serving->engine,
                                  .sampling = report->serving->sampling};
    return batch_serve(alone, &quiet, 1) && complain_of_failures(alone) == 0;
}

static int print_report(const struct report *report, bool is_json)
{
    if (!is_json)
        report_print_table(report, stderr);
    else if (!report_print_json(report, stdout))
        return EXIT_FAILED;
    return EXIT_DONE;
}

/* Runs the batch, then what it is compared with. Returns an exit code. */
static int serve_and_report(const struct settings *settings,
                            const struct prompts *prompts,
                            const bitnet_model_info *info, bitnet_engine *engine,
                            size_t n_callers)
{
    struct batch together = {0};
    struct batch alone = {0};
    struct serving serving = {.engine = engine, .sampling = sampling_of(settings)};
    struct report report = {.model = info,
                            .serving = &serving,
                            .together = &together,
                            .alone = &alone,
                            .n_compute_threads =
                                bitnet_thread_manager_get_compute_threads(),
                            .is_verified = settings->is_verified};
    int code = EXIT_FAILED;

    serving.display =
        display_create(prompts->texts, prompts->n, engine, settings->is_json);
    if (serving.display == NULL ||
        !batch_init(&together, prompts->texts, prompts->n, settings->seed)) {
        complain("cannot hold %zu requests: out of memory", prompts->n);
        goto done;
    }
    const bool is_served = batch_serve(&together, &serving, n_callers);
    const bool is_written = display_end(serving.display);
    serving.display = NULL;
    if (!is_served || !is_written) goto done;
    bool is_good = complain_of_failures(&together) == 0;

    const bool has_comparison = settings->is_verified || prompts->n > 1;
    if (has_comparison && batch_n_tokens(&together) > 0 && !interrupt_is_pending())
        is_good = serve_alone(&report, prompts, &alone) && is_good;
    report.is_interrupted = interrupt_is_pending();
    if (report.is_verified && !report_is_equal(&report)) is_good = false;
    code = print_report(&report, settings->is_json);
    if (report.is_interrupted)
        code = EXIT_INTERRUPTED;
    else if (!is_good)
        code = EXIT_FAILED;

done:
    display_end(serving.display);
    batch_release(&alone);
    batch_release(&together);
    return code;
}

static int run_model(const struct settings *settings, const struct prompts *prompts)
{
    char shipped[MODEL_PATH_BYTES];
    const char *path = model_path_resolve(settings->model, shipped);
    if (path == NULL) return EXIT_FAILED;

    size_t n_callers = settings->n_callers == 0 ? USUAL_CALLERS : settings->n_callers;
    if (n_callers > prompts->n) n_callers = prompts->n;

    bitnet_model *model = NULL;
    bitnet_engine *engine = NULL;
    bitnet_model_info info = {.struct_size = sizeof(info)};
    bitnet_model_options model_options = bitnet_model_options_default();
    if (settings->is_without_copy) model_options.head_copy = BITNET_HEAD_COPY_NEVER;
    bitnet_engine_options options = bitnet_engine_options_default();
    options.kv_type = settings->kv_type;
    if (n_callers < options.max_batch) options.max_batch = (uint32_t)n_callers;

    int code = EXIT_FAILED;
    if ((settings->n_threads == 0 || bitnet_thread_manager_set_compute_threads(
                                         (uint32_t)settings->n_threads) == BITNET_OK) &&
        bitnet_model_load(path, &model_options, &model) == BITNET_OK &&
        bitnet_model_get_info(model, &info) == BITNET_OK &&
        bitnet_engine_create(model, &options, &engine) == BITNET_OK) {
        interrupt_set_engine(engine);
        code = serve_and_report(settings, prompts, &info, engine, n_callers);
        interrupt_set_engine(NULL);
    } else {
        complain("%s", bitnet_last_error());
    }
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
    return code;
}

int command_run(int argc, char **argv)
{
    struct settings settings;
    int n_operands;
    switch (read_settings(argc, argv, &settings, &n_operands)) {
    case OPTIONS_READ: break;
    case OPTIONS_HELP_SHOWN: return EXIT_DONE;
    case OPTIONS_WRONG: return EXIT_WRONG_USAGE;
    }
    if (!kv_type_read("run", settings.kv_type_name, &settings.kv_type))
        return EXIT_WRONG_USAGE;
    struct prompts prompts;
    int code = read_prompts(&settings, argv, n_operands, &prompts);
    if (code != EXIT_DONE) return code;

    code = grammar_from_files(settings.grammar_path, settings.schema_path,
                              &settings.grammar);
    if (code != EXIT_DONE) {
        prompts_free(&prompts);
        return code;
    }
    code = EXIT_FAILED;
    if (interrupt_begin()) {
        code = run_model(&settings, &prompts);
        interrupt_end();
    }
    bitnet_grammar_release(settings.grammar);
    prompts_free(&prompts);
    return code;
}
