/* SPDX-License-Identifier: MIT */
/*
 * results.c - see results.h.
 */
#include "results.h"

#include "common/report.h"

struct bench_rate bench_rate_of(const struct bench_limits *limits, size_t team,
                                const struct bench_result *result)
{
    const struct bench_work *work = &result->work;
    const double s = result->s[team];
    const double n = work->n_integer + work->n_float;
    const double n_bytes = work->memory_bytes + work->cache_bytes;
    struct bench_rate rate = {
        .g_per_s = n / s / 1e9,
        .gb_s = n_bytes / s / 1e9,
        .intensity = n / n_bytes,
    };
    const struct bench_limits beside =
        bench_limits_beside(limits, team, &result->beside[team]);
    rate.share = bench_least_s(&beside, team, work, &rate.limit) / s;
    return rate;
}

struct bench_result *bench_list_add(struct bench_list *list, const char *name,
                                    const char *item, const char *unit)
{
    if (list->n == BENCH_MAX_RESULTS)
        bench_give_up("%d results are not enough", BENCH_MAX_RESULTS);
    struct bench_result *result = &list->results[list->n++];
    *result = (struct bench_result){.name = name, .item = item, .unit = unit};
    return result;
}
