/* SPDX-License-Identifier: MIT */
/*
 * test_alloc.c - allocation: aligned, counted, limited, made to fail.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/status.h>

#include "base/alloc.h"
#include "base/fault.h"

static void blocks_are_aligned_and_counted(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    for (size_t n_bytes = 0; n_bytes < 300; n_bytes++) {
        uint8_t *block = bni_alloc(n_bytes);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % BNI_ALIGNMENT, 0);
        assert_true(bni_alloc_in_use() >= before + n_bytes);
        memset(block, 0xAB, n_bytes);
        bni_free(block);
    }
    bni_free(NULL);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void zeroed_memory_is_zero(void **state)
{
    (void)state;
    uint8_t *block = bni_calloc(10, 100);
    uint8_t *region = bni_map_zeroed(8192);
    assert_non_null(block);
    assert_non_null(region);
    for (size_t i = 0; i < 1000; i++) assert_int_equal(block[i], 0);
    for (size_t i = 0; i < 8192; i++) assert_int_equal(region[i], 0);
    bni_free(block);
    bni_unmap(region, 8192);
    bni_unmap(NULL, 8192);
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    assert_null(bni_alloc(SIZE_MAX));
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_OUT_OF_MEMORY);
    assert_null(bni_alloc(SIZE_MAX - 64));
    assert_null(bni_calloc(SIZE_MAX / 2, 3));
    assert_non_null(strstr(bitnet_last_error(), "times 3 bytes"));
    assert_int_equal(bni_alloc_in_use(), before);
}

static void the_limit_holds_for_blocks_and_regions_together(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    bni_alloc_set_limit(before + 10000);
    void *block = bni_alloc(4000);
    assert_non_null(block);
    assert_null(bni_alloc(8000));
    assert_non_null(strstr(bitnet_last_error(), "limit"));
    assert_null(bni_map_zeroed(8192));
    void *region = bni_map_zeroed(4096);
    assert_non_null(region);
    bni_unmap(region, 4096);
    bni_free(block);
    bni_alloc_set_limit(UINT64_MAX);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void an_armed_fault_fails_that_one_acquisition(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    bni_fault_arm(2);
    void *first = bni_alloc(1);
    assert_non_null(first);
    assert_null(bni_map_zeroed(4096));
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_OUT_OF_MEMORY);
    void *third = bni_alloc(1);
    assert_non_null(third);
    assert_int_equal(bni_fault_count(), 3);
    bni_fault_arm(0);
    bni_free(third);
    bni_free(first);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void *allocate_elsewhere(void *unused)
{
    (void)unused;
    return bni_alloc(100000);
}

static void the_balance_is_this_thread_s_alone(void **state)
{
    (void)state;
    pthread_t thread;
    void *theirs;
    const int64_t before = bni_alloc_thread_balance();
    assert_int_equal(pthread_create(&thread, NULL, allocate_elsewhere, NULL), 0);
    pthread_join(thread, &theirs);
    assert_int_equal(bni_alloc_thread_balance(), before);
    void *ours = bni_alloc(1000);
    assert_in_range(bni_alloc_thread_balance() - before, 1000, 1200);
    bni_free(ours);
    assert_int_equal(bni_alloc_thread_balance(), before);
    bni_free(theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_counted),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused),
        cmocka_unit_test(the_limit_holds_for_blocks_and_regions_together),
        cmocka_unit_test(an_armed_fault_fails_that_one_acquisition),
        cmocka_unit_test(the_balance_is_this_thread_s_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
