/* SPDX-License-Identifier: MIT */
/*
 * test_gguf_seeds.c - the reader over a collection of sound and broken files.
 *
 * The collection lies beside the project (../shared/data/fuzz/seeds) with a list of
 * what is expected of each: "ok" is a well-formed file, which may still hold a tensor
 * type that is not read; "reject" is an error; "either" is the reader's choice. Files
 * named arch_, hp_ and tok_ are well-formed and wrong only as a model: test_model.c has
 * those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "formats/gguf.h"

#define SEEDS BITNET_SOURCE_DIR "/../shared/data/fuzz/seeds/"

static bool is_expected(const char *file, const char *expectation, bitnet_status status)
{
    const bool is_sound =
        status == BITNET_OK || status == BITNET_ERROR_UNSUPPORTED_OPERATION;
    if (strncmp(file, "arch_", 5) == 0 || strncmp(file, "hp_", 3) == 0 ||
        strncmp(file, "tok_", 4) == 0)
        return status == BITNET_OK;
    if (strcmp(expectation, "ok") == 0) return is_sound;
    if (strcmp(expectation, "reject") == 0)
        return status == BITNET_ERROR_MODEL_LOAD_FAILED;
    return is_sound || status == BITNET_ERROR_MODEL_LOAD_FAILED;
}

static void every_seed_is_judged_as_the_list_says(void **state)
{
    (void)state;
    char line[1024];
    unsigned n_seeds = 0;
    FILE *list = fopen(SEEDS "MANIFEST.tsv", "r");
    if (list == NULL) skip();
    const uint64_t before = bni_alloc_in_use();
    assert_non_null(fgets(line, sizeof(line), list)); /* the heading */
    while (fgets(line, sizeof(line), list) != NULL) {
        char file[256];
        char expectation[32];
        char path[1024];
        struct bni_gguf *gguf;
        assert_int_equal(sscanf(line, "%255s %31s", file, expectation), 2);
        snprintf(path, sizeof(path), SEEDS "%s", file);
        const bitnet_status status = bni_gguf_open(path, &gguf);
        if (!is_expected(file, expectation, status))
            fail_msg("%s: expected %s, found %s: %s", file, expectation,
                     bitnet_status_name(status), bitnet_last_error());
        if (status == BITNET_OK)
            bni_gguf_close(gguf);
        else
            assert_non_null(strstr(bitnet_last_error(), file)); /* who it is about */
        assert_int_equal(bni_alloc_in_use(), before);
        n_seeds++;
    }
    fclose(list);
    assert_true(n_seeds >= 97);
}

static void every_prefix_of_a_sound_file_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    FILE *file = fopen(SEEDS "truncation_base.gguf", "rb");
    if (file == NULL) skip();
    const size_t n_bytes = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    assert_in_range(n_bytes, 100, sizeof(bytes) - 1);
    for (size_t n = 0; n < n_bytes; n++) {
        struct bni_gguf *gguf;
        uint8_t *copy = malloc(n > 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        assert_int_equal(bni_gguf_open_memory(copy, n, "prefix", &gguf),
                         BITNET_ERROR_MODEL_LOAD_FAILED);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_is_judged_as_the_list_says),
        cmocka_unit_test(every_prefix_of_a_sound_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
