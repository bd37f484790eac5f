/* SPDX-License-Identifier: MIT */
/*
 * interrupt.h - Ctrl-C: the first cancels the requests, the second ends at once.
 *
 * A thread of its own waits for the signal, so what an interrupt does is ordinary
 * code and not a signal handler.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

#include <bitnet/engine.h>

/*
 * Blocks SIGINT in this thread and those it starts from now on, and starts the
 * watcher. Returns false, with one line on standard error, if that is refused.
 */
bool interrupt_begin(void);

/* Says what to cancel; with NULL, as at the beginning, an interrupt ends at once. */
void interrupt_set_engine(bitnet_engine *engine);

/* Whether the first Ctrl-C has come. Any thread. */
bool interrupt_is_pending(void);

/* Ends the watcher. */
void interrupt_end(void);

#endif
