/* SPDX-License-Identifier: MIT */
/*
 * prompts.h - where the prompts come from: arguments, a file or standard input with
 * one per line.
 */
#ifndef CLI_PROMPTS_H
#define CLI_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>

struct prompts {
    char **texts; /* NUL-terminated UTF-8, at least one byte each */
    size_t n;
    char *bytes; /* of the file; what `texts` points into, or NULL */
};

/*
 * Takes the arguments. Returns an exit code; other than EXIT_DONE, one line on
 * standard error has said why, and nothing is held.
 */
int prompts_from_arguments(char **arguments, int n_arguments, struct prompts *out);

/* Reads a file; "-" is standard input. Empty lines are left out. Returns likewise. */
int prompts_from_file(const char *path, struct prompts *out);

/* Standard input is a pipe or a file, not a terminal, /dev/null or closed. */
bool prompts_are_piped_in(void);

void prompts_free(struct prompts *prompts);

#endif
