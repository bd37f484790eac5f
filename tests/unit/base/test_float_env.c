/* SPDX-License-Identifier: MIT */
/*
 * test_float_env.c - between enter and leave a thread computes as docs/numerics.md says,
 * whatever its mode was, and has that mode again afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/float_env.h"
#include "support/float_mode.h"

/* Volatile, as are the sums: computed where it says so, neither by the compiler nor
 * after the mode has changed again. */
static volatile float one = 1.0f;
static volatile float little = 0x1p-40f;
static volatile float smallest = 0x1p-149f;

static int begin_in_the_default_mode(void **state)
{
    (void)state;
    bni_float_env_set_default();
    return 0;
}

static void a_hostile_mode_shows(void **state)
{
    (void)state;
    set_hostile_float_mode();
    volatile float sum = one + little;
    bni_float_env_set_default();
    assert_true(sum == 0x1.000002p+0f); /* else the tests below show nothing */
}

static void the_mode_is_the_default_one_between_enter_and_leave(void **state)
{
    (void)state;
    const uint64_t default_mode = float_mode();
    set_hostile_float_mode();
    const uint64_t hostile_mode = float_mode();

    fenv_t callers;
    bni_float_env_enter(&callers);
    const uint64_t inside = float_mode();
    volatile float sum = one + little;
    volatile float twice_the_smallest = smallest + smallest;
    bni_float_env_leave(&callers);
    const uint64_t after = float_mode();

    bni_float_env_set_default();
    assert_int_not_equal(hostile_mode, default_mode);
    assert_int_equal(inside, default_mode);
    assert_true(sum == 1.0f);
    assert_true(twice_the_smallest == 0x1p-148f);
    assert_int_equal(after, hostile_mode);
}

static void the_default_is_for_good(void **state)
{
    (void)state;
    const uint64_t default_mode = float_mode();
    set_hostile_float_mode();
    bni_float_env_set_default();
    assert_int_equal(float_mode(), default_mode);
#if defined(__aarch64__)
    assert_int_equal(default_mode, 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_hostile_mode_shows, begin_in_the_default_mode),
        cmocka_unit_test_setup(the_mode_is_the_default_one_between_enter_and_leave,
                               begin_in_the_default_mode),
        cmocka_unit_test_setup(the_default_is_for_good, begin_in_the_default_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
