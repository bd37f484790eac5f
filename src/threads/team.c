/* SPDX-License-Identifier: MIT */
/*
 * team.c - fork-join with one word to claim from and one word to finish by.
 *
 * A run is cut into units of `grain` items. All that the threads share is
 *
 *     claim   bit 63      the team is stopping
 *             bits 32-47  workers that sleep, or are about to
 *             bits 0-31   units nobody has claimed yet
 *     undone  bit 31      the caller sleeps, or is about to
 *             bits 0-30   units that are not finished
 *
 * The caller writes the run, sets `undone`, and adds the units to `claim`: that
 * publishes it. Every thread then takes units off `claim` by compare-and-swap,
 * large pieces first and single units last, so a slow core delays the join by one
 * unit. When it finds none left it takes what it has done off `undone`, once, and
 * whoever brings that to zero wakes the caller if it sleeps.
 *
 * A late worker cannot touch a finished run: it reads the run's fields only after
 * it has claimed units of it, and a run with claimed units is not finished. (That
 * is also why the count of claims needs no generation: a swap that succeeds has
 * taken units that exist now.) And a worker that never wakes in time costs nothing:
 * the caller takes all units itself and does not wait for it.
 *
 * Going to sleep is a change of the same word that would bring the news, so news
 * and sleep cannot cross: a worker adds itself to the sleepers only while there is
 * no unit, and the caller who adds units sees the sleepers in what the addition
 * returns. The same holds for bit 31 of `undone`. The lock protects nothing but
 * the two condition variables; it is held from the announcement to the wait, so a
 * signal sent under it cannot come too early.
 *
 * Tried first: a barrier that all workers must reach in every run. With more
 * threads than CPUs each join then costs a time slice.
 */
#include "threads/team.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "base/topology.h"
#include "threads/compute.h"
#include "threads/spin.h"
#include "threads/sync.h"
#include "threads/thread.h"

enum { CACHE_LINE_BYTES = 64 };

/* How long to stay awake for the next run, or for the end of this one: longer than
 * the serial work between two operations of a forward pass, shorter than what a
 * time slice is worth. */
enum { SPIN_NS = 50000 };

/* A claim takes this fraction of its thread's fair share of what is left. */
enum { CLAIMS_PER_SHARE = 2 };

#define STOPPING (UINT64_C(1) << 63)
#define ONE_SLEEPER (UINT64_C(1) << 32)
#define SLEEPERS_MASK (UINT64_C(0xffff) << 32)
#define CALLER_SLEEPS (UINT32_C(1) << 31)

enum { MAX_UNITS = INT32_MAX };

_Static_assert(BNI_TEAM_MAX_THREADS <= 0xffff, "every worker may be a sleeper");

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

    /* Lines of their own: the first is polled while the second is written. */
    alignas(CACHE_LINE_BYTES) _Atomic uint64_t claim;
    alignas(CACHE_LINE_BYTES) struct run run;
    alignas(CACHE_LINE_BYTES) _Atomic uint32_t undone;
};

static uint32_t units_of(uint64_t claim)
{
    return (uint32_t)claim;
}

static bool is_news(uint64_t claim)
{
    return units_of(claim) != 0 || (claim & STOPPING) != 0;
}

