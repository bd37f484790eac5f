/* SPDX-License-Identifier: MIT */
/*
 * bench_team.c - what a fork and a join cost, as a table.
 *
 *     bench_team [max_threads] [runs]
 *
 * "empty" is a run of one tiny unit per thread, back to back: the cost of the fork
 * and the join alone. "work" spreads about 20 µs of arithmetic over the team. The
 * numbers are the median and the 99th of a hundred runs' durations.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <bitnet/clock.h>
#include <bitnet/status.h>

#include "base/topology.h"
#include "threads/team.h"

enum { N_ITEMS = 2048, ROUNDS_PER_ITEM = 16 };

static uint32_t sums[N_ITEMS];

static void touch(void *user, size_t begin, size_t end)
{
    (void)user;
    for (size_t i = begin; i < end; i++) sums[i]++;
}

static void work(void *user, size_t begin, size_t end)
{
    (void)user;
    for (size_t i = begin; i < end; i++) {
        uint32_t sum = sums[i];
        for (unsigned r = 0; r < ROUNDS_PER_ITEM; r++)
            sum = sum * 1664525u + 1013904223u;
        sums[i] = sum;
    }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void measure(struct bni_team *team, const char *what, size_t n_items,
                    size_t grain, bni_range_fn fn, uint64_t *durations_ns,
                    size_t n_runs)
{
    for (size_t i = 0; i < 100; i++) bni_team_run(team, n_items, grain, fn, NULL);
    const uint64_t begin_ns = bitnet_clock_ns();
    for (size_t i = 0; i < n_runs; i++) {
        const uint64_t before_ns = bitnet_clock_ns();
        bni_team_run(team, n_items, grain, fn, NULL);
        durations_ns[i] = bitnet_clock_ns() - before_ns;
    }
    const uint64_t total_ns = bitnet_clock_ns() - begin_ns;
    qsort(durations_ns, n_runs, sizeof(*durations_ns), by_value);
    printf("%7u  %-6s %10.3f %10.3f %10.3f\n", bni_team_size(team), what,
           (double)durations_ns[n_runs / 2] / 1000,
           (double)durations_ns[n_runs - 1 - n_runs / 100] / 1000,
           (double)total_ns / (double)n_runs / 1000);
}

int main(int argc, char **argv)
{
    const unsigned max_threads = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    const size_t n_runs = argc > 2 ? (size_t)atol(argv[2]) : 20000;
    uint64_t *durations_ns = calloc(n_runs, sizeof(*durations_ns));
    if (durations_ns == NULL || n_runs == 0) return 1;

    printf("%u CPUs; microseconds per run\n", bni_topology_n_cpus());
    printf("threads  what       median        p99       mean\n");
    for (unsigned n = 1; n <= max_threads; n *= 2) {
        struct bni_team *team;
        if (bni_team_create(n, &team) != BITNET_OK) {
            fprintf(stderr, "bench_team: %s\n", bitnet_last_error());
            free(durations_ns);
            return 1;
        }
        measure(team, "empty", n, 1, touch, durations_ns, n_runs);
        measure(team, "work", N_ITEMS, 8, work, durations_ns, n_runs);
        bni_team_destroy(team);
    }
    free(durations_ns);
    return 0;
}
