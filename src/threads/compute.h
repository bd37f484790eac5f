/* SPDX-License-Identifier: MIT */
/*
 * compute.h - taking turns on the process's one compute team.
 *
 * However many engines exist, one set of compute threads does the arithmetic.
 * The thread manager owns the team, creates it at the first acquire, and
 * replaces it between turns when the number of compute threads is changed.
 * Turns are given in the order they were asked for.
 */
#ifndef BNI_THREADS_COMPUTE_H
#define BNI_THREADS_COMPUTE_H

#include <stdbool.h>

#include "threads/team.h"

/*
 * Waits for this thread's turn, which must not have one, and gives it the team. Fails
 * only if the team has to be created and cannot be.
 */
bitnet_status bni_compute_acquire(struct bni_team **team);

/* Ends the turn. */
void bni_compute_release(struct bni_team *team);

/* Whether this thread has the turn: so has a program's code that is called within a
 * step, for a log message or a trace. */
bool bni_compute_has_turn(void);

/*
 * Marks the calling thread as one that must never wait for users (a scheduler or
 * a compute thread): blocking calls refuse on it, by bni_context_check().
 */
void bni_context_forbid_blocking(const char *thread_role);

/* Returns THREAD_SAFETY on such a thread, naming role and `what`; else BITNET_OK. */
bitnet_status bni_context_check(const char *what);

/* The same, and for an object of that generation (fork.h) made before this process was
 * forked: what every call refuses that may wait for the object. */
bitnet_status bni_context_check_wait(unsigned generation, const char *what);

#endif
