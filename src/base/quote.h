/* SPDX-License-Identifier: MIT */
/*
 * quote.h - bytes from a file, made fit to stand in a message.
 *
 * Names in a model file are any bytes of any length. In a message they are valid
 * UTF-8 without control characters, and short: other bytes become \xNN, and what
 * is too long is cut and ends, or for a path begins, with "...".
 */
#ifndef BNI_BASE_QUOTE_H
#define BNI_BASE_QUOTE_H

#include <stddef.h>

enum { BNI_QUOTE_MAX_BYTES = 120 }; /* the NUL included */

struct bni_quote {
    char text[BNI_QUOTE_MAX_BYTES];
};

/* Both fill `quote` and return its text. */
const char *bni_quote_bytes(struct bni_quote *quote, const void *bytes, size_t n_bytes);
const char *bni_quote_path(struct bni_quote *quote, const char *path);

#endif
