/* SPDX-License-Identifier: MIT */
/*
 * process_figures.h - for tests: what this process has, as the system counts it. Linux.
 */
#ifndef TESTS_SUPPORT_PROCESS_FIGURES_H
#define TESTS_SUPPORT_PROCESS_FIGURES_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes of memory that are the process's own: in RAM, and in swap. */
static inline uint64_t process_private_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t total_kb = 0;
    if (file == NULL) return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long kb;
        if (sscanf(line, "RssAnon: %llu", &kb) == 1 ||
            sscanf(line, "VmSwap: %llu", &kb) == 1)
            total_kb += kb;
    }
    fclose(file);
    return total_kb * 1024;
}

static inline unsigned count_entries(const char *path)
{
    DIR *directory = opendir(path);
    unsigned n = 0;
    if (directory == NULL) return 0;
    while (readdir(directory) != NULL) n++;
    closedir(directory);
    return n;
}

/* The one that looks is among them, both times. */
static inline unsigned process_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static inline unsigned process_threads(void)
{
    return count_entries("/proc/self/task");
}

#endif
