/* SPDX-License-Identifier: MIT */
/*
 * prompts.c - see prompts.h.
 *
 * A file is read whole, checked line by line and cut in place. It is a stranger's:
 * its size, its lines and their number have bounds, and what is not UTF-8 is told
 * with its place, because the library would silently read U+FFFD there.
 */
#include "prompts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "complain.h"
#include "text.h"
#include "text_file.h"

enum { MAX_PROMPTS = 10000 };

/* Returns whether the `n_bytes` of `text`, which come from `where`, are a prompt. */
static bool is_sound(const char *text, size_t n_bytes, const char *where)
{
    const size_t broken = text_first_broken(text, n_bytes);
    if (broken == n_bytes) return true;
    complain("%s: byte %zu (0x%02x) is not UTF-8: save the text as UTF-8", where,
             broken + 1, (unsigned char)text[broken]);
    return false;
}

int prompts_from_arguments(char **arguments, int n_arguments, struct prompts *out)
{
    *out = (struct prompts){0};
    if (n_arguments > MAX_PROMPTS) {
        complain("run: %d prompts are too many: at most %d", n_arguments, MAX_PROMPTS);
        return EXIT_WRONG_USAGE;
    }
    for (int i = 0; i < n_arguments; i++) {
        char where[64];
        snprintf(where, sizeof(where), "prompt %d", i + 1);
        if (arguments[i][0] == '\0') {
            complain("%s: is empty: give it at least one character", where);
            return EXIT_WRONG_USAGE;
        }
        if (!is_sound(arguments[i], strlen(arguments[i]), where))
            return EXIT_WRONG_USAGE;
    }
    out->texts = calloc((size_t)n_arguments, sizeof(*out->texts));
    if (out->texts == NULL) {
        complain("cannot hold %d prompts: out of memory", n_arguments);
        return EXIT_FAILED;
    }
    memcpy(out->texts, arguments, (size_t)n_arguments * sizeof(*out->texts));
    out->n = (size_t)n_arguments;
    return EXIT_DONE;
}

/* Cuts out->bytes into lines. Returns an exit code. */
static int cut_lines(const char *name, size_t n_bytes, struct prompts *out)
{
    size_t line_number = 0;
    char *end = out->bytes + n_bytes;
    for (char *line = out->bytes; line < end; line_number++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *line_end = newline == NULL ? end : newline;
        char *next = line_end + 1;
        if (line_end > line && line_end[-1] == '\r') line_end--;
        *line_end = '\0'; /* there is room for one at the end of the file */

        char where[4096];
        snprintf(where, sizeof(where), "%s: line %zu", name, line_number + 1);
        const size_t n_line = (size_t)(line_end - line);
        if (strlen(line) != n_line) {
            complain("%s: has a NUL byte at %zu: is this a text file?", where,
                     strlen(line) + 1);
            return EXIT_WRONG_USAGE;
        }
        if (!is_sound(line, n_line, where)) return EXIT_WRONG_USAGE;
        if (strspn(line, " \t") < n_line) {
            if (out->n == MAX_PROMPTS) {
                complain("%s: has more than %d prompts: split it", name, MAX_PROMPTS);
                return EXIT_WRONG_USAGE;
            }
            out->texts[out->n++] = line;
        }
        line = next;
    }
    if (out->n > 0) return EXIT_DONE;
    complain("%s: holds no prompt: write one per line", name);
    return EXIT_WRONG_USAGE;
}

int prompts_from_file(const char *path, struct prompts *out)
{
    *out = (struct prompts){0};
    const char *name = text_file_name(path);
    size_t n_bytes;
    out->bytes = text_file_read(path, &n_bytes);
    if (out->bytes == NULL) return EXIT_FAILED;

    int code = EXIT_FAILED;
    out->texts = calloc(MAX_PROMPTS, sizeof(*out->texts));
    if (out->texts == NULL)
        complain("%s: cannot hold its prompts: out of memory", name);
    else
        code = cut_lines(name, n_bytes, out);
    if (code != EXIT_DONE) prompts_free(out);
    return code;
}

bool prompts_are_piped_in(void)
{
    struct stat about;
    if (fstat(STDIN_FILENO, &about) != 0) return false;
    return S_ISFIFO(about.st_mode) || S_ISREG(about.st_mode) || S_ISSOCK(about.st_mode);
}

void prompts_free(struct prompts *prompts)
{
    free(prompts->texts);
    free(prompts->bytes);
    *prompts = (struct prompts){0};
}
