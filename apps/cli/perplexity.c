/* SPDX-License-Identifier: MIT */
/*
 * perplexity.c - `bitnet perplexity`: how well a model foretells a text.
 *
 *     file -> tokens -> windows, scored -> loss, perplexity, speed
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/engine.h>
#include <bitnet/model.h>
#include <bitnet/thread_manager.h>
#include <jansson.h>

#include "commands.h"
#include "complain.h"
#include "interrupt.h"
#include "kv_type.h"
#include "model_path.h"
#include "options.h"
#include "scoring.h"
#include "text.h"
#include "text_file.h"

enum { USUAL_CTX = 512, STEP_TOKENS = 256, MAX_THREADS = BITNET_MAX_COMPUTE_THREADS };

struct settings {
    const char *model;
    const char *file;
    uint64_t n_ctx;
    uint64_t stride;
    uint64_t n_threads;
    const char *kv_type_name; /* or NULL */
    bitnet_kv_type kv_type;
    bool is_json;
    bool has_logprobs;
    bool parse_special;
};

static enum options_result read_settings(int argc, char **argv,
                                         struct settings *settings, int *n_operands)
{
    struct settings *s = settings;
    *s = (struct settings){.file = "-"};
    const struct option options[] = {
        {"model", 'm', OPTION_TEXT, &s->model, "FILE",
         "GGUF file; default: the shipped model", 0, 0},
        {"file", 'f', OPTION_TEXT, &s->file, "FILE",
         "the text; default, and -: standard input", 0, 0},
        {"ctx", 'c', OPTION_WHOLE, &s->n_ctx, "N",
         "tokens in a window; 0: 512, or what the model has", 0, 16777216},
        {"stride", 0, OPTION_WHOLE, &s->stride, "N",
         "tokens from window to window, at most --ctx; 0: --ctx", 0, 16777216},
        {"threads", 't', OPTION_WHOLE, &s->n_threads, "N",
         "threads that compute; 0: what the machine grants", 0, MAX_THREADS},
        {"kv-type", 0, OPTION_TEXT, &s->kv_type_name, "TYPE", KV_TYPE_HELP, 0, 0},
        {"special", 0, OPTION_FLAG, &s->parse_special, NULL,
         "read names such as <|eot_id|> as control tokens", 0, 0},
        {"json", 0, OPTION_FLAG, &s->is_json, NULL,
         "one JSON document instead of lines", 0, 0},
        {"logprobs", 0, OPTION_FLAG, &s->has_logprobs, NULL,
         "with --json: every token and its log-probability too", 0, 0},
    };
    const struct command command = {
        .name = "perplexity",
        .arguments = "[options]",
        .summary =
            "Scores a text, token by token, each given those before it in its window,\n"
            "and prints the perplexity: exp of the mean of -ln p. With a stride "
            "less than\n"
            "the window every token has at least --ctx less --stride tokens before it.",
        .examples =
            "  bitnet perplexity --file story.txt\n"
            "  bitnet perplexity --file story.txt --ctx 256 --stride 128 --json\n",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    return options_read(&command, argc, argv, n_operands);
}

/* ---- results --------------------------------------------------------------------------- */

static double tokens_per_second(const struct scoring *s)
{
    return s->elapsed_ns == 0 ? 0 : (double)s->n_computed * 1e9 / (double)s->elapsed_ns;
}

static void print_lines(const struct scoring *s)
{
    const struct loss loss = scoring_loss(s);
    printf("perplexity  %.4f +- %.4f\n", loss.perplexity, loss.perplexity_error);
    printf("loss        %.5f +- %.5f nats per token\n", loss.mean, loss.mean_error);
    printf("tokens      %zu of %zu scored, in %zu windows of %zu, every %zu%s\n",
           s->n_scored, s->n_tokens, s->n_done, s->n_ctx, s->stride,
           s->is_interrupted ? " (interrupted)" : "");
    printf("speed       %.1f tokens/s: %zu computed in %.2f s\n", tokens_per_second(s),
           s->n_computed, (double)s->elapsed_ns / 1e9);
}

/* null where a token has none. */
static json_t *logprobs_to_json(const struct scoring *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_tokens; i++)
        json_array_append_new(list, isnan(s->logprobs[i])
                                        ? json_null()
                                        : json_real((double)s->logprobs[i]));
    return list;
}

static json_t *tokens_to_json(const struct scoring *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_tokens; i++)
        json_array_append_new(list, json_integer(s->tokens[i]));
    return list;
}

static bool print_json(const struct scoring *s, const struct settings *settings,
                       const char *model_path)
{
    const struct loss loss = scoring_loss(s);
    json_t *json = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:b}",
        "model", model_path, "file", text_file_name(settings->file), "n_ctx",
        (json_int_t)s->n_ctx, "stride", (json_int_t)s->stride, "n_tokens",
        (json_int_t)s->n_tokens, "n_windows", (json_int_t)s->n_done, "n_scored",
        (json_int_t)s->n_scored, "n_computed", (json_int_t)s->n_computed, "perplexity",
        loss.perplexity, "perplexity_error", loss.perplexity_error, "loss", loss.mean,
        "loss_error", loss.mean_error, "elapsed_s", (double)s->elapsed_ns / 1e9,
        "tokens_per_s", tokens_per_second(s), "is_interrupted", s->is_interrupted);
    if (json != NULL && settings->has_logprobs) {
        json_object_set_new(json, "tokens", tokens_to_json(s));
        json_object_set_new(json, "logprobs", logprobs_to_json(s));
    }
    const bool is_whole = json != NULL;
    if (!is_whole)
        complain("cannot write JSON: out of memory, or a name that is not UTF-8");
    else
        json_dumpf(json, stdout, JSON_INDENT(2));
    if (is_whole) putchar('\n');
    json_decref(json);
    return is_whole;
}

