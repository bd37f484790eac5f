/* SPDX-License-Identifier: MIT */
/*
 * test_compute.c - one turn at a time, in the order they were asked for, on a team
 * of the size that was last set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/topology.h"
#include "support/latch.h"
#include "threads/compute.h"
#include "threads/compute_control.h"

enum { WATCHDOG_S = 120, N_THREADS = 8, N_TURNS = 300 };

static void the_team_has_the_size_that_was_set(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 3, 2};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct bni_team *team = NULL;
        assert_int_equal(bni_compute_set_threads(sizes[i]), BITNET_OK);
        assert_int_equal(bni_compute_threads(), sizes[i]);
        assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
        assert_int_equal(bni_team_size(team), sizes[i]);
        bni_compute_release(team);
    }
    bni_compute_cleanup();
}

static void a_turn_keeps_its_team_while_the_number_changes(void **state)
{
    (void)state;
    struct bni_team *team = NULL;
    assert_int_equal(bni_compute_set_threads(2), BITNET_OK);
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    assert_int_equal(bni_compute_set_threads(4), BITNET_OK);
    bni_compute_cleanup(); /* the turn is held: nothing happens */
    assert_int_equal(bni_team_size(team), 2);
    bni_compute_release(team);
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    assert_int_equal(bni_team_size(team), 4);
    bni_compute_release(team);
    bni_compute_cleanup();
}

static void zero_is_what_the_process_may_use(void **state)
{
    (void)state;
    assert_int_equal(bni_compute_set_threads(0), BITNET_OK);
    assert_int_equal(bni_compute_threads(), bni_topology_n_compute());
}

static void too_many_are_refused(void **state)
{
    (void)state;
    assert_int_equal(bni_compute_set_threads(BNI_TEAM_MAX_THREADS + 1),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static void a_team_that_cannot_be_made_ends_the_turn(void **state)
{
    (void)state;
    struct bni_team *team = NULL;
    assert_int_equal(bni_compute_set_threads(3), BITNET_OK);
    bni_compute_cleanup();
    const uint64_t in_use = bni_alloc_in_use();
    bni_fault_arm(1);
    assert_int_equal(bni_compute_acquire(&team), BITNET_ERROR_OUT_OF_MEMORY);
    bni_fault_arm(0);
    assert_int_equal(bni_alloc_in_use(), in_use);

    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    bni_compute_release(team);
    bni_compute_cleanup();
    assert_int_equal(bni_alloc_in_use(), in_use);
}

struct crowd {
    struct latch start;
    _Atomic int n_inside;
    _Atomic bool overlapped;
    unsigned n_turns; /* plain on purpose: the turn is what guards it */
};

static void add_one(void *user, size_t begin, size_t end)
{
    _Atomic size_t *n_items = user;
    atomic_fetch_add(n_items, end - begin);
}

static void *take_turns(void *arg)
{
    struct crowd *crowd = arg;
    latch_meet(&crowd->start);
    for (unsigned i = 0; i < N_TURNS; i++) {
        struct bni_team *team;
        if (bni_compute_acquire(&team) != BITNET_OK) return arg;
        if (atomic_fetch_add(&crowd->n_inside, 1) != 0)
            atomic_store(&crowd->overlapped, true);
        crowd->n_turns++;
        _Atomic size_t n_items = 0;
        bni_team_run(team, 10, 1, add_one, &n_items);
        const bool is_complete = atomic_load(&n_items) == 10;
        atomic_fetch_sub(&crowd->n_inside, 1);
        bni_compute_release(team);
        if (!is_complete) return arg;
    }
    return NULL;
}

static void turns_never_overlap_while_the_number_changes(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct crowd crowd = {.start = LATCH(N_THREADS + 1)};
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &crowd), 0);
    latch_meet(&crowd.start);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(bni_compute_set_threads(1 + i % 4), BITNET_OK);
        bni_compute_cleanup();
    }
    for (int i = 0; i < N_THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_false(atomic_load(&crowd.overlapped));
    assert_int_equal(crowd.n_turns, N_THREADS * N_TURNS);
    bni_compute_cleanup();
    watchdog_stop(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_team_has_the_size_that_was_set),
        cmocka_unit_test(a_turn_keeps_its_team_while_the_number_changes),
        cmocka_unit_test(zero_is_what_the_process_may_use),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(a_team_that_cannot_be_made_ends_the_turn),
        cmocka_unit_test(turns_never_overlap_while_the_number_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
