/* SPDX-License-Identifier: MIT */
/*
 * workloads.c - the table of what is measured; see workload.h.
 */
#include "workload.h"

#include <string.h>

/* What each kind of workload reports. */
static const struct bench_metric latencies[] = {
    {"p50_us", "p50 us", 1, 2},
    {"p99_us", "p99 us", 1, 1},
    {"p999_us", "p99.9 us", 1, 1},
    {"mean_us", "mean us", 1, 2},
    {0},
};
static const struct bench_metric latencies_by_mean[] = {
    {"mean_us", "mean us", 1, 2},
    {"p50_us", "p50 us", 1, 2},
    {"p99_us", "p99 us", 1, 1},
    {"p999_us", "p99.9 us", 1, 1},
    {0},
};
static const struct bench_metric shutdown_times[] = {
    {"p50_us", "p50 us", 1, 1},
    {"p99_us", "p99 us", 1, 1},
    {"mean_us", "mean us", 1, 1},
    {0},
};
static const struct bench_metric throughput[] = {
    {"jobs_per_s", "thousand/s", 1e-3, 0},
    {"cpu_ns_per_job", "CPU ns/job", 1, 0},
    {"switches_per_1000_jobs", "switches/1000", 1, 1},
    {0},
};
static const struct bench_metric idleness[] = {
    {"cpu_ms", "CPU ms", 1, 2},
    {"switches_per_s", "switches/s", 1, 1},
    {0},
};
static const struct bench_metric memory[] = {
    {"growth_mb", "growth MB", 1, 2},
    {"bound_mb", "announced MB", 1, 2},
    {0},
};
static const struct bench_metric floors[] = {
    {"mutex_ns", "mutex lock and unlock, ns", 1, 1},
    {"fetch_add_ns", "atomic fetch_add, ns", 1, 1},
    {"clock_ns", "reading the clock, ns", 1, 1},
    {"cache_line_ns", "cache line there and back, ns", 1, 0},
    {"futex_wake_us", "futex wake on another CPU, us", 1, 2},
    {"futex_wake_idle_us", "the same after 1 ms idle, us", 1, 2},
    {"eventfd_epoll_us", "eventfd to epoll, us", 1, 2},
    {"thread_us", "thread create and join, us", 1, 1},
    {0},
};
_Static_assert(sizeof(floors) / sizeof(floors[0]) - 1 <= BENCH_MAX_METRICS,
               "a cell has no room for all of the machine's steps");

/* What is hoped for. */
static const struct bench_target throughput_targets[] = {
    {BENCH_TARGET_TIMES_BEST_BOUNDED, "jobs_per_s", 1.5,
     "1.5 times the best bounded peer"},
    {0},
};
static const struct bench_target round_trip_targets[] = {
    {BENCH_TARGET_AT_MOST, "p50_us", 6, "p50 of 6 us"},
    {BENCH_TARGET_AT_MOST, "p999_us", 100, "p99.9 of 100 us"},
    {0},
};
static const struct bench_target round_trip_idle_targets[] = {
    {BENCH_TARGET_AT_MOST, "p50_us", 11, "p50 of 11 us"},
    {BENCH_TARGET_AT_MOST, "p999_us", 100, "p99.9 of 100 us"},
    {0},
};
static const struct bench_target wait_targets[] = {
    {BENCH_TARGET_AT_MOST, "p50_us", 8, "p50 of 8 us"},
    {0},
};
static const struct bench_target memory_targets[] = {
    {BENCH_TARGET_WITHIN_BOUND, "growth_mb", 0, "the announced bound"},
    {0},
};
static const struct bench_target idle_targets[] = {
    {BENCH_TARGET_AT_MOST, "cpu_ms", 1, "no CPU (less than 1 ms)"},
    {BENCH_TARGET_AT_MOST, "switches_per_s", 1, "one wake-up per second"},
    {0},
};
static const struct bench_target fork_join_2_targets[] = {
    {BENCH_TARGET_AT_MOST, "p50_us", 0.7, "p50 of 0.7 us"},
    {0},
};
static const struct bench_target fork_join_2_idle_targets[] = {
    {BENCH_TARGET_AT_MOST, "p50_us", 7, "p50 of 7 us"},
    {0},
};
static const struct bench_target fork_join_4_targets[] = {
    {BENCH_TARGET_AT_MOST, "mean_us", 2, "mean of 2 us"},
    {0},
};

