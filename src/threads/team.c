/* SPDX-License-Identifier: MIT */
/*
 * team.c - fork-join with one word to claim from and one word to finish by.
 *
 * A run is cut into units of `grain` items. All that the threads share are the two
 * words of team_words.h. The caller writes the run and publishes its units by adding
 * them to the first. Every thread then claims units, large pieces first and single
 * units last, so a slow core delays the join by one unit. When it finds none left it
 * takes what it has done off the second word, once, and whoever brings that to zero
 * wakes the caller if it sleeps.
 *
 * A late worker cannot touch a finished run: it reads the run's fields only after
 * it has claimed units of it, and a run with claimed units is not finished. (That
 * is also why the count of claims needs no generation: a swap that succeeds has
 * taken units that exist now.) And a worker that never wakes in time costs nothing:
 * the caller takes all units itself and does not wait for it.
 *
 * News and sleep cannot cross, see team_words.h. The lock protects nothing but the two
 * condition variables; it is held from the announcement of sleep to the wait, so a
 * signal sent under it cannot come too early.
 *
 * Tried first: a barrier that all workers must reach in every run. With more
 * threads than CPUs each join then costs a time slice.
 */
#include "threads/team.h"

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "base/topology.h"
#include "threads/compute.h"
#include "threads/spin.h"
#include "threads/sync.h"
#include "threads/team_words.h"
#include "threads/thread.h"

enum { CACHE_LINE_BYTES = 64 };

/* How long to stay awake for the next run, or for the end of this one: longer than
 * the serial work between two operations of a forward pass, shorter than what a
 * time slice is worth. */
enum { SPIN_NS = 50000 };

/* A claim takes this fraction of its thread's fair share of what is left. */
enum { CLAIMS_PER_SHARE = 2 };

_Static_assert((int)BNI_TEAM_MAX_THREADS <= (int)BNI_TEAM_MAX_SLEEPERS,
               "every worker may be a sleeper");

/* Written by the caller while no unit is claimed; read by who has claimed some. */
struct run {
    bni_range_fn fn;
    void *user;
    size_t n_items;
    size_t unit_items;
    uint32_t n_units;
};

struct bni_team {
    /* Fixed after creation. */
    unsigned n_threads; /* the caller of run included */
    uint64_t spin_ns;
    struct bni_thread *workers; /* n_threads - 1 */

    /* The announcements of sleepers are made under it; see above. */
    struct bni_mutex lock;
    struct bni_cond work_published;
    struct bni_cond run_finished;

    struct bni_team_words words;
    alignas(CACHE_LINE_BYTES) struct run run;
};

/* Claims and computes until nothing is left to claim; returns the units done. */
static uint32_t do_what_is_left(struct bni_team *team)
{
    const uint32_t share = CLAIMS_PER_SHARE * team->n_threads;
    uint32_t n_done = 0;
    uint32_t n_left;
    for (uint32_t n; (n = bni_team_claim(&team->words, share, &n_left)) != 0;
         n_done += n) {
        const struct run *run = &team->run;
        const size_t first_unit = run->n_units - n_left;
        const size_t begin = first_unit * run->unit_items;
        const size_t end =
            n == n_left ? run->n_items : begin + (size_t)n * run->unit_items;
        run->fn(run->user, begin, end);
    }
    return n_done;
}

/* Takes `n_done` units off those that are not finished. After this the run may be
 * gone: the caller returns as soon as it sees zero. */
static void finish_units(struct bni_team *team, uint32_t n_done)
{
    if (n_done == 0 || !bni_team_finish(&team->words, n_done)) return;
    bni_mutex_lock(&team->lock);
    bni_cond_signal(&team->run_finished);
    bni_mutex_unlock(&team->lock);
}

/* Sleeps until the next run is published, or the team stops, or for no reason. */
static void sleep_until_published(struct bni_team *team)
{
    bni_mutex_lock(&team->lock);
    if (bni_team_begin_sleep(&team->words)) {
        bni_cond_wait(&team->work_published, &team->lock);
        bni_team_end_sleep(&team->words);
    }
    bni_mutex_unlock(&team->lock);
}

/* Returns true when there may be units to claim, false when the team stops. */
static bool wait_for_a_run(struct bni_team *team)
{
    for (;;) {
        struct bni_spin spin = bni_spin_begin(team->spin_ns);
        do {
            const enum bni_team_news news = bni_team_look(&team->words);
            if (news != BNI_TEAM_NOTHING) return news == BNI_TEAM_UNITS;
        } while (bni_spin_again(&spin));
        sleep_until_published(team);
        /* Whatever woke us, runs come in a row: stay awake for the next one. */
    }
}

static void worker_main(void *arg)
{
    struct bni_team *team = arg;
    bni_context_forbid_blocking("compute thread");
    while (wait_for_a_run(team)) finish_units(team, do_what_is_left(team));
}

