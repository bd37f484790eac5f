/* SPDX-License-Identifier: MIT */
/*
 * text_file.c - see text_file.h.
 */
#include "text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"

enum { MAX_FILE_BYTES = 16 << 20, READ_BYTES = 64 << 10 };

static bool is_standard_input(const char *path)
{
    return strcmp(path, "-") == 0;
}

const char *text_file_name(const char *path)
{
    return is_standard_input(path) ? "standard input" : path;
}

/* Reads `in` to its end. NULL: it has said why. */
static char *read_all(FILE *in, const char *name, size_t *n_bytes)
{
    char *bytes = NULL;
    *n_bytes = 0;
    for (;;) {
        char *larger = realloc(bytes, *n_bytes + READ_BYTES + 1);
        if (larger == NULL) {
            complain("%s: cannot read it: out of memory", name);
            break;
        }
        bytes = larger;
        const size_t n_read = fread(bytes + *n_bytes, 1, READ_BYTES, in);
        *n_bytes += n_read;
        if (n_read < READ_BYTES && ferror(in)) {
            complain("%s: cannot read it: %s", name, strerror(errno));
            break;
        }
        if (*n_bytes > MAX_FILE_BYTES) {
            complain("%s: has more than %d bytes: split it", name, MAX_FILE_BYTES);
            break;
        }
        if (n_read < READ_BYTES) {
            bytes[*n_bytes] = '\0';
            return bytes;
        }
    }
    free(bytes);
    return NULL;
}

char *text_file_read(const char *path, size_t *n_bytes)
{
    const char *name = text_file_name(path);
    FILE *in = is_standard_input(path) ? stdin : fopen(path, "re");
    if (in == NULL) {
        complain("%s: cannot open it: %s", name, strerror(errno));
        return NULL;
    }
    char *bytes = read_all(in, name, n_bytes);
    if (in != stdin) fclose(in);
    return bytes;
}
