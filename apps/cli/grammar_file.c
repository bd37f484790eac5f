/* SPDX-License-Identifier: MIT */
/*
 * grammar_file.c - see grammar_file.h.
 */
#include "grammar_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"

enum { MAX_FILE_BYTES = 1 << 20 }; /* the library reads no more either */

/* Reads a file whole, as a string for free(). NULL: a line has said why. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(MAX_FILE_BYTES + 1);
    size_t n_bytes = 0;
    const char *trouble = NULL;
    if (file == NULL)
        trouble = strerror(errno);
    else if (text == NULL)
        trouble = "out of memory";
    if (trouble == NULL) {
        n_bytes = fread(text, 1, MAX_FILE_BYTES + 1, file);
        if (ferror(file))
            trouble = strerror(errno);
        else if (n_bytes > MAX_FILE_BYTES)
            trouble = "it has more than 1 MiB";
        else if (memchr(text, '\0', n_bytes) != NULL)
            trouble = "it has a NUL byte";
    }
    if (file != NULL) fclose(file);
    if (trouble != NULL) {
        complain("cannot read %s: %s", path, trouble);
        free(text);
        return NULL;
    }
    text[n_bytes] = '\0';
    return text;
}

int grammar_from_files(const char *grammar_path, const char *schema_path,
                       bitnet_grammar **out)
{
    *out = NULL;
    if (grammar_path != NULL && schema_path != NULL) {
        complain("run: --grammar and --json-schema: give one or the other");
        return EXIT_WRONG_USAGE;
    }
    const char *path = grammar_path != NULL ? grammar_path : schema_path;
    if (path == NULL) return EXIT_DONE;
    char *text = read_text(path);
    if (text == NULL) return EXIT_FAILED;
    const bitnet_status status = grammar_path != NULL
                                     ? bitnet_grammar_parse(text, out)
                                     : bitnet_grammar_from_json_schema(text, out);
    free(text);
    if (status == BITNET_OK) return EXIT_DONE;
    complain("%s: %s", path, bitnet_last_error());
    return EXIT_FAILED;
}
