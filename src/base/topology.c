/* SPDX-License-Identifier: MIT */
/*
 * topology.c - affinity mask, cgroup quota, physical cores: see topology.h.
 *
 * Where a group's files are takes two tables of /proc/self:
 *
 *     cgroup      0::/user.slice/job                     version 2
 *                 4:cpu,cpuacct:/docker/1f2e             version 1
 *     mountinfo   ... /docker/1f2e /sys/fs/cgroup/cpu ... - cgroup cgroup rw,cpu
 *
 * The second says which group a mount shows as its top. The path in the first, less
 * that group, is the directory below the mount; in a container the two are often
 * the same. From there every directory up to the mount is read, since an ancestor's
 * quota holds too. What the system did to the group with the smallest one is in its
 * cpu.stat.
 *
 * Anything that cannot be read or understood means "no limit from here": a wrong
 * guess costs speed, never correctness, so there is no error to report.
 */
#include "base/topology.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"

enum { MAX_LINE_BYTES = 4096, MAX_PATH_BYTES = 4096 };

/* Opens `root` + `directory` + `name`; NULL if it is not there or too long. */
static FILE *open_below(const char *root, const char *directory, const char *name)
{
    char path[MAX_PATH_BYTES];
    const int n_bytes = snprintf(path, sizeof(path), "%s%s%s", root, directory, name);
    if (n_bytes < 0 || (size_t)n_bytes >= sizeof(path) || bni_fault_is_due())
        return NULL;
    return fopen(path, "re");
}

/* Reads the next line without its end; false at the end of the file. */
static bool read_line(FILE *file, char line[MAX_LINE_BYTES])
{
    if (fgets(line, MAX_LINE_BYTES, file) == NULL) return false;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

static bool read_first_line(const char *root, const char *directory, const char *name,
                            char line[MAX_LINE_BYTES])
{
    FILE *file = open_below(root, directory, name);
    if (file == NULL) return false;
    const bool has_line = read_line(file, line);
    fclose(file);
    return has_line;
}

/* Whether the comma-separated `list` has the entry `word`. */
static bool list_has(const char *list, const char *word)
{
    const size_t n_word = strlen(word);
    for (const char *entry = list;; entry++) {
        const size_t n_entry = strcspn(entry, ",");
        if (n_entry == n_word && memcmp(entry, word, n_word) == 0) return true;
        entry += n_entry;
        if (*entry == '\0') return false;
    }
}

/* A quota in thousandths of a CPU, at least 1; 0 for none, or for nonsense. */
static uint64_t milli_cpus_in(long long quota_us, long long period_us)
{
    long long milli_us;
    if (quota_us <= 0 || period_us <= 0 ||
        __builtin_mul_overflow(quota_us, 1000LL, &milli_us))
        return 0;
    return milli_us < period_us ? 1 : (uint64_t)(milli_us / period_us);
}

/* The quota of one version 2 directory: cpu.max has "max 100000" or two numbers. */
static uint64_t quota_of_v2(const char *root, const char *directory)
{
    char line[MAX_LINE_BYTES];
    long long quota_us;
    long long period_us;
    if (!read_first_line(root, directory, "/cpu.max", line) ||
        sscanf(line, "%lld %lld", &quota_us, &period_us) != 2)
        return 0;
    return milli_cpus_in(quota_us, period_us);
}

/* The quota of one version 1 directory: two files, -1 for none. */
static uint64_t quota_of_v1(const char *root, const char *directory)
{
    char line[MAX_LINE_BYTES];
    if (!read_first_line(root, directory, "/cpu.cfs_quota_us", line)) return 0;
    const long long quota_us = strtoll(line, NULL, 10);
    if (!read_first_line(root, directory, "/cpu.cfs_period_us", line)) return 0;
    return milli_cpus_in(quota_us, strtoll(line, NULL, 10));
}

/* Reads the counts of a directory: a name and a number in each line. Both versions
 * have the same names, but for the time: microseconds in 2, nanoseconds in 1. */
static void read_throttling(const char *root, const char *directory,
                            struct bni_cpu_quota *quota)
{
    FILE *file = open_below(root, directory, "/cpu.stat");
    if (file == NULL) return;
    char line[MAX_LINE_BYTES];
    while (read_line(file, line)) {
        char name[32];
        uint64_t value;
        if (sscanf(line, "%31s %" SCNu64, name, &value) != 2) continue;
        if (strcmp(name, "nr_periods") == 0) quota->n_periods = value;
        if (strcmp(name, "nr_throttled") == 0) quota->n_throttled = value;
        if (strcmp(name, "throttled_time") == 0) quota->throttled_ns = value;
        if (strcmp(name, "throttled_usec") == 0 &&
            __builtin_mul_overflow(value, 1000U, &quota->throttled_ns))
            quota->throttled_ns = UINT64_MAX;
    }
    fclose(file);
}

/* One of the two hierarchies that may limit the CPU. */
struct hierarchy {
    bool is_v2;
    char group[MAX_PATH_BYTES];       /* from /proc/self/cgroup */
    char mount_group[MAX_PATH_BYTES]; /* the group at the top of the mount */
    char mount_point[MAX_PATH_BYTES];
};

/* Finds this process's group in the hierarchy. */
static bool find_group(const char *root, struct hierarchy *hierarchy)
{
    FILE *file = open_below(root, "", "/proc/self/cgroup");
    if (file == NULL) return false;
    char line[MAX_LINE_BYTES];
    bool is_found = false;
    while (!is_found && read_line(file, line)) {
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL) continue;
        *group++ = '\0';
        controllers++;
        is_found =
            hierarchy->is_v2 ? *controllers == '\0' : list_has(controllers, "cpu");
        if (is_found) memcpy(hierarchy->group, group, strlen(group) + 1);
    }
    fclose(file);
    return is_found;
}

