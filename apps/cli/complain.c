/* SPDX-License-Identifier: MIT */
/*
 * complain.c - see complain.h. The line is formatted first and written in one piece,
 * so that two threads' lines do not mix.
 */
#include "complain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

enum { MAX_MESSAGE_BYTES = 4096 };

void complain(const char *format, ...)
{
    char message[MAX_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);

    for (char *c = message; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\t') *c = ' ';
    }
    flockfile(stderr);
    fputs("bitnet: ", stderr);
    text_put_safe(stderr, message, strlen(message));
    fputc('\n', stderr);
    funlockfile(stderr);
}
