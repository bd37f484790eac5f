/* SPDX-License-Identifier: MIT */
/*
 * reader.c - see reader.h. Numbers are copied, not cast: the address is whatever
 * the file made it, and memcpy is one load on machines that allow that.
 */
#include "base/reader.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian and their numbers are used where they lie");

size_t bni_reader_left(const struct bni_reader *reader)
{
    return reader->n_bytes - reader->offset;
}

bool bni_reader_take(struct bni_reader *reader, uint64_t n_bytes, const uint8_t **bytes)
{
    if (n_bytes > bni_reader_left(reader)) return false;
    if (bytes != NULL) *bytes = reader->bytes + reader->offset;
    reader->offset += (size_t)n_bytes;
    return true;
}

bool bni_reader_u32(struct bni_reader *reader, uint32_t *value)
{
    const uint8_t *bytes;
    if (!bni_reader_take(reader, sizeof(*value), &bytes)) return false;
    memcpy(value, bytes, sizeof(*value));
    return true;
}

bool bni_reader_u64(struct bni_reader *reader, uint64_t *value)
{
    const uint8_t *bytes;
    if (!bni_reader_take(reader, sizeof(*value), &bytes)) return false;
    memcpy(value, bytes, sizeof(*value));
    return true;
}
