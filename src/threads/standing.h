/* SPDX-License-Identifier: MIT */
/*
 * standing.h - a job that runs again and again, whenever it is asked to.
 *
 * For whoever must get something done on a pool and may neither wait nor be refused:
 * an engine's scheduler that has a token to deliver. The place in the line for the
 * pool's queue is made beforehand and belongs to the standing job, so asking for a run
 * allocates nothing, never waits, and works however full the queue is; and since there
 * is one place, at most one run is in the pool at a time.
 *
 *      asked       room in the queue        fn() returns
 *     IDLE ---> WAITING ---> queue ---> RUNNING ---> IDLE, or WAITING if there is more,
 *                                                    or over
 *
 * From open to its end a standing job counts as something of the pool's that has not
 * ended: a graceful shutdown waits for it, so it has to end by itself. An immediate
 * one drops it, on the thread that shuts down, like a queued job. Each run is a job of
 * its own in the statistics.
 */
#ifndef BNI_THREADS_STANDING_H
#define BNI_THREADS_STANDING_H

#include <bitnet/thread_pool.h>

struct bni_standing;

enum bni_standing_next {
    BNI_STANDING_IDLE,  /* until it is asked again, maybe meanwhile */
    BNI_STANDING_AGAIN, /* after what else is queued */
    BNI_STANDING_OVER,
};

/* All are called without locks, with the same argument. */
struct bni_standing_calls {
    enum bni_standing_next (*run)(void *arg); /* on a worker; never two at once */
    void (*drop)(void *arg);  /* instead of any further run: see above */
    void (*close)(void *arg); /* last of all, once, after OVER or drop() */
};

/* Makes one that is not open yet. A job that ends its thread is run again. */
bitnet_status bni_standing_create(bitnet_thread_pool *pool,
                                  const struct bni_standing_calls *calls, void *arg,
                                  struct bni_standing **out);

/* For one that is not open; NULL does nothing. In close() it is not any more. */
void bni_standing_destroy(struct bni_standing *standing);

/* SHUT_DOWN if the pool takes no jobs; THREAD_SAFETY in a process forked from its. */
bitnet_status bni_standing_check(bitnet_thread_pool *pool);
bitnet_status bni_standing_open(struct bni_standing *standing);

/* Asks for a run, which begins after this call does. For one that is open. May be
 * called with the lock of an engine or a request held. */
void bni_standing_ask(struct bni_standing *standing);

#endif
