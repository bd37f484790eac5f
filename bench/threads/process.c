/* SPDX-License-Identifier: MIT */
/*
 * process.c - see process.h.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_S = 60 }; /* a process that takes longer is ended by its alarm */

static const char machine_name[] = "machine";

void bench_process_start(struct bench_process *process,
                         const struct bench_workload *workload,
                         const struct bench_peer *peer, bool is_quick)
{
    int ends[2];
    fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) != 0 || (process->pid = fork()) < 0)
        bench_give_up("cannot start a process: %s", strerror(errno));
    if (process->pid == 0) {
        char program[] = "/proc/self/exe";
        char option[] = "--measure";
        char id[64];
        char name[64];
        char quick[] = "--quick";
        snprintf(id, sizeof(id), "%s", workload->id);
        snprintf(name, sizeof(name), "%s", peer == NULL ? machine_name : peer->name);
        if (peer != NULL && peer->environment != NULL) {
            char setting[64];
            snprintf(setting, sizeof(setting), "%s", peer->environment);
            char *value = strchr(setting, '=');
            *value++ = '\0';
            setenv(setting, value, 1);
        }
        dup2(ends[1], STDOUT_FILENO);
        char *const arguments[] = {program, option, id, name, is_quick ? quick : NULL,
                                   NULL};
        execv(program, arguments);
        _exit(127);
    }
    close(ends[1]);
    process->output = ends[0];
}

/* Reads "name value" lines. Names that the workload does not show are passed over. */
static bool read_numbers(FILE *file, const struct bench_workload *workload,
                         struct bench_cell *cell)
{
    char line[128];
    bool has_any = false;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *space = strchr(line, ' ');
        if (space == NULL) return false;
        *space = '\0';
        size_t m = 0;
        while (workload->metrics[m].name != NULL &&
               strcmp(workload->metrics[m].name, line) != 0)
            m++;
        if (workload->metrics[m].name == NULL) continue;
        cell->values[m][cell->n_rounds] = strtod(space + 1, NULL);
        cell->has[m] = true;
        has_any = true;
    }
    return has_any;
}

void bench_process_finish(struct bench_process *process,
                          const struct bench_workload *workload,
                          struct bench_cell *cell)
{
    FILE *file = fdopen(process->output, "r");
    if (file == NULL) bench_give_up("cannot read a pipe: %s", strerror(errno));
    const bool has_numbers = read_numbers(file, workload, cell);
    int status;
    fclose(file);
    waitpid(process->pid, &status, 0);
    if (has_numbers && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        cell->n_rounds++;
        return;
    }
    char why[64] = "its numbers are not understood";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(why, sizeof(why), "it did not end within %d s", LIMIT_S);
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "signal %d ended it", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        snprintf(why, sizeof(why), "it ended with status %d", WEXITSTATUS(status));
    fprintf(stderr, "\nbench_threads: %s with %s: %s\n", workload->id,
            bench_cell_name(cell), why);
}

void bench_process_main(const char *workload_id, const char *peer_name, bool is_quick)
{
    const struct bench_effort *effort =
        is_quick ? &bench_effort_quick : &bench_effort_full;
    const struct bench_workload *workload = bench_workload_find(workload_id);
    const struct bench_peer *peer = NULL;
    for (size_t p = 0; p < bench_n_peers; p++) {
        if (strcmp(bench_peers[p].name, peer_name) == 0) peer = &bench_peers[p];
    }
    if (workload == NULL || (peer == NULL && strcmp(peer_name, machine_name) != 0) ||
        !bench_workload_suits(workload, peer))
        bench_give_up("there is no workload \"%s\" for \"%s\"", workload_id, peer_name);

    alarm(LIMIT_S);
    if (peer == NULL)
        workload->measure_machine(effort);
    else if (workload->measure_team != NULL)
        workload->measure_team(peer->team, effort);
    else
        workload->measure_queue(peer->queue, effort);
    fflush(stdout);
    _exit(0); /* the peers' threads are still there */
}
