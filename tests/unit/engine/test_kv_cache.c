/* SPDX-License-Identifier: MIT */
/*
 * The pages of the KV cache: counted, distinct, where kernels expect them, and holding
 * what was stored.
 */
#include <math.h>
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
    assert_int_equal(bni_kv_cache_init(&cache, &small, BITNET_KV_F16, N_PAGES),
                     BITNET_OK);
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

static void check_tiling(bitnet_kv_type type, size_t block_bytes)
{
    struct bni_kv_cache cache;
    assert_int_equal(bni_kv_cache_init(&cache, &small, type, 2), BITNET_OK);
    const char *expected = cache.arena;
    struct bni_kv_place place;
    for (place.page = 0; place.page < 2; place.page++) {
        for (place.layer = 0; place.layer < small.n_layers; place.layer++) {
            for (place.kv_head = 0; place.kv_head < small.n_kv_heads; place.kv_head++) {
                assert_ptr_equal(bni_kv_keys(&cache, place), expected);
                expected += block_bytes;
                assert_ptr_equal(bni_kv_values(&cache, place), expected);
                expected += block_bytes;
            }
        }
    }
    assert_int_equal((size_t)(expected - cache.arena),
                     2 * bni_kv_page_bytes(&small, type));
    bni_kv_cache_free(&cache);
}

static void heads_tile_a_page_without_gaps(void **state)
{
    (void)state;
    check_tiling(BITNET_KV_F16, 8 * 2 * BNI_KV_PAGE_POSITIONS);
    check_tiling(BITNET_KV_INT8, (8 + 4) * BNI_KV_PAGE_POSITIONS);
}

enum { DIM = 8, N_STORED = 32 };

/* Number d of the position's key; that of its value is negative. Its size differs from
 * position to position, so that one's factor does not do for another. */
static float number_of(size_t position, size_t d)
{
    return (float)(1 + (position * 7 + d * 3) % 11) * (float)(1 + position % 5) * 0.25f;
}

/* Attends to one position of a full page by itself: with one the weight is 1, and with
 * q a unit vector the score is one number of its key. */
static void check_what_is_read(bitnet_kv_type type, float tolerance)
{
    struct bni_kv_cache cache;
    const struct bni_kv_place place = {1, 2, 1};
    assert_int_equal(bni_kv_cache_init(&cache, &small, type, 2), BITNET_OK);
    float k[N_STORED][DIM], v[N_STORED][DIM];
    for (size_t p = 0; p < N_STORED; p++)
        for (size_t d = 0; d < DIM; d++) v[p][d] = -(k[p][d] = number_of(p, d));
    for (size_t first = 0; first < N_STORED; first++) {
        /* The position under test comes first, the others behind it. */
        for (size_t p = 0; p < N_STORED; p++)
            bni_kv_store(&cache, &bni_kernels_scalar, place, p,
                         k[(first + p) % N_STORED], v[(first + p) % N_STORED]);
        for (size_t d = 0; d < DIM; d++) {
            float q[DIM] = {0};
            float acc[DIM] = {0};
            q[d] = 1;
            struct bni_attention_query query = {.q = q,
                                                .acc = acc,
                                                .max = -INFINITY,
                                                .n_positions = 1};
            bni_kv_attend(&cache, &bni_kernels_scalar, place, place.page, &query, 1,
                          1.0f);
            assert_true(fabsf(query.max - k[first][d]) <= tolerance);
            for (size_t e = 0; e < DIM; e++)
                assert_true(fabsf(acc[e] - v[first][e]) <= tolerance);
        }
    }
    bni_kv_cache_free(&cache);
}

static void what_is_stored_is_read(void **state)
{
    (void)state;
    check_what_is_read(BITNET_KV_F16, 0.0f); /* exact in half precision */
    check_what_is_read(BITNET_KV_INT8,
                       13.75f / 253.0f); /* half a step of the largest */
}

static void what_is_not_finite_shows(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 6; i++) {
        struct bni_kv_cache cache;
        const struct bni_kv_place place = {0, 0, 0};
        const float q[DIM] = {1, 1, 1, 1, 1, 1, 1, 1};
        float k[DIM] = {1, 2, 3};
        float v[DIM] = {3, 2, 1};
        float acc[DIM] = {0};
        (i < 3 ? k : v)[5] = bad[i % 3];
        assert_int_equal(bni_kv_cache_init(&cache, &small, BITNET_KV_INT8, 1),
                         BITNET_OK);
        bni_kv_store(&cache, &bni_kernels_scalar, place, 0, k, v);
        struct bni_attention_query query = {.q = q,
                                            .acc = acc,
                                            .max = -INFINITY,
                                            .n_positions = 1};
        bni_kv_attend(&cache, &bni_kernels_scalar, place, place.page, &query, 1, 1.0f);
        for (size_t d = 0; d < DIM; d++) assert_true(isnan(acc[d] / query.sum));
        bni_kv_cache_free(&cache);
    }
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
        assert_int_equal(bni_kv_cache_init(&cache, &small, BITNET_KV_INT8, 2),
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
        cmocka_unit_test(what_is_stored_is_read),
        cmocka_unit_test(what_is_not_finite_shows),
        cmocka_unit_test(positions_are_rounded_up_to_pages),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
