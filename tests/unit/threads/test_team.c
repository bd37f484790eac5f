/* SPDX-License-Identifier: MIT */
/*
 * test_team.c - every item exactly once, whoever computes it, with fewer and with
 * many more threads than CPUs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/latch.h"
#include "threads/compute.h"
#include "threads/team.h"

enum { WATCHDOG_S = 120 };

static void count_items(void *user, size_t begin, size_t end)
{
    uint8_t *counts = user;
    for (size_t i = begin; i < end; i++) counts[i]++;
}

static void check_run(struct bni_team *team, size_t n_items, size_t grain)
{
    uint8_t *counts = calloc(n_items + 1, 1);
    bni_team_run(team, n_items, grain, count_items, counts);
    for (size_t i = 0; i < n_items; i++) assert_int_equal(counts[i], 1);
    assert_int_equal(counts[n_items], 0);
    free(counts);
}

static struct bni_team *make_team(unsigned n_threads)
{
    struct bni_team *team = NULL;
    assert_int_equal(bni_team_create(n_threads, &team), BITNET_OK);
    assert_int_equal(bni_team_size(team), n_threads);
    return team;
}

static void every_item_is_computed_exactly_once(void **state)
{
    (void)state;
    static const unsigned sizes[] = {1, 2, 3, 8, 64};
    static const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 4097};
    static const size_t grains[] = {1, 2, 8, 64, 5000};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        struct bni_team *team = make_team(sizes[s]);
        for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
            for (size_t g = 0; g < sizeof(grains) / sizeof(*grains); g++)
                check_run(team, counts[c], grains[g]);
        }
        bni_team_destroy(team);
    }
}

static void runs_in_a_row_never_mix(void **state)
{
    (void)state;
    static const unsigned sizes[] = {2, 3, 16};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        struct bni_team *team = make_team(sizes[s]);
        for (unsigned i = 0; i < 3000; i++) check_run(team, 1 + i % 37, 1 + i % 3);
        bni_team_destroy(team);
    }
}

struct borders {
    size_t n_items;
    size_t grain;
    _Atomic unsigned n_bad;
};

static void check_borders(void *user, size_t begin, size_t end)
{
    struct borders *borders = user;
    const bool is_good = begin < end && begin % borders->grain == 0 &&
                         (end == borders->n_items || end % borders->grain == 0);
    if (!is_good) atomic_fetch_add(&borders->n_bad, 1);
}

static void borders_are_multiples_of_the_grain(void **state)
{
    (void)state;
    struct bni_team *team = make_team(3);
    struct borders borders = {.n_items = 1003, .grain = 16};
    bni_team_run(team, borders.n_items, borders.grain, check_borders, &borders);
    assert_int_equal(atomic_load(&borders.n_bad), 0);
    bni_team_destroy(team);
}

struct whole {
    pthread_t thread;
    size_t begin, end;
    unsigned n_calls;
};

static void note_call(void *user, size_t begin, size_t end)
{
    struct whole *whole = user;
    *whole = (struct whole){pthread_self(), begin, end, whole->n_calls + 1};
}

static void one_piece_of_work_is_one_call_on_the_caller(void **state)
{
    (void)state;
    struct bni_team *team = make_team(4);
    struct whole whole = {.n_calls = 0};
    bni_team_run(team, 7, 7, note_call, &whole);
    assert_int_equal(whole.n_calls, 1);
    assert_int_equal(whole.begin, 0);
    assert_int_equal(whole.end, 7);
    assert_true(pthread_equal(whole.thread, pthread_self()));
    bni_team_destroy(team);

    team = make_team(1);
    bni_team_run(team, 1000, 1, note_call, &whole);
    assert_int_equal(whole.n_calls, 2);
    assert_int_equal(whole.end, 1000);
    bni_team_destroy(team);
}

struct huge {
    _Atomic size_t n_items;
};

static void add_items(void *user, size_t begin, size_t end)
{
    struct huge *huge = user;
    atomic_fetch_add(&huge->n_items, end - begin);
}

static void more_pieces_than_fit_in_a_word_are_counted_right(void **state)
{
    (void)state;
    struct bni_team *team = make_team(2);
    static const size_t counts[] = {(size_t)INT32_MAX, (size_t)INT32_MAX + 1,
                                    (size_t)UINT32_MAX * 3 + 17};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        struct huge huge = {0};
        bni_team_run(team, counts[i], 1, add_items, &huge);
        assert_int_equal(atomic_load(&huge.n_items), counts[i]);
    }
    bni_team_destroy(team);
}

/* All threads of the team must be inside at once, or the latch never opens. */
static void meet(void *user, size_t begin, size_t end)
{
    (void)begin;
    (void)end;
    latch_meet(user);
}

