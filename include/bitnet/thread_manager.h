/* SPDX-License-Identifier: MIT */
/*
 * bitnet/thread_manager.h - the process's threads: how many, and what they did.
 *
 *   the job pool      one bitnet_thread_pool for the whole process, for those who do
 *                     not want to hand a pool around
 *   the compute team  the threads that do the arithmetic of all engines together;
 *                     they never run your code
 *
 * The two are sized apart, and either may be left to the library: compute threads
 * follow the affinity mask, the cgroup's CPU quota and the number of physical cores.
 *
 * A child of fork() has neither, but is configured as its parent was. Until it calls
 * initialize, or cleanup, calls that need the parent's pool are refused there with
 * BITNET_ERROR_THREAD_SAFETY.
 *
 * Functions that can fail return bitnet_status; bitnet_last_error() has the sentence.
 */
#ifndef BITNET_THREAD_MANAGER_H
#define BITNET_THREAD_MANAGER_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/export.h>
#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BITNET_MAX_COMPUTE_THREADS = 256 };

typedef struct bitnet_thread_manager_options {
    size_t struct_size;   /* sizeof(bitnet_thread_manager_options) in the caller */
    uint32_t num_threads; /* of the job pool; these four as for a thread pool */
    uint32_t max_queue_size;
    size_t stack_size;
    const char *thread_name_prefix; /* copied */
    uint32_t compute_threads; /* as for bitnet_thread_manager_set_compute_threads() */
} bitnet_thread_manager_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_thread_manager_options bitnet_thread_manager_options_default(void)
{
    bitnet_thread_manager_options options = {
        sizeof(bitnet_thread_manager_options), 0, 1000, 0, "bitnet-worker", 0};
    return options;
}

/*
 * Says what the job pool will be like, and how many threads compute. NULL `options`
 * are the defaults.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT       an option is out of range; nothing changed
 *   BITNET_ERROR_UNSUPPORTED_OPERATION  the job pool runs: configure before
 *                                       initialize, or after cleanup
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status
bitnet_thread_manager_configure(const bitnet_thread_manager_options *options);

/*
 * Starts the job pool. Once it runs, this does nothing; of several threads that call
 * it at once, one starts it and all return when it runs.
 *
 * Returns BITNET_OK; BITNET_ERROR_SHUT_DOWN while cleanup is under way; or as
 * bitnet_thread_pool_create() does.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_thread_manager_initialize(void);

/*
 * Changes the number of the job pool's threads, 0 for the CPUs this process may use,
 * while it runs and without losing a job, or before it does.
 *
 * Returns BITNET_OK, or as bitnet_thread_pool_resize() does; nothing changed then.
 *
 * Thread safety: any thread, a job included. Does not wait for jobs.
 */
BITNET_API bitnet_status bitnet_thread_manager_set_num_threads(uint32_t num_threads);

/*
 * Returns the number of threads the job pool has, or would have if it ran.
 *
 * Thread safety: any thread.
 */
BITNET_API uint32_t bitnet_thread_manager_get_num_threads(void);

/*
 * Submits a job to the job pool, as bitnet_thread_pool_submit() does.
 *
 * Returns as that does; BITNET_ERROR_SHUT_DOWN also before initialize and after
 * cleanup.
 *
 * Thread safety: any thread. Blocks while the queue is full.
 */
BITNET_API bitnet_status bitnet_thread_manager_execute(bitnet_job_fn fn, void *arg,
                                                       bitnet_job_drop_fn drop,
                                                       bitnet_job **job);

/*
 * As bitnet_thread_manager_execute(), with the options of
 * bitnet_thread_pool_submit_with(); NULL are the defaults.
 *
 * Thread safety: any thread. Blocks as the options say.
 */
BITNET_API bitnet_status bitnet_thread_manager_execute_with(
    bitnet_job_fn fn, void *arg, const bitnet_submit_options *options,
    bitnet_job **job);

