/* SPDX-License-Identifier: MIT */
/*
 * process.h - one measurement, in a process of its own.
 *
 * So no peer's threads, memory or exit disturb the next, and one that hangs or crashes
 * costs its own number only. The process is this program once more, told to measure one
 * thing; it writes its numbers to a pipe.
 */
#ifndef BENCH_THREADS_PROCESS_H
#define BENCH_THREADS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "results.h"

struct bench_process {
    pid_t pid;
    int output;
};

/* `peer` is NULL for the machine itself. */
void bench_process_start(struct bench_process *process,
                         const struct bench_workload *workload,
                         const struct bench_peer *peer, bool is_quick);

/* Adds the numbers to `cell` as one more round; on stderr why, if there are none. */
void bench_process_finish(struct bench_process *process,
                          const struct bench_workload *workload,
                          struct bench_cell *cell);

/* What the new process does: measures, and never returns. */
void bench_process_main(const char *workload_id, const char *peer_name, bool is_quick)
    __attribute__((noreturn));

#endif
