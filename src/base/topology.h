/* SPDX-License-Identifier: MIT */
/*
 * topology.h - how many CPUs this process may really use.
 *
 * Three limits, each of which may be the smallest: the affinity mask, the cgroup
 * quota (versions 1 and 2, of the process's group and all its ancestors), and the
 * physical cores behind the mask. Read anew on each call, as all three may change
 * while the process runs; a call takes some file reads, so not for hot paths.
 */
#ifndef BNI_BASE_TOPOLOGY_H
#define BNI_BASE_TOPOLOGY_H

#include <limits.h>
#include <sched.h>
#include <stdint.h>

enum { BNI_NO_QUOTA = INT_MAX };

/*
 * The CPU quota that limits most, and what the system did to its group. Of several
 * quotas above each other that is the smallest, and of equal ones the nearest: it is
 * what the thread counts follow, so it should be the one that throttles, if any does.
 */
struct bni_cpu_quota {
    unsigned n_cpus;       /* whole ones, rounded down but at least 1; 0: no quota */
    uint64_t milli_cpus;   /* thousandths of a CPU, at least 1; 0: no quota */
    uint64_t n_periods;    /* in which the group ran, since it was made */
    uint64_t n_throttled;  /* of these, with the quota used up before the end */
    uint64_t throttled_ns; /* added up over CPUs */
};

/* All limits, at one time. */
struct bni_topology {
    unsigned n_affinity;
    unsigned n_cores;
    struct bni_cpu_quota quota;
    unsigned n_usable;
    unsigned n_compute;
};

/*
 * Looks everything up. `root` is "" or, in tests, a directory that holds a /proc and
 * a /sys. The affinity mask is always the calling thread's.
 */
void bni_topology_read(const char *root, struct bni_topology *topology);

/* Returns the number of CPUs in the affinity mask, at least 1. */
unsigned bni_topology_n_cpus(void);

/*
 * Returns the smallest CPU quota of the process's cgroup and its ancestors, rounded
 * down but at least 1, or BNI_NO_QUOTA. Down, because one thread too many gets a
 * fork-join group throttled as a whole. `root` as above.
 */
unsigned bni_topology_quota(const char *root);

/*
 * Returns the number of physical cores that the CPUs in `mask` belong to, or the
 * number of CPUs in it where the system does not tell. `root` as above.
 */
unsigned bni_topology_n_cores(const char *root, const cpu_set_t *mask);

/* Returns the smallest of the three: the threads that computing can make use of. */
unsigned bni_topology_n_compute(void);

/* Returns the smaller of mask and quota: the threads that jobs can make use of. */
unsigned bni_topology_n_usable(void);

#endif
