/* SPDX-License-Identifier: MIT */
/*
 * Option structs of callers older and newer than the library.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"

struct known {
    size_t struct_size;
    uint64_t first;
    uint64_t second;
};

struct newer {
    struct known known;
    uint64_t third;
};

static struct known defaults(void)
{
    const struct known options = {sizeof(options), 1, 2};
    return options;
}

static void null_keeps_the_defaults(void **state)
{
    (void)state;
    struct known options = defaults();
    assert_int_equal(bni_options_read("test", &options, sizeof(options), NULL),
                     BITNET_OK);
    assert_int_equal(options.first, 1);
    assert_int_equal(options.second, 2);
}

static void fields_an_older_caller_lacks_keep_their_defaults(void **state)
{
    (void)state;
    struct known options = defaults();
    const struct known older = {offsetof(struct known, second), 10, 20};
    assert_int_equal(bni_options_read("test", &options, sizeof(options), &older),
                     BITNET_OK);
    assert_int_equal(options.struct_size, sizeof(options));
    assert_int_equal(options.first, 10);
    assert_int_equal(options.second, 2);
}

static void a_newer_caller_is_understood_if_what_we_do_not_know_is_zero(void **state)
{
    (void)state;
    struct known options = defaults();
    struct newer newer = {{sizeof(newer), 10, 20}, 0};
    assert_int_equal(bni_options_read("test", &options, sizeof(options), &newer),
                     BITNET_OK);
    assert_int_equal(options.second, 20);

    newer.third = 1;
    options = defaults();
    assert_int_equal(bni_options_read("test", &options, sizeof(options), &newer),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "newer"));
    assert_int_equal(options.first, 1);
}

static void a_size_that_is_not_set_is_named(void **state)
{
    (void)state;
    struct known options = defaults();
    const struct known unset = {0, 10, 20};
    assert_int_equal(bni_options_read("widget", &options, sizeof(options), &unset),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "widget: struct_size is 0"));
}

static void writing_fills_what_the_caller_has_and_no_more(void **state)
{
    (void)state;
    const struct known filled = {sizeof(filled), 10, 20};
    struct known older = {offsetof(struct known, second), 0, 99};
    assert_int_equal(bni_options_write("test", &older, &filled, sizeof(filled)),
                     BITNET_OK);
    assert_int_equal(older.first, 10);
    assert_int_equal(older.second, 99);
    assert_int_equal(older.struct_size, offsetof(struct known, second));

    struct newer newer = {{sizeof(newer), 0, 0}, 99};
    assert_int_equal(bni_options_write("test", &newer, &filled, sizeof(filled)),
                     BITNET_OK);
    assert_int_equal(newer.known.second, 20);
    assert_int_equal(newer.third, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_keeps_the_defaults),
        cmocka_unit_test(fields_an_older_caller_lacks_keep_their_defaults),
        cmocka_unit_test(a_newer_caller_is_understood_if_what_we_do_not_know_is_zero),
        cmocka_unit_test(a_size_that_is_not_set_is_named),
        cmocka_unit_test(writing_fills_what_the_caller_has_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
