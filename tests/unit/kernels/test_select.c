/* SPDX-License-Identifier: MIT */
/*
 * test_select.c - which table of kernels is chosen, and what is said when none is.
 *
 *     test_select [NAME]     also: this CPU's best table is NAME
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/status.h>

#include "kernels/kernels.h"

/* Every table there may be, the best of each kind of CPU first. */
static const char *const names[] = {"avx512vnni", "avx512", "avxvnni", "avx2",
                                    "dotprod",    "neon",   "scalar"};
enum { N_NAMES = sizeof(names) / sizeof(names[0]) };

static const char *expected_best; /* NULL: whatever the CPU has */

static int forget_the_choice(void **state)
{
    (void)state;
    bitnet_clear_error();
    return unsetenv("BITNET_ISA");
}

static void assert_error_says(bitnet_status status, const char *text)
{
    assert_int_equal(bitnet_last_status(), status);
    assert_non_null(strstr(bitnet_last_error(), text));
}

static void scalar_runs_everywhere(void **state)
{
    (void)state;
    assert_ptr_equal(bni_kernels_by_name("scalar"), &bni_kernels_scalar);
    setenv("BITNET_ISA", "scalar", 1);
    assert_ptr_equal(bni_kernels_select(), &bni_kernels_scalar);
}

static void the_best_table_is_the_default(void **state)
{
    (void)state;
    const struct bni_kernels *best = NULL;
    for (size_t i = 0; i < N_NAMES && best == NULL; i++)
        best = bni_kernels_by_name(names[i]);
    assert_non_null(best);
    print_message("this CPU's best table is %s\n", best->name);
    if (expected_best != NULL) assert_string_equal(best->name, expected_best);
    assert_ptr_equal(bni_kernels_select(), best);

    setenv("BITNET_ISA", "", 1);
    assert_ptr_equal(bni_kernels_select(), best);
}

static bool is_of_another_kind_of_cpu(const char *name)
{
    const bool is_x86 = strncmp(name, "avx", 3) == 0;
#if defined(__x86_64__)
    return !is_x86;
#else
    return is_x86;
#endif
}

static void a_table_is_chosen_by_name_or_refused_for_the_cpu(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        bitnet_clear_error();
        setenv("BITNET_ISA", names[i], 1);
        const struct bni_kernels *table = bni_kernels_select();
        assert_ptr_equal(table, bni_kernels_by_name(names[i]));
        if (table != NULL) {
            assert_string_equal(table->name, names[i]);
            assert_int_equal(bitnet_last_status(), BITNET_OK);
        } else {
            /* Another kind of CPU's names are no names here. */
            const bitnet_status status = bitnet_last_status();
            assert_true(status == BITNET_ERROR_UNSUPPORTED_OPERATION ||
                        (status == BITNET_ERROR_INVALID_ARGUMENT &&
                         is_of_another_kind_of_cpu(names[i])));
            assert_error_says(status, names[i]);
            assert_error_says(status, "scalar");
        }
    }
}

static void a_name_that_is_none_is_refused_with_the_ones_there_are(void **state)
{
    (void)state;
    static const char *const nonsense[] = {"nonsense", "AVX2", " scalar", "avx"};
    for (size_t i = 0; i < 4; i++) {
        bitnet_clear_error();
        setenv("BITNET_ISA", nonsense[i], 1);
        assert_null(bni_kernels_select());
        assert_error_says(BITNET_ERROR_INVALID_ARGUMENT, nonsense[i]);
        assert_error_says(BITNET_ERROR_INVALID_ARGUMENT, "scalar");
        if (bni_kernels_by_name("avx2") != NULL)
            assert_error_says(BITNET_ERROR_INVALID_ARGUMENT, "avx2, scalar");
        if (bni_kernels_by_name("neon") != NULL)
            assert_error_says(BITNET_ERROR_INVALID_ARGUMENT, "neon, scalar");
    }
}

static void looking_a_table_up_sets_no_error(void **state)
{
    (void)state;
    assert_null(bni_kernels_by_name("nonsense"));
    assert_null(bni_kernels_by_name(""));
    assert_int_equal(bitnet_last_status(), BITNET_OK);
}

static void a_long_name_leaves_room_for_the_rest_of_the_message(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    setenv("BITNET_ISA", name, 1);
    assert_null(bni_kernels_select());
    assert_error_says(BITNET_ERROR_INVALID_ARGUMENT, "scalar");
}

static void every_table_has_every_function(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        const struct bni_kernels *table = bni_kernels_by_name(names[i]);
        if (table == NULL) continue;
        assert_true(table->quantize != NULL && table->ternary_matmul != NULL &&
                    table->rms_norm != NULL && table->rope_neox != NULL &&
                    table->rope_adjacent != NULL && table->store_f16 != NULL &&
                    table->attention_block != NULL &&
                    table->attention_block_int8 != NULL && table->relu2_mul != NULL &&
                    table->silu_mul != NULL && table->add != NULL);
        for (int type = 0; type < BNI_DENSE_N_TYPES; type++)
            assert_true(table->dense_matmul[type] != NULL &&
                        table->widen[type] != NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) expected_best = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(scalar_runs_everywhere, forget_the_choice),
        cmocka_unit_test_setup(the_best_table_is_the_default, forget_the_choice),
        cmocka_unit_test_setup(a_table_is_chosen_by_name_or_refused_for_the_cpu,
                               forget_the_choice),
        cmocka_unit_test_setup(a_name_that_is_none_is_refused_with_the_ones_there_are,
                               forget_the_choice),
        cmocka_unit_test_setup(looking_a_table_up_sets_no_error, forget_the_choice),
        cmocka_unit_test_setup(a_long_name_leaves_room_for_the_rest_of_the_message,
                               forget_the_choice),
        cmocka_unit_test(every_table_has_every_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
