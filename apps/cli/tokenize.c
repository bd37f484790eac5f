/* SPDX-License-Identifier: MIT */
/*
 * tokenize.c - `bitnet tokenize`: one line per token, its number and its bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/model.h>
#include <jansson.h>

#include "commands.h"
#include "complain.h"
#include "model_path.h"
#include "options.h"
#include "prompts.h"
#include "text.h"

struct settings {
    const char *model;
    const char *file;
    bool is_json;
    bool parse_special;
    bool is_bare; /* no BOS */
};

/* As a C string would be written, so that every byte of every token shows. */
static void print_quoted(const char *bytes, size_t n_bytes)
{
    putchar('"');
    size_t length;
    for (size_t i = 0; i < n_bytes; i += length) {
        const uint32_t character = text_next(bytes + i, n_bytes - i, &length);
        if (character == TEXT_BROKEN)
            printf("\\x%02x", (unsigned char)bytes[i]);
        else if (character == '\n')
            printf("\\n");
        else if (character == '\t')
            printf("\\t");
        else if (character == '"' || character == '\\')
            printf("\\%c", bytes[i]);
        else if (text_is_control(character))
            printf("\\u%04" PRIx32, character);
        else
            fwrite(bytes + i, 1, length, stdout);
    }
    printf("\"\n");
}

static json_t *token_to_json(bitnet_token token, const char *bytes, size_t n_bytes)
{
    json_t *json = json_pack("{s:i}", "id", (int)token);
    json_t *text = json_stringn(bytes, n_bytes); /* NULL if part of a character */
    json_object_set_new(json, "text", text == NULL ? json_null() : text);
    json_t *numbers = json_array();
    for (size_t i = 0; i < n_bytes; i++)
        json_array_append_new(numbers, json_integer((unsigned char)bytes[i]));
    json_object_set_new(json, "bytes", numbers);
    return json;
}

/* Tokenizes one text; appends to `json`, or prints if that is NULL. */
static int tokenize_text(const bitnet_model *model, const struct settings *settings,
                         const char *text, json_t *json)
{
    bitnet_tokenize_options options = bitnet_tokenize_options_default();
    options.add_special = !settings->is_bare;
    options.parse_special = settings->parse_special;

    const size_t text_len = strlen(text);
    size_t n_tokens = 0;
    bitnet_token *tokens = calloc(text_len + 2, sizeof(*tokens));
    int code = EXIT_FAILED;
    if (tokens == NULL) {
        complain("cannot tokenize %zu bytes: out of memory", text_len);
        return code;
    }
    if (bitnet_tokenize(model, text, text_len, &options, tokens, text_len + 2,
                        &n_tokens) != BITNET_OK) {
        complain("%s", bitnet_last_error());
        goto done;
    }
    json_t *list = json == NULL ? NULL : json_array();
    for (size_t i = 0; i < n_tokens; i++) {
        const char *bytes = "";
        size_t n_bytes = 0;
        bitnet_token_bytes(model, tokens[i], &bytes, &n_bytes); /* known to be valid */
        if (json != NULL) {
            json_array_append_new(list, token_to_json(tokens[i], bytes, n_bytes));
            continue;
        }
        printf("%6" PRId32 "  ", tokens[i]);
        print_quoted(bytes, n_bytes);
    }
    if (json != NULL)
        json_array_append_new(json,
                              json_pack("{s:s, s:o}", "text", text, "tokens", list));
    code = EXIT_DONE;

done:
    free(tokens);
    return code;
}

static int tokenize_all(const struct settings *settings, const struct prompts *prompts)
{
    char shipped[MODEL_PATH_BYTES];
    const char *path = model_path_resolve(settings->model, shipped);
    if (path == NULL) return EXIT_FAILED;
    bitnet_model_options options = bitnet_model_options_default();
    options.is_vocabulary_only = true;
    bitnet_model *model;
    if (bitnet_model_load(path, &options, &model) != BITNET_OK) {
        complain("%s", bitnet_last_error());
        return EXIT_FAILED;
    }
    json_t *json = settings->is_json ? json_array() : NULL;
    int code = EXIT_DONE;
    for (size_t i = 0; i < prompts->n && code == EXIT_DONE; i++) {
        if (i > 0 && json == NULL) putchar('\n');
        code = tokenize_text(model, settings, prompts->texts[i], json);
    }
    if (json != NULL && code == EXIT_DONE) {
        json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(json);
    bitnet_model_release(model);
    return code;
}

int command_tokenize(int argc, char **argv)
{
    struct settings settings = {0};
    const struct option options[] = {
        {"model", 'm', OPTION_TEXT, &settings.model, "FILE",
         "GGUF file; default: the shipped model", 0, 0},
        {"file", 'f', OPTION_TEXT, &settings.file, "FILE",
         "texts, one per line; - is standard input", 0, 0},
        {"special", 0, OPTION_FLAG, &settings.parse_special, NULL,
         "read names such as <|eot_id|> as control tokens", 0, 0},
        {"no-bos", 0, OPTION_FLAG, &settings.is_bare, NULL,
         "do not put the model's BOS token first", 0, 0},
        {"json", 0, OPTION_FLAG, &settings.is_json, NULL,
         "one JSON array instead of lines", 0, 0},
    };
    const struct command command = {
        .name = "tokenize",
        .arguments = "[options] [TEXT...]",
        .summary =
            "Prints the tokens of each text, from the arguments or standard input.",
        .examples = "  bitnet tokenize \"Once upon a time\"\n"
                    "  bitnet tokenize --json --file prompts.txt\n",
        .options = options,
        .n_options = sizeof(options) / sizeof(options[0]),
    };
    int n_operands;
    switch (options_read(&command, argc, argv, &n_operands)) {
    case OPTIONS_READ: break;
    case OPTIONS_HELP_SHOWN: return EXIT_DONE;
    case OPTIONS_WRONG: return EXIT_WRONG_USAGE;
    }
    if (n_operands > 0 && settings.file != NULL) {
        complain("tokenize: texts as arguments and --file %s: give one or the other",
                 settings.file);
        return EXIT_WRONG_USAGE;
    }
    struct prompts prompts;
    int code =
        n_operands > 0
            ? prompts_from_arguments(argv, n_operands, &prompts)
            : prompts_from_file(settings.file == NULL ? "-" : settings.file, &prompts);
    if (code != EXIT_DONE) return code;
    code = tokenize_all(&settings, &prompts);
    prompts_free(&prompts);
    return code;
}
