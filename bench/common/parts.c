/* SPDX-License-Identifier: MIT */
/*
 * parts.c - see parts.h.
 */
#include "common/parts.h"

#include <bitnet/status.h>

#include "common/machine.h"
#include "common/report.h"

struct job {
    bench_part_fn work;
    void *user;
};

struct bni_team *bench_team(unsigned n_threads)
{
    struct bni_team *team;
    if (bni_team_create(n_threads, &team) != BITNET_OK)
        bench_give_up("%s", bitnet_last_error());
    return team;
}

static void do_parts(void *user, size_t begin, size_t end)
{
    const struct job *job = user;
    for (size_t part = begin; part < end; part++) job->work(job->user, part);
}

double bench_time_s(struct bni_team *team, bench_part_fn work, void *user)
{
    struct job job = {work, user};
    const uint64_t begin_ns = bench_now_ns();
    bni_team_run(team, bni_team_size(team), 1, do_parts, &job);
    return (double)(bench_now_ns() - begin_ns) / 1e9;
}

double bench_best_time_s(struct bni_team *team, bench_part_fn work, void *user,
                         uint64_t budget_ns)
{
    const uint64_t begin_ns = bench_now_ns();
    double best_s = bench_time_s(team, work, user);
    do {
        const double s = bench_time_s(team, work, user);
        if (s < best_s) best_s = s;
    } while (bench_now_ns() - begin_ns < budget_ns);
    return best_s;
}
