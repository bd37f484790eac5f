/* SPDX-License-Identifier: MIT */
/*
 * text.h - UTF-8 as a terminal sees it: characters, their widths, and what to do
 * with bytes that a stranger wrote.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { TEXT_BROKEN = 0x110000 }; /* beyond Unicode */

/*
 * Decodes the character at the start of `bytes`, of which there is at least one, and
 * sets its length. A byte that begins no character gives TEXT_BROKEN and length 1.
 */
uint32_t text_next(const char *bytes, size_t n_bytes, size_t *length);

/* Returns the offset of the first byte that is not UTF-8, `n_bytes` if there is none. */
size_t text_first_broken(const char *bytes, size_t n_bytes);

/* Would move the cursor, change colours or ring the bell instead of showing. */
bool text_is_control(uint32_t character);

/*
 * Writes at most `n_columns` columns of `text` as one line to `out`, with "…" where
 * something was left out at the end, and padded with spaces to `n_columns` if
 * `is_padded`. Control characters become spaces.
 */
void text_put_fitted(FILE *out, const char *text, size_t n_bytes, unsigned n_columns,
                     bool is_padded);

/* Returns the start of the last characters of `text` that fit in `n_columns`. */
const char *text_tail(const char *text, size_t n_bytes, unsigned n_columns);

/* Writes text as it is, but control characters other than newline and tab as "?". */
void text_put_safe(FILE *out, const char *text, size_t n_bytes);

#endif
