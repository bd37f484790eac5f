/* SPDX-License-Identifier: MIT */
/*
 * test_float16.c - the 16-bit floats, all of them.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/float16.h"

static void f16_has_the_values_of_the_standard(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const float value = bni_widen_f16((uint16_t)i);
        const int exponent = (int)(i >> 10 & 31);
        const int mantissa = (int)(i & 1023);
        assert_int_equal(signbit(value) != 0, i >> 15);
        if (exponent == 31) {
            assert_true(mantissa == 0 ? isinf(value) : isnan(value));
            continue;
        }
        const double expected = exponent == 0 ? ldexp(mantissa, -24)
                                              : ldexp(1024 + mantissa, exponent - 25);
        if (fabs((double)value) != expected) fail_msg("%04x is %g", i, (double)value);
    }
}

static void bf16_is_the_upper_half_of_f32(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        const float value = bni_widen_bf16((uint16_t)i);
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        assert_int_equal(bits, i << 16);
    }
}

static void known_values_are_right(void **state)
{
    (void)state;
    assert_true(bni_widen_f16(0x3C00) == 1.0f);
    assert_true(bni_widen_f16(0x3CE0) == 1.21875f);
    assert_true(bni_widen_f16(0x2E66) == 0.0999755859375f);
    assert_true(bni_widen_f16(0x7BFF) == 65504.0f);
    assert_true(bni_widen_f16(0x0001) == 0x1p-24f);
    assert_true(bni_widen_bf16(0x3F9C) == 1.21875f);
    assert_true(bni_widen_bf16(0x3DCD) == 0.10009765625f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_has_the_values_of_the_standard),
        cmocka_unit_test(bf16_is_the_upper_half_of_f32),
        cmocka_unit_test(known_values_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
