/* SPDX-License-Identifier: MIT */
/*
 * wait_graph.h - who waits for whom, so that a wait that cannot end is refused.
 *
 * Each pool worker says what it waits for just before it sleeps. If by then nobody
 * is left who could bring that about, it is told so instead. Threads that are not
 * pool workers need no place here: no job can wait for one of them.
 */
#ifndef BNI_THREADS_WAIT_GRAPH_H
#define BNI_THREADS_WAIT_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include <bitnet/status.h>

struct bni_wait_pool;

/* The place of a job with a handle; a job on neither side can end by itself. */
struct bni_wait_job {
    struct bni_wait_pool *queued_in; /* or NULL */
    struct bni_wait_worker *runner;  /* the worker that runs it, or NULL */
    bool ends_by_itself; /* if it is queued for too long; fixed once it is placed */
};

enum bni_wait_kind {
    BNI_WAIT_FOR_JOB,  /* for one job to end */
    BNI_WAIT_FOR_ROOM, /* in a pool's queue */
    BNI_WAIT_FOR_JOBS, /* of a pool to end, that were accepted before a time */
};

struct bni_wait_target {
    enum bni_wait_kind kind;
    const struct bni_wait_job *job;   /* of the first kind */
    const struct bni_wait_pool *pool; /* of the others */
    uint64_t end_sequence;            /* of the third: of the jobs before it */
};

/* A job or drop function that a thread is in, whoever's pool the thread is of. */
struct bni_wait_inside {
    const struct bni_wait_pool *pool;
    uint64_t sequence;
    const struct bni_wait_inside *outer; /* what it is called from, or NULL */
};

struct bni_wait_worker {
    const char *name;                     /* of the thread; fixed */
    struct bni_wait_worker *next_in_pool; /* fixed once added */
    bool is_present;                      /* has a thread */
    bool is_waiting;
    bool is_stuck; /* only during a check */
    struct bni_wait_target target;
    const struct bni_wait_inside *inside; /* while it waits: on its stack */
    struct bni_wait_worker *next_waiting;
};

struct bni_wait_pool {
    const char *name;
    struct bni_wait_worker *workers;
    bool is_shut;          /* takes no jobs: waits for room end by themselves */
    uint64_t first_queued; /* the oldest one's sequence; while jobs are waited for */
};

/* The sequence of the oldest where nothing is queued. */
#define BNI_WAIT_NONE_QUEUED UINT64_MAX

/* Adds a worker that is not present yet. It stays until the pool forgets them all. */
void bni_wait_graph_add(struct bni_wait_pool *pool, struct bni_wait_worker *worker);
void bni_wait_graph_forget_workers(struct bni_wait_pool *pool);

/* Says that the pool takes no more jobs. */
void bni_wait_graph_shut(struct bni_wait_pool *pool);

/* Says which of the queued jobs is the oldest. Due whenever that changes while somebody
 * waits for the pool's jobs. */
void bni_wait_graph_set_first(struct bni_wait_pool *pool, uint64_t first_queued);

void bni_wait_graph_set_present(struct bni_wait_worker *worker, bool is_present);

/* Moves a job to a place. */
void bni_wait_graph_place(struct bni_wait_job *job, struct bni_wait_pool *queued_in,
                          struct bni_wait_worker *runner);

/*
 * Says that `worker`, the calling thread, is about to sleep for `target`, and what it
 * is `inside` of, which stays as it is until then. Returns
 * THREAD_SAFETY with the chain in words if that sleep could never end; otherwise
 * bni_wait_graph_end() follows, called by whoever fulfils the wait, lest somebody
 * else be refused because of it before its thread has woken up, or by the thread
 * itself. A NULL worker is fine, and does nothing.
 */
bitnet_status bni_wait_graph_begin(struct bni_wait_worker *worker,
                                   const struct bni_wait_inside *inside,
                                   struct bni_wait_target target);
void bni_wait_graph_end(struct bni_wait_worker *worker);

#endif
