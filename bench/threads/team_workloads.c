/* SPDX-License-Identifier: MIT */
/*
 * team_workloads.c - what fork and join are measured with.
 *
 * A run has one part per thread. The empty parts add one to a cache line of their own,
 * which shows the fork and the join alone; a team may let one thread do several of
 * them. Parts of 10 µs show whether the threads do share the work: what is reported
 * there is the time beyond those 10 µs.
 */
#include <stdint.h>

#include "measure.h"
#include "peer.h"
#include "workload.h"

enum { MAX_PARTS = 4, PART_NS = 10000, MS = 1000000 };

struct cell {
    _Alignas(64) uint64_t n_visits;
};

static struct cell cells[MAX_PARTS];

static void touch(void *arg, size_t i)
{
    struct cell *own = arg;
    own[i].n_visits++;
}

static void take_time(void *arg, size_t i)
{
    touch(arg, i);
    bench_spin_ns(PART_NS);
}

typedef void (*part_fn)(void *arg, size_t i);

static void *make_warm_team(const struct bench_team *team, unsigned n_threads,
                            const struct bench_effort *effort)
{
    void *threads = team->create(n_threads);
    for (int i = 0; i < effort->n_warm_ups; i++)
        team->run(threads, touch, cells, n_threads);
    return threads;
}

/* Each part must have been visited once in every run, or the times mean nothing. */
static void check_visits(unsigned n_parts, uint64_t n_runs)
{
    for (unsigned i = 0; i < n_parts; i++) {
        if (cells[i].n_visits != n_runs)
            bench_give_up("part %u ran %llu times in %llu runs", i,
                          (unsigned long long)cells[i].n_visits,
                          (unsigned long long)n_runs);
    }
}

static void measure_fork_join(const struct bench_team *team, unsigned n_threads,
                              part_fn part, uint64_t work_ns, uint64_t idle_ns,
                              size_t n_runs, const struct bench_effort *effort)
{
    void *threads = make_warm_team(team, n_threads, effort);
    struct bench_samples samples;
    bench_samples_begin(&samples, n_runs, effort->max_ms);
    while (bench_samples_want_more(&samples)) {
        if (idle_ns > 0) bench_sleep_ns(idle_ns);
        const uint64_t begin_ns = bench_now_ns();
        team->run(threads, part, cells, n_threads);
        bench_samples_add(&samples, bench_now_ns() - begin_ns - work_ns);
    }
    check_visits(n_threads, (uint64_t)effort->n_warm_ups + samples.n);
    bench_samples_report(&samples);
}

void bench_fork_join_2(const struct bench_team *team, const struct bench_effort *effort)
{
    measure_fork_join(team, 2, touch, 0, 0, effort->n_round_trips, effort);
}

void bench_fork_join_2_idle(const struct bench_team *team,
                            const struct bench_effort *effort)
{
    measure_fork_join(team, 2, touch, 0, MS, effort->n_sleepy_trips, effort);
}

void bench_fork_join_4(const struct bench_team *team, const struct bench_effort *effort)
{
    measure_fork_join(team, 4, touch, 0, 0, effort->n_round_trips, effort);
}

void bench_fork_join_2_work(const struct bench_team *team,
                            const struct bench_effort *effort)
{
    measure_fork_join(team, 2, take_time, PART_NS, 0, effort->n_round_trips, effort);
}

void bench_team_idle(const struct bench_team *team, const struct bench_effort *effort)
{
    make_warm_team(team, BENCH_N_WORKERS, effort);
    bench_report_idleness(effort->idle_ms);
}
