/* SPDX-License-Identifier: MIT */
/*
 * Everything a thread pool can do, at once and at random, against a model of what must
 * come of it: every accepted job ends exactly once, as its handle, its event and the
 * statistics say.
 *
 *     test_thread_stress [seed [seconds]]
 *
 * Each round is a pool of 1, 2, 8 or 64 threads with a few actors who submit, wait,
 * cancel, resize and look, until one of them, perhaps, shuts it down.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <bitnet.h>

#include "support/pool_model.h"

enum {
    N_ACTORS = 4,
    N_ACTS = 300,
    N_RUSH = 40, /* jobs of each actor in a row, at its end */
    N_FINALES = 8,
    N_RECORDS = N_ACTORS * (2 * N_ACTS + N_RUSH) + N_FINALES * (2 * N_RUSH + 2),
};

/* Two jobs of which each ends only once the other has begun, or never will. */
static void submit_two_that_meet(struct round *round)
{
    if (round->min_threads < 2 || atomic_exchange(&round->is_meeting, true)) return;
    round->meeting = (struct latch)LATCH(2);
    atomic_store(&round->n_left, 0);
    for (unsigned i = 0; i < 2; i++) {
        struct record *record = new_record(round, MEETS);
        bitnet_submit_options options = bitnet_submit_options_default();
        if (submit_record(round, record, &options, NULL)) continue;
        latch_count_down(&round->meeting);
        leave_meeting(round);
    }
}

static void submit_one(struct round *round, struct dice *dice)
{
    const bool is_plain = round->is_short && !one_in(dice, 50);
    struct record *record =
        new_record(round, is_plain ? PLAIN : (enum kind)roll(dice, EXITS + 1));
    if (record->kind == EXITS && !one_in(dice, round->is_short ? 2 : 8))
        record->kind = PLAIN;
    if (record->kind == NESTS) record->child = new_record(round, PLAIN);

    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = (bitnet_submit_policy)roll(dice, BITNET_SUBMIT_DROP_OLDEST + 1);
    if (record->kind == EXITS && options.when_full == BITNET_SUBMIT_RUN_HERE)
        options.when_full = BITNET_SUBMIT_WAIT; /* it would end the actor */
    bitnet_job *job = NULL;
    if (one_in(dice, 4)) options.room_deadline_ns = soon(dice);
    if (!is_plain && one_in(dice, 8)) options.start_deadline_ns = soon(dice);
    if (!is_plain && one_in(dice, 3)) options.events = round->events;
    const bool has_handle = !is_plain && one_in(dice, 2);
    if (!submit_record(round, record, &options, has_handle ? &job : NULL)) return;
    if (!has_handle) return;

    pthread_mutex_lock(&round->lock);
    struct shelf *shelf = &round->shelves[roll(dice, N_SHELVES)];
    const struct shelf old = *shelf;
    *shelf = (struct shelf){job, record};
    pthread_mutex_unlock(&round->lock);
    bitnet_job_release(old.job);
}

static void wait_for_one(struct round *round, struct dice *dice)
{
    struct shelf shelf = borrow(round, roll(dice, N_SHELVES));
    if (shelf.job == NULL) return;
    if (one_in(dice, 2)) {
        bitnet_job_wait_until(shelf.job, soon(dice));
    } else {
        bitnet_job_wait(shelf.job);
        expect(round, bitnet_job_get_state(shelf.job) == BITNET_JOB_ENDED,
               "a wait came back before the job's end");
    }
    if (bitnet_job_get_state(shelf.job) == BITNET_JOB_ENDED)
        check_handle(round, &shelf);
    bitnet_job_release(shelf.job);
}

static void shut_down(struct round *round, struct dice *dice)
{
    atomic_store(&round->is_closing, true);
    bitnet_status status;
    do {
        const bitnet_shutdown_mode mode =
            one_in(dice, 2) ? BITNET_SHUTDOWN_GRACEFUL : BITNET_SHUTDOWN_IMMEDIATE;
        status = bitnet_thread_pool_shutdown(round->pool, mode,
                                             one_in(dice, 3) ? BITNET_NO_DEADLINE
                                                             : soon(dice));
    } while (status == BITNET_ERROR_TIMED_OUT);
    expect(round, status == BITNET_OK, "shutdown failed");
}

static void resize(struct round *round, struct dice *dice)
{
    const unsigned n_more = roll(dice, round->max_threads - round->min_threads + 1);
    const bitnet_status status =
        bitnet_thread_pool_resize(round->pool, round->min_threads + n_more);
    expect(round,
           status == BITNET_OK ||
               (status == BITNET_ERROR_SHUT_DOWN && atomic_load(&round->is_closing)),
           "resizing failed");
}

static void act(struct round *round, struct dice *dice)
{
    bitnet_event event;
    switch (roll(dice, round->is_short ? 60 : 24)) {
    case 0: resize(round, dice); break;
    case 1: look(round); break;
    case 2: bitnet_thread_pool_wait_until(round->pool, soon(dice)); break;
    case 3: bitnet_thread_pool_wait(round->pool); break;
    case 4: cancel_one(round, roll(dice, N_SHELVES)); break;
    case 5: wait_for_one(round, dice); break;
    case 6: use_guarded(round); break;
    case 7:
        if (bitnet_event_queue_post(round->events, BITNET_OK, 0) == BITNET_OK)
            atomic_fetch_add(&round->n_posted, 1);
        break;
    case 8:
        if (bitnet_event_queue_next_until(round->events, soon(dice), &event) ==
            BITNET_OK)
            count_event(round, &event);
        break;
    case 9: collect_events(round); break;
    case 10: submit_two_that_meet(round); break;
    default: submit_one(round, dice);
    }
}