/* Reads one line of mountinfo; false if it is another file system's. */
static bool parse_mount(const char *line, struct hierarchy *hierarchy)
{
    /* id parent major:minor GROUP POINT options... - TYPE source OPTIONS */
    const char *right = strstr(line, " - ");
    char type[16];
    char options[MAX_LINE_BYTES];
    if (right == NULL || sscanf(right, " - %15s %*s %4095s", type, options) != 2)
        return false;
    const bool is_ours = hierarchy->is_v2
                             ? strcmp(type, "cgroup2") == 0
                             : strcmp(type, "cgroup") == 0 && list_has(options, "cpu");
    return is_ours && sscanf(line, "%*s %*s %*s %4095s %4095s", hierarchy->mount_group,
                             hierarchy->mount_point) == 2;
}

_Static_assert(MAX_LINE_BYTES == 4096 && MAX_PATH_BYTES == 4096, "see the formats");

/* Finds where the hierarchy is mounted. */
static bool find_mount(const char *root, struct hierarchy *hierarchy)
{
    FILE *file = open_below(root, "", "/proc/self/mountinfo");
    if (file == NULL) return false;
    char line[MAX_LINE_BYTES];
    bool is_found = false;
    while (!is_found && read_line(file, line)) is_found = parse_mount(line, hierarchy);
    fclose(file);
    return is_found;
}

/* The group's path below the mount: "" where the mount's top is as near as we get. */
static const char *path_below_mount(const struct hierarchy *hierarchy)
{
    const char *group = hierarchy->group;
    const char *top = hierarchy->mount_group;
    if (strstr(group, "..") != NULL) return ""; /* above our namespace */
    if (strcmp(top, "/") != 0) {
        const size_t n_top = strlen(top);
        if (strncmp(group, top, n_top) != 0) return "";
        group += n_top;
        if (*group != '/') return "";
    }
    return strcmp(group, "/") == 0 ? "" : group;
}

/* A group's directory below the root, and its quota. */
struct limited_group {
    char directory[2 * MAX_PATH_BYTES];
    uint64_t milli_cpus; /* 0: no group with a quota was found yet */
};

/* Puts the group of this hierarchy that limits most into `found`, if it limits more. */
static void find_smallest_quota(const char *root, bool is_v2,
                                struct limited_group *found)
{
    struct hierarchy hierarchy = {.is_v2 = is_v2};
    if (!find_group(root, &hierarchy) || !find_mount(root, &hierarchy)) return;

