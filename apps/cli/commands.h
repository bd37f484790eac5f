/* SPDX-License-Identifier: MIT */
/*
 * commands.h - one function per command; each gets argv from its name on and returns
 * an exit code.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

int command_run(int argc, char **argv);
int command_info(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_perplexity(int argc, char **argv);
int command_synth(int argc, char **argv);

#endif
