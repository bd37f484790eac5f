/* SPDX-License-Identifier: MIT */
/*
 * model_path.c - see model_path.h. No path is compiled in, so an installed tree may
 * be moved.
 */
#include "model_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "complain.h"

static const char shipped_model[] = "tinystories-3.7m-i2_s.gguf";

bool model_path_shipped(const char *name, char path[MODEL_PATH_BYTES])
{
    char program[MODEL_PATH_BYTES];
    const ssize_t n_bytes = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash = n_bytes < 0 ? NULL : memrchr(program, '/', (size_t)n_bytes);
    if (slash == NULL) {
        complain(
            "cannot tell where this program is (/proc/self/exe): give --model FILE");
        return false;
    }
    *slash = '\0';
    const int n_written =
        snprintf(path, MODEL_PATH_BYTES, "%s/../share/bitnet/models/%s", program, name);
    if (n_written < 0 || n_written >= MODEL_PATH_BYTES || access(path, R_OK) != 0) {
        complain(
            "the shipped %s is not at %s/../share/bitnet/models: name a file yourself",
            name, program);
        return false;
    }
    return true;
}

const char *model_path_resolve(const char *given, char path[MODEL_PATH_BYTES])
{
    if (given != NULL) return given;
    return model_path_shipped(shipped_model, path) ? path : NULL;
}