static void all_threads_of_the_team_take_part(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct bni_team *team = make_team(5);
    for (int i = 0; i < 20; i++) {
        struct latch latch = LATCH(5);
        bni_team_run(team, 5, 1, meet, &latch);
        assert_true(latch_is_open(&latch));
    }
    bni_team_destroy(team);
    watchdog_stop(&dog);
}

struct late_end {
    struct latch claimed_by_worker;
    pthread_t caller;
    _Atomic bool is_done;
};

/* The worker's unit ends long after the caller's: the caller has gone to sleep. */
static void end_late_on_the_worker(void *user, size_t begin, size_t end)
{
    (void)begin;
    (void)end;
    struct late_end *late = user;
    if (pthread_equal(pthread_self(), late->caller)) {
        latch_wait(&late->claimed_by_worker);
        return;
    }
    latch_count_down(&late->claimed_by_worker);
    const struct timespec well_past_the_spinning = {.tv_nsec = 2000000};
    nanosleep(&well_past_the_spinning, NULL);
    atomic_store(&late->is_done, true);
}

static void a_caller_that_fell_asleep_is_woken(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct bni_team *team = make_team(2);
    for (int i = 0; i < 20; i++) {
        struct late_end late = {.claimed_by_worker = LATCH(1),
                                .caller = pthread_self()};
        bni_team_run(team, 2, 1, end_late_on_the_worker, &late);
        assert_true(atomic_load(&late.is_done));
    }
    bni_team_destroy(team);
    watchdog_stop(&dog);
}

static void note_role(void *user, size_t begin, size_t end)
{
    (void)begin;
    (void)end;
    struct late_end *late = user;
    latch_meet(&late->claimed_by_worker);
    if (pthread_equal(pthread_self(), late->caller)) return;

    sigset_t blocked;
    char name[16];
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    pthread_getname_np(pthread_self(), name, sizeof(name));
    if (bni_context_check("waiting") == BITNET_ERROR_THREAD_SAFETY &&
        strstr(bitnet_last_error(), "compute thread") != NULL &&
        sigismember(&blocked, SIGTERM) == 1 && strcmp(name, "bitnet-comp-1") == 0)
        atomic_store(&late->is_done, true);
}

static void a_worker_blocks_signals_has_a_name_and_may_not_wait(void **state)
{
    (void)state;
    struct bni_team *team = make_team(2);
    struct late_end late = {.claimed_by_worker = LATCH(2), .caller = pthread_self()};
    bni_team_run(team, 2, 1, note_role, &late);
    assert_true(atomic_load(&late.is_done));
    assert_int_equal(bni_context_check("waiting"), BITNET_OK);
    bni_team_destroy(team);
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    struct bni_team *team = NULL;
    assert_int_equal(bni_team_create(0, &team), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bni_team_create(BNI_TEAM_MAX_THREADS + 1, &team),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "257"));
    assert_null(team);
    bni_team_destroy(NULL);
}

static void whatever_creation_fails_on_nothing_is_left(void **state)
{
    (void)state;
    const uint64_t in_use = bni_alloc_in_use();
    for (uint64_t n = 1;; n++) {
        struct bni_team *team = NULL;
        bni_fault_arm(n);
        const bitnet_status status = bni_team_create(4, &team);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (status == BITNET_OK) {
            bni_team_destroy(team);
            assert_int_equal(bni_alloc_in_use(), in_use);
            if (!was_asked) break;
            continue;
        }
        assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        assert_int_equal(status, bitnet_last_status());
        assert_null(team);
        assert_int_equal(bni_alloc_in_use(), in_use);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_is_computed_exactly_once),
        cmocka_unit_test(runs_in_a_row_never_mix),
        cmocka_unit_test(borders_are_multiples_of_the_grain),
        cmocka_unit_test(one_piece_of_work_is_one_call_on_the_caller),
        cmocka_unit_test(more_pieces_than_fit_in_a_word_are_counted_right),
        cmocka_unit_test(all_threads_of_the_team_take_part),
        cmocka_unit_test(a_caller_that_fell_asleep_is_woken),
        cmocka_unit_test(a_worker_blocks_signals_has_a_name_and_may_not_wait),
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(whatever_creation_fails_on_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
