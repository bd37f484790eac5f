/* SPDX-License-Identifier: MIT */
/*
 * test_tokenizer_vectors.c - the same ids as other tokenizers, on real vocabularies.
 *
 * The expected ids come from tiktoken (Llama-3's vocabulary), from llama.cpp (four
 * vocabularies) and from the trainer of the shipped model. The first two lie
 * outside of the repository; where they are absent their tests are skipped. The
 * trainer's are strings of our own (CC0).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "support/models.h"
#include "support/tokenizers.h"

#define DATA_DIR BITNET_SOURCE_DIR "/../shared/data/tokenizer/"
#define LLAMA3 DATA_DIR "llama3-vocab.gguf"
#define LLAMACPP_DIR DATA_DIR "llamacpp/"

/* Decodes base64 in place; returns the number of bytes. */
static size_t decode_base64(char *text)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (const char *c = text; *c != '\0' && *c != '='; c++) {
        bits = bits << 6 | (uint32_t)(strchr(alphabet, *c) - alphabet);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            text[n++] = (char)(bits >> n_bits);
        }
    }
    return n;
}

static bool encodes_to_json(const struct bni_tokenizer *tokenizer, const char *text,
                            size_t n_text, bool parse_special, const json_t *ids)
{
    const size_t n = json_array_size(ids);
    bitnet_token *expected = calloc(n + 1, sizeof(*expected));
    assert_non_null(expected);
    for (size_t i = 0; i < n; i++)
        expected[i] = (bitnet_token)json_integer_value(json_array_get(ids, i));
    const bool is_equal =
        encodes_to(tokenizer, text, n_text, parse_special, expected, n);
    free(expected);
    return is_equal;
}

/* One record: `b64` or `text`, `ids`, maybe `ids_special`. Returns how much differs. */
static unsigned check_record(const struct bni_tokenizer *tokenizer,
                             const json_t *record, bool has_special)
{
    const json_t *base64 = json_object_get(record, "b64");
    const json_t *special = json_object_get(record, "ids_special");
    const json_t *ids = json_object_get(record, "ids");
    char *text = base64 != NULL
                     ? strdup(json_string_value(base64))
                     : strdup(json_string_value(json_object_get(record, "text")));
    assert_non_null(text);
    const size_t n_text = base64 != NULL ? decode_base64(text) : strlen(text);

    unsigned n_different = !encodes_to_json(tokenizer, text, n_text, false, ids);
    /* Without ids of its own, recognising special tokens changes nothing. */
    if (has_special)
        n_different += !encodes_to_json(tokenizer, text, n_text, true,
                                        special != NULL ? special : ids);
    free(text);
    return n_different;
}

static void check_file(const struct bni_tokenizer *tokenizer, const char *path,
                       bool has_special, size_t n_expected_records)
{
    FILE *file = fopen(path, "rb");
    char *line = NULL;
    size_t max_line = 0;
    size_t n_records = 0;
    unsigned n_different = 0;
    assert_non_null(file);
    while (getline(&line, &max_line, file) > 0) {
        json_error_t error;
        json_t *record = json_loads(line, JSON_ALLOW_NUL, &error);
        if (record == NULL)
            fail_msg("%s: line %zu: %s", path, n_records + 1, error.text);
        n_different += check_record(tokenizer, record, has_special);
        json_decref(record);
        n_records++;
    }
    free(line);
    fclose(file);
    assert_int_equal(n_records, n_expected_records);
    assert_int_equal(n_different, 0);
}

static void llama3_agrees_with_tiktoken(void **state)
{
    (void)state;
    struct opened opened = open_or_skip(LLAMA3);
    assert_string_equal(bni_tokenizer_description(opened.tokenizer),
                        "gpt2 (llama-bpe)");
    check_file(opened.tokenizer, DATA_DIR "tokenizer_open.jsonl", true, 1597);
    close_opened(&opened);
}

