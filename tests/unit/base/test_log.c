/* SPDX-License-Identifier: MIT */
/*
 * test_log.c - who hears what, and that the callback and its argument change as one.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

struct listener {
    char last[2048];
    bitnet_log_level last_level;
    int n_messages;
};

static void hear(void *user, bitnet_log_level level, const char *message)
{
    struct listener *listener = user;
    snprintf(listener->last, sizeof(listener->last), "%s", message);
    listener->last_level = level;
    listener->n_messages++;
}

static void nobody_hears_by_default(void **state)
{
    (void)state;
    bni_log(BITNET_LOG_ERROR, "into the void");
    bitnet_set_log(NULL, NULL, BITNET_LOG_DEBUG);
    bni_log(BITNET_LOG_ERROR, "into the void");
}

static void messages_above_the_level_are_not_sent(void **state)
{
    (void)state;
    struct listener listener = {0};
    bitnet_set_log(hear, &listener, BITNET_LOG_WARNING);
    bni_log(BITNET_LOG_ERROR, "%s %d", "error", 1);
    assert_string_equal(listener.last, "error 1");
    assert_int_equal(listener.last_level, BITNET_LOG_ERROR);
    bni_log(BITNET_LOG_WARNING, "warning");
    bni_log(BITNET_LOG_INFO, "info");
    assert_int_equal(listener.n_messages, 2);
    assert_string_equal(listener.last, "warning");
    bitnet_set_log(NULL, NULL, BITNET_LOG_DEBUG);
    bni_log(BITNET_LOG_ERROR, "gone");
    assert_int_equal(listener.n_messages, 2);
}

static void a_long_message_is_cut(void **state)
{
    (void)state;
    struct listener listener = {0};
    char text[4000];
    memset(text, 'm', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    bitnet_set_log(hear, &listener, BITNET_LOG_DEBUG);
    bni_log(BITNET_LOG_DEBUG, "%s", text);
    bitnet_set_log(NULL, NULL, BITNET_LOG_DEBUG);
    assert_int_equal(strlen(listener.last), 1023);
}

enum { N_MESSAGES = 20000 };
static int first_user;
static int second_user;
static atomic_int n_mixed_up;

static void hear_first(void *user, bitnet_log_level level, const char *message)
{
    (void)level;
    (void)message;
    if (user != &first_user) atomic_fetch_add(&n_mixed_up, 1);
}

static void hear_second(void *user, bitnet_log_level level, const char *message)
{
    (void)level;
    (void)message;
    if (user != &second_user) atomic_fetch_add(&n_mixed_up, 1);
}

static void *talk(void *unused)
{
    (void)unused;
    for (int i = 0; i < N_MESSAGES; i++) bni_log(BITNET_LOG_ERROR, "x");
    return NULL;
}

static void a_callback_never_gets_another_s_argument(void **state)
{
    (void)state;
    pthread_t threads[2];
    bitnet_set_log(hear_first, &first_user, BITNET_LOG_ERROR);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, NULL), 0);
    for (int i = 0; i < N_MESSAGES; i++) {
        bitnet_set_log(hear_second, &second_user, BITNET_LOG_ERROR);
        bitnet_set_log(hear_first, &first_user, BITNET_LOG_ERROR);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    bitnet_set_log(NULL, NULL, BITNET_LOG_ERROR);
    assert_int_equal(atomic_load(&n_mixed_up), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_hears_by_default),
        cmocka_unit_test(messages_above_the_level_are_not_sent),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(a_callback_never_gets_another_s_argument),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
