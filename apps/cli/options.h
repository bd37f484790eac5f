/* SPDX-License-Identifier: MIT */
/*
 * options.h - one table per command says what options there are, how they are read,
 * what they may be and what --help tells about them.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,   /* a bool, set to true */
    OPTION_TEXT,   /* a const char * into argv */
    OPTION_TEXTS,  /* a struct option_texts; may be given again and again */
    OPTION_WHOLE,  /* a uint64_t in [min, max] */
    OPTION_DECIMAL /* a double in [min, max] */
};

enum { OPTION_MAX_TEXTS = 64 };

struct option_texts {
    const char *texts[OPTION_MAX_TEXTS]; /* into argv */
    size_t n;
};

struct option {
    const char *name; /* without the dashes */
    char letter;      /* of the short form, or 0 */
    enum option_kind kind;
    void *value;          /* what it sets; holds the default */
    const char *argument; /* how --help calls the value */
    const char *help;
    double min; /* bounds are exact as doubles, or 0, 0: none */
    double max;
};

struct command {
    const char *name;
    const char *arguments; /* after the name, in the usage line */
    const char *summary;   /* a paragraph */
    const char *examples;  /* lines */
    const struct option *options;
    size_t n_options;
};

enum options_result { OPTIONS_READ, OPTIONS_HELP_SHOWN, OPTIONS_WRONG };

/*
 * Reads argv[1..argc) and moves what is no option, in order, to argv[0..*n_operands).
 * "--" ends the options. On OPTIONS_WRONG one line on standard error has said why.
 */
enum options_result options_read(const struct command *command, int argc, char **argv,
                                 int *n_operands);

/* Returns the name that `wrong` was probably meant to be, or NULL. */
const char *options_nearest(const char *wrong, const char *const *names,
                            size_t n_names);

#endif
