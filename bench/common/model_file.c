/* SPDX-License-Identifier: MIT */
/*
 * model_file.c - see model_file.h.
 */
#include "common/model_file.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/report.h"

/* Twice the file and more: others build and test on the same disk. */
static const uint64_t needed_bytes = UINT64_C(3) << 30;

static uint64_t free_bytes_beside(const char *path)
{
    char folder[4096];
    struct statvfs disk;
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        slash[1] = '\0';
    if (statvfs(folder, &disk) != 0) return 0;
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

static bool run(const char *program, const char *path)
{
    const pid_t pid = fork();
    if (pid < 0) return false;
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO); /* standard output is for the results */
        execl(program, program, "synth", "--shape", "2b4t", path, (char *)NULL);
        _exit(127);
    }
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

const char *bench_provide_model(const char *path, const char *synth_program,
                                bool is_quick)
{
    if (path == NULL) return "no file is named to read it from, or to make it";
    if (access(path, R_OK) == 0) return NULL;
    if (is_quick) return "the file is not there, and --quick makes none";
    if (synth_program == NULL)
        return "the file is not there; --synth PROGRAM, the program bitnet, makes it";
    if (free_bytes_beside(path) < needed_bytes)
        return "the file is not there, and there is less than 3 GB of room to make it";
    return run(synth_program, path) ? NULL : "making the file failed; see above";
}

uint64_t bench_macs_per_token(const bitnet_model_info *info)
{
    const uint64_t n_query = (uint64_t)info->n_heads * info->head_dim;
    const uint64_t n_key = (uint64_t)info->n_kv_heads * info->head_dim;
    return info->n_layers * info->n_embd *
           (2 * n_query + 2 * n_key + 3 * (uint64_t)info->n_ff);
}
