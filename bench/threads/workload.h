/* SPDX-License-Identifier: MIT */
/*
 * workload.h - what is measured, and what is hoped for.
 *
 * workloads.c has the table: each workload has a function that measures one peer in a
 * process of its own, the numbers it reports, and the targets set for ours. What the
 * functions do is in queue_workloads.c, team_workloads.c and floors.c.
 */
#ifndef BENCH_THREADS_WORKLOAD_H
#define BENCH_THREADS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "peer.h"

enum { BENCH_MAX_METRICS = 8, BENCH_N_WORKERS = 2 };

/* How much of it. */
struct bench_effort {
    int n_jobs;            /* of the throughput, and of the fast producer */
    int n_warm_ups;        /* jobs or runs before anything is measured */
    size_t n_round_trips;  /* back to back, also of fork and join */
    size_t n_sleepy_trips; /* with 1 ms of sleep before each */
    size_t n_waits;        /* for all jobs */
    size_t n_shutdowns;
    int n_floor_steps;
    unsigned idle_ms;
    unsigned max_ms; /* for each loop that takes samples */
};

struct bench_metric {
    const char *name;    /* as reported, and in the JSON */
    const char *heading; /* for people, with the unit */
    double scale;        /* from the one to the other */
    int n_decimals;
};

enum bench_target_kind {
    BENCH_TARGET_NONE,
    BENCH_TARGET_AT_MOST,            /* ours <= value */
    BENCH_TARGET_TIMES_BEST_BOUNDED, /* ours >= value x the best bounded peer's */
    BENCH_TARGET_WITHIN_BOUND        /* ours <= our metric "bound_mb" */
};

struct bench_target {
    enum bench_target_kind kind;
    const char *metric;
    double value;
    const char *words;
};

struct bench_workload {
    const char *id;
    const char *title;
    /* One of the three. */
    void (*measure_queue)(const struct bench_queue *queue,
                          const struct bench_effort *effort);
    void (*measure_team)(const struct bench_team *team,
                         const struct bench_effort *effort);
    void (*measure_machine)(const struct bench_effort *effort);
    bool is_higher_better; /* the first metric, by which peers are compared */
    bool is_concurrent;    /* all peers at the same time: they only sleep */
    bool needs_wait;       /* of the queue */
    bool needs_destroy;
    const struct bench_metric *metrics; /* the last has no name */
    const struct bench_target *targets; /* NULL, or the last is BENCH_TARGET_NONE */
};

extern const struct bench_workload bench_workloads[];
extern const size_t bench_n_workloads;
extern const struct bench_effort bench_effort_full, bench_effort_quick;

/* NULL if there is none of that id. */
const struct bench_workload *bench_workload_find(const char *id);

/* Whether `peer` can be measured so; the machine itself is `peer` NULL. */
bool bench_workload_suits(const struct bench_workload *workload,
                          const struct bench_peer *peer);

void bench_throughput_1(const struct bench_queue *, const struct bench_effort *);
void bench_throughput_4(const struct bench_queue *, const struct bench_effort *);
void bench_round_trip(const struct bench_queue *, const struct bench_effort *);
void bench_round_trip_idle(const struct bench_queue *, const struct bench_effort *);
void bench_wait_for_all(const struct bench_queue *, const struct bench_effort *);
void bench_queue_idle(const struct bench_queue *, const struct bench_effort *);
void bench_memory(const struct bench_queue *, const struct bench_effort *);
void bench_shutdown_empty(const struct bench_queue *, const struct bench_effort *);
void bench_shutdown_full(const struct bench_queue *, const struct bench_effort *);

void bench_fork_join_2(const struct bench_team *, const struct bench_effort *);
void bench_fork_join_2_idle(const struct bench_team *, const struct bench_effort *);
void bench_fork_join_4(const struct bench_team *, const struct bench_effort *);
void bench_fork_join_2_work(const struct bench_team *, const struct bench_effort *);
void bench_team_idle(const struct bench_team *, const struct bench_effort *);

void bench_floors(const struct bench_effort *);

#endif
