/* SPDX-License-Identifier: MIT */
/*
 * trace.h - telling, at the stations of each job, whoever listens.
 *
 * Two kinds of listeners, see bitnet/trace.h: the pool's own table of functions, and
 * static probes (USDT), which are one no-op instruction each until perf or bpftrace
 * puts a breakpoint on it. Nothing is read or computed for a listener who is not
 * there: without a table, the clock is not looked at.
 *
 *     submit    bni_trace_job_submit   accepted, on the thread that submitted; before
 *                                      the start if it is this very thread's to run
 *     start     bni_trace_job_start    the job's function is about to be called; a job
 *                                      that never runs has no start
 *     cancel    bni_trace_job_cancel   bitnet_job_cancel() found it queued or running
 *     end       bni_trace_job_end      its function, or its drop function, is done
 *
 * A table's functions are the user's code: call these without locks.
 */
#ifndef BNI_THREADS_TRACE_H
#define BNI_THREADS_TRACE_H

#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/trace.h>

/* The header comes with SystemTap's development package, and needs no library. */
#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define BNI_HAS_PROBES 1
#endif
#endif

#ifdef __clang__ /* about the inside of that header's macros */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif

#ifdef BNI_HAS_PROBES
#define BNI_PROBE2(name, a, b) DTRACE_PROBE2(bitnet, name, a, b)
#define BNI_PROBE3(name, a, b, c) DTRACE_PROBE3(bitnet, name, a, b, c)
#else
#define BNI_PROBE2(name, a, b) ((void)(a), (void)(b))
#define BNI_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

/*
 * `trace` is the pool's, which keeps its address for life, so that the address tells
 * a probe's listener which pool it is; all its functions may be NULL.
 */
static inline void bni_trace_job_submit(const bitnet_trace *trace, uint64_t job_id)
{
    BNI_PROBE2(job_submit, trace, job_id);
    if (trace->job_submit == NULL) return;
    trace->job_submit(trace->user, bitnet_clock_ns(), job_id);
}

static inline void bni_trace_job_start(const bitnet_trace *trace, uint64_t job_id)
{
    BNI_PROBE2(job_start, trace, job_id);
    if (trace->job_start == NULL) return;
    trace->job_start(trace->user, bitnet_clock_ns(), job_id);
}

static inline void bni_trace_job_end(const bitnet_trace *trace, uint64_t job_id,
                                     bitnet_status status)
{
    BNI_PROBE3(job_end, trace, job_id, (int)status);
    if (trace->job_end == NULL) return;
    trace->job_end(trace->user, bitnet_clock_ns(), job_id, status);
}

static inline void bni_trace_job_cancel(const bitnet_trace *trace, uint64_t job_id)
{
    BNI_PROBE2(job_cancel, trace, job_id);
    if (trace->job_cancel == NULL) return;
    trace->job_cancel(trace->user, bitnet_clock_ns(), job_id);
}

#ifdef __clang__
#pragma clang diagnostic pop
#endif

#endif