    char directory[sizeof(found->directory)];
    snprintf(directory, sizeof(directory), "%s%s", hierarchy.mount_point,
             path_below_mount(&hierarchy));
    const size_t n_mount_point = strlen(hierarchy.mount_point);
    for (;;) {
        const uint64_t milli_cpus =
            is_v2 ? quota_of_v2(root, directory) : quota_of_v1(root, directory);
        if (milli_cpus != 0 &&
            (found->milli_cpus == 0 || milli_cpus < found->milli_cpus)) {
            found->milli_cpus = milli_cpus;
            memcpy(found->directory, directory, strlen(directory) + 1);
        }
        char *last = strrchr(directory, '/');
        if (last == NULL || strlen(directory) <= n_mount_point) return;
        *last = '\0';
    }
}

static void find_limited_group(const char *root, struct limited_group *found)
{
    found->milli_cpus = 0;
    find_smallest_quota(root, true, found);
    find_smallest_quota(root, false, found);
}

/* Whole CPUs in a quota, rounded down, at least 1. */
static unsigned whole_cpus(uint64_t milli_cpus)
{
    const uint64_t n_cpus = milli_cpus / 1000;
    if (milli_cpus == 0 || n_cpus >= BNI_NO_QUOTA) return BNI_NO_QUOTA;
    return n_cpus < 1 ? 1 : (unsigned)n_cpus;
}

unsigned bni_topology_quota(const char *root)
{
    struct limited_group group;
    find_limited_group(root, &group);
    return whole_cpus(group.milli_cpus);
}

/* Fills `mask`; false where there are more CPUs than it can name. */
static bool read_affinity(cpu_set_t *mask)
{
    CPU_ZERO(mask);
    return sched_getaffinity(0, sizeof(*mask), mask) == 0 && CPU_COUNT(mask) > 0;
}

unsigned bni_topology_n_cpus(void)
{
    cpu_set_t mask;
    if (read_affinity(&mask)) return (unsigned)CPU_COUNT(&mask);
    const long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    return n_online < 1 ? 1 : (unsigned)n_online;
}

unsigned bni_topology_n_cores(const char *root, const cpu_set_t *mask)
{
    /* Siblings share one list, such as "0,4" or "0-1"; its first CPU names the core. */
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, mask)) continue;
        char name[64];
        char line[MAX_LINE_BYTES];
        snprintf(name, sizeof(name), "cpu%zu/topology/thread_siblings_list", cpu);
        size_t first = cpu;
        if (read_first_line(root, "/sys/devices/system/cpu/", name, line) &&
            (sscanf(line, "%zu", &first) != 1 || first >= CPU_SETSIZE))
            first = cpu;
        CPU_SET(first, &cores);
    }
    return (unsigned)CPU_COUNT(&cores);
}

unsigned bni_topology_n_usable(void)
{
    const unsigned n_cpus = bni_topology_n_cpus();
    const unsigned quota = bni_topology_quota("");
    return n_cpus < quota ? n_cpus : quota;
}

void bni_topology_read(const char *root, struct bni_topology *topology)
{
    *topology = (struct bni_topology){.n_affinity = bni_topology_n_cpus()};
    cpu_set_t mask;
    topology->n_cores =
        read_affinity(&mask) ? bni_topology_n_cores(root, &mask) : topology->n_affinity;
    struct limited_group group;
    find_limited_group(root, &group);
    const unsigned n_quota = whole_cpus(group.milli_cpus);
    if (n_quota != BNI_NO_QUOTA) {
        topology->quota.n_cpus = n_quota;
        topology->quota.milli_cpus = group.milli_cpus;
        read_throttling(root, group.directory, &topology->quota);
    }
    topology->n_usable =
        topology->n_affinity < n_quota ? topology->n_affinity : n_quota;
    topology->n_compute =
        topology->n_cores < topology->n_usable ? topology->n_cores : topology->n_usable;
}

unsigned bni_topology_n_compute(void)
{
    struct bni_topology topology;
    bni_topology_read("", &topology);
    return topology.n_compute;
}
