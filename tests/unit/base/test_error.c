/* SPDX-License-Identifier: MIT */
/*
 * test_error.c - the thread's error: what it says, how it is cut, how it travels.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/utf8.h"

static void an_error_is_kept_until_it_is_cleared(void **state)
{
    (void)state;
    assert_int_equal(bni_error(BITNET_ERROR_QUEUE_FULL, "%d of %s", 3, "four"),
                     BITNET_ERROR_QUEUE_FULL);
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_QUEUE_FULL);
    assert_string_equal(bitnet_last_error(), "3 of four");
    bitnet_clear_error();
    assert_int_equal(bitnet_last_status(), BITNET_OK);
    assert_string_equal(bitnet_last_error(), "");
}

static void *fail_elsewhere(void *record)
{
    bni_error(BITNET_ERROR_TIMED_OUT, "elsewhere");
    bni_error_save(record);
    return NULL;
}

static void an_error_crosses_threads_only_in_a_record(void **state)
{
    (void)state;
    pthread_t thread;
    struct bni_error_record record;
    bni_error(BITNET_ERROR_INTERNAL, "here");
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, &record), 0);
    pthread_join(thread, NULL);
    assert_string_equal(bitnet_last_error(), "here");
    assert_int_equal(bni_error_restore(&record), BITNET_ERROR_TIMED_OUT);
    assert_string_equal(bitnet_last_error(), "elsewhere");
}

static void restoring_a_success_changes_nothing(void **state)
{
    (void)state;
    const struct bni_error_record fine = {BITNET_OK, ""};
    bni_error(BITNET_ERROR_INTERNAL, "here");
    assert_int_equal(bni_error_restore(&fine), BITNET_OK);
    assert_string_equal(bitnet_last_error(), "here");
}

static void a_message_may_quote_itself(void **state)
{
    (void)state;
    bni_error(BITNET_ERROR_INTERNAL, "inner");
    assert_int_equal(bni_error_prefix("outer %d", 1), BITNET_ERROR_INTERNAL);
    assert_string_equal(bitnet_last_error(), "outer 1: inner");
}

static void a_long_message_is_cut_at_a_whole_character(void **state)
{
    (void)state;
    char text[2 * BITNET_MAX_ERROR_BYTES];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4); /* the euro sign */
        bni_error(BITNET_ERROR_INTERNAL, "%s", text);
        const char *message = bitnet_last_error();
        const size_t n_bytes = strlen(message);
        assert_in_range(n_bytes, BITNET_MAX_ERROR_BYTES - 4,
                        BITNET_MAX_ERROR_BYTES - 1);
        assert_int_equal(bni_utf8_whole_prefix((const uint8_t *)message, n_bytes),
                         n_bytes);
    }
}

static void every_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a >= BITNET_ERROR_SHUT_DOWN; a--) {
        assert_string_not_equal(bitnet_status_name((bitnet_status)a), "UNKNOWN");
        for (int b = 0; b > a; b--)
            assert_string_not_equal(bitnet_status_name((bitnet_status)a),
                                    bitnet_status_name((bitnet_status)b));
    }
    assert_string_equal(bitnet_status_name((bitnet_status)-99), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_kept_until_it_is_cleared),
        cmocka_unit_test(an_error_crosses_threads_only_in_a_record),
        cmocka_unit_test(restoring_a_success_changes_nothing),
        cmocka_unit_test(a_message_may_quote_itself),
        cmocka_unit_test(a_long_message_is_cut_at_a_whole_character),
        cmocka_unit_test(every_status_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
