/* SPDX-License-Identifier: MIT */
/*
 * test_model.c - loading, sharing and asking a model, and what happens to files that
 * are damaged anywhere.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bitnet/model.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "model/model.h"
#include "support/gguf_builder.h"

#define SHARED BITNET_SOURCE_DIR "/../shared/data/"

static uint8_t *tiny_bytes(size_t *n_bytes)
{
    struct gguf_builder builder;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, NULL);
    return gguf_end(&builder, n_bytes);
}

/* Writes the tiny model to a file of a fresh name; the caller removes it. */
static void write_tiny(char path[32])
{
    size_t n_bytes;
    uint8_t *bytes = tiny_bytes(&n_bytes);
    strcpy(path, "bitnet-test-XXXXXX");
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_true(gguf_write_file(path, bytes, n_bytes));
    free(bytes);
}

static bitnet_model *load_tiny(void)
{
    char path[32];
    bitnet_model *model;
    write_tiny(path);
    if (bitnet_model_load(path, NULL, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    remove(path); /* the mapping outlives the name */
    return model;
}

static void a_loaded_model_tells_what_it_is(void **state)
{
    (void)state;
    bitnet_model *model = load_tiny();
    bitnet_model_info info;
    memset(&info, 0xAA, sizeof(info));
    info.struct_size = sizeof(info);
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_int_equal(info.struct_size, sizeof(info));
    assert_non_null(strstr(info.path, "bitnet-test-"));
    assert_string_equal(info.name, "tiny");
    assert_string_equal(info.architecture, "bitnet-b1.58");
    assert_string_equal(info.weight_type, "I2_S");
    assert_non_null(strstr(info.tokenizer, "gpt2"));
    assert_null(info.chat_template);
    /* embedding, five norms, seven projections */
    assert_int_equal(info.n_parameters, 5 * 128 + 5 * 128 + 5 * 16384 + 2 * 8192);
    assert_true(info.mapped_bytes > 25000);
    assert_in_range(info.allocated_bytes, 4000, 100000);
    assert_int_equal(info.n_layers, 1);
    assert_int_equal(info.n_embd, 128);
    assert_int_equal(info.n_ff, 128);
    assert_int_equal(info.n_heads, 2);
    assert_int_equal(info.n_kv_heads, 1);
    assert_int_equal(info.head_dim, 64);
    assert_int_equal(info.n_ctx_train, 64);
    assert_int_equal(info.n_vocab, 5);
    assert_int_equal(info.eos_token, 4);
    assert_int_equal(info.bos_token, BITNET_NO_TOKEN);
    assert_false(info.adds_bos);
    bitnet_model_release(model);
}

static void an_older_caller_gets_the_fields_it_knows(void **state)
{
    (void)state;
    bitnet_model *model = load_tiny();
    bitnet_model_info info;
    memset(&info, 0xAA, sizeof(info));
    info.struct_size = offsetof(bitnet_model_info, architecture);
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_string_equal(info.name, "tiny");
    assert_int_equal(((unsigned char *)&info.architecture)[0], 0xAA);
    info.struct_size = 0;
    assert_int_equal(bitnet_model_get_info(model, &info),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_get_info(model, NULL), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_get_info(NULL, &info), BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_model_release(model);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    bitnet_model *model;
    struct {
        bitnet_model_options options;
        size_t from_the_future;
    } newer = {bitnet_model_options_default(), 1};
    newer.options.struct_size = sizeof(newer);
    assert_int_equal(bitnet_model_load(NULL, NULL, &model),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_load("x", NULL, NULL), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_load("x", &newer.options, &model),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_load("no/such.gguf", NULL, &model),
                     BITNET_ERROR_MODEL_NOT_FOUND);
    assert_int_equal(bitnet_model_load(".", NULL, &model),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_null(bitnet_model_retain(NULL));
    bitnet_model_release(NULL);
}

static void *retain_and_release(void *argument)
{
    bitnet_model *model = argument;
    for (int i = 0; i < 1000; i++) {
        bitnet_model_info info = {.struct_size = sizeof(info)};
        bitnet_model_retain(model);
        bitnet_model_get_info(model, &info);
        bitnet_model_release(model);
    }
    bitnet_model_release(model);
    return NULL;
}

static void a_model_lives_until_its_last_reference(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    pthread_t threads[4];
    bitnet_model *model = load_tiny();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, retain_and_release,
                                        bitnet_model_retain(model)),
                         0);
    bitnet_model_release(model); /* maybe before the threads have begun */
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void text_becomes_tokens_and_text_again(void **state)
{
    (void)state;
    bitnet_model *model = load_tiny();
    bitnet_token tokens[8];
    char text[8];
    size_t n = 99;
    assert_int_equal(bitnet_tokenize(model, "abba", 4, NULL, NULL, 0, &n), BITNET_OK);
    assert_int_equal(n, 2); /* ab, ba */
    assert_int_equal(bitnet_tokenize(model, "abba", 4, NULL, tokens, 1, &n),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_string_equal(
        bitnet_last_error(),
        "bitnet_tokenize: there is room for 1 tokens, and 2 are needed");
    assert_int_equal(n, 2);
    assert_int_equal(bitnet_tokenize(model, "abba", 4, NULL, tokens, 2, &n), BITNET_OK);
    assert_int_equal(tokens[0], 2);
    assert_int_equal(tokens[1], 3);
    assert_int_equal(bitnet_tokenize(model, NULL, 0, NULL, tokens, 8, &n), BITNET_OK);
    assert_int_equal(n, 0);
    assert_int_equal(bitnet_tokenize(model, NULL, 1, NULL, tokens, 8, &n),
                     BITNET_ERROR_INVALID_ARGUMENT);

    assert_int_equal(bitnet_detokenize(model, tokens, 2, false, NULL, 0, &n),
                     BITNET_OK);
    assert_int_equal(n, 4);
    assert_int_equal(bitnet_detokenize(model, tokens, 2, false, text, 3, &n),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(n, 4);
    assert_int_equal(bitnet_detokenize(model, tokens, 2, false, text, 4, &n),
                     BITNET_OK);
    assert_memory_equal(text, "abba", 4);
    tokens[0] = 4;
    assert_int_equal(bitnet_detokenize(model, tokens, 1, false, text, 8, &n),
                     BITNET_OK);
    assert_int_equal(n, 0);
    assert_int_equal(bitnet_detokenize(model, tokens, 1, true, text, 8, &n), BITNET_OK);
    assert_memory_equal(text, "<|end|>", 7);
    bitnet_model_release(model);
}

static void tokens_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    static const bitnet_token OUTSIDE[] = {-1, 5, INT32_MIN, INT32_MAX};
    bitnet_model *model = load_tiny();
    const char *bytes;
    size_t n;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bitnet_token_bytes(model, OUTSIDE[i], &bytes, &n),
                         BITNET_ERROR_INVALID_ARGUMENT);
        assert_int_equal(bitnet_detokenize(model, &OUTSIDE[i], 1, false, NULL, 0, &n),
                         BITNET_ERROR_INVALID_ARGUMENT);
        assert_non_null(
            strstr(bitnet_last_error(), "outside the vocabulary, which has 5"));
    }
    assert_int_equal(bitnet_token_bytes(model, 2, &bytes, &n), BITNET_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(bytes, "ab", 2);
    assert_int_equal(bitnet_token_bytes(model, 4, &bytes, &n), BITNET_OK);
    assert_memory_equal(bytes, "<|end|>", 7);
    bitnet_model_release(model);
}

static void a_vocabulary_needs_no_model(void **state)
{
    (void)state;
    static const char *const TOKENS[] = {"a", "b"};
    bitnet_model_options options = bitnet_model_options_default();
    bitnet_model_info info = {.struct_size = sizeof(info)};
    bitnet_model *model;
    struct gguf_builder builder;
    struct bni_gguf *gguf;
    size_t n_bytes;
    gguf_begin(&builder);
    gguf_string(&builder, "general.architecture", "starcoder");
    gguf_string(&builder, "tokenizer.ggml.model", "gpt2");
    gguf_strings(&builder, "tokenizer.ggml.tokens", TOKENS, 2);
    gguf_strings(&builder, "tokenizer.ggml.merges", NULL, 0);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    assert_int_equal(bni_gguf_open_memory(bytes, n_bytes, "vocabulary", &gguf),
                     BITNET_OK);
    if (bni_model_create(gguf, true, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_string_equal(info.architecture, "starcoder");
    assert_string_equal(info.weight_type, "");
    assert_int_equal(info.n_layers, 0);
    assert_int_equal(info.n_vocab, 2);
    assert_false(model->has_weights);
    bitnet_model_release(model);
    assert_int_equal(bni_gguf_open_memory(bytes, n_bytes, "vocabulary", &gguf),
                     BITNET_OK);
    assert_int_equal(bni_model_create(gguf, false, &model),
                     BITNET_ERROR_UNSUPPORTED_OPERATION);
    free(bytes);

    char path[32]; /* and of a whole model no weights are bound */
    write_tiny(path);
    options.is_vocabulary_only = true;
    assert_int_equal(bitnet_model_load(path, &options, &model), BITNET_OK);
    assert_false(model->has_weights);
    assert_int_equal(model->hparams.n_embd, 128);
    bitnet_model_release(model);
    remove(path);
}

static void part_of_a_model_is_refused(void **state)
{
    (void)state;
    struct gguf_builder builder;
    struct bni_gguf *gguf;
    bitnet_model *model;
    size_t n_bytes;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, NULL);
    gguf_u32(&builder, "split.count", 2);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    assert_int_equal(bni_gguf_open_memory(bytes, n_bytes, "part", &gguf), BITNET_OK);
    assert_int_equal(bni_model_create(gguf, false, &model),
                     BITNET_ERROR_UNSUPPORTED_OPERATION);
    assert_string_equal(bitnet_last_error(),
                        "part: is one of 2 parts of a model, expected a whole one");
    free(bytes);
}

static void whatever_the_system_refuses_nothing_is_left_behind(void **state)
{
    (void)state;
    char path[32];
    write_tiny(path);
    const uint64_t before = bni_alloc_in_use();
    for (uint64_t n = 1;; n++) {
        bitnet_model *model = NULL;
        bitnet_clear_error();
        bni_fault_arm(n);
        const bitnet_status status = bitnet_model_load(path, NULL, &model);
        const bool is_done = bni_fault_count() < n;
        bni_fault_arm(0);
        if (is_done) {
            assert_int_equal(status, BITNET_OK);
            bitnet_model_release(model);
            assert_true(n > 15);
            break;
        }
        if (status == BITNET_OK)
            fail_msg("acquisition %u failed unnoticed", (unsigned)n);
        assert_int_equal(bitnet_last_status(), status);
        assert_int_equal(bni_alloc_in_use(), before);
        assert_null(model);
    }
    remove(path);
}

/* Makes a model of the bytes and takes it down again, if it is one. */
static bitnet_status try_bytes(const uint8_t *bytes, size_t n_bytes)
{
    struct bni_gguf *gguf;
    bitnet_model *model;
    bitnet_status status = bni_gguf_open_memory(bytes, n_bytes, "bytes", &gguf);
    if (status != BITNET_OK) return status;
    status = bni_model_create(gguf, false, &model);
    if (status == BITNET_OK) bitnet_model_release(model);
    return status;
}

static void a_model_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = tiny_bytes(&n_bytes);
    const uint64_t before = bni_alloc_in_use();
    assert_int_equal(try_bytes(bytes, n_bytes), BITNET_OK);
    /* The data is the bulk: every byte of the front, a step that hits all remainders
     * of the alignment behind it. */
    for (size_t n = 0; n < n_bytes; n += n < 3000 ? 1 : 33) {
        uint8_t *copy = malloc(n > 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_int_equal(try_bytes(copy, n), BITNET_ERROR_MODEL_LOAD_FAILED);
        free(copy);
    }
    assert_int_equal(bni_alloc_in_use(), before);
    free(bytes);
}

static void a_changed_bit_anywhere_is_survived(void **state)
{
    (void)state;
    size_t n_bytes;
    uint8_t *bytes = tiny_bytes(&n_bytes);
    const uint64_t before = bni_alloc_in_use();
    unsigned n_refused = 0;
    for (size_t bit = 0; bit < 8 * n_bytes; bit += bit < 8 * 2600 ? 1 : 199) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        n_refused += try_bytes(bytes, n_bytes) != BITNET_OK;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(n_refused > 1000);
    assert_int_equal(bni_alloc_in_use(), before);
    free(bytes);
}

/* Files that are sound and wrong as a model, and must be refused as one. */
static void the_seeds_that_are_no_models_are_refused(void **state)
{
    (void)state;
    char line[1024];
    unsigned n_seeds = 0;
    FILE *list = fopen(SHARED "fuzz/seeds/MANIFEST.tsv", "r");
    if (list == NULL) skip();
    while (fgets(line, sizeof(line), list) != NULL) {
        char file[256];
        char expectation[32];
        char path[1024];
        bitnet_model *model;
        if (sscanf(line, "%255s %31s", file, expectation) != 2) continue;
        if (strcmp(expectation, "reject") != 0) continue;
        const bool is_hparams =
            strncmp(file, "hp_", 3) == 0 || strncmp(file, "arch_", 5) == 0;
        /* An id out of range is ignored with a remark: files in the wild have some. */
        if (strcmp(file, "tok_bos_out_of_range.gguf") == 0) continue;
        if (!is_hparams && strncmp(file, "tok_", 4) != 0) continue;
        bitnet_model_options options = bitnet_model_options_default();
        options.is_vocabulary_only = !is_hparams;
        snprintf(path, sizeof(path), SHARED "fuzz/seeds/%s", file);
        if (bitnet_model_load(path, &options, &model) == BITNET_OK)
            fail_msg("%s is no model, but was loaded", file);
        if (strstr(bitnet_last_error(), file) == NULL)
            fail_msg("%s is not named: %s", file, bitnet_last_error());
        n_seeds++;
    }
    fclose(list);
    assert_true(n_seeds >= 10);
}

static void assert_loads(const char *path, const char *architecture, uint32_t n_layers)
{
    bitnet_model *model;
    bitnet_model_info info = {.struct_size = sizeof(info)};
    if (access(path, R_OK) != 0) skip();
    if (bitnet_model_load(path, NULL, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_string_equal(info.architecture, architecture);
    assert_int_equal(info.n_layers, n_layers);
    assert_int_equal(info.n_embd, 256);
    assert_int_equal(info.n_vocab, 2048);
    assert_true(model->has_weights);
    bitnet_model_release(model);
}

static void the_shipped_model_loads(void **state)
{
    (void)state;
    assert_loads(BITNET_SOURCE_DIR "/models/tinystories-3.7m-i2_s.gguf", "bitnet-b1.58",
                 4);
}

static void the_reference_models_load(void **state)
{
    (void)state;
    assert_loads(SHARED "reference/tiny-bitnet-b1.58-i2_s.gguf", "bitnet-b1.58", 2);
    assert_loads(SHARED "reference/tiny-bitnet-i2_s.gguf", "bitnet", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loaded_model_tells_what_it_is),
        cmocka_unit_test(an_older_caller_gets_the_fields_it_knows),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_model_lives_until_its_last_reference),
        cmocka_unit_test(text_becomes_tokens_and_text_again),
        cmocka_unit_test(tokens_outside_the_vocabulary_are_refused),
        cmocka_unit_test(a_vocabulary_needs_no_model),
        cmocka_unit_test(part_of_a_model_is_refused),
        cmocka_unit_test(whatever_the_system_refuses_nothing_is_left_behind),
        cmocka_unit_test(a_model_cut_short_anywhere_is_refused),
        cmocka_unit_test(a_changed_bit_anywhere_is_survived),
        cmocka_unit_test(the_seeds_that_are_no_models_are_refused),
        cmocka_unit_test(the_shipped_model_loads),
        cmocka_unit_test(the_reference_models_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
