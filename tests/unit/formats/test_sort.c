/* SPDX-License-Identifier: MIT */
/*
 * test_sort.c - sorted, complete, and never slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/sort.h"

enum { MAX_ITEMS = 4096 };

struct items {
    uint32_t values[MAX_ITEMS];
    uint64_t n_compared;
};

static int compare(const void *context, uint32_t a, uint32_t b)
{
    struct items *items = (struct items *)(uintptr_t)context; /* to count */
    items->n_compared++;
    return (items->values[a] > items->values[b]) -
           (items->values[a] < items->values[b]);
}

static void check(struct items *items, size_t n)
{
    uint32_t indices[MAX_ITEMS];
    uint8_t is_seen[MAX_ITEMS] = {0};
    for (size_t i = 0; i < n; i++) indices[i] = (uint32_t)i;
    items->n_compared = 0;
    bni_sort_indices(indices, n, compare, items);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(is_seen[indices[i]]++, 0);
        if (i > 0)
            assert_true(items->values[indices[i - 1]] <= items->values[indices[i]]);
    }
    assert_true(items->n_compared <= 2 * n * 13); /* 2 n log2(n) */
}

static void every_order_is_sorted_in_n_log_n(void **state)
{
    (void)state;
    static struct items items;
    for (size_t n = 0; n < 40; n++) {
        for (uint32_t i = 0; i < n; i++) items.values[i] = i * 2654435761u % 17;
        check(&items, n);
    }
    for (uint32_t i = 0; i < MAX_ITEMS; i++) items.values[i] = i;
    check(&items, MAX_ITEMS);
    for (uint32_t i = 0; i < MAX_ITEMS; i++) items.values[i] = MAX_ITEMS - i;
    check(&items, MAX_ITEMS);
    for (uint32_t i = 0; i < MAX_ITEMS; i++) items.values[i] = 7;
    check(&items, MAX_ITEMS);
    for (uint32_t i = 0; i < MAX_ITEMS; i++)
        items.values[i] = i < 2048 ? i : MAX_ITEMS - i;
    check(&items, MAX_ITEMS);
    for (uint32_t i = 0; i < MAX_ITEMS; i++) items.values[i] = i * 2654435761u;
    check(&items, MAX_ITEMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_is_sorted_in_n_log_n),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
