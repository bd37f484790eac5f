/* SPDX-License-Identifier: MIT */
/*
 * The process-wide parts of the threading layer, at random: the compute team, whose
 * runs must give what one thread would give, whoever takes turns on it and however
 * its size changes; and the thread manager, whose pool must lose no accepted job,
 * whoever starts, resizes or ends it meanwhile.
 *
 *     test_team_stress [seed [seconds]]
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <bitnet.h>

#include "support/jobs.h"
#include "support/stress.h"
#include "threads/compute.h"
#include "threads/compute_control.h"

enum { N_ACTORS = 4, N_TURNS = 8, MAX_RUNS = 12, MAX_ITEMS = 600, N_ACTS = 60 };

struct actor {
    pthread_t thread;
    uint64_t round;
    struct dice dice;
    unsigned n_wrong;
    unsigned n_accepted;
    _Atomic unsigned n_ran;
    _Atomic unsigned n_dropped;
};

static void expect(struct actor *actor, bool holds, const char *what)
{
    if (holds) return;
    actor->n_wrong++;
    stress_complain(actor->round, what);
}

/* Lets all actors do the same at once, and returns when they are done. */
static void let_them(struct actor actors[N_ACTORS], uint64_t round, void *act(void *))
{
    for (unsigned i = 0; i < N_ACTORS; i++) {
        actors[i] = (struct actor){.round = round, .dice = dice_of(round, 1 + i)};
        assert_int_equal(pthread_create(&actors[i].thread, NULL, act, &actors[i]), 0);
    }
    for (unsigned i = 0; i < N_ACTORS; i++) pthread_join(actors[i].thread, NULL);
    for (unsigned i = 0; i < N_ACTORS; i++) assert_int_equal(actors[i].n_wrong, 0);
}

/* The team. */

struct sums {
    uint64_t salt;
    uint64_t items[MAX_ITEMS]; /* plain on purpose: each is one thread's at a time */
};

/* Adds, so that an item that is computed twice shows. */
static void add_hashes(void *user, size_t begin, size_t end)
{
    struct sums *sums = user;
    for (size_t i = begin; i < end; i++)
        sums->items[i] += bni_random_mix(sums->salt + i);
}

static void run_once(struct actor *actor, struct bni_team *team)
{
    static _Thread_local struct sums parallel;
    static _Thread_local struct sums serial;
    struct dice *dice = &actor->dice;
    const size_t n_items = roll(dice, one_in(dice, 2) ? 20 : MAX_ITEMS);
    parallel.salt = serial.salt = dice->n;
    memset(parallel.items, 0, sizeof(parallel.items));
    memset(serial.items, 0, sizeof(serial.items));
    add_hashes(&serial, 0, n_items);
    bni_team_run(team, n_items, 1 + roll(dice, one_in(dice, 2) ? 2 : 40), add_hashes,
                 &parallel);
    expect(actor, memcmp(serial.items, parallel.items, sizeof(serial.items)) == 0,
           "a run of the team gave something else than one thread");
    if (!one_in(dice, 8)) return;
    /* Long enough for the team to fall asleep. */
    const struct timespec moment = {.tv_nsec = 1000 * (long)roll(dice, 200)};
    nanosleep(&moment, NULL);
}

static void *take_turns(void *arg)
{
    static const unsigned sizes[] = {1, 2, 3, 8, 64};
    struct actor *actor = arg;
    struct dice *dice = &actor->dice;
    for (unsigned i = 0; i < N_TURNS; i++) {
        if (one_in(dice, 6))
            bni_compute_set_threads(sizes[roll(dice, sizeof(sizes) / sizeof(*sizes))]);
        if (one_in(dice, 10)) bni_compute_cleanup();
        struct bni_team *team = NULL;
        const bitnet_status status = bni_compute_acquire(&team);
        expect(actor, status == BITNET_OK, "no turn on the team");
        if (status != BITNET_OK) return NULL;
        for (unsigned n = roll(dice, MAX_RUNS); n > 0; n--) run_once(actor, team);
        bni_compute_release(team);
    }
    return NULL;
}

static void play_team_round(uint64_t round)
{
    struct actor actors[N_ACTORS];
    let_them(actors, round, take_turns);
    bni_compute_cleanup();
}

static void the_team_computes_what_one_thread_would(void **state)
{
    (void)state;
    stress_play(__func__, play_team_round);
}

/* The manager. */

static bitnet_status ran(void *arg)
{
    return count_job(&((struct actor *)arg)->n_ran);
}

static void dropped(void *arg)
{
    count_drop(&((struct actor *)arg)->n_dropped);
}

static void execute(struct actor *actor)
{
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full =
        (bitnet_submit_policy)roll(&actor->dice, BITNET_SUBMIT_DROP_OLDEST + 1);
    options.drop = dropped;
    bitnet_job *job = NULL;
    const bool has_handle = one_in(&actor->dice, 3);
    const bitnet_status status =
        bitnet_thread_manager_execute_with(ran, actor, &options,
                                           has_handle ? &job : NULL);
    actor->n_accepted += status == BITNET_OK;
    expect(actor,
           status == BITNET_OK || status == BITNET_ERROR_SHUT_DOWN ||
               (status == BITNET_ERROR_QUEUE_FULL &&
                options.when_full == BITNET_SUBMIT_REFUSE),
           "executing a job failed");
    if (status == BITNET_OK && has_handle && one_in(&actor->dice, 2))
        bitnet_job_wait(job);
    bitnet_job_release(job);
}

static void manage(struct actor *actor)
{
    struct dice *dice = &actor->dice;
    bitnet_status status = BITNET_OK;
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    switch (roll(dice, 40)) {
    case 0: status = bitnet_thread_manager_cleanup(); break;
    case 1: status = bitnet_thread_manager_wait_for_completion(); break;
    case 2: status = bitnet_thread_manager_set_num_threads(1 + roll(dice, 8)); break;
    case 3: status = bitnet_thread_manager_refresh(NULL); break;
    case 4:
    case 5:
    case 6: status = bitnet_thread_manager_initialize(); break;
    case 7:
        status = bitnet_thread_manager_get_stats(&stats);
        expect(actor, accounting_holds(&stats), "accepted != queued + running + ended");
        break;
    default: execute(actor);
    }
    expect(actor, status == BITNET_OK || status == BITNET_ERROR_SHUT_DOWN,
           "managing failed");
}

static void *be_a_manager(void *arg)
{
    struct actor *actor = arg;
    for (unsigned i = 0; i < N_ACTS; i++) manage(actor);
    return NULL;
}

static void play_manager_round(uint64_t round)
{
    struct actor actors[N_ACTORS];
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 2;
    options.max_queue_size = 4;
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    let_them(actors, round, be_a_manager);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    for (unsigned i = 0; i < N_ACTORS; i++)
        assert_int_equal(actors[i].n_accepted, actors[i].n_ran + actors[i].n_dropped);
}

static void the_manager_loses_no_accepted_job(void **state)
{
    (void)state;
    stress_play(__func__, play_manager_round);
}

int main(int argc, char **argv)
{
    if (!stress_read_arguments(argc, argv)) return 2;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_team_computes_what_one_thread_would),
        cmocka_unit_test(the_manager_loses_no_accepted_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
