/* SPDX-License-Identifier: MIT */
/*
 * bitnet/trace.h - being told what a thread pool does, as it does it.
 *
 *   the table   functions of yours that a pool calls at the stations of each job:
 *               bitnet_thread_pool_options.trace
 *   the probes  static probes (USDT) for perf, bpftrace and SystemTap, which need
 *               neither a table nor a recompilation: provider "bitnet", names
 *               job_submit, job_start, job_end and job_cancel
 *
 * Each accepted job has one submit and one end, and between them one start if its
 * function was called: none if it was cancelled in the queue, dropped, or expired.
 * A refused job has no stations, and no number.
 *
 * A probe's arguments are an address that tells the pools of a process apart, the
 * job's number, and for job_end its result:
 *
 *     bpftrace -e 'usdt:libbitnet.so:bitnet:job_end { @[arg2] = count(); }'
 *
 * Without a table a station costs a branch, and a probe that nobody listens to an
 * instruction that does nothing. The probes are there if the library was built where
 * <sys/sdt.h> is.
 */
#ifndef BITNET_TRACE_H
#define BITNET_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * `job_id` counts a pool's accepted jobs from 0. Each function may be NULL. They are
 * called without locks, by many threads at once, on the thread that does what is
 * told: right before the job's function starts, and right after the rest. So two
 * threads may tell of one job out of order, a worker of its start before the submitter
 * of its acceptance; each thread tells in order, with the time_ns of bitnet_clock_ns().
 * An end is told before anybody who waits for the job learns of it.
 *
 * They may call any function that does not wait; to wait for the pool, or to leave
 * by pthread_exit() or longjmp(), is not allowed. `user` has to stay valid until the
 * pool is destroyed and every call on it and on its jobs has returned.
 */
typedef struct bitnet_trace {
    size_t struct_size; /* sizeof(bitnet_trace) in the caller */
    void *user;         /* handed to each */
    void (*job_submit)(void *user, uint64_t time_ns, uint64_t job_id);
    void (*job_start)(void *user, uint64_t time_ns, uint64_t job_id);
    /* Ran, or was dropped, cancelled, or expired: `status` is its result. */
    void (*job_end)(void *user, uint64_t time_ns, uint64_t job_id,
                    bitnet_status status);
    /* bitnet_job_cancel() was called on it while it was queued or running. */
    void (*job_cancel)(void *user, uint64_t time_ns, uint64_t job_id);
} bitnet_trace;

#ifdef __cplusplus
}
#endif

#endif
