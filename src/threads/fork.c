/* SPDX-License-Identifier: MIT */
/*
 * fork.c - being there when the process forks.
 *
 * The system calls `before` in the forking thread, and `in_parent` and `in_child`
 * when it is done. Between them that thread holds the library's process-wide locks.
 * These are leaves: nobody who has one takes another lock, nor memory, nor starts a
 * thread, all of which could have to wait for the fork in turn. Locks of single objects
 * are not taken: there may be many, and what they guard does not get usable in the
 * child by being whole, as the threads are missing.
 *
 * Registering takes no lock, since one could be left held in a child. Two threads may
 * therefore both register, and the system then calls each function twice; a depth,
 * the forking thread's own, makes the inner call do nothing.
 */
#include "threads/fork.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/log.h"

/* Mutable globals: how often this process was forked is nobody else's to know. */
static atomic_uint generation_now; /* only ever changed by a process's only thread */
static atomic_bool is_watching;
static _Thread_local unsigned depth;

static void before(void)
{
    if (depth++ > 0) return;
    bni_compute_before_fork();
    bni_wait_graph_before_fork();
    bni_graveyard_before_fork();
    bni_log_before_fork();
}

static void after(bool is_child)
{
    if (--depth > 0) return;
    bni_log_after_fork();
    bni_graveyard_after_fork();
    bni_wait_graph_after_fork(is_child);
    bni_compute_after_fork(is_child);
    if (is_child) bni_manager_in_child();
}

static void in_parent(void)
{
    after(false);
}

static void in_child(void)
{
    /* Relaxed: there is one thread, and those to come are created after this. */
    if (depth == 1) atomic_fetch_add_explicit(&generation_now, 1, memory_order_relaxed);
    after(true);
}

bitnet_status bni_fork_watch(void)
{
    /* Relaxed: it carries no data, and to register once too often does no harm. */
    if (atomic_load_explicit(&is_watching, memory_order_relaxed)) return BITNET_OK;
    if (bni_fault_is_due() || pthread_atfork(before, in_parent, in_child) != 0)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY,
                         "cannot ask the system to tell when the process forks: it has "
                         "no memory for that");
    atomic_store_explicit(&is_watching, true, memory_order_relaxed);
    return BITNET_OK;
}

unsigned bni_fork_generation(void)
{
    return atomic_load_explicit(&generation_now, memory_order_relaxed);
}

bool bni_fork_is_older(unsigned generation)
{
    return generation != bni_fork_generation();
}

bitnet_status bni_fork_check(unsigned generation, const char *what)
{
    if (!bni_fork_is_older(generation)) return BITNET_OK;
    return bni_error(BITNET_ERROR_THREAD_SAFETY,
                     "%s: refused, as it belongs to the parent process: this process "
                     "was forked from it without its threads. Destroy or release it "
                     "here, and create a new one",
                     what);
}
