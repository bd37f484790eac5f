/* SPDX-License-Identifier: MIT */
/*
 * utf8.c - the state machine of the Unicode standard's table 3-7.
 *
 * A lead byte says how many bytes follow and, for four of them, narrows what the
 * second byte may be (no overlong form, no surrogate, nothing above U+10FFFF).
 */
#include "base/utf8.h"

#include <string.h>

enum bni_utf8_kind bni_utf8_next(const uint8_t *bytes, size_t n_bytes, size_t *length)
{
    const uint8_t lead = bytes[0];
    *length = 1;
    if (lead < 0x80) return BNI_UTF8_CHARACTER;
    if (lead < 0xC2 || lead > 0xF4) return BNI_UTF8_BROKEN;

    const size_t n_wanted = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint8_t second_min = 0x80;
    uint8_t second_max = 0xBF;
    if (lead == 0xE0) second_min = 0xA0;
    if (lead == 0xED) second_max = 0x9F;
    if (lead == 0xF0) second_min = 0x90;
    if (lead == 0xF4) second_max = 0x8F;

    for (size_t i = 1; i < n_wanted; i++) {
        if (i == n_bytes) return BNI_UTF8_CUT;
        const uint8_t min = i == 1 ? second_min : 0x80;
        const uint8_t max = i == 1 ? second_max : 0xBF;
        if (bytes[i] < min || bytes[i] > max) return BNI_UTF8_BROKEN;
        *length = i + 1;
    }
    return BNI_UTF8_CHARACTER;
}

size_t bni_utf8_whole_prefix(const uint8_t *bytes, size_t n_bytes)
{
    /* Only the last three bytes can be an unfinished character. */
    const size_t n_looked_at = n_bytes < 3 ? n_bytes : 3;
    for (size_t i = 1; i <= n_looked_at; i++) {
        size_t length;
        const size_t begin = n_bytes - i;
        if ((bytes[begin] & 0xC0) == 0x80)
            continue; /* a continuation: go further back */
        if (bni_utf8_next(bytes + begin, i, &length) == BNI_UTF8_CUT) return begin;
        break;
    }
    return n_bytes;
}

size_t bni_utf8_repair(const uint8_t *bytes, size_t n_bytes, uint8_t *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n_bytes;) {
        size_t length;
        const bool is_good =
            bni_utf8_next(bytes + i, n_bytes - i, &length) == BNI_UTF8_CHARACTER;
        const size_t n_added = is_good ? length : BNI_UTF8_REPLACEMENT_BYTES;
        if (out != NULL)
            memcpy(out + n_out, is_good ? bytes + i : (const uint8_t *)"\xEF\xBF\xBD",
                   n_added);
        n_out += n_added;
        i += length;
    }
    return n_out;
}
