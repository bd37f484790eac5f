/* SPDX-License-Identifier: MIT */
/*
 * test_cpu.c - CPU features, against what the compiler's own test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpu.h"

static void features_are_those_the_compiler_sees(void **state)
{
    (void)state;
    const struct bni_cpu_features cpu = bni_cpu_features();
#if defined(__x86_64__)
    assert_int_equal(cpu.has_avx2, __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(cpu.has_fma, __builtin_cpu_supports("fma") != 0);
    assert_int_equal(cpu.has_avx512, __builtin_cpu_supports("avx512f") != 0 &&
                                         __builtin_cpu_supports("avx512bw") != 0 &&
                                         __builtin_cpu_supports("avx512vl") != 0 &&
                                         __builtin_cpu_supports("avx512dq") != 0);
    assert_int_equal(cpu.has_avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
#else
    assert_false(cpu.has_avx2 || cpu.has_fma || cpu.has_f16c || cpu.has_avx512 ||
                 cpu.has_avx512_vnni);
#endif
}

static void every_cpu_with_avx2_converts_halves(void **state)
{
    (void)state;
    const struct bni_cpu_features cpu = bni_cpu_features();
    if (cpu.has_avx2) assert_true(cpu.has_f16c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_those_the_compiler_sees),
        cmocka_unit_test(every_cpu_with_avx2_converts_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
