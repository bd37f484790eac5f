/* SPDX-License-Identifier: MIT */
/*
 * compute.c - whose turn it is on the compute team.
 *
 * Turns are tickets: whoever asks takes the next number and sleeps until it is
 * served, so turns come in the order they were asked for. Sleepers are spread over
 * a few condition variables by their ticket, so that ending a turn wakes one
 * engine, not all of them.
 *
 * The team itself belongs to whoever has the turn: creating, replacing and
 * destroying it, all of which start or join threads, happen without the lock, and
 * nobody else can look at it meanwhile.
 *
 * One of the library's few mutable globals: that there is one team per process,
 * however many engines there are, is its purpose. The lock is a leaf: nothing is
 * called and no other lock is taken under it.
 */
#include "threads/compute.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/topology.h"
#include "threads/compute_control.h"
#include "threads/fork.h"
#include "threads/sync.h"

enum { N_QUEUES = 16 };

#define COND \
    { \
        PTHREAD_COND_INITIALIZER \
    }
static struct bni_mutex lock = {PTHREAD_MUTEX_INITIALIZER};
static struct bni_cond turn_begins[N_QUEUES] = {COND, COND, COND, COND, COND, COND,
                                                COND, COND, COND, COND, COND, COND,
                                                COND, COND, COND, COND};

static uint64_t next_ticket BNI_GUARDED_BY(lock);
static uint64_t now_served
    BNI_GUARDED_BY(lock);                      /* == next_ticket: nobody has the turn */
static unsigned n_wanted BNI_GUARDED_BY(lock); /* 0: not worked out yet */
static bool is_chosen BNI_GUARDED_BY(lock);    /* n_wanted, by the program */

static struct bni_team *shared_team; /* touched only by whoever has the turn */
static _Thread_local bool has_turn;

/* Takes a ticket and returns when it is served, with the number of threads wanted. */
static unsigned begin_turn(void)
{
    bni_mutex_lock(&lock);
    const uint64_t ticket = next_ticket++;
    while (now_served != ticket) bni_cond_wait(&turn_begins[ticket % N_QUEUES], &lock);
    const unsigned n_threads = n_wanted;
    bni_mutex_unlock(&lock);
    has_turn = true;
    return n_threads;
}

static void end_turn(void)
{
    has_turn = false;
    bni_mutex_lock(&lock);
    now_served++;
    /* Broadcast: N_QUEUES tickets further on, another sleeper may wait here too. */
    bni_cond_broadcast(&turn_begins[now_served % N_QUEUES]);
    bni_mutex_unlock(&lock);
}

unsigned bni_compute_threads(void)
{
    bni_mutex_lock(&lock);
    const unsigned n_known = n_wanted;
    bni_mutex_unlock(&lock);
    if (n_known != 0) return n_known;

    /* Reads files, so not under the lock; who is first decides. */
    const unsigned n_found = bni_topology_n_compute();
    const unsigned n_automatic =
        n_found < BNI_TEAM_MAX_THREADS ? n_found : BNI_TEAM_MAX_THREADS;
    bni_mutex_lock(&lock);
    if (n_wanted == 0) n_wanted = n_automatic;
    const unsigned n_threads = n_wanted;
    bni_mutex_unlock(&lock);
    return n_threads;
}

bitnet_status bni_compute_set_threads(unsigned n_threads)
{
    if (n_threads > BNI_TEAM_MAX_THREADS)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot compute with %u threads: at most %d are possible",
                         n_threads, BNI_TEAM_MAX_THREADS);
    bni_mutex_lock(&lock);
    n_wanted = n_threads;
    is_chosen = n_threads != 0;
    bni_mutex_unlock(&lock);
    return BITNET_OK;
}

void bni_compute_refresh(void)
{
    bni_mutex_lock(&lock);
    if (!is_chosen) n_wanted = 0;
    bni_mutex_unlock(&lock);
}

/* Makes the team one of `n_threads`. Its memory is the process's, not counted among what
 * the calling thread takes. */
static bitnet_status provide_team(unsigned n_threads)
{
    if (shared_team != NULL && bni_team_size(shared_team) == n_threads)
        return BITNET_OK;
    const int64_t balance = bni_alloc_thread_balance();
    bni_team_destroy(shared_team);
    shared_team = NULL;
    const bitnet_status status = bni_team_create(n_threads, &shared_team);
    bni_alloc_set_thread_balance(balance);
    return status;
}

bitnet_status bni_compute_acquire(struct bni_team **team)
{
    unsigned n_threads = begin_turn();
    if (n_threads == 0) n_threads = bni_compute_threads();
    const bitnet_status status = provide_team(n_threads);
    if (status == BITNET_OK)
        *team = shared_team;
    else
        end_turn();
    return status;
}

void bni_compute_release(struct bni_team *team)
{
    assert(team == shared_team);
    (void)team;
    end_turn();
}

bool bni_compute_has_turn(void)
{
    return has_turn;
}

void bni_compute_cleanup(void)
{
    bni_mutex_lock(&lock);
    const bool is_free = now_served == next_ticket;
    if (is_free) next_ticket++;
    bni_mutex_unlock(&lock);
    if (!is_free) return;

    bni_team_destroy(shared_team);
    shared_team = NULL;
    end_turn();
}

void bni_compute_before_fork(void) BNI_NO_ANALYSIS
{
    bni_mutex_lock(&lock);
}

/* A child has neither the team's threads nor whoever had or awaited a turn. The team's
 * memory is forgotten: somebody may have been using it. */
void bni_compute_after_fork(bool is_child) BNI_NO_ANALYSIS
{
    if (is_child) {
        has_turn = false;
        shared_team = NULL;
        next_ticket = 0;
        now_served = 0;
        for (size_t i = 0; i < N_QUEUES; i++) turn_begins[i] = (struct bni_cond)COND;
    }
    bni_mutex_unlock(&lock);
}
