/* SPDX-License-Identifier: MIT */
/*
 * measure.h - what the workloads measure with.
 *
 *   latch     opens when it has been counted down; its waiters sleep in the kernel.
 *             The same for every peer, so that a pool's own way of waiting does not
 *             count where the pool is asked for its jobs only
 *   samples   durations, of which the percentiles are reported
 *   report    one number of this process's measurement, for the process that started
 *             it: a line "name value" on stdout
 */
#ifndef BENCH_THREADS_MEASURE_H
#define BENCH_THREADS_MEASURE_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/machine.h"

static inline void bench_spin_ns(uint64_t duration_ns)
{
    const uint64_t begin_ns = bench_now_ns();
    while (bench_now_ns() - begin_ns < duration_ns) continue;
}

struct bench_latch {
    _Alignas(64) atomic_int n_left;
};

static inline void bench_futex_wait(atomic_int *word, int value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static inline void bench_futex_wake(atomic_int *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static inline void bench_latch_set(struct bench_latch *latch, int n)
{
    atomic_store(&latch->n_left, n);
}

static inline void bench_latch_count_down(struct bench_latch *latch)
{
    if (atomic_fetch_sub(&latch->n_left, 1) == 1) bench_futex_wake(&latch->n_left);
}

static inline void bench_latch_wait(struct bench_latch *latch)
{
    int n_left;
    while ((n_left = atomic_load(&latch->n_left)) > 0)
        bench_futex_wait(&latch->n_left, n_left);
}

/* Takes samples until `max` are there or its time is up. */
struct bench_samples {
    uint64_t *ns;
    size_t n;
    size_t max;
    uint64_t end_ns;
};

/* At least one sample is taken, however little time there is. */
void bench_samples_begin(struct bench_samples *samples, size_t max, unsigned max_ms);
int bench_samples_want_more(const struct bench_samples *samples);

static inline void bench_samples_add(struct bench_samples *samples, uint64_t ns)
{
    samples->ns[samples->n++] = ns;
}

/* Reports p50_us, p99_us, p999_us and mean_us, and frees the samples. */
void bench_samples_report(struct bench_samples *samples);

/* Returns the median, in microseconds, and frees the samples. */
double bench_samples_median_us(struct bench_samples *samples);

void bench_report(const char *name, double value);

/* Sleeps so long and reports what the others in this process did meanwhile, as cpu_ms
 * and switches_per_s. The sleep itself is one switch of those. */
void bench_report_idleness(unsigned idle_ms);

#endif
