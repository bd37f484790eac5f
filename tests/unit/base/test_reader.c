/* SPDX-License-Identifier: MIT */
/*
 * test_reader.c - the bounded cursor, and names made fit for messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/quote.h"
#include "base/reader.h"

static void numbers_are_little_endian_at_any_address(void **state)
{
    (void)state;
    const uint8_t bytes[] = {0xFF, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    struct bni_reader reader = {bytes, sizeof(bytes), 1};
    uint32_t small;
    uint64_t large;
    assert_true(bni_reader_u32(&reader, &small));
    assert_int_equal(small, 0x04030201);
    assert_true(bni_reader_u64(&reader, &large));
    assert_int_equal(large, UINT64_C(0x0C0B0A0908070605));
    assert_int_equal(bni_reader_left(&reader), 0);
}

static void a_read_that_does_not_fit_moves_nothing(void **state)
{
    (void)state;
    const uint8_t bytes[7] = {0};
    struct bni_reader reader = {bytes, sizeof(bytes), 4};
    uint32_t small = 42;
    uint64_t large = 43;
    const uint8_t *at = bytes;
    assert_false(bni_reader_u32(&reader, &small));
    assert_false(bni_reader_u64(&reader, &large));
    assert_false(bni_reader_take(&reader, 4, &at));
    assert_false(bni_reader_take(&reader, UINT64_MAX, &at));
    assert_false(bni_reader_take(&reader, UINT64_MAX - 3, &at));
    assert_int_equal(small, 42);
    assert_int_equal(large, 43);
    assert_ptr_equal(at, bytes);
    assert_int_equal(reader.offset, 4);
    assert_true(bni_reader_take(&reader, 3, &at));
    assert_ptr_equal(at, bytes + 4);
    assert_true(bni_reader_take(&reader, 0, NULL));
}

static void a_quote_has_no_control_and_no_broken_characters(void **state)
{
    (void)state;
    struct bni_quote quote;
    const char bytes[] = "a\0b\n\x7F\xFF\xC2\x85\xC3\xA9";
    assert_string_equal(bni_quote_bytes(&quote, bytes, sizeof(bytes) - 1),
                        "a\\x00b\\x0a\\x7f\\xff\\xc2\\x85"
                        "\xC3\xA9");
    assert_string_equal(bni_quote_bytes(&quote, "", 0), "");
}

static void a_long_quote_is_cut_and_says_so(void **state)
{
    (void)state;
    struct bni_quote quote;
    char bytes[1000];
    memset(bytes, 'k', sizeof(bytes));
    bni_quote_bytes(&quote, bytes, sizeof(bytes));
    assert_int_equal(strlen(quote.text), BNI_QUOTE_MAX_BYTES - 1);
    assert_string_equal(quote.text + BNI_QUOTE_MAX_BYTES - 6, "kk...");
    memset(bytes, 1, sizeof(bytes)); /* four bytes each once escaped */
    bni_quote_bytes(&quote, bytes, sizeof(bytes));
    assert_in_range(strlen(quote.text), BNI_QUOTE_MAX_BYTES - 5,
                    BNI_QUOTE_MAX_BYTES - 1);
}

static void a_long_path_keeps_its_end(void **state)
{
    (void)state;
    struct bni_quote quote;
    char path[5000];
    assert_string_equal(bni_quote_path(&quote, "models/a.gguf"), "models/a.gguf");
    assert_string_equal(bni_quote_path(&quote, ""), "");
    for (size_t shift = 0; shift < 3; shift++) {
        memset(path, 'x', shift);
        for (size_t i = shift; i < 4000; i += 3) memcpy(path + i, "\xE2\x82\xAC", 3);
        strcpy(path + 4000, "/model.gguf");
        bni_quote_path(&quote, path);
        assert_memory_equal(quote.text, "...", 3);
        assert_non_null(strstr(quote.text, "/model.gguf"));
    }
    memset(path, 7, 4000);
    bni_quote_path(&quote, path);
    assert_non_null(strstr(quote.text, "\\x07/model.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian_at_any_address),
        cmocka_unit_test(a_read_that_does_not_fit_moves_nothing),
        cmocka_unit_test(a_quote_has_no_control_and_no_broken_characters),
        cmocka_unit_test(a_long_quote_is_cut_and_says_so),
        cmocka_unit_test(a_long_path_keeps_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
