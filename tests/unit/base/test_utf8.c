/* SPDX-License-Identifier: MIT */
/*
 * test_utf8.c - well-formed, broken and cut characters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static void assert_repaired(const char *from, const char *to)
{
    uint8_t out[64];
    const size_t n_from = strlen(from);
    const size_t n_out = bni_utf8_repair((const uint8_t *)from, n_from, out);
    assert_int_equal(n_out, strlen(to));
    assert_memory_equal(out, to, n_out);
    assert_int_equal(bni_utf8_repair((const uint8_t *)from, n_from, NULL), n_out);
}

/* What Unicode's table 3-7 allows, written the other way round: by decoding. */
static bool is_well_formed(const uint8_t *bytes, size_t n_bytes)
{
    static const uint32_t MIN_CODE[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t lead = bytes[0];
    const size_t length = lead < 0x80         ? 1
                          : (lead >> 5) == 6  ? 2
                          : (lead >> 4) == 14 ? 3
                          : (lead >> 3) == 30 ? 4
                                              : 0;
    if (length != n_bytes) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] >> 6) != 2) return false;
        code = code << 6 | (bytes[i] & 0x3F);
    }
    return code >= MIN_CODE[length] && code <= 0x10FFFF &&
           (code < 0xD800 || code > 0xDFFF);
}

static void every_two_and_three_byte_sequence_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1u << 24; i += (i >> 16) < 0xC0 ? 251 : 1) {
        const uint8_t bytes[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};
        size_t length;
        const enum bni_utf8_kind kind = bni_utf8_next(bytes, 3, &length);
        if (kind == BNI_UTF8_CHARACTER) {
            if (!is_well_formed(bytes, length)) fail_msg("accepted %06x", i);
        } else {
            for (size_t n = 1; n <= 3; n++)
                if (is_well_formed(bytes, n)) fail_msg("refused %06x", i);
        }
    }
}

static void each_maximal_part_becomes_one_replacement(void **state)
{
    (void)state;
    assert_repaired("plain", "plain");
    assert_repaired("\xC3\xA9\xF0\x9F\x99\x82", "\xC3\xA9\xF0\x9F\x99\x82");
    assert_repaired("a\xFFz", "a\xEF\xBF\xBDz");
    assert_repaired("\xE2\x82", "\xEF\xBF\xBD");
    assert_repaired("\xE2\x82z", "\xEF\xBF\xBDz");
    assert_repaired("\xF0\x9F\x99\xE2\x82\xAC", "\xEF\xBF\xBD\xE2\x82\xAC");
    assert_repaired("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_repaired("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_repaired("\xF4\x90\x80\x80",
                    "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

static void a_prefix_never_ends_inside_a_character(void **state)
{
    (void)state;
    const uint8_t text[] = "a\xE2\x82\xAC\xF0\x9F\x99\x82";
    const size_t expected[] = {0, 1, 1, 1, 4, 4, 4, 4, 8};
    for (size_t n = 0; n <= 8; n++)
        assert_int_equal(bni_utf8_whole_prefix(text, n), expected[n]);
    /* Broken is not unfinished: nothing that could still come helps it. */
    assert_int_equal(bni_utf8_whole_prefix((const uint8_t *)"a\xFF", 2), 2);
    assert_int_equal(bni_utf8_whole_prefix((const uint8_t *)"\x80\x80\x80\x80", 4), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_two_and_three_byte_sequence_is_judged_right),
        cmocka_unit_test(each_maximal_part_becomes_one_replacement),
        cmocka_unit_test(a_prefix_never_ends_inside_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
