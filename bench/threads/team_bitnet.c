/* SPDX-License-Identifier: MIT */
/*
 * team_bitnet.c - our compute team, through the header that the engine uses.
 */
#include <bitnet/status.h>

#include "peer.h"
#include "threads/team.h"

struct parts {
    void (*fn)(void *arg, size_t i);
    void *arg;
};

static void *create(unsigned n_threads)
{
    struct bni_team *team;
    if (bni_team_create(n_threads, &team) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
    return team;
}

static void run_range(void *user, size_t begin, size_t end)
{
    const struct parts *parts = user;
    for (size_t i = begin; i < end; i++) parts->fn(parts->arg, i);
}

static void run(void *team, void (*fn)(void *arg, size_t i), void *arg, size_t n_parts)
{
    struct parts parts = {fn, arg};
    bni_team_run(team, n_parts, 1, run_range, &parts);
}

const struct bench_team bench_team_bitnet = {.create = create, .run = run};
