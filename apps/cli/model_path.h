/* SPDX-License-Identifier: MIT */
/*
 * model_path.h - where the shipped files are, from the build tree and once installed.
 */
#ifndef CLI_MODEL_PATH_H
#define CLI_MODEL_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { MODEL_PATH_BYTES = 4096 };

/*
 * Writes the path of `name` in ../share/bitnet/models/, seen from the program's own
 * folder: the build tree has the same shape as an installed one. Returns false, with
 * one line on standard error, if it is not there.
 */
bool model_path_shipped(const char *name, char path[MODEL_PATH_BYTES]);

/* Returns `given`, or if that is NULL the shipped model's path, or NULL as above. */
const char *model_path_resolve(const char *given, char path[MODEL_PATH_BYTES]);

#endif
