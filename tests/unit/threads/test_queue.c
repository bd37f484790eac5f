/* SPDX-License-Identifier: MIT */
/*
 * test_queue.c - first in, first out, bounded, and with a way out of the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "threads/queue.h"

enum { CAPACITY = 5 };

static uint32_t push(struct bni_queue *queue, uint64_t sequence)
{
    const struct bni_task task = {.sequence = sequence,
                                  .start_deadline_ns = BITNET_NO_DEADLINE};
    return bni_queue_push(queue, &task);
}

static void check_pops(struct bni_queue *queue, uint64_t sequence)
{
    struct bni_task task;
    assert_true(bni_queue_pop(queue, &task));
    assert_int_equal(task.sequence, sequence);
}

static void what_goes_in_first_comes_out_first(void **state)
{
    (void)state;
    struct bni_queue queue;
    assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_OK);
    uint64_t n_in = 0;
    uint64_t n_out = 0;
    for (unsigned round = 0; round < 20; round++) {
        while (!bni_queue_is_full(&queue)) push(&queue, n_in++);
        assert_int_equal(queue.n_queued, CAPACITY);
        for (unsigned i = 0; i <= round % CAPACITY; i++) check_pops(&queue, n_out++);
    }
    while (n_out < n_in) check_pops(&queue, n_out++);
    struct bni_task task;
    assert_false(bni_queue_pop(&queue, &task));
    bni_queue_free(&queue);
}

static void any_slot_can_be_taken_out_of_the_middle(void **state)
{
    (void)state;
    for (size_t taken = 0; taken < CAPACITY; taken++) {
        struct bni_queue queue;
        uint32_t slots[CAPACITY];
        struct bni_task task;
        assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_OK);
        for (size_t i = 0; i < CAPACITY; i++) slots[i] = push(&queue, i);
        bni_queue_take(&queue, slots[taken], &task);
        assert_int_equal(task.sequence, taken);
        assert_false(bni_queue_is_full(&queue));
        push(&queue, CAPACITY); /* its place is free at once */
        for (size_t i = 0; i <= CAPACITY; i++) {
            if (i != taken) check_pops(&queue, i);
        }
        assert_false(bni_queue_pop(&queue, &task));
        bni_queue_free(&queue);
    }
}

/* Lent slots are neither queued nor free; those put back get their old places. */
static void slots_can_be_lent(void **state)
{
    (void)state;
    struct bni_queue queue;
    uint32_t lent[CAPACITY];
    assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_OK);
    for (uint64_t i = 0; i < CAPACITY; i++) push(&queue, i);
    assert_int_equal(bni_queue_lend(&queue, lent, 3), 3);
    assert_int_equal(queue.n_queued, CAPACITY - 3);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(queue.tasks[lent[i]].sequence, i);

    check_pops(&queue, 3);
    bni_queue_release(&queue, lent[0]);
    push(&queue, CAPACITY); /* into the place of 3 */
    push(&queue, CAPACITY + 1);
    bni_queue_put_back(&queue, lent[2]);
    bni_queue_put_back(&queue, lent[1]);
    assert_true(bni_queue_is_full(&queue));
    const uint64_t left[] = {1, 2, 4, CAPACITY, CAPACITY + 1};
    for (size_t i = 0; i < CAPACITY; i++) check_pops(&queue, left[i]);
    assert_null(bni_queue_first(&queue));
    assert_int_equal(bni_queue_lend(&queue, lent, CAPACITY), 0);
    bni_queue_free(&queue);
}

static void only_plain_jobs_are_lent(void **state)
{
    (void)state;
    struct bni_queue queue;
    uint32_t lent[CAPACITY];
    struct bni_task task;
    assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_OK);
    push(&queue, 0);
    const struct bni_task urgent = {.sequence = 1, .start_deadline_ns = 1};
    bni_queue_push(&queue, &urgent);
    push(&queue, 2);
    push(&queue, 3);
    assert_int_equal(bni_queue_lend(&queue, lent, CAPACITY), 1);
    assert_int_equal(bni_queue_lend(&queue, lent, CAPACITY), 0);
    assert_true(bni_queue_pop(&queue, &task));
    assert_int_equal(task.sequence, 1);
    assert_int_equal(bni_queue_lend(&queue, lent, CAPACITY), 2);
    bni_queue_free(&queue);
}

static void nothing_is_allocated_between_init_and_free(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    struct bni_queue queue;
    assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_OK);
    bni_fault_arm(1);
    for (uint64_t i = 0; i < 100; i++) {
        push(&queue, i);
        check_pops(&queue, i);
    }
    assert_int_equal(bni_fault_count(), 0);
    bni_fault_arm(0);
    bni_queue_free(&queue);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void a_queue_without_memory_is_an_error(void **state)
{
    (void)state;
    struct bni_queue queue;
    const uint64_t before = bni_alloc_in_use();
    for (unsigned nth = 1; nth <= 2; nth++) {
        bni_fault_arm(nth);
        assert_int_equal(bni_queue_init(&queue, CAPACITY), BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        assert_int_equal(bni_alloc_in_use(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_first_comes_out_first),
        cmocka_unit_test(any_slot_can_be_taken_out_of_the_middle),
        cmocka_unit_test(slots_can_be_lent),
        cmocka_unit_test(only_plain_jobs_are_lent),
        cmocka_unit_test(nothing_is_allocated_between_init_and_free),
        cmocka_unit_test(a_queue_without_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
