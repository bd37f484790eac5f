/* SPDX-License-Identifier: MIT */
/*
 * log.h - saying something to the program's log callback, if it has set one.
 */
#ifndef BNI_BASE_LOG_H
#define BNI_BASE_LOG_H

#include <bitnet/log.h>

/* Formats one line and hands it on; cut at a whole character if it is long. */
void bni_log(bitnet_log_level level, const char *format, ...) BITNET_PRINTF(2, 3);

/* Around a fork, in the thread that forks: nobody is half way through setting the
 * callback meanwhile. */
void bni_log_before_fork(void);
void bni_log_after_fork(void);

#endif
