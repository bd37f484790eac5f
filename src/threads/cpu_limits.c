/* SPDX-License-Identifier: MIT */
/*
 * cpu_limits.c - telling a program how many CPUs it may use: see base/topology.h.
 */
#include <bitnet/thread_manager.h>

#include "base/error.h"
#include "base/options.h"
#include "base/topology.h"

bitnet_status bitnet_thread_manager_get_cpu_limits(bitnet_cpu_limits *limits)
{
    if (limits == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot tell the CPU limits: `limits` is NULL");
    struct bni_topology topology;
    bni_topology_read("", &topology);
    const bitnet_cpu_limits now = {
        .struct_size = sizeof(now),
        .n_affinity = topology.n_affinity,
        .n_cores = topology.n_cores,
        .quota = topology.quota.n_cpus,
        .n_usable = topology.n_usable,
        .n_compute = topology.n_compute,
        .quota_milli = topology.quota.milli_cpus,
        .n_periods = topology.quota.n_periods,
        .n_throttled = topology.quota.n_throttled,
        .throttled_ns = topology.quota.throttled_ns,
    };
    return bni_options_write("CPU limits", limits, &now, sizeof(now));
}
