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

#ifdef __cplusplus
}
#endif

#endif
