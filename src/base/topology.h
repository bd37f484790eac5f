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

enum { BNI_NO_QUOTA = INT_MAX };

/* Returns the number of CPUs in the affinity mask, at least 1. */
unsigned bni_topology_n_cpus(void);

/*
 * Returns the smallest CPU quota of the process's cgroup and its ancestors, rounded
 * down but at least 1, or BNI_NO_QUOTA. Down, because one thread too many gets a
 * fork-join group throttled as a whole. `root` is "" or, in tests, a directory that
 * holds a /proc and a /sys.
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
