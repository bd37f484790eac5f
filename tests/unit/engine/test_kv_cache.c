/* SPDX-License-Identifier: MIT */
/*
 * The pages of the KV cache: counted, distinct, and where kernels expect them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "engine/kv_cache.h"

static const struct bni_hparams small = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 8};

static void every_page_is_given_once_and_comes_back(void **state)
{
    (void)state;
    enum { N_PAGES = 7 };
    struct bni_kv_cache cache;
    bool is_taken[N_PAGES] = {false};
    assert_int_equal(bni_kv_cache_init(&cache, &small, N_PAGES), BITNET_OK);
    for (int i = 0; i < N_PAGES; i++) {
        const uint32_t page = bni_kv_cache_take_page(&cache);
        assert_true(page < N_PAGES);
        assert_false(is_taken[page]);
        is_taken[page] = true;
    }
    assert_int_equal(cache.n_free, 0);
    for (uint32_t page = 0; page < N_PAGES; page++)
        bni_kv_cache_give_page(&cache, page);
    assert_int_equal(cache.n_free, N_PAGES);
    bni_kv_cache_free(&cache);
}

static void heads_tile_a_page_without_gaps(void **state)
{
    (void)state;
    struct bni_kv_cache cache;
    assert_int_equal(bni_kv_cache_init(&cache, &small, 2), BITNET_OK);
    const uint16_t *expected = cache.arena;
    for (uint32_t page = 0; page < 2; page++) {
        for (uint32_t layer = 0; layer < small.n_layers; layer++) {
            for (uint32_t head = 0; head < small.n_kv_heads; head++) {
                assert_ptr_equal(bni_kv_keys(&cache, page, layer, head), expected);
                expected += 8 * BNI_KV_PAGE_POSITIONS;
                assert_ptr_equal(bni_kv_values(&cache, page, layer, head), expected);
                expected += 8 * BNI_KV_PAGE_POSITIONS;
            }
        }
    }
    assert_int_equal((size_t)((const char *)expected - (const char *)cache.arena),
                     2 * bni_kv_page_bytes(&small));
    bni_kv_cache_free(&cache);
}

static void positions_are_rounded_up_to_pages(void **state)
{
    (void)state;
    assert_int_equal(bni_kv_pages_for(0), 0);
    assert_int_equal(bni_kv_pages_for(1), 1);
    assert_int_equal(bni_kv_pages_for(32), 1);
    assert_int_equal(bni_kv_pages_for(33), 2);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    for (uint64_t n = 1; n <= 2; n++) {
        struct bni_kv_cache cache;
        bni_fault_arm(n);
        assert_int_equal(bni_kv_cache_init(&cache, &small, 2),
                         BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        assert_true(bni_alloc_in_use() == before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_given_once_and_comes_back),
        cmocka_unit_test(heads_tile_a_page_without_gaps),
        cmocka_unit_test(positions_are_rounded_up_to_pages),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
