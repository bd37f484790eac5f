/* SPDX-License-Identifier: MIT */
/*
 * info.c - `bitnet info`: what a model file says about itself.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bitnet/model.h>
#include <jansson.h>

#include "commands.h"
#include "complain.h"
#include "model_path.h"
#include "options.h"
#include "text.h"

static void print_text(const char *label, const char *value)
{
    printf("%-16s ", label);
    text_put_safe(stdout, value, strlen(value));
    putchar('\n');
}

static void print_token(const char *label, bitnet_token token)
{
    if (token == BITNET_NO_TOKEN)
        printf("%-16s none\n", label);
    else
        printf("%-16s %" PRId32 "\n", label, token);
}

static void print_lines(const bitnet_model_info *info)
{
    print_text("file", info->path);
    print_text("name", info->name);
    print_text("architecture", info->architecture);
    print_text("weights", info->weight_type);
    print_text("tokenizer", info->tokenizer);
    printf("%-16s %" PRIu64 "\n", "parameters", info->n_parameters);
    printf("%-16s %" PRIu64 " bytes mapped, %" PRIu64 " allocated\n", "memory",
           info->mapped_bytes, info->allocated_bytes);
    printf("%-16s %" PRIu64 " bytes of those allocated\n", "repacked",
           info->repacked_bytes);
    if (info->head_copy_bytes > 0)
        printf("%-16s %" PRIu64 " of the allocated bytes, made in %.0f ms\n",
               "copy of the head", info->head_copy_bytes,
               (double)info->head_copy_ns / 1e6);
    printf("%-16s %" PRIu32 "\n", "layers", info->n_layers);
    printf("%-16s %" PRIu32 "\n", "embedding", info->n_embd);
    printf("%-16s %" PRIu32 "\n", "feed-forward", info->n_ff);
    printf("%-16s %" PRIu32 " of %" PRIu32 ", %" PRIu32 " for keys and values\n",
           "heads", info->n_heads, info->head_dim, info->n_kv_heads);
    printf("%-16s %" PRIu32 " tokens\n", "context", info->n_ctx_train);
    printf("%-16s %" PRIu32 " tokens\n", "vocabulary", info->n_vocab);
    printf("%-16s %g\n", "rope base", (double)info->rope_freq_base);
    printf("%-16s %g\n", "norm epsilon", (double)info->rms_norm_epsilon);
    print_token("bos token", info->bos_token);
    print_token("eos token", info->eos_token);
    printf("%-16s %s\n", "adds bos", info->adds_bos ? "yes" : "no");
    printf("%-16s %s\n", "chat template", info->chat_template == NULL ? "no" : "yes");
}

static json_t *token_to_json(bitnet_token token)
{
    return token == BITNET_NO_TOKEN ? json_null() : json_integer(token);
}

/* A string of the file; JSON must be UTF-8, so what is not becomes null. */
static json_t *text_to_json(const char *text)
{
    json_t *json = text == NULL ? NULL : json_string(text);
    return json == NULL ? json_null() : json;
}

static bool print_json(const bitnet_model_info *info)
{
    json_t *json = json_object();
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"path", text_to_json(info->path)},
        {"name", text_to_json(info->name)},
        {"architecture", text_to_json(info->architecture)},
        {"weights", text_to_json(info->weight_type)},
        {"tokenizer", text_to_json(info->tokenizer)},
        {"chat_template", text_to_json(info->chat_template)},
        {"n_parameters", json_integer((json_int_t)info->n_parameters)},
        {"mapped_bytes", json_integer((json_int_t)info->mapped_bytes)},
        {"allocated_bytes", json_integer((json_int_t)info->allocated_bytes)},
        {"repacked_bytes", json_integer((json_int_t)info->repacked_bytes)},
        {"head_copy_bytes", json_integer((json_int_t)info->head_copy_bytes)},
        {"head_copy_ns", json_integer((json_int_t)info->head_copy_ns)},
        {"n_layers", json_integer(info->n_layers)},
        {"n_embd", json_integer(info->n_embd)},
        {"n_ff", json_integer(info->n_ff)},
        {"n_heads", json_integer(info->n_heads)},
        {"n_kv_heads", json_integer(info->n_kv_heads)},
        {"head_dim", json_integer(info->head_dim)},
        {"n_ctx_train", json_integer(info->n_ctx_train)},
        {"n_vocab", json_integer(info->n_vocab)},
        {"rope_freq_base", json_real((double)info->rope_freq_base)},
        {"rms_norm_epsilon", json_real((double)info->rms_norm_epsilon)},
        {"bos_token", token_to_json(info->bos_token)},
        {"eos_token", token_to_json(info->eos_token)},
        {"adds_bos", json_boolean(info->adds_bos)},
    };
    bool is_made = true;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        is_made &= json_object_set_new(json, members[i].key, members[i].value) == 0;
    if (is_made) {
        json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        complain("cannot make the JSON: out of memory");
    }
    json_decref(json);
    return is_made;
}

int command_info(int argc, char **argv)
{
    bool is_json = false;
    const struct option options[] = {
        {"json", 0, OPTION_FLAG, &is_json, NULL, "one JSON object instead of lines", 0,
         0},
    };
    const struct command command = {
        .name = "info",
        .arguments = "[options] [MODEL]",
        .summary =
            "Checks a GGUF file and tells what is in it. Default: the shipped model.",
        .examples = "  bitnet info\n"
                    "  bitnet info model.gguf --json\n",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    int n_operands;
    switch (options_read(&command, argc, argv, &n_operands)) {
    case OPTIONS_READ: break;
    case OPTIONS_HELP_SHOWN: return EXIT_DONE;
    case OPTIONS_WRONG: return EXIT_WRONG_USAGE;
    }
    if (n_operands > 1) {
        complain("info: one model at a time, but got %d: '%s' and more", n_operands,
                 argv[1]);
        return EXIT_WRONG_USAGE;
    }
    char shipped[MODEL_PATH_BYTES];
    const char *path = model_path_resolve(n_operands == 0 ? NULL : argv[0], shipped);
    if (path == NULL) return EXIT_FAILED;

    bitnet_model *model;
    if (bitnet_model_load(path, NULL, &model) != BITNET_OK) {
        complain("%s", bitnet_last_error());
        return EXIT_FAILED;
    }
    int code = EXIT_DONE;
    bitnet_model_info info = {.struct_size = sizeof(info)};
    if (bitnet_model_get_info(model, &info) != BITNET_OK) {
        complain("%s", bitnet_last_error());
        code = EXIT_FAILED;
    } else if (!is_json) {
        print_lines(&info);
    } else if (!print_json(&info)) {
        code = EXIT_FAILED;
    }
    bitnet_model_release(model);
    return code;
}
