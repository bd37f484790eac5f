/* SPDX-License-Identifier: MIT */
/*
 * team_openmp.c - OpenMP, as the compiler brings it: a parallel region in which each
 * thread takes its part. How its threads wait is a matter of the environment.
 */
#include <omp.h>

#include "peer.h"

static void *create(unsigned n_threads)
{
    static char nothing;
    omp_set_dynamic(0);
    omp_set_num_threads((int)n_threads);
    return &nothing;
}

static void run(void *team, void (*fn)(void *arg, size_t i), void *arg, size_t n_parts)
{
    (void)team;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_parts; i++) fn(arg, i);
}

const struct bench_team bench_team_openmp = {.create = create, .run = run};
