/* SPDX-License-Identifier: MIT */
/*
 * utf8.h - where a UTF-8 character begins and ends.
 *
 * Well-formed is what the Unicode standard's table 3-7 says: no overlong forms,
 * no surrogates, nothing above U+10FFFF. What is not becomes U+FFFD, one for each
 * maximal subpart, which is what browsers, Rust and Python do.
 */
#ifndef BNI_BASE_UTF8_H
#define BNI_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BNI_UTF8_MAX_BYTES = 4,         /* of one character */
    BNI_UTF8_REPLACEMENT_BYTES = 3, /* of U+FFFD */
};

enum bni_utf8_kind {
    BNI_UTF8_CHARACTER, /* well-formed */
    BNI_UTF8_BROKEN,    /* can be no character, whatever follows */
    BNI_UTF8_CUT,       /* ends where a character could go on */
};

/*
 * Looks at the character at `bytes`, of which there are `n_bytes` >= 1, and puts
 * the number of bytes it takes in `*length`: the character's, the maximal
 * subpart's, or all that is left.
 */
enum bni_utf8_kind bni_utf8_next(const uint8_t *bytes, size_t n_bytes, size_t *length);

/* Returns the longest prefix, in bytes, that does not end inside a character. */
size_t bni_utf8_whole_prefix(const uint8_t *bytes, size_t n_bytes);

/*
 * Copies text to `out`, U+FFFD in place of what is ill-formed. `out` has room for
 * `3 * n_bytes`, or is NULL to count. Returns the number of bytes.
 */
size_t bni_utf8_repair(const uint8_t *bytes, size_t n_bytes, uint8_t *out);

#endif
