/* SPDX-License-Identifier: MIT */
/*
 * run.c - see run.h.
 */
#include "common/run.h"

#include <unistd.h>

#include "common/machine.h"

void bench_run_begin(struct bench_run *run, bool is_quick)
{
    *run = (struct bench_run){
        .is_quick = is_quick,
        .begin_ns = bench_now_ns(),
        .foreign_begin_s = bench_foreign_cpu_s(),
    };
}

void bench_run_end(struct bench_run *run)
{
    run->elapsed_s = (double)(bench_now_ns() - run->begin_ns) / 1e9;
    run->n_foreign_cpus =
        (bench_foreign_cpu_s() - run->foreign_begin_s) / run->elapsed_s;
    if (run->n_foreign_cpus < 0) run->n_foreign_cpus = 0; /* ticks are coarse */
}

void bench_run_write(FILE *file, const struct bench_run *run, unsigned n_threads)
{
    char cpu[128];
    bench_cpu_name(cpu, sizeof(cpu));
    fprintf(file,
            "%s, %ld CPUs, %u compute thread%s; %.0f s in all%s\n"
            "others kept %.1f CPUs busy meanwhile%s\n\n",
            cpu, sysconf(_SC_NPROCESSORS_ONLN), n_threads, n_threads == 1 ? "" : "s",
            run->elapsed_s, run->is_quick ? "; --quick: the numbers mean nothing" : "",
            run->n_foreign_cpus,
            run->n_foreign_cpus > 0.2 ? ": not a quiet machine" : "");
}

json_t *bench_run_to_json(const struct bench_run *run)
{
    char cpu[128];
    bench_cpu_name(cpu, sizeof(cpu));
    return json_pack("{s:s, s:I, s:s, s:b, s:f, s:f}", "cpu", cpu, "n_cpus",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "compiler", __VERSION__,
                     "is_quick", (int)run->is_quick, "elapsed_s", run->elapsed_s,
                     "n_foreign_cpus", run->n_foreign_cpus);
}

bool bench_write_object(FILE *file, json_t *object)
{
    const bool is_written =
        object != NULL && json_dumpf(object, file, JSON_INDENT(2)) == 0;
    json_decref(object);
    fputc('\n', file);
    return is_written;
}