/* Takes units of the run off the word; returns how many, and what was left before. */
static uint32_t claim_units(struct bni_team *team, uint32_t *n_left)
{
    /* Relaxed: only a guess, which the swap below confirms. */
    uint64_t claim = atomic_load_explicit(&team->claim, memory_order_relaxed);
    for (;;) {
        const uint32_t left = units_of(claim);
        if (left == 0) return 0;
        const uint32_t share = left / (CLAIMS_PER_SHARE * team->n_threads);
        const uint32_t taken = share == 0 ? 1 : share;
        /* Acquire on success: reads from the addition that published the run, or
         * from a swap after it in the same release sequence, so the run's fields
         * are visible. Relaxed on failure: a guess again. */
        if (atomic_compare_exchange_weak_explicit(&team->claim, &claim, claim - taken,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
            *n_left = left;
            return taken;
        }
    }
}

/* Claims and computes until nothing is left to claim; returns the units done. */
static uint32_t do_what_is_left(struct bni_team *team)
{
    uint32_t n_done = 0;
    uint32_t n_left;
    for (uint32_t n; (n = claim_units(team, &n_left)) != 0; n_done += n) {
        const struct run *run = &team->run;
        const size_t first_unit = run->n_units - n_left;
        const size_t begin = first_unit * run->unit_items;
        const size_t end =
            n == n_left ? run->n_items : begin + (size_t)n * run->unit_items;
        run->fn(run->user, begin, end);
    }
    return n_done;
}

/*
 * Takes `n_done` units off those that are not finished. After this the run may be
 * gone: the caller returns as soon as it sees zero.
 */
static void finish_units(struct bni_team *team, uint32_t n_done)
{
    if (n_done == 0) return;
    /* Release: what was computed is visible to the caller that sees zero, whichever
     * thread brings it about, since all of them are in one release sequence. */
    const uint32_t before =
        atomic_fetch_sub_explicit(&team->undone, n_done, memory_order_release);
    if (before - n_done != CALLER_SLEEPS) return;
    bni_mutex_lock(&team->lock);
    bni_cond_signal(&team->run_finished);
    bni_mutex_unlock(&team->lock);
}

/* Sleeps until the next run is published, or the team stops, or for no reason. */
static void sleep_until_published(struct bni_team *team)
{
    bni_mutex_lock(&team->lock);
    /* Relaxed throughout: sleeping and waking pass no data; claim_units() acquires. */
    uint64_t claim = atomic_load_explicit(&team->claim, memory_order_relaxed);
    while (!is_news(claim)) {
        if (!atomic_compare_exchange_weak_explicit(&team->claim, &claim,
                                                   claim + ONE_SLEEPER,
                                                   memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        bni_cond_wait(&team->work_published, &team->lock);
        atomic_fetch_sub_explicit(&team->claim, ONE_SLEEPER, memory_order_relaxed);
        break;
    }
    bni_mutex_unlock(&team->lock);
}

/* Returns true when there may be units to claim, false when the team stops. */
static bool wait_for_a_run(struct bni_team *team)
{
    for (;;) {
        struct bni_spin spin = bni_spin_begin(team->spin_ns);
        do {
            /* Relaxed: claim_units() acquires; stopping carries no data. */
            const uint64_t claim =
                atomic_load_explicit(&team->claim, memory_order_relaxed);
            if (is_news(claim)) return (claim & STOPPING) == 0;
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
        /* Acquire: pairs with the releases in finish_units(). */
        if (atomic_load_explicit(&team->undone, memory_order_acquire) == 0) return;
    } while (bni_spin_again(&spin));

    bni_mutex_lock(&team->lock);
    /* Acquire, here and below: this may be what reads the last unit's end. */
    uint32_t undone =
        atomic_fetch_or_explicit(&team->undone, CALLER_SLEEPS, memory_order_acquire);
    while ((undone & ~CALLER_SLEEPS) != 0) {
        bni_cond_wait(&team->run_finished, &team->lock);
        undone = atomic_load_explicit(&team->undone, memory_order_acquire);
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
    const size_t unit_items = grain * bni_size_div_up(n_grains, MAX_UNITS);
    const uint32_t n_units = (uint32_t)bni_size_div_up(n_items, unit_items);

    assert(atomic_load_explicit(&team->undone, memory_order_relaxed) % CALLER_SLEEPS ==
           0);
    team->run = (struct run){fn, user, n_items, unit_items, n_units};
    /* Relaxed: published by the addition below. */
    atomic_store_explicit(&team->undone, n_units, memory_order_relaxed);
    /* Release: publishes the run and `undone` to whoever claims from it. */
    const uint64_t before =
        atomic_fetch_add_explicit(&team->claim, n_units, memory_order_release);
    const uint32_t n_sleepers = (uint32_t)((before & SLEEPERS_MASK) >> 32);
    if (n_sleepers != 0) wake_sleepers(team, n_sleepers, n_units);

    const uint32_t n_done = do_what_is_left(team);
    /* Acquire and release: this may be the last one, or not. */
    if (n_done != 0 && atomic_fetch_sub_explicit(&team->undone, n_done,
                                                 memory_order_acq_rel) == n_done)
        return;
    wait_until_finished(team);
}

unsigned bni_team_size(const struct bni_team *team)
{
    return team->n_threads;
}

/* Stops and joins the first `n_workers` workers. */
static void stop_workers(struct bni_team *team, unsigned n_workers)
{
    /* Relaxed: carries no data; the lock below orders it before the sleepers' wait. */
    atomic_fetch_or_explicit(&team->claim, STOPPING, memory_order_relaxed);
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
