/* SPDX-License-Identifier: MIT */
/*
 * machine.c - see machine.h.
 */
#include "common/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/report.h"

void bench_sleep_ns(uint64_t duration_ns)
{
    struct timespec left = {
        .tv_sec = (time_t)(duration_ns / 1000000000),
        .tv_nsec = (long)(duration_ns % 1000000000),
    };
    while (nanosleep(&left, &left) != 0) continue;
}

void bench_cpu_name(char *name, size_t max_bytes)
{
    snprintf(name, max_bytes, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) return;
    char line[256];
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *value = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || value == NULL) continue;
        line[strcspn(line, "\n\"\\")] = '\0'; /* so that JSON can have it as it is */
        snprintf(name, max_bytes, "%s", value + 2);
        break;
    }
    fclose(file);
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
    struct rusage children;
    getrusage(RUSAGE_CHILDREN, &children);
    return n_ticks / (double)sysconf(_SC_CLK_TCK) - cpu_s_of(&children) -
           bench_usage_now().cpu_s;
}

/* A line of /proc/self/status. Not ru_maxrss for the peak: that survives exec(), and
 * would tell of the parent. */
static double status_mb(const char *key)
{
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) bench_give_up("cannot read /proc/self/status");
    char line[256];
    double n_kib = 0;
    const size_t n_key = strlen(key);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, n_key) == 0) n_kib = strtod(line + n_key, NULL);
    }
    fclose(file);
    return n_kib * 1024 / 1e6;
}

double bench_peak_memory_mb(void)
{
    return status_mb("VmHWM:");
}

double bench_anonymous_memory_mb(void)
{
    return status_mb("RssAnon:");
}
