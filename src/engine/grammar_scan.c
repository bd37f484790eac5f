/* SPDX-License-Identifier: MIT */
/*
 * grammar_scan.c - see grammar_scan.h.
 */
#include "engine/grammar_scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "engine/grammar.h"

/* ---- where, and what is wrong there ------------------------------------------------- */

void bni_scan_locate(const struct bni_grammar_scan *scan, const char *where,
                     unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (const char *c = scan->text; c < where; c++) {
        if (*c == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)*c & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

bitnet_status bni_scan_fail(const struct bni_grammar_scan *scan, const char *where,
                            bitnet_status status, const char *format, ...)
{
    char message[256];
    unsigned line, column;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    bni_scan_locate(scan, where, &line, &column);
    return bni_error(status, "grammar: line %u, column %u: %s", line, column, message);
}

bitnet_status bni_scan_place(const struct bni_grammar_scan *scan, const char *where,
                             bitnet_status status)
{
    if (status == BITNET_OK || status == BITNET_ERROR_OUT_OF_MEMORY) return status;
    unsigned line, column;
    bni_scan_locate(scan, where, &line, &column);
    return bni_error_prefix("grammar: line %u, column %u", line, column);
}

bitnet_status bni_scan_fail_expected(const struct bni_grammar_scan *scan,
                                     const char *expected)
{
    struct bni_quote quote;
    size_t n_bytes = 0;
    if (*scan->at == '\0' || *scan->at == '\n')
        return bni_scan_fail(scan, scan->at, BITNET_ERROR_INVALID_ARGUMENT,
                             "found the end of the %s, expected %s",
                             *scan->at == '\0' ? "text" : "line", expected);
    bni_utf8_next((const uint8_t *)scan->at, strnlen(scan->at, BNI_UTF8_MAX_BYTES),
                  &n_bytes);
    return bni_scan_fail(scan, scan->at, BITNET_ERROR_INVALID_ARGUMENT,
                         "found \"%s\", expected %s",
                         bni_quote_bytes(&quote, scan->at, n_bytes), expected);
}

/* ---- characters ------------------------------------------------------------------------ */

/* Takes one character of text that is known to be UTF-8. */
static uint32_t take_character(struct bni_grammar_scan *scan)
{
    const unsigned char lead = (unsigned char)*scan->at++;
    if (lead < 0x80) return lead;
    unsigned n_left = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t character = lead & (0x3Fu >> n_left);
    for (; n_left > 0; n_left--)
        character = character << 6 | ((unsigned char)*scan->at++ & 0x3F);
    return character;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bitnet_status take_hex(struct bni_grammar_scan *scan, unsigned n_digits,
                              uint32_t *character)
{
    const char *begin = scan->at - 2;
    *character = 0;
    for (unsigned i = 0; i < n_digits; i++, scan->at++) {
        const int digit = hex_digit(*scan->at);
        if (digit < 0) return bni_scan_fail_expected(scan, "a hexadecimal digit");
        *character = *character << 4 | (uint32_t)digit;
    }
    if (*character > 0x10FFFF || (*character >= 0xD800 && *character <= 0xDFFF))
        return bni_scan_fail(scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                             "%" PRIX32 " is the number of no character", *character);
    return BITNET_OK;
}

/* Takes what follows a backslash. */
static bitnet_status take_escape(struct bni_grammar_scan *scan, uint32_t *character)
{
    const char c = *scan->at;
    if (c == '\0' || strchr("nrt\\\"[]-^xuU", c) == NULL)
        return bni_scan_fail_expected(
            scan, "one of n r t \\ \" [ ] - ^ x u U after a backslash");
    scan->at++;
    switch (c) {
    case 'n': *character = '\n'; return BITNET_OK;
    case 'r': *character = '\r'; return BITNET_OK;
    case 't': *character = '\t'; return BITNET_OK;
    case 'x': return take_hex(scan, 2, character);
    case 'u': return take_hex(scan, 4, character);
    case 'U': return take_hex(scan, 8, character);
    default: *character = (unsigned char)c; return BITNET_OK;
    }
}

bitnet_status bni_scan_written(struct bni_grammar_scan *scan, uint32_t *character)
{
    if (*scan->at == '\\') {
        scan->at++;
        return take_escape(scan, character);
    }
    *character = take_character(scan);
    return BITNET_OK;
}

/* ---- space and numbers --------------------------------------------------------------------- */

void bni_scan_space(struct bni_grammar_scan *scan, bool over_lines)
{
    for (;;) {
        if (*scan->at == '#') scan->at += strcspn(scan->at, "\n");
        const bool is_line_end = *scan->at == '\n' || *scan->at == '\r';
        if (*scan->at != ' ' && *scan->at != '\t' && !(is_line_end && over_lines))
            return;
        scan->at++;
    }
}

bitnet_status bni_scan_number(struct bni_grammar_scan *scan, uint32_t *number)
{
    const char *begin = scan->at;
    if (*scan->at < '0' || *scan->at > '9')
        return bni_scan_fail_expected(scan, "a number");
    for (*number = 0; *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
        *number = *number * 10 + (uint32_t)(*scan->at - '0');
        if (*number > BNI_GRAMMAR_MAX_REPETITIONS)
            return bni_scan_fail(scan, begin, BITNET_ERROR_UNSUPPORTED_OPERATION,
                                 "more than %d repetitions",
                                 BNI_GRAMMAR_MAX_REPETITIONS);
    }
    return BITNET_OK;
}

bitnet_status bni_scan_check_utf8(const struct bni_grammar_scan *scan, size_t n_bytes)
{
    for (size_t i = 0, length; i < n_bytes; i += length)
        if (bni_utf8_next((const uint8_t *)scan->text + i, n_bytes - i, &length) !=
            BNI_UTF8_CHARACTER)
            return bni_scan_fail(scan, scan->text + i, BITNET_ERROR_INVALID_ARGUMENT,
                                 "the text is not UTF-8 here");
    return BITNET_OK;
}
