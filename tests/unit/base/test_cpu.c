/* SPDX-License-Identifier: MIT */
/*
 * test_cpu.c - CPU features, against what the compiler's own test says, or the CPU's
 * registers of identification.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "base/cpu.h"

#if defined(__x86_64__)

static void features_are_those_the_compiler_sees(void **state)
{
    (void)state;
    const struct bni_cpu_features cpu = bni_cpu_features();
    assert_int_equal(cpu.has_avx2, __builtin_cpu_supports("avx2") != 0);
    assert_int_equal(cpu.has_fma, __builtin_cpu_supports("fma") != 0);
    assert_int_equal(cpu.has_avx512, __builtin_cpu_supports("avx512f") != 0 &&
                                         __builtin_cpu_supports("avx512bw") != 0 &&
                                         __builtin_cpu_supports("avx512vl") != 0 &&
                                         __builtin_cpu_supports("avx512dq") != 0);
    assert_int_equal(cpu.has_avx512_vnni, __builtin_cpu_supports("avx512vnni") != 0);
    assert_false(cpu.has_neon || cpu.has_dotprod);
}

#elif defined(__aarch64__)

/* Linux lets programs read the registers, and fills in what it supports. */
static void features_are_those_the_registers_tell(void **state)
{
    (void)state;
    const struct bni_cpu_features cpu = bni_cpu_features();
    assert_false(cpu.has_avx2 || cpu.has_fma || cpu.has_f16c || cpu.has_avx512 ||
                 cpu.has_avx512_vnni);
    if ((getauxval(AT_HWCAP) & HWCAP_CPUID) == 0) skip();

    uint64_t features;
    uint64_t instructions;
    __asm__("mrs %0, ID_AA64PFR0_EL1" : "=r"(features));
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(instructions));
    assert_int_equal(cpu.has_neon, (features >> 20 & 0xf) != 0xf);
    assert_int_equal(cpu.has_dotprod, (instructions >> 44 & 0xf) != 0);
}

#endif

static void every_cpu_with_avx2_converts_halves(void **state)
{
    (void)state;
    const struct bni_cpu_features cpu = bni_cpu_features();
    if (cpu.has_avx2) assert_true(cpu.has_f16c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
        cmocka_unit_test(features_are_those_the_compiler_sees),
#elif defined(__aarch64__)
        cmocka_unit_test(features_are_those_the_registers_tell),
#endif
        cmocka_unit_test(every_cpu_with_avx2_converts_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
