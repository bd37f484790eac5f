/* SPDX-License-Identifier: MIT */
/*
 * text.c - see text.h.
 *
 * Widths are an upper bound: everything from the Hangul letters on counts as two
 * columns and combining marks as one, so a line may be shorter than allowed but
 * never wraps, and no locale has to be set to know it.
 */
#include "text.h"

enum { FIRST_WIDE = 0x1100, ELLIPSIS = 0x2026 };

uint32_t text_next(const char *bytes, size_t n_bytes, size_t *length)
{
    const unsigned char *in = (const unsigned char *)bytes;
    *length = 1;
    if (in[0] < 0x80) return in[0];

    const size_t n_wanted = in[0] >= 0xF0 ? 4 : in[0] >= 0xE0 ? 3 : 2;
    if (in[0] < 0xC2 || in[0] > 0xF4 || n_bytes < n_wanted) return TEXT_BROKEN;
    uint32_t character = in[0] & (0x7Fu >> n_wanted);
    for (size_t i = 1; i < n_wanted; i++) {
        if ((in[i] & 0xC0) != 0x80) return TEXT_BROKEN;
        character = character << 6 | (in[i] & 0x3Fu);
    }
    /* Longer than needed, a surrogate, or beyond Unicode. */
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (character < smallest[n_wanted] || character > 0x10FFFF ||
        (character >= 0xD800 && character <= 0xDFFF))
        return TEXT_BROKEN;
    *length = n_wanted;
    return character;
}

size_t text_first_broken(const char *bytes, size_t n_bytes)
{
    size_t length;
    for (size_t i = 0; i < n_bytes; i += length) {
        if (text_next(bytes + i, n_bytes - i, &length) == TEXT_BROKEN) return i;
    }
    return n_bytes;
}

bool text_is_control(uint32_t character)
{
    return character < 0x20 || (character >= 0x7F && character < 0xA0);
}

static unsigned width(uint32_t character)
{
    return character >= FIRST_WIDE && character != ELLIPSIS ? 2 : 1;
}

/* Returns the bytes of `text` that fit in `n_columns`, and the columns they take. */
static size_t fitting_prefix(const char *text, size_t n_bytes, unsigned n_columns,
                             unsigned *n_taken)
{
    size_t length;
    *n_taken = 0;
    for (size_t i = 0; i < n_bytes; i += length) {
        const unsigned added = width(text_next(text + i, n_bytes - i, &length));
        if (*n_taken + added > n_columns) return i;
        *n_taken += added;
    }
    return n_bytes;
}

void text_put_fitted(FILE *out, const char *text, size_t n_bytes, unsigned n_columns,
                     bool is_padded)
{
    unsigned n_taken;
    size_t n_kept = fitting_prefix(text, n_bytes, n_columns, &n_taken);
    const bool is_cut = n_kept < n_bytes && n_columns > 0;
    if (is_cut) n_kept = fitting_prefix(text, n_bytes, n_columns - 1, &n_taken);

    size_t length;
    for (size_t i = 0; i < n_kept; i += length) {
        const uint32_t character = text_next(text + i, n_kept - i, &length);
        if (character == TEXT_BROKEN)
            fputc('?', out);
        else if (text_is_control(character))
            fputc(' ', out);
        else
            fwrite(text + i, 1, length, out);
    }
    if (is_cut) {
        fputs("…", out);
        n_taken++;
    }
    if (is_padded) fprintf(out, "%*s", (int)(n_columns - n_taken), "");
}

const char *text_tail(const char *text, size_t n_bytes, unsigned n_columns)
{
    /* No character takes more than four bytes, so what came before does not matter. */
    const size_t n_looked_at = (size_t)n_columns * 4 + 4;
    const char *tail = n_bytes > n_looked_at ? text + n_bytes - n_looked_at : text;
    const char *end = text + n_bytes;
    while (tail < end && ((unsigned char)*tail & 0xC0) == 0x80) tail++;

    unsigned n_taken;
    while (fitting_prefix(tail, (size_t)(end - tail), n_columns, &n_taken) <
           (size_t)(end - tail)) {
        size_t length;
        text_next(tail, (size_t)(end - tail), &length);
        tail += length;
    }
    return tail;
}

void text_put_safe(FILE *out, const char *text, size_t n_bytes)
{
    size_t length;
    for (size_t i = 0; i < n_bytes; i += length) {
        const uint32_t character = text_next(text + i, n_bytes - i, &length);
        const bool is_shown = character == '\n' || character == '\t' ||
                              (character != TEXT_BROKEN && !text_is_control(character));
        if (is_shown)
            fwrite(text + i, 1, length, out);
        else
            fputc('?', out);
    }
}
