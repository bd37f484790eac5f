/* SPDX-License-Identifier: MIT */
/*
 * pool_options.c - presets, and checking options: each out of range has a message
 * that names the option, the value and the range.
 */
#include "threads/pool_options.h"

#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include "base/error.h"
#include "base/options.h"
#include "base/topology.h"

static uint32_t usable_threads(void)
{
    const unsigned n_usable = bni_topology_n_usable();
    return n_usable < BITNET_MAX_POOL_THREADS ? n_usable : BITNET_MAX_POOL_THREADS;
}

bitnet_thread_pool_options bitnet_thread_pool_options_for(bitnet_workload workload)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    switch (workload) {
    case BITNET_WORKLOAD_LOW_LATENCY: options.max_queue_size = 100; break;
    case BITNET_WORKLOAD_HIGH_THROUGHPUT: options.max_queue_size = 10000; break;
    case BITNET_WORKLOAD_MEMORY_CONSTRAINED:
        options.max_queue_size = 50;
        options.stack_size = (size_t)512 * 1024;
        break;
    case BITNET_WORKLOAD_LARGE_MODELS:
        options.stack_size = (size_t)4 * 1024 * 1024;
        break;
    case BITNET_WORKLOAD_CPU_BOUND: options.num_threads = usable_threads(); break;
    case BITNET_WORKLOAD_IO_BOUND:
        options.num_threads = 2 * usable_threads();
        if (options.num_threads > BITNET_MAX_POOL_THREADS)
            options.num_threads = BITNET_MAX_POOL_THREADS;
        break;
    }
    return options;
}

static size_t min_stack_bytes(void)
{
    const long system_min = sysconf(_SC_THREAD_STACK_MIN);
    return system_min > BITNET_MIN_POOL_STACK ? (size_t)system_min
                                              : (size_t)BITNET_MIN_POOL_STACK;
}

bitnet_status bni_pool_resolve_threads(uint32_t num_threads, uint32_t *resolved)
{
    if (num_threads > BITNET_MAX_POOL_THREADS)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "thread pool: num_threads is %u; at most %d are possible (0: "
                         "the CPUs this process may use)",
                         num_threads, BITNET_MAX_POOL_THREADS);
    *resolved = num_threads == 0 ? usable_threads() : num_threads;
    return BITNET_OK;
}

bitnet_status bni_pool_options_resolve(const bitnet_thread_pool_options *options,
                                       bitnet_thread_pool_options *resolved)
{
    *resolved = bitnet_thread_pool_options_default();
    bitnet_status status =
        bni_options_read("thread pool options", resolved, sizeof(*resolved), options);
    if (status != BITNET_OK) return status;

    status = bni_pool_resolve_threads(resolved->num_threads, &resolved->num_threads);
    if (status != BITNET_OK) return status;
    if (resolved->max_queue_size < 1 ||
        resolved->max_queue_size > BITNET_MAX_POOL_QUEUE)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "thread pool: max_queue_size is %u; between 1 and %d are "
                         "possible",
                         resolved->max_queue_size, BITNET_MAX_POOL_QUEUE);
    if (resolved->stack_size != 0 && resolved->stack_size < min_stack_bytes())
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "thread pool: stack_size is %zu bytes; at least %zu are needed "
            "(0: the system's default)",
            resolved->stack_size, min_stack_bytes());
    if (resolved->thread_name_prefix == NULL || resolved->thread_name_prefix[0] == '\0')
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "thread pool: thread_name_prefix is %s; a thread needs a name",
                         resolved->thread_name_prefix == NULL ? "NULL" : "empty");
    return BITNET_OK;
}
