/* SPDX-License-Identifier: MIT */
/*
 * display.h - the texts on standard output as they come, and on a terminal what the
 * requests are doing.
 */
#ifndef CLI_DISPLAY_H
#define CLI_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>

#include <bitnet/engine.h>

struct display;

/*
 * For `n` prompts, which must outlive the display, as must `engine`. With `is_quiet`
 * nothing goes to standard output; a terminal still sees the progress. NULL: out of
 * memory.
 */
struct display *display_create(char *const *prompts, size_t n, bitnet_engine *engine,
                               bool is_quiet);

/* Request `index` begins, grows, ends. Any thread. */
void display_start(struct display *display, size_t index);
void display_text(struct display *display, size_t index, const char *text,
                  size_t text_len);
void display_finish(struct display *display, size_t index);

/* Whether output was refused (a closed pipe, a full disk): nobody reads on. Any thread. */
bool display_has_failed(struct display *display);

/*
 * Writes what is left, takes the progress away and frees the display. Returns false,
 * with one line on standard error, if any output was lost. NULL does nothing.
 */
bool display_end(struct display *display);

#endif
