/* SPDX-License-Identifier: MIT */
/*
 * test_file_map.c - what can be mapped, and what must fail at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/file_map.h"

/* Makes a path in a fresh folder; the folder goes when the path is removed. */
static void make_path(char path[64], const char *name)
{
    char folder[32] = "bitnet-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(path, 64, "%s/%s", folder, name);
}

static void remove_path(char *path)
{
    remove(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_file_s_bytes_are_mapped_and_outlive_its_name(void **state)
{
    (void)state;
    char path[64];
    struct bni_file_map map;
    make_path(path, "file");
    write_file(path, "twelve bytes");
    assert_int_equal(bni_file_map_open(path, &map), BITNET_OK);
    remove_path(path);
    assert_int_equal(map.n_bytes, 12);
    assert_memory_equal(map.bytes, "twelve bytes", 12);
    bni_file_map_close(&map);
    bni_file_map_close(&map);
}

static void an_empty_file_has_no_bytes(void **state)
{
    (void)state;
    char path[64];
    struct bni_file_map map;
    make_path(path, "empty");
    write_file(path, "");
    assert_int_equal(bni_file_map_open(path, &map), BITNET_OK);
    assert_int_equal(map.n_bytes, 0);
    assert_non_null(map.bytes);
    bni_file_map_close(&map);
    remove_path(path);
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    struct bni_file_map map;
    assert_int_equal(bni_file_map_open("/nowhere/model.gguf", &map),
                     BITNET_ERROR_MODEL_NOT_FOUND);
    assert_non_null(strstr(bitnet_last_error(), "/nowhere/model.gguf: cannot open"));
    assert_non_null(strstr(bitnet_last_error(), "no such file"));
    assert_int_equal(bni_file_map_open("", &map), BITNET_ERROR_MODEL_NOT_FOUND);
}

static void what_is_no_file_is_refused_and_named(void **state)
{
    (void)state;
    char path[64];
    struct bni_file_map map;
    assert_int_equal(bni_file_map_open(".", &map), BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_non_null(
        strstr(bitnet_last_error(), "is a folder, expected a regular file"));
    assert_int_equal(bni_file_map_open("/dev/zero", &map),
                     BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "is a device"));
    make_path(path, "pipe"); /* that nobody writes: opening must not wait */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(bni_file_map_open(path, &map), BITNET_ERROR_MODEL_LOAD_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "is a pipe"));
    remove_path(path);
}

static void a_refused_descriptor_or_mapping_is_an_error(void **state)
{
    (void)state;
    char path[64];
    struct bni_file_map map;
    make_path(path, "file");
    write_file(path, "x");
    bni_fault_arm(1);
    assert_int_equal(bni_file_map_open(path, &map), BITNET_ERROR_MODEL_NOT_FOUND);
    bni_fault_arm(2);
    assert_int_equal(bni_file_map_open(path, &map), BITNET_ERROR_OUT_OF_MEMORY);
    bni_fault_arm(3);
    assert_int_equal(bni_file_map_open(path, &map), BITNET_OK);
    bni_fault_arm(0);
    bni_file_map_close(&map);
    remove_path(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_s_bytes_are_mapped_and_outlive_its_name),
        cmocka_unit_test(an_empty_file_has_no_bytes),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(what_is_no_file_is_refused_and_named),
        cmocka_unit_test(a_refused_descriptor_or_mapping_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
