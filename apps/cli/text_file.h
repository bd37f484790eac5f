/* SPDX-License-Identifier: MIT */
/*
 * text_file.h - a whole text, from a file or standard input.
 */
#ifndef CLI_TEXT_FILE_H
#define CLI_TEXT_FILE_H

#include <stddef.h>

/* What to call the file in messages: "-" is standard input. */
const char *text_file_name(const char *path);

/*
 * Reads the file to its end, 16 MiB at most. Returns its bytes and a NUL after them, for
 * free(), or NULL, and one line on standard error has said why.
 */
char *text_file_read(const char *path, size_t *n_bytes);

#endif
