/* SPDX-License-Identifier: MIT */
/*
 * measure.c - see measure.h.
 */
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/report.h"

void bench_samples_begin(struct bench_samples *samples, size_t max, unsigned max_ms)
{
    samples->ns = calloc(max, sizeof(*samples->ns));
    if (samples->ns == NULL) bench_give_up("out of memory for %zu samples", max);
    samples->n = 0;
    samples->max = max;
    samples->end_ns = bench_now_ns() + (uint64_t)max_ms * 1000000;
}

int bench_samples_want_more(const struct bench_samples *samples)
{
    if (samples->n == samples->max) return 0;
    return samples->n == 0 || bench_now_ns() < samples->end_ns;
}

static double percentile_us(const struct bench_samples *samples, double share)
{
    return (double)bench_percentile(samples->ns, samples->n, share) / 1000;
}

void bench_samples_report(struct bench_samples *samples)
{
    double total_ns = 0;
    for (size_t i = 0; i < samples->n; i++) total_ns += (double)samples->ns[i];
    bench_report("p50_us", percentile_us(samples, 0.5));
    bench_report("p99_us", percentile_us(samples, 0.99));
    bench_report("p999_us", percentile_us(samples, 0.999));
    bench_report("mean_us", total_ns / (double)samples->n / 1000);
    free(samples->ns);
}

double bench_samples_median_us(struct bench_samples *samples)
{
    const double median_us = percentile_us(samples, 0.5);
    free(samples->ns);
    return median_us;
}

void bench_report(const char *name, double value)
{
    printf("%s %.17g\n", name, value);
}

void bench_report_idleness(unsigned idle_ms)
{
    const struct bench_usage before = bench_usage_now();
    bench_sleep_ns((uint64_t)idle_ms * 1000000);
    const struct bench_usage after = bench_usage_now();
    bench_report("cpu_ms", (after.cpu_s - before.cpu_s) * 1000);
    bench_report("switches_per_s",
                 (after.n_switches - before.n_switches) * 1000 / idle_ms);
}
