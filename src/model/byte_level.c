/* SPDX-License-Identifier: MIT */
/*
 * byte_level.c - the inverse of the byte alphabet, in closed form.
 *
 * The shifted bytes lie in three ranges, so no table is needed:
 *
 *     code point  U+0100 .. U+0120    U+0121 .. U+0142    U+0143
 *     byte          0x00 ..   0x20      0x7F ..   0xA0      0xAD
 */
#include "model/byte_level.h"

#include <stdint.h>

/* Returns the byte that `code_point` stands for, or -1. */
static int byte_of(uint32_t code_point)
{
    const bool stands_for_itself =
        (code_point >= 0x21 && code_point <= 0x7E) ||
        (code_point >= 0xA1 && code_point <= 0xFF && code_point != 0xAD);
    if (stands_for_itself) return (int)code_point;
    if (code_point >= 0x100 && code_point <= 0x120) return (int)(code_point - 0x100);
    if (code_point >= 0x121 && code_point <= 0x142)
        return (int)(code_point - 0x121 + 0x7F);
    return code_point == 0x143 ? 0xAD : -1;
}

bool bni_byte_level_decode(const char *text, size_t n_text, char *out, size_t *n_out)
{
    size_t n = 0;
    for (size_t i = 0; i < n_text;) {
        uint32_t code_point = (uint8_t)text[i++];
        if (code_point >= 0x80) {
            /* The alphabet ends at U+0143: what is in it takes two bytes at most. */
            if (code_point < 0xC2 || code_point > 0xC5 || i == n_text) return false;
            const uint8_t second = (uint8_t)text[i++];
            if ((second & 0xC0) != 0x80) return false;
            code_point = (code_point & 0x1F) << 6 | (second & 0x3F);
        }
        const int byte = byte_of(code_point);
        if (byte < 0) return false;
        out[n++] = (char)byte;
    }
    *n_out = n;
    return true;
}
