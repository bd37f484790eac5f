/* SPDX-License-Identifier: MIT */
/*
 * grammar_scan.h - a place in the text of a grammar: what stands there, and how to say
 * that it is wrong.
 *
 * The text ends with a NUL and is known to be UTF-8 once bni_scan_check_utf8() has said
 * so; no function here goes past its end.
 */
#ifndef BNI_ENGINE_GRAMMAR_SCAN_H
#define BNI_ENGINE_GRAMMAR_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/export.h>
#include <bitnet/status.h>

struct bni_grammar_scan {
    const char *text;
    const char *at;
};

/* Line and column from 1; a column is a character. */
void bni_scan_locate(const struct bni_grammar_scan *scan, const char *where,
                     unsigned *line, unsigned *column);

/* Fails with the place and a message. */
bitnet_status bni_scan_fail(const struct bni_grammar_scan *scan, const char *where,
                            bitnet_status status, const char *format, ...)
    BITNET_PRINTF(4, 5);

/* Fails with what is there and what should be. */
bitnet_status bni_scan_fail_expected(const struct bni_grammar_scan *scan,
                                     const char *expected);

/* Says where, of an error that the builder has found. */
bitnet_status bni_scan_place(const struct bni_grammar_scan *scan, const char *where,
                             bitnet_status status);

bitnet_status bni_scan_check_utf8(const struct bni_grammar_scan *scan, size_t n_bytes);

/* Takes a character of a literal or a set: as it is, or what a backslash names. */
bitnet_status bni_scan_written(struct bni_grammar_scan *scan, uint32_t *character);

/* Goes over spaces and comments, and ends of lines too if `over_lines`. */
void bni_scan_space(struct bni_grammar_scan *scan, bool over_lines);

/* Takes a number of repetitions. */
bitnet_status bni_scan_number(struct bni_grammar_scan *scan, uint32_t *number);

#endif
