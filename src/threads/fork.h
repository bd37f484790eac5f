/* SPDX-License-Identifier: MIT */
/*
 * fork.h - which objects belong to this process, and which to one it was forked from.
 *
 * fork() copies every object into the child, but of the threads only the one that
 * called it. A lock that another thread held stays locked there for ever, a worker
 * never comes. So whatever has threads or locks remembers the generation it was made
 * in: a number that is one more in the child than it was in the parent. Each public
 * call compares it first, and refuses what is older; destroying and releasing work,
 * and neither wait nor join.
 *
 * What is the process's and not an object's - the thread manager's lock, say - is put
 * right during the fork: see fork.c.
 *
 * A copy that is made behind fork()'s back, by _Fork() or clone(), is not noticed.
 */
#ifndef BNI_THREADS_FORK_H
#define BNI_THREADS_FORK_H

#include <stdbool.h>

#include <bitnet/status.h>

/*
 * Sees to it that forks are noticed from here on: called before anything is made that
 * has a generation, a thread, or a lock. OUT_OF_MEMORY if the system has no room to
 * remember it; a later call tries again.
 */
bitnet_status bni_fork_watch(void);

unsigned bni_fork_generation(void);

/* Whether something of that generation was made before this process was forked. */
bool bni_fork_is_older(unsigned generation);

/* Returns THREAD_SAFETY for such, naming `what` was to be done; else BITNET_OK. */
bitnet_status bni_fork_check(unsigned generation, const char *what);

/*
 * The modules with something process-wide take part by these. The first of a pair is
 * called in the thread that forks, before it does: it takes the module's lock, so that
 * what it guards is whole at the moment of the copy. The second is called after it, in
 * both processes: it puts right what a child cannot go on with, and unlocks. The
 * manager, whose lock is not for a fork to wait for, is told in the child only.
 */
void bni_manager_in_child(void);
void bni_compute_before_fork(void);
void bni_compute_after_fork(bool is_child);
void bni_wait_graph_before_fork(void);
void bni_wait_graph_after_fork(bool is_child);
void bni_graveyard_before_fork(void);
void bni_graveyard_after_fork(void);

#endif
