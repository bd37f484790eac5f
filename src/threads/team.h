/* SPDX-License-Identifier: MIT */
/*
 * team.h - the compute team: fork-join over ranges, caller included.
 *
 * A team of n threads is n-1 threads of its own and whoever calls
 * bni_team_run(). A run hands out [0, n_items) in pieces whose borders are
 * multiples of `grain`; which thread gets which piece is open, so what a piece
 * computes must not depend on it. The join spins for at most 50 µs and then
 * sleeps; an idle team costs nothing.
 *
 * The team never runs user code and never blocks but in its own join.
 */
#ifndef BNI_THREADS_TEAM_H
#define BNI_THREADS_TEAM_H

#include <stddef.h>

#include <bitnet/status.h>

struct bni_team;

enum { BNI_TEAM_MAX_THREADS = 256 };

/* Computes items [begin, end). Must not block, and must not call bni_team_run(). */
typedef void (*bni_range_fn)(void *user, size_t begin, size_t end);

/*
 * Creates a team of `n_threads` in 1..BNI_TEAM_MAX_THREADS, the caller of run
 * counted. If the k-th thread cannot be had, the others are stopped and joined.
 */
bitnet_status bni_team_create(unsigned n_threads, struct bni_team **out);

/* No run may be under way. NULL does nothing. */
void bni_team_destroy(struct bni_team *team);

unsigned bni_team_size(const struct bni_team *team);

/*
 * Calls `fn` over [0, n_items) and returns when all of it is done. One run at a
 * time per team: see bni_compute_acquire() in compute.h for taking turns. With a
 * team of one, or no more than one piece of work, `fn` is called once, on the
 * caller, with the whole range. `grain` >= 1.
 */
void bni_team_run(struct bni_team *team, size_t n_items, size_t grain, bni_range_fn fn,
                  void *user);

#endif
