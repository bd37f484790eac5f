/* SPDX-License-Identifier: MIT */
/*
 * complain.h - exit codes, and the one line on standard error that goes with them.
 */
#ifndef CLI_COMPLAIN_H
#define CLI_COMPLAIN_H

#include <bitnet/export.h>

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_WRONG_USAGE = 2,
    EXIT_INTERRUPTED = 130 /* 128 + SIGINT, as a shell has it */
};

/*
 * Writes "bitnet: " and the message as one line to standard error, whatever line
 * breaks or control characters a quoted name may have. Any thread.
 */
void complain(const char *format, ...) BITNET_PRINTF(1, 2);

#endif