/* Wakes as many sleepers as there are units the caller does not take at once. */
static void wake_sleepers(struct bni_team *team, uint32_t n_sleepers, uint32_t n_units)
{
    const uint32_t n_useful = n_units - 1;
    bni_mutex_lock(&team->lock);
    if (n_useful >= n_sleepers) {
        bni_cond_broadcast(&team->work_published);
    } else {
        for (uint32_t i = 0; i < n_useful; i++) bni_cond_signal(&team->work_published);
    }
    bni_mutex_unlock(&team->lock);
}

static void wait_until_finished(struct bni_team *team)
{
    struct bni_spin spin = bni_spin_begin(team->spin_ns);
    do {
        if (bni_team_is_finished(&team->words)) return;
    } while (bni_spin_again(&spin));

    bni_mutex_lock(&team->lock);
    bool is_finished = bni_team_ask_to_be_woken(&team->words);
    while (!is_finished) {
        bni_cond_wait(&team->run_finished, &team->lock);
        is_finished = bni_team_is_finished(&team->words);
    }
    bni_mutex_unlock(&team->lock);
}

void bni_team_run(struct bni_team *team, size_t n_items, size_t grain, bni_range_fn fn,
                  void *user)
{
    assert(grain >= 1);
    if (n_items == 0) return;
    if (team->n_threads == 1 || n_items <= grain) {
        fn(user, 0, n_items);
        return;
    }

    /* More units than the word can count are taken several at a time. */
    const size_t n_grains = bni_size_div_up(n_items, grain);
    const size_t unit_items = grain * bni_size_div_up(n_grains, BNI_TEAM_MAX_UNITS);
    const uint32_t n_units = (uint32_t)bni_size_div_up(n_items, unit_items);

    assert(bni_team_is_finished(&team->words));
    team->run = (struct run){fn, user, n_items, unit_items, n_units};
    const uint32_t n_sleepers = bni_team_publish(&team->words, n_units);
    if (n_sleepers != 0) wake_sleepers(team, n_sleepers, n_units);

    const uint32_t n_done = do_what_is_left(team);
    if (n_done != 0 && bni_team_finish_own(&team->words, n_done)) return;
    wait_until_finished(team);
}

unsigned bni_team_size(const struct bni_team *team)
{
    return team->n_threads;
}

/* Stops and joins the first `n_workers` workers. */
static void stop_workers(struct bni_team *team, unsigned n_workers)
{
    bni_team_stop(&team->words);
    bni_mutex_lock(&team->lock);
    bni_cond_broadcast(&team->work_published);
    bni_mutex_unlock(&team->lock);
    for (unsigned i = 0; i < n_workers; i++) bni_thread_join(&team->workers[i]);
}

bitnet_status bni_team_create(unsigned n_threads, struct bni_team **out)
{
    if (n_threads < 1 || n_threads > BNI_TEAM_MAX_THREADS)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot create a compute team of %u threads: between 1 and %d "
                         "are possible",
                         n_threads, BNI_TEAM_MAX_THREADS);

    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    struct bni_team *team = bni_calloc(1, sizeof(*team));
    if (team == NULL) goto fail;
    team->n_threads = n_threads;
    /* With fewer CPUs than threads, who spins keeps from working who is waited for. */
    team->spin_ns = n_threads <= bni_topology_n_cpus() ? SPIN_NS : 0;
    team->workers = bni_calloc(n_threads, sizeof(*team->workers));
    if (team->workers == NULL) goto fail_team;

    status = bni_mutex_init(&team->lock);
    if (status != BITNET_OK) goto fail_workers;
    status = bni_cond_init(&team->work_published);
    if (status != BITNET_OK) goto fail_lock;
    status = bni_cond_init(&team->run_finished);
    if (status != BITNET_OK) goto fail_work_published;

    for (unsigned i = 0; i + 1 < n_threads; i++) {
        char name[BNI_THREAD_NAME_BYTES];
        bni_thread_name(name, "bitnet-comp", i + 1);
        status = bni_thread_start(&team->workers[i], name, 0, worker_main, team);
        if (status != BITNET_OK) {
            bni_error_prefix("cannot create a compute team of %u threads", n_threads);
            stop_workers(team, i);
            goto fail_run_finished;
        }
    }
    *out = team;
    return BITNET_OK;

fail_run_finished:
    bni_cond_destroy(&team->run_finished);
fail_work_published:
    bni_cond_destroy(&team->work_published);
fail_lock:
    bni_mutex_destroy(&team->lock);
fail_workers:
    bni_free(team->workers);
fail_team:
    bni_free(team);
fail:
    return status;
}

void bni_team_destroy(struct bni_team *team)
{
    if (team == NULL) return;
    stop_workers(team, team->n_threads - 1);
    bni_cond_destroy(&team->run_finished);
    bni_cond_destroy(&team->work_published);
    bni_mutex_destroy(&team->lock);
    bni_free(team->workers);
    bni_free(team);
}
