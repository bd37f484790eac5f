/* SPDX-License-Identifier: MIT */
/*
 * peer.h - what the benchmark of the threads knows about who takes part in it.
 *
 * A peer is a library with a job queue, with a fork-join team, or with both; ours is
 * one of them. An adapter (pool_*.c, team_*.c) fills one of the two tables below, and
 * peers.c lists them all. The workloads reach peers through these tables only, so
 * each of them pays the same indirect call.
 *
 * A function that cannot do what it should ends the process with bench_give_up():
 * every measurement has a process of its own.
 */
#ifndef BENCH_THREADS_PEER_H
#define BENCH_THREADS_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/report.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Room for waiting jobs in the queues that are bounded. */
enum { BENCH_QUEUE_SIZE = 1000 };

struct bench_job {
    void (*fn)(void *arg);
    void *arg;
};

struct bench_queue {
    void *(*create)(unsigned n_threads);
    /* Waits for room where the queue is bounded. The job outlives its run. */
    void (*submit)(void *pool, struct bench_job *job);
    /* Returns when all jobs have ended. NULL: there is no such call. */
    void (*wait)(void *pool);
    /* What each thread that submitted must call when its jobs have ended, or NULL. */
    void (*collect)(void *pool);
    /* Runs what is queued and joins. NULL: the pool is the process's own. */
    void (*destroy)(void *pool);
    /* The bytes that the library announces it will not exceed, or NULL. */
    double (*memory_bound)(unsigned n_threads);
};

struct bench_team {
    void *(*create)(unsigned n_threads); /* the caller of run is one of them */
    /* Calls fn(arg, i) for each i < n_parts and returns when all have returned. */
    void (*run)(void *team, void (*fn)(void *arg, size_t i), void *arg, size_t n_parts);
};

struct bench_peer {
    const char *name;
    bool is_ours;
    bool is_bounded;         /* its queue */
    const char *environment; /* NAME=value to start its process with, or NULL */
    const struct bench_queue *queue;
    const struct bench_team *team;
};

/* Ours is the first. */
extern const struct bench_peer bench_peers[];
extern const size_t bench_n_peers;

extern const struct bench_queue bench_queue_bitnet, bench_queue_ring,
    bench_queue_channel, bench_queue_libuv, bench_queue_glib_shared,
    bench_queue_glib_exclusive, bench_queue_tbb;
extern const struct bench_team bench_team_bitnet, bench_team_openmp, bench_team_tbb;

#ifdef __cplusplus
}
#endif

#endif
