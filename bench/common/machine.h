/* SPDX-License-Identifier: MIT */
/*
 * machine.h - for benchmarks: the clock, and what the machine and this process are and
 * do meanwhile.
 */
#ifndef BENCH_COMMON_MACHINE_H
#define BENCH_COMMON_MACHINE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void bench_sleep_ns(uint64_t duration_ns);

/* Copies the CPU's name; "unknown" where the system does not say. */
void bench_cpu_name(char *name, size_t max_bytes);

/* This process's processor time and context switches so far. */
struct bench_usage {
    double cpu_s;
    double n_switches;
};

struct bench_usage bench_usage_now(void);

/* The processor time so far of all that runs on this machine, but for this process and
 * its children that have ended; 0 where the system does not say. */
double bench_foreign_cpu_s(void);

/* Memory of this process in MB (10^6 bytes): the most it has ever held, and what it
 * holds now that is not part of a file. */
double bench_peak_memory_mb(void);
double bench_anonymous_memory_mb(void);

#endif