/* Jobs in a row, each waiting for room: whoever is last has nobody to help it on. */
static void rush(struct round *round, struct dice *dice)
{
    for (unsigned i = roll(dice, N_RUSH); i > 0; i--) {
        bitnet_submit_options options = bitnet_submit_options_default();
        submit_record(round, new_record(round, one_in(dice, 40) ? EXITS : PLAIN),
                      &options, NULL);
    }
}

/* Two jobs that meet among short ones, and nobody who would look at the pool: neither
 * may be left in the hand of a worker that waits for the other. */
static void play_finale(struct round *round, struct dice *dice)
{
    rush(round, dice);
    submit_two_that_meet(round);
    rush(round, dice);
    while (atomic_load(&round->is_meeting)) sched_yield();
}

struct actor {
    pthread_t thread;
    struct round *round;
    struct dice dice;
    unsigned closes_at; /* N_ACTS: never */
};

static void *be_an_actor(void *arg)
{
    struct actor *actor = arg;
    for (unsigned i = 0; i < N_ACTS; i++) {
        if (i == actor->closes_at) shut_down(actor->round, &actor->dice);
        act(actor->round, &actor->dice);
    }
    rush(actor->round, &actor->dice);
    return NULL;
}

static void *observe(void *arg)
{
    struct round *round = arg;
    while (!atomic_load(&round->is_over)) {
        look(round);
        const struct timespec moment = {.tv_nsec = 200000};
        nanosleep(&moment, NULL);
    }
    return NULL;
}

static void count_destroyed(void *object)
{
    struct round *round = object;
    atomic_fetch_add(&round->n_destroyed, 1);
}

static void make_round(struct round *round, uint64_t number, struct dice *dice)
{
    static const unsigned sizes[] = {1, 2, 8, 64};
    const unsigned n_threads = sizes[number % 4];
    *round = (struct round){
        .number = number,
        .pool = make_pool(n_threads, 1 + roll(dice, one_in(dice, 2) ? 8 : 256)),
        .min_threads = n_threads < 2 ? 1 : 2,
        .max_threads = n_threads,
        .is_short = one_in(dice, 2),
        .records = calloc(N_RECORDS, sizeof(struct record)),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    assert_non_null(round->records);
    assert_int_equal(bitnet_event_queue_create(1 + roll(dice, 64), &round->events),
                     BITNET_OK);
    assert_int_equal(bitnet_ref_create(round, count_destroyed, &round->ref), BITNET_OK);
}

/* Ends a round, handles before or after their pool. */
static void end_round(struct round *round, struct dice *dice)
{
    atomic_store(&round->is_closing, true);
    assert_int_equal(bitnet_thread_pool_shutdown(round->pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    collect_events(round);
    const bitnet_thread_pool_stats stats = stats_of(round->pool);
    const bool is_pool_first = one_in(dice, 2);
    if (is_pool_first)
        assert_int_equal(bitnet_thread_pool_destroy(round->pool), BITNET_OK);
    for (unsigned i = 0; i < N_SHELVES; i++) {
        if (round->shelves[i].job == NULL) continue;
        check_handle(round, &round->shelves[i]);
        bitnet_job_release(round->shelves[i].job);
    }
    if (!is_pool_first)
        assert_int_equal(bitnet_thread_pool_destroy(round->pool), BITNET_OK);
    bitnet_event_queue_destroy(round->events);
    check_books(round, &stats);
    expect(round, bitnet_ref_release(round->ref) && round->n_destroyed == 1,
           "a reference outlived its last holder");
    free(round->records);
}

static void play_round(uint64_t number)
{
    struct dice dice = dice_of(number, 0);
    struct round round;
    uint64_t numbers[2] = {0, 0};
    make_round(&round, number, &dice);
    assert_int_equal(bitnet_guarded_create(numbers, NULL, &round.guarded), BITNET_OK);
    const bool is_observed = one_in(&dice, 3);
    pthread_t observer;
    if (is_observed)
        assert_int_equal(pthread_create(&observer, NULL, observe, &round), 0);

    struct actor actors[N_ACTORS];
    const unsigned closes_at = roll(&dice, 2 * N_ACTS);
    for (unsigned i = 0; i < N_ACTORS; i++) {
        actors[i] = (struct actor){.round = &round,
                                   .dice = dice_of(number, 1 + i),
                                   .closes_at = i == 0 ? closes_at : N_ACTS};
        assert_int_equal(pthread_create(&actors[i].thread, NULL, be_an_actor,
                                        &actors[i]),
                         0);
    }
    for (unsigned i = 0; i < N_ACTORS; i++) pthread_join(actors[i].thread, NULL);
    for (unsigned i = 0; i < N_FINALES; i++) play_finale(&round, &dice);
    atomic_store(&round.is_over, true);
    if (is_observed) pthread_join(observer, NULL);
    end_round(&round, &dice);
    assert_true(bitnet_guarded_release(round.guarded));
    assert_int_equal(atomic_load(&round.n_wrong), 0);
}

static void every_accepted_job_ends_exactly_once(void **state)
{
    (void)state;
    stress_play(__func__, play_round);
}

int main(int argc, char **argv)
{
    if (!stress_read_arguments(argc, argv)) return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_accepted_job_ends_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