/*
 * Waits until every job that was accepted before this call has ended. Without a job
 * pool there is none.
 *
 * Returns as bitnet_thread_pool_wait() does.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_manager_wait_for_completion(void);

/*
 * Fills `stats`, whose struct_size the caller has set; all zero while there is no job
 * pool.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bitnet_status
bitnet_thread_manager_get_stats(bitnet_thread_pool_stats *stats);

/*
 * Lets the job pool run what is queued, ends its threads, and those of the compute
 * team unless an engine is using it. Does nothing without them. Afterwards initialize
 * works again, and an engine that still lives gets a new team at its next step.
 *
 * Returns BITNET_OK, or BITNET_ERROR_THREAD_SAFETY from inside a job of the pool or
 * on a compute or scheduler thread; nothing happened then.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_manager_cleanup(void);

/*
 * Sets how many threads compute, for all engines together and from their next step
 * on; at most BITNET_MAX_COMPUTE_THREADS. 0, the default, is the least of the
 * affinity mask, the cgroup's CPU quota rounded down, and the physical cores, looked
 * up anew by this call. The scheduler that waits for them is one of them. No answer
 * depends on this number.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bitnet_status bitnet_thread_manager_set_compute_threads(uint32_t n_threads);

/*
 * Returns how many threads compute, from the next step on.
 *
 * Thread safety: any thread.
 */
BITNET_API uint32_t bitnet_thread_manager_get_compute_threads(void);

/* How many CPUs this process may use, and what the system did to keep it to that. */
typedef struct bitnet_cpu_limits {
    size_t struct_size;   /* set by the caller: sizeof(bitnet_cpu_limits) */
    uint32_t n_affinity;  /* CPUs in the calling thread's affinity mask */
    uint32_t n_cores;     /* physical cores that these CPUs belong to */
    uint32_t quota;       /* whole CPUs in quota_milli, rounded down but at least 1;
                              0: no quota */
    uint32_t n_usable;    /* threads for jobs: the smaller of mask and quota */
    uint32_t n_compute;   /* threads for computing: the least of these three */
    uint64_t quota_milli; /* thousandths of a CPU: the smallest CPU quota of the
                              process's cgroup and all its ancestors; 0: none */
    uint64_t n_periods;   /* of the group that has this quota, since it was made, with
                              all that is in it: periods in which it ran, */
    uint64_t n_throttled; /* those in which the quota was used up and it had to stop, */
    uint64_t throttled_ns; /* and for how long, added up over the CPUs */
} bitnet_cpu_limits;

/*
 * Looks up what there is to compute with now. Whatever the system does not tell
 * counts as no limit. Asked now and then, a growing n_throttled says that the process,
 * or its neighbours in the group, have more threads at work than the quota feeds.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread. Reads some small files of /proc and /sys.
 */
BITNET_API bitnet_status
bitnet_thread_manager_get_cpu_limits(bitnet_cpu_limits *limits);

/* What a refresh changed: nothing where the numbers are equal. */
typedef struct bitnet_thread_refresh {
    size_t struct_size;          /* set by the caller: sizeof(bitnet_thread_refresh) */
    uint32_t num_threads_before; /* of the job pool; both 0 while there is none */
    uint32_t num_threads;
    uint32_t compute_threads_before;
    uint32_t compute_threads;
} bitnet_thread_refresh;

/*
 * Looks up affinity mask and quotas anew and follows them, live, wherever the number of
 * threads was left to the library: in the job pool if its num_threads is 0, and for
 * computing, from the next step on, if that is automatic. What the program has set
 * stays. Call it when the limits may have changed; the library does not watch them.
 * `changes` may be NULL.
 *
 * Returns BITNET_OK, or as bitnet_thread_pool_resize() does: the job pool is as it was
 * then.
 *
 * Thread safety: any thread, a job included. Does not wait for jobs. The mask is that
 * of the calling thread, and new threads inherit it.
 */
BITNET_API bitnet_status bitnet_thread_manager_refresh(bitnet_thread_refresh *changes);

#ifdef __cplusplus
}
#endif

#endif
