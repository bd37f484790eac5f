/* SPDX-License-Identifier: MIT */
/*
 * byte_level.h - the alphabet that byte-level BPE vocabularies are written in.
 *
 * Every byte has a printable character: 188 bytes stand for themselves as code
 * points (0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF), the other 68, in rising order, are
 * U+0100 to U+0143. So a space is written U+0120 and a line feed U+010A.
 */
#ifndef BNI_MODEL_BYTE_LEVEL_H
#define BNI_MODEL_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Turns text of that alphabet, in UTF-8, into the bytes it stands for: at most
 * `n_text` of them, written to `out`. Returns false at a character outside of it.
 */
bool bni_byte_level_decode(const char *text, size_t n_text, char *out, size_t *n_out);

#endif
