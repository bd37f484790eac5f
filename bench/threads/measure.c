/* SPDX-License-Identifier: MIT */
/*
 * measure.c - see measure.h.
 */
#include "measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "peer.h"

void bench_give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench_threads: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

void bench_sleep_ns(uint64_t duration_ns)
{
    struct timespec left = {
        .tv_sec = (time_t)(duration_ns / 1000000000),
        .tv_nsec = (long)(duration_ns % 1000000000),
    };
    while (nanosleep(&left, &left) != 0) continue;
}

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

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(const struct bench_samples *samples, double share)
{
    const size_t i = (size_t)(share * (double)(samples->n - 1) + 0.5);
    return (double)samples->ns[i] / 1000;
}

void bench_samples_report(struct bench_samples *samples)
{
    double total_ns = 0;
    for (size_t i = 0; i < samples->n; i++) total_ns += (double)samples->ns[i];
    qsort(samples->ns, samples->n, sizeof(*samples->ns), by_value);
    bench_report("p50_us", percentile_us(samples, 0.5));
    bench_report("p99_us", percentile_us(samples, 0.99));
    bench_report("p999_us", percentile_us(samples, 0.999));
    bench_report("mean_us", total_ns / (double)samples->n / 1000);
    free(samples->ns);
}

double bench_samples_median_us(struct bench_samples *samples)
{
    qsort(samples->ns, samples->n, sizeof(*samples->ns), by_value);
    const double median_us = percentile_us(samples, 0.5);
    free(samples->ns);
    return median_us;
}

void bench_report(const char *name, double value)
{
    printf("%s %.17g\n", name, value);
}

static double cpu_s_of(const struct rusage *usage)
{
    return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
           (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

struct bench_usage bench_usage_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (struct bench_usage){
        .cpu_s = cpu_s_of(&usage),
        .n_switches = (double)(usage.ru_nvcsw + usage.ru_nivcsw),
    };
}

double bench_foreign_cpu_s(void)
{
    /* user, nice, system, idle, waiting, two kinds of interrupts, stolen */
    enum { N_KINDS = 8, IDLE = 3, WAITING = 4 };
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL) return 0;
    char line[256];
    double n_ticks = 0;
    if (fgets(line, sizeof(line), file) != NULL && strncmp(line, "cpu ", 4) == 0) {
        char *rest = line + 4;
        for (int kind = 0; kind < N_KINDS; kind++) {
            const double n = strtod(rest, &rest);
            if (kind != IDLE && kind != WAITING) n_ticks += n;
        }
    }
    fclose(file);
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return n_ticks / (double)sysconf(_SC_CLK_TCK) - cpu_s_of(&usage);
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

/* Not ru_maxrss: that survives exec(), and would tell of the parent. */
double bench_peak_memory_mb(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) bench_give_up("cannot read /proc/self/status");
    char line[256];
    double n_kib = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) n_kib = strtod(line + 6, NULL);
    }
    fclose(file);
    return n_kib * 1024 / 1e6;
}
