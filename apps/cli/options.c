/* SPDX-License-Identifier: MIT */
/*
 * options.c - see options.h.
 *
 * Stricter than getopt_long, which is why it is not getopt_long: a number is a number
 * to its last character and within its bounds, an abbreviation is an error with a
 * hint, and one table is parsed, checked and explained from.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "complain.h"

enum { MAX_WORD = 32, MAX_NAMES = 64 };

/* How many letters to add, drop or change to make `b` of `a`. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[MAX_WORD + 1];
    const size_t n_b = strlen(b);
    if (strlen(a) > MAX_WORD || n_b > MAX_WORD) return MAX_WORD;
    for (unsigned j = 0; j <= n_b; j++) row[j] = j;
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            const unsigned changed = diagonal + (a[i - 1] != b[j - 1]);
            const unsigned shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = changed < shorter ? changed : shorter;
        }
    }
    return row[n_b];
}

const char *options_nearest(const char *wrong, const char *const *names, size_t n_names)
{
    const char *nearest = NULL;
    unsigned smallest = 3; /* farther than two is a guess */
    for (size_t i = 0; i < n_names; i++) {
        const unsigned d = distance(wrong, names[i]);
        const bool is_begun =
            strlen(wrong) >= 2 && strncmp(wrong, names[i], strlen(wrong)) == 0;
        if (d < smallest || (is_begun && nearest == NULL)) {
            nearest = names[i];
            smallest = d < smallest ? d : smallest;
        }
    }
    return nearest;
}

static void complain_unknown(const struct command *command, const char *word,
                             const char *name)
{
    const char *names[MAX_NAMES];
    size_t n_names = 0;
    for (size_t i = 0; i < command->n_options && n_names < MAX_NAMES; i++)
        names[n_names++] = command->options[i].name;
    const char *nearest = options_nearest(name, names, n_names);
    if (nearest != NULL)
        complain("%s: there is no option %s; did you mean --%s?", command->name, word,
                 nearest);
    else
        complain("%s: there is no option %s; 'bitnet %s --help' lists them",
                 command->name, word, command->name);
}

static void complain_number(const struct command *command, const struct option *option,
                            const char *text)
{
    const char *what = option->kind == OPTION_WHOLE ? "whole number" : "number";
    complain("%s: --%s: '%s' is not a %s from %.16g to %.16g", command->name,
             option->name, text, what, option->min, option->max);
}

static bool read_whole(const struct option *option, const char *text)
{
    if (!isdigit((unsigned char)text[0])) return false; /* strtoull takes " -1" */
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0') return false;
    if ((double)value < option->min || (double)value > option->max) return false;
    *(uint64_t *)option->value = value;
    return true;
}

static bool read_decimal(const struct option *option, const char *text)
{
    /* strtod also takes spaces, "inf", "nan" and hexadecimal. */
    if (text[0] == '\0' || strspn(text, "0123456789.eE+-") != strlen(text))
        return false;
    char *end;
    errno = 0;
    const double value = strtod(text, &end);
    if (errno != 0 || *end != '\0' || !isfinite(value)) return false;
    if (value < option->min || value > option->max) return false;
    *(double *)option->value = value;
    return true;
}

static bool add_text(const struct command *command, const struct option *option,
                     const char *text)
{
    struct option_texts *texts = option->value;
    if (texts->n == OPTION_MAX_TEXTS) {
        complain("%s: --%s is given more than %d times", command->name, option->name,
                 OPTION_MAX_TEXTS);
        return false;
    }
    texts->texts[texts->n++] = text;
    return true;
}

static bool set_value(const struct command *command, const struct option *option,
                      const char *text)
{
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->value = true; return true;
    case OPTION_TEXT: *(const char **)option->value = text; return true;
    case OPTION_TEXTS: return add_text(command, option, text);
    case OPTION_WHOLE:
        if (read_whole(option, text)) return true;
        break;
    case OPTION_DECIMAL:
        if (read_decimal(option, text)) return true;
        break;
    }
    complain_number(command, option, text);
    return false;
}

/* Finds "--name", "--name=value" or "-n"; `*value` is what followed the "=". */
static const struct option *find(const struct command *command, const char *word,
                                 char **value)
{
    *value = NULL;
    const bool is_long = word[1] == '-';
    const char *equals = is_long ? strchr(word, '=') : NULL;
    const size_t n_name =
        equals == NULL ? strlen(word) - 2 : (size_t)(equals - word) - 2;
    for (size_t i = 0; i < command->n_options; i++) {
        const struct option *option = &command->options[i];
        const bool is_it = is_long ? strlen(option->name) == n_name &&
                                         strncmp(option->name, word + 2, n_name) == 0
                                   : option->letter != '\0' &&
                                         word[1] == option->letter && word[2] == '\0';
        if (!is_it) continue;
        if (equals != NULL) *value = (char *)word + (equals - word) + 1;
        return option;
    }
    return NULL;
}

static void show_option(const struct option *option)
{
    char left[64];
    char letter[8] = "    ";
    if (option->letter != '\0')
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    const bool has_value = option->kind != OPTION_FLAG;
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name,
             has_value ? " " : "", has_value ? option->argument : "");
    printf("  %-26s %s", left, option->help);
    if (option->kind == OPTION_WHOLE)
        printf(" (default %llu)", (unsigned long long)*(const uint64_t *)option->value);
    if (option->kind == OPTION_DECIMAL)
        printf(" (default %g)", *(const double *)option->value);
    printf("\n");
}

static void show_help(const struct command *command)
{
    printf("usage: bitnet %s %s\n\n%s\n\noptions:\n", command->name, command->arguments,
           command->summary);
    for (size_t i = 0; i < command->n_options; i++) show_option(&command->options[i]);
    printf("  -h, --help                 show this\n\nexamples:\n%s",
           command->examples);
}

enum options_result options_read(const struct command *command, int argc, char **argv,
                                 int *n_operands)
{
    *n_operands = 0;
    bool is_past_options = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (is_past_options || word[0] != '-' || word[1] == '\0') {
            argv[(*n_operands)++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            is_past_options = true;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            show_help(command);
            return OPTIONS_HELP_SHOWN;
        }

        char *value;
        const struct option *option = find(command, word, &value);
        if (option == NULL) {
            char name[MAX_WORD + 1];
            const size_t n_dashes = strspn(word, "-");
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + n_dashes, "="),
                     word + n_dashes);
            complain_unknown(command, word, name);
            return OPTIONS_WRONG;
        }
        if (option->kind == OPTION_FLAG && value != NULL) {
            complain("%s: --%s takes no value, but got '%s'", command->name,
                     option->name, value);
            return OPTIONS_WRONG;
        }
        if (option->kind != OPTION_FLAG && value == NULL) {
            if (i + 1 == argc) {
                complain("%s: --%s needs a value: --%s %s", command->name, option->name,
                         option->name, option->argument);
                return OPTIONS_WRONG;
            }
            value = argv[++i];
        }
        if (!set_value(command, option, value)) return OPTIONS_WRONG;
    }
    return OPTIONS_READ;
}
