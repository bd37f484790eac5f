/* SPDX-License-Identifier: MIT */
/*
 * quote.c - escape first, then cut: the limit is on what is printed.
 */
#include "base/quote.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

static const char ELLIPSIS[] = "...";

/*
 * Writes the character or byte at `bytes` as it is printed, at most four bytes,
 * to `out`; `*n_read` is how many bytes of the input that stands for.
 */
static size_t escape_one(const uint8_t *bytes, size_t n_bytes, char out[4],
                         size_t *n_read)
{
    static const char DIGITS[] = "0123456789abcdef";
    const bool is_good = bni_utf8_next(bytes, n_bytes, n_read) == BNI_UTF8_CHARACTER;
    /* C0, DEL, and C1, which in UTF-8 is C2 80 to C2 9F. */
    const bool is_control = bytes[0] < 0x20 || bytes[0] == 0x7F ||
                            (is_good && bytes[0] == 0xC2 && bytes[1] < 0xA0);
    if (is_good && !is_control) {
        memcpy(out, bytes, *n_read);
        return *n_read;
    }
    *n_read = 1;
    memcpy(out, "\\x", 2);
    out[2] = DIGITS[bytes[0] >> 4];
    out[3] = DIGITS[bytes[0] & 15];
    return 4;
}

const char *bni_quote_bytes(struct bni_quote *quote, const void *bytes, size_t n_bytes)
{
    const uint8_t *input = bytes;
    const size_t max_bytes = sizeof(quote->text) - sizeof(ELLIPSIS);
    size_t n_out = 0;
    for (size_t i = 0; i < n_bytes;) {
        char escaped[4];
        size_t n_read;
        const size_t n_escaped = escape_one(input + i, n_bytes - i, escaped, &n_read);
        if (n_out + n_escaped > max_bytes) {
            memcpy(quote->text + n_out, ELLIPSIS, sizeof(ELLIPSIS));
            return quote->text;
        }
        memcpy(quote->text + n_out, escaped, n_escaped);
        n_out += n_escaped;
        i += n_read;
    }
    quote->text[n_out] = '\0';
    return quote->text;
}

/* How many bytes the text takes once escaped. */
static size_t escaped_bytes(const uint8_t *bytes, size_t n_bytes)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n_bytes;) {
        char escaped[4];
        size_t n_read;
        n_out += escape_one(bytes + i, n_bytes - i, escaped, &n_read);
        i += n_read;
    }
    return n_out;
}

const char *bni_quote_path(struct bni_quote *quote, const char *path)
{
    const uint8_t *bytes = (const uint8_t *)path;
    const size_t n_bytes = strlen(path);
    const size_t max_bytes = sizeof(quote->text) - sizeof(ELLIPSIS);

    /* The end of a path says more than its beginning: drop whole characters from the
     * front until the rest fits. A first cut keeps the search short. */
    size_t begin = n_bytes > max_bytes ? n_bytes - max_bytes : 0;
    while (begin > 0 && begin < n_bytes && (bytes[begin] & 0xC0) == 0x80) begin++;
    while (escaped_bytes(bytes + begin, n_bytes - begin) > max_bytes) {
        size_t length;
        bni_utf8_next(bytes + begin, n_bytes - begin, &length);
        begin += length;
    }
    if (begin == 0) return bni_quote_bytes(quote, bytes, n_bytes);

    struct bni_quote tail;
    bni_quote_bytes(&tail, bytes + begin, n_bytes - begin);
    memcpy(quote->text, ELLIPSIS, sizeof(ELLIPSIS) - 1);
    memcpy(quote->text + sizeof(ELLIPSIS) - 1, tail.text, strlen(tail.text) + 1);
    return quote->text;
}