/* ---- from file to windows -------------------------------------------------------------- */

/* Gives the text's tokens, at least two. Returns an exit code. */
static int read_tokens(const bitnet_model *model, const struct settings *settings,
                       bitnet_token **tokens, size_t *n_tokens)
{
    const char *name = text_file_name(settings->file);
    bitnet_tokenize_options options = bitnet_tokenize_options_default();
    options.parse_special = settings->parse_special;
    size_t n_bytes;
    char *text = text_file_read(settings->file, &n_bytes);
    if (text == NULL) return EXIT_FAILED;
    int code = EXIT_FAILED;
    const size_t broken = text_first_broken(text, n_bytes);
    *tokens = calloc(n_bytes + 2, sizeof(**tokens));
    if (broken < n_bytes)
        complain("%s: byte %zu (0x%02x) is not UTF-8: save the text as UTF-8", name,
                 broken + 1, (unsigned char)text[broken]);
    else if (*tokens == NULL)
        complain("%s: cannot hold its tokens: out of memory", name);
    else if (bitnet_tokenize(model, text, n_bytes, &options, *tokens, n_bytes + 2,
                             n_tokens) != BITNET_OK)
        complain("%s: %s", name, bitnet_last_error());
    else if (*n_tokens < 2)
        complain("%s: is %zu tokens long: a score needs two", name, *n_tokens);
    else
        code = EXIT_DONE;
    free(text);
    if (code != EXIT_DONE) free(*tokens);
    return code;
}

/* Settles window and stride. Returns an exit code. */
static int settle_windows(const struct settings *settings, uint32_t n_ctx_of_model,
                          struct scoring *scoring)
{
    scoring->n_ctx = settings->n_ctx;
    if (scoring->n_ctx == 0)
        scoring->n_ctx = n_ctx_of_model < USUAL_CTX ? n_ctx_of_model : USUAL_CTX;
    scoring->stride = settings->stride == 0 ? scoring->n_ctx : settings->stride;
    if (scoring->n_ctx < 2 || scoring->n_ctx > n_ctx_of_model)
        complain("perplexity: --ctx: %zu is not from 2 to %" PRIu32
                 ", which the model has",
                 scoring->n_ctx, n_ctx_of_model);
    else if (scoring->stride > scoring->n_ctx)
        complain(
            "perplexity: --stride: %zu is more than the window of %zu tokens: some "
            "would be left out",
            scoring->stride, scoring->n_ctx);
    else
        return EXIT_DONE;
    return EXIT_WRONG_USAGE;
}

static int score_and_report(const struct settings *settings, const char *model_path,
                            struct scoring *scoring)
{
    interrupt_set_engine(scoring->engine);
    int code = scoring_run(scoring);
    interrupt_set_engine(NULL);
    if (code == EXIT_DONE && scoring->n_scored > 0) {
        if (!settings->is_json)
            print_lines(scoring);
        else if (!print_json(scoring, settings, model_path))
            code = EXIT_FAILED;
    }
    free(scoring->logprobs);
    return scoring->is_interrupted ? EXIT_INTERRUPTED : code;
}

static int measure(const struct settings *settings)
{
    char shipped[MODEL_PATH_BYTES];
    const char *path = model_path_resolve(settings->model, shipped);
    if (path == NULL) return EXIT_FAILED;

    bitnet_model *model = NULL;
    bitnet_token *tokens = NULL;
    struct scoring scoring = {0};
    bitnet_model_info info = {.struct_size = sizeof(info)};
    int code = EXIT_FAILED;
    if ((settings->n_threads != 0 && bitnet_thread_manager_set_compute_threads(
                                         (uint32_t)settings->n_threads) != BITNET_OK) ||
        bitnet_model_load(path, NULL, &model) != BITNET_OK ||
        bitnet_model_get_info(model, &info) != BITNET_OK) {
        complain("%s", bitnet_last_error());
        goto done;
    }
    code = settle_windows(settings, info.n_ctx_train, &scoring);
    if (code != EXIT_DONE) goto done;
    code = read_tokens(model, settings, &tokens, &scoring.n_tokens);
    if (code != EXIT_DONE) goto done;

    bitnet_engine_options options = bitnet_engine_options_default();
    options.n_ctx = (uint32_t)scoring.n_ctx;
    options.step_tokens = STEP_TOKENS;
    options.kv_type = settings->kv_type;
    code = EXIT_FAILED;
    if (bitnet_engine_create(model, &options, &scoring.engine) == BITNET_OK) {
        scoring.tokens = tokens;
        code = score_and_report(settings, path, &scoring);
        bitnet_engine_destroy(scoring.engine);
    } else {
        complain("%s", bitnet_last_error());
    }
    free(tokens);

done:
    bitnet_model_release(model);
    return code;
}

int command_perplexity(int argc, char **argv)
{
    struct settings settings;
    int n_operands;
    switch (read_settings(argc, argv, &settings, &n_operands)) {
    case OPTIONS_READ: break;
    case OPTIONS_HELP_SHOWN: return EXIT_DONE;
    case OPTIONS_WRONG: return EXIT_WRONG_USAGE;
    }
    if (n_operands > 0) {
        complain("perplexity: '%s' is no option; a text comes by --file", argv[0]);
        return EXIT_WRONG_USAGE;
    }
    if (!kv_type_read("perplexity", settings.kv_type_name, &settings.kv_type))
        return EXIT_WRONG_USAGE;
    if (settings.has_logprobs && !settings.is_json) {
        complain("perplexity: --logprobs is for --json");
        return EXIT_WRONG_USAGE;
    }
    if (!interrupt_begin()) return EXIT_FAILED;
    const int code = measure(&settings);
    interrupt_end();
    return code;
}
