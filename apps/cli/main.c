/* SPDX-License-Identifier: MIT */
/*
 * main.c - `bitnet COMMAND ...`: finds the command and sees to what all of them share:
 * open standard streams, no death by SIGPIPE, and output that arrived.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bitnet/version.h>

#include "commands.h"
#include "complain.h"
#include "options.h"

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", command_run, "continue prompts, many at once"},
    {"info", command_info, "what is in a model file"},
    {"tokenize", command_tokenize, "text to tokens, as a model sees it"},
    {"perplexity", command_perplexity, "how well a model foretells a text"},
    {"synth", command_synth, "write a model with random weights, to measure with"},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void show_help(FILE *out)
{
    fprintf(out, "usage: bitnet COMMAND [options]\n\n"
                 "Runs BitNet b1.58 ternary language models.\n\ncommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out,
            "\n  --version  print the version\n"
            "  --help     show this; 'bitnet COMMAND --help' tells more\n\nexamples:\n"
            "  bitnet run \"Once upon a time\"\n"
            "  bitnet info model.gguf\n"
            "  bitnet tokenize \"Once upon a time\"\n\n"
            "exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted\n");
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        show_help(stderr);
        return EXIT_WRONG_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
        strcmp(word, "help") == 0) {
        show_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(word, "--version") == 0) {
        printf("bitnet %s\n", bitnet_version());
        return EXIT_DONE;
    }
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
        names[i] = commands[i].name;
    }
    const char *nearest = options_nearest(word, names, N_COMMANDS);
    if (nearest != NULL)
        complain("there is no command '%s'; did you mean '%s'?", word, nearest);
    else
        complain("there is no command '%s'; 'bitnet --help' lists them", word);
    return EXIT_WRONG_USAGE;
}

/*
 * A standard stream that came closed would lend its number to the next file that is
 * opened. Opened for reading only, so that writing to it still fails.
 */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1) (void)!open("/dev/null", O_RDONLY);
    }
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
    const int code = run_command(argc, argv);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE) {
        complain("cannot write to standard output: %s",
                 errno != 0 ? strerror(errno) : "a write failed");
        return EXIT_FAILED;
    }
    return code;
}