const struct bench_workload bench_workloads[] = {
    {
        .id = "floors",
        .title = "What this machine charges",
        .measure_machine = bench_floors,
        .metrics = floors,
    },
    {
        .id = "throughput_1",
        .title = "Empty jobs, 1 producer (each job counts a latch down)",
        .measure_queue = bench_throughput_1,
        .is_higher_better = true,
        .metrics = throughput,
        .targets = throughput_targets,
    },
    {
        .id = "throughput_4",
        .title = "Empty jobs, 4 producers",
        .measure_queue = bench_throughput_4,
        .is_higher_better = true,
        .metrics = throughput,
        .targets = throughput_targets,
    },
    {
        .id = "round_trip",
        .title = "Round trip of one job, back to back",
        .measure_queue = bench_round_trip,
        .metrics = latencies,
        .targets = round_trip_targets,
    },
    {
        .id = "round_trip_idle",
        .title = "Round trip of one job after 1 ms of sleep",
        .measure_queue = bench_round_trip_idle,
        .metrics = latencies,
        .targets = round_trip_idle_targets,
    },
    {
        .id = "wait_for_all",
        .title = "From the last job's end until the wait for all has returned",
        .measure_queue = bench_wait_for_all,
        .needs_wait = true,
        .metrics = latencies,
        .targets = wait_targets,
    },
    {
        .id = "memory",
        .title = "Growth of memory under a fast producer",
        .measure_queue = bench_memory,
        .metrics = memory,
        .targets = memory_targets,
    },
    {
        .id = "shutdown_empty",
        .title = "Shutdown with an empty queue",
        .measure_queue = bench_shutdown_empty,
        .needs_destroy = true,
        .metrics = shutdown_times,
    },
    {
        .id = "shutdown_full",
        .title = "Shutdown with 1000 jobs of 1 us in the queue, which run",
        .measure_queue = bench_shutdown_full,
        .needs_destroy = true,
        .metrics = shutdown_times,
    },
    {
        .id = "queue_idle",
        .title = "Job queue at rest for 5 s, after some jobs",
        .measure_queue = bench_queue_idle,
        .is_concurrent = true,
        .metrics = idleness,
        .targets = idle_targets,
    },
    {
        .id = "fork_join_2",
        .title = "Fork and join of 2 empty parts, 2 threads, back to back",
        .measure_team = bench_fork_join_2,
        .metrics = latencies,
        .targets = fork_join_2_targets,
    },
    {
        .id = "fork_join_2_idle",
        .title = "Fork and join of 2 empty parts, 2 threads, after 1 ms of sleep",
        .measure_team = bench_fork_join_2_idle,
        .metrics = latencies,
        .targets = fork_join_2_idle_targets,
    },
    {
        .id = "fork_join_2_work",
        .title = "Fork and join of 2 parts of 10 us: time beyond the 10 us",
        .measure_team = bench_fork_join_2_work,
        .metrics = latencies,
    },
    {
        .id = "fork_join_4",
        .title = "Fork and join of 4 empty parts, 4 threads",
        .measure_team = bench_fork_join_4,
        .metrics = latencies_by_mean,
        .targets = fork_join_4_targets,
    },
    {
        .id = "team_idle",
        .title = "Team at rest for 5 s, after some runs",
        .measure_team = bench_team_idle,
        .is_concurrent = true,
        .metrics = idleness,
        .targets = idle_targets,
    },
};

const size_t bench_n_workloads = sizeof(bench_workloads) / sizeof(bench_workloads[0]);

const struct bench_effort bench_effort_full = {
    .n_jobs = 300000,
    .n_warm_ups = 200,
    .n_round_trips = 20000,
    .n_sleepy_trips = 1000,
    .n_waits = 1000,
    .n_shutdowns = 30,
    .n_floor_steps = 1000000,
    .idle_ms = 5000,
    .max_ms = 1500,
};

const struct bench_effort bench_effort_quick = {
    .n_jobs = 4000,
    .n_warm_ups = 20,
    .n_round_trips = 200,
    .n_sleepy_trips = 10,
    .n_waits = 5,
    .n_shutdowns = 2,
    .n_floor_steps = 10000,
    .idle_ms = 50,
    .max_ms = 100,
};

const struct bench_workload *bench_workload_find(const char *id)
{
    for (size_t w = 0; w < bench_n_workloads; w++) {
        if (strcmp(bench_workloads[w].id, id) == 0) return &bench_workloads[w];
    }
    return NULL;
}

bool bench_workload_suits(const struct bench_workload *workload,
                          const struct bench_peer *peer)
{
    if (peer == NULL) return workload->measure_machine != NULL;
    if (workload->measure_team != NULL) return peer->team != NULL;
    if (workload->measure_queue == NULL || peer->queue == NULL) return false;
    if (workload->needs_wait && peer->queue->wait == NULL) return false;
    return !workload->needs_destroy || peer->queue->destroy != NULL;
}
