/* SPDX-License-Identifier: MIT */
/*
 * The table of angles: our own elementary functions against the C library's, and
 * the worked example of a rotation.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "engine/rope.h"

static void the_table_agrees_with_the_c_library(void **state)
{
    (void)state;
    const struct {
        float base;
        uint32_t head_dim;
        float scale;
    } cases[] = {{10000.0f, 64, 1.0f}, {500000.0f, 128, 1.0f}, {1000042.0f, 256, 4.0f}};
    enum { N_CTX = 4096 };
    for (size_t c = 0; c < 3; c++) {
        const struct bni_hparams hparams = {.head_dim = cases[c].head_dim,
                                            .rope_freq_base = cases[c].base,
                                            .rope_scale = cases[c].scale};
        struct bni_rope_table table;
        assert_int_equal(bni_rope_table_init(&table, &hparams, NULL, N_CTX), BITNET_OK);
        for (size_t pos = 0; pos < N_CTX; pos++) {
            for (size_t i = 0; i < table.half_dim; i++) {
                const double theta =
                    (double)pos *
                    pow((double)cases[c].base, -2.0 * (double)i / cases[c].head_dim) /
                    (double)cases[c].scale;
                const size_t at = pos * table.half_dim + i;
                /* Half a float ulp at 1, and what a double loses at theta = 4096. */
                assert_true(fabs((double)table.cos[at] - cos(theta)) < 3.1e-8);
                assert_true(fabs((double)table.sin[at] - sin(theta)) < 3.1e-8);
            }
        }
        bni_rope_table_free(&table);
    }
}

static void position_zero_rotates_nothing(void **state)
{
    (void)state;
    const struct bni_hparams hparams = {.head_dim = 8,
                                        .rope_freq_base = 10000.0f,
                                        .rope_scale = 1.0f};
    struct bni_rope_table table;
    assert_int_equal(bni_rope_table_init(&table, &hparams, NULL, 1), BITNET_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_true(table.cos[i] == 1.0f);
        assert_true(table.sin[i] == 0.0f);
    }
    bni_rope_table_free(&table);
}

static void factors_divide_the_frequency(void **state)
{
    (void)state;
    const struct bni_hparams hparams = {.head_dim = 4,
                                        .rope_freq_base = 10000.0f,
                                        .rope_scale = 1.0f};
    const float factors[2] = {2.0f, 8.0f};
    struct bni_rope_table table;
    assert_int_equal(bni_rope_table_init(&table, &hparams, factors, 4), BITNET_OK);
    assert_true(fabs((double)table.sin[3 * 2] - sin(3.0 / 2.0)) < 1e-7);
    assert_true(fabs((double)table.sin[3 * 2 + 1] - sin(3.0 / 100.0 / 8.0)) < 1e-7);
    bni_rope_table_free(&table);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const struct bni_hparams hparams = {.head_dim = 4,
                                        .rope_freq_base = 10000.0f,
                                        .rope_scale = 1.0f};
    struct bni_rope_table table;
    const uint64_t before = bni_alloc_in_use();
    bni_fault_arm(1);
    assert_int_equal(bni_rope_table_init(&table, &hparams, NULL, 4),
                     BITNET_ERROR_OUT_OF_MEMORY);
    bni_fault_arm(0);
    assert_true(bni_alloc_in_use() == before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_agrees_with_the_c_library),
        cmocka_unit_test(position_zero_rotates_nothing),
        cmocka_unit_test(factors_divide_the_frequency),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