static void the_shipped_vocabulary_agrees_with_its_trainer(void **state)
{
    (void)state;
    struct opened opened = open_or_skip(SHIPPED_MODEL);
    check_file(opened.tokenizer,
               BITNET_SOURCE_DIR "/tests/data/tinystories_tokens.jsonl", false, 135);
    close_opened(&opened);
}

static char *read_all(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    const long n_bytes = ftell(file);
    assert_true(n_bytes > 0);
    rewind(file);
    char *text = calloc((size_t)n_bytes + 1, 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)n_bytes, file), (size_t)n_bytes);
    fclose(file);
    return text;
}

/* Returns the tokens of the next line of ids; moves `*at` behind it. */
static size_t parse_ids(char **at, bitnet_token *ids, size_t max_ids)
{
    size_t n = 0;
    while (**at != '\n' && **at != '\0') {
        char *end;
        assert_true(n < max_ids);
        ids[n++] = (bitnet_token)strtol(*at, &end, 10);
        *at = end;
        while (**at == ' ') (*at)++;
    }
    if (**at == '\n') (*at)++;
    return n;
}

/* llama.cpp's files: texts with a separator between them, a line of ids for each. */
static void check_llamacpp(const char *input_path, const char *output_path,
                           const struct bni_tokenizer *tokenizer)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    enum { MAX_IDS = 1024, N_TEXTS = 46 };
    bitnet_token ids[MAX_IDS];
    char *input = read_all(input_path);
    char *output = read_all(output_path);
    char *ids_at = output;
    unsigned n_texts = 0;
    unsigned n_different = 0;
    for (char *text = input; text != NULL; n_texts++) {
        char *end = strstr(text, separator);
        const size_t n_text = end != NULL ? (size_t)(end - text) : strlen(text);
        /* What follows the last separator is the end of the file, and no text. */
        if (end == NULL && n_text == 0) break;
        const size_t n_ids = parse_ids(&ids_at, ids, MAX_IDS);
        n_different += !encodes_to(tokenizer, text, n_text, false, ids, n_ids);
        text = end != NULL ? end + strlen(separator) : NULL;
    }
    free(input);
    free(output);
    assert_int_equal(n_texts, N_TEXTS);
    assert_int_equal(n_different, 0);
}

static void check_llamacpp_vocabulary(const char *name)
{
    char path[512];
    char input_path[600];
    char output_path[600];
    snprintf(path, sizeof(path), LLAMACPP_DIR "ggml-vocab-%s.gguf", name);
    snprintf(input_path, sizeof(input_path), "%s.inp", path);
    snprintf(output_path, sizeof(output_path), "%s.out", path);
    struct opened opened = open_or_skip(strcmp(name, "llama-bpe") == 0 ? LLAMA3 : path);
    check_llamacpp(input_path, output_path, opened.tokenizer);
    close_opened(&opened);
}

static void llama_bpe_agrees_with_llamacpp(void **state)
{
    (void)state;
    check_llamacpp_vocabulary("llama-bpe");
}

static void llama_spm_agrees_with_llamacpp(void **state)
{
    (void)state;
    check_llamacpp_vocabulary("llama-spm");
}

static void gpt2_agrees_with_llamacpp(void **state)
{
    (void)state;
    check_llamacpp_vocabulary("gpt-2");
}

static void falcon_agrees_with_llamacpp(void **state)
{
    (void)state;
    check_llamacpp_vocabulary("falcon");
}

static void starcoder_agrees_with_llamacpp(void **state)
{
    (void)state;
    check_llamacpp_vocabulary("starcoder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3_agrees_with_tiktoken),
        cmocka_unit_test(llama_bpe_agrees_with_llamacpp),
        cmocka_unit_test(llama_spm_agrees_with_llamacpp),
        cmocka_unit_test(gpt2_agrees_with_llamacpp),
        cmocka_unit_test(falcon_agrees_with_llamacpp),
        cmocka_unit_test(starcoder_agrees_with_llamacpp),
        cmocka_unit_test(the_shipped_vocabulary_agrees_with_its_trainer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
