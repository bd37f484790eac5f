/* SPDX-License-Identifier: MIT */
/*
 * team_words.h - the two words that the threads of a team share without a lock, and
 * every step that is taken on them.
 *
 *     claim   bit 63      the team is stopping
 *             bits 32-47  workers that sleep, or are about to
 *             bits 0-31   units nobody has claimed yet
 *     undone  bit 31      the caller sleeps, or is about to
 *             bits 0-30   units that are not finished
 *
 * A unit goes from `claim` to a thread by compare-and-swap, and off `undone` when it is
 * done; whoever brings that to zero has finished the run.
 *
 * Going to sleep is a change of the same word that would bring the news, so news and
 * sleep cannot cross: a worker adds itself to the sleepers only while there is no unit,
 * and the caller who adds units sees the sleepers in what the addition returns. The
 * same holds for bit 31 of `undone`.
 *
 * All of the library's lock-free algorithm is here, apart from counts and flags that
 * are one atomic operation each (ref.c; `is_idle` in pool_staff.c). A build with
 * BITNET_PERTURB disturbs the threads before every step, and so between any two.
 */
#ifndef BNI_THREADS_TEAM_WORDS_H
#define BNI_THREADS_TEAM_WORDS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "threads/perturb.h"

enum { BNI_TEAM_MAX_UNITS = INT32_MAX, BNI_TEAM_MAX_SLEEPERS = 0xffff };

/* Lines of their own: the first is polled while the second is written. */
struct bni_team_words {
    alignas(64) _Atomic uint64_t claim;
    alignas(64) _Atomic uint32_t undone;
};

#define BNI_TEAM_STOPPING (UINT64_C(1) << 63)
#define BNI_TEAM_ONE_SLEEPER (UINT64_C(1) << 32)
#define BNI_TEAM_CALLER_SLEEPS (UINT32_C(1) << 31)

enum bni_team_news { BNI_TEAM_NOTHING, BNI_TEAM_UNITS, BNI_TEAM_STOPS };

static inline uint32_t bni_team_units_of(uint64_t claim)
{
    return (uint32_t)claim;
}

static inline enum bni_team_news bni_team_news_of(uint64_t claim)
{
    if ((claim & BNI_TEAM_STOPPING) != 0) return BNI_TEAM_STOPS;
    return bni_team_units_of(claim) != 0 ? BNI_TEAM_UNITS : BNI_TEAM_NOTHING;
}

/* The caller's: makes `n_units` known to all; returns how many workers sleep. What they
 * are about was written before. */
static inline uint32_t bni_team_publish(struct bni_team_words *words, uint32_t n_units)
{
    bni_perturb();
    /* Relaxed: published by the addition below. */
    atomic_store_explicit(&words->undone, n_units, memory_order_relaxed);
    bni_perturb();
    /* Release: publishes the run and `undone` to whoever claims from it. */
    const uint64_t before =
        atomic_fetch_add_explicit(&words->claim, n_units, memory_order_release);
    return (uint32_t)(before >> 32) & BNI_TEAM_MAX_SLEEPERS;
}

/* Takes units, one `share`-th of those nobody has claimed, or one; returns how many,
 * and how many there were before; 0: none are left. */
static inline uint32_t bni_team_claim(struct bni_team_words *words, uint32_t share,
                                      uint32_t *n_left)
{
    bni_perturb();
    /* Relaxed: only a guess, which the swap below confirms. */
    uint64_t claim = atomic_load_explicit(&words->claim, memory_order_relaxed);
    for (;;) {
        const uint32_t left = bni_team_units_of(claim);
        if (left == 0) return 0;
        const uint32_t taken = left / share == 0 ? 1 : left / share;
        bni_perturb();
        /* Acquire on success: reads from the addition that published the run, or
         * from a swap after it in the same release sequence, so the run's fields
         * are visible. Relaxed on failure: a guess again. */
        if (atomic_compare_exchange_weak_explicit(&words->claim, &claim, claim - taken,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
            *n_left = left;
            return taken;
        }
    }
}

/* A worker's: takes `n_done` units off those that are not finished. True if they were
 * the last and the caller sleeps. After this the run may be gone. */
static inline bool bni_team_finish(struct bni_team_words *words, uint32_t n_done)
{
    bni_perturb();
    /* Release: what was computed is visible to the caller that sees zero, whichever
     * thread brings it about, since all of them are in one release sequence. */
    const uint32_t before =
        atomic_fetch_sub_explicit(&words->undone, n_done, memory_order_release);
    return before - n_done == BNI_TEAM_CALLER_SLEEPS;
}

/* The caller's own, who is awake; true if they were the last. */
static inline bool bni_team_finish_own(struct bni_team_words *words, uint32_t n_done)
{
    bni_perturb();
    /* Acquire and release: this may be the last one, or not. */
    return atomic_fetch_sub_explicit(&words->undone, n_done, memory_order_acq_rel) ==
           n_done;
}

/* Whether all units are finished, and what was computed is visible. */
static inline bool bni_team_is_finished(struct bni_team_words *words)
{
    bni_perturb();
    /* Acquire: pairs with the releases in bni_team_finish(). */
    return (atomic_load_explicit(&words->undone, memory_order_acquire) &
            ~BNI_TEAM_CALLER_SLEEPS) == 0;
}

/* The caller's, before it sleeps: from now on the last to finish wakes it. Returns
 * whether it need not sleep, as bni_team_is_finished(). */
static inline bool bni_team_ask_to_be_woken(struct bni_team_words *words)
{
    bni_perturb();
    /* Acquire: this may be what reads the last unit's end. */
    return (atomic_fetch_or_explicit(&words->undone, BNI_TEAM_CALLER_SLEEPS,
                                     memory_order_acquire) &
            ~BNI_TEAM_CALLER_SLEEPS) == 0;
}

/* What there is for a worker to do. */
static inline enum bni_team_news bni_team_look(struct bni_team_words *words)
{
    bni_perturb();
    /* Relaxed: bni_team_claim() acquires; stopping carries no data. */
    return bni_team_news_of(atomic_load_explicit(&words->claim, memory_order_relaxed));
}

/* A worker's, before it sleeps: adds itself to the sleepers; false if there is news. */
static inline bool bni_team_begin_sleep(struct bni_team_words *words)
{
    bni_perturb();
    /* Relaxed throughout: sleeping and waking pass no data. */
    uint64_t claim = atomic_load_explicit(&words->claim, memory_order_relaxed);
    while (bni_team_news_of(claim) == BNI_TEAM_NOTHING) {
        bni_perturb();
        if (atomic_compare_exchange_weak_explicit(&words->claim, &claim,
                                                  claim + BNI_TEAM_ONE_SLEEPER,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

static inline void bni_team_end_sleep(struct bni_team_words *words)
{
    bni_perturb();
    atomic_fetch_sub_explicit(&words->claim, BNI_TEAM_ONE_SLEEPER,
                              memory_order_relaxed);
}

static inline void bni_team_stop(struct bni_team_words *words)
{
    bni_perturb();
    /* Relaxed: carries no data; the lock that is taken next orders it before the
     * sleepers' wait. */
    atomic_fetch_or_explicit(&words->claim, BNI_TEAM_STOPPING, memory_order_relaxed);
}

#endif
