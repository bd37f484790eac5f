/* SPDX-License-Identifier: MIT */
/*
 * reader.h - a cursor over bytes that nobody has checked.
 *
 * Every read compares what is wanted with what is left, so no sum of an offset
 * and a length from a file is ever formed. Numbers are little-endian and may lie
 * at any address. A read that does not fit returns false and moves nothing.
 */
#ifndef BNI_BASE_READER_H
#define BNI_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bni_reader {
    const uint8_t *bytes;
    size_t n_bytes;
    size_t offset; /* of the next byte to read; at most n_bytes */
};

/* Returns how many bytes are left. */
size_t bni_reader_left(const struct bni_reader *reader);

/* Each reads one number, or returns false and leaves `*value` alone. */
bool bni_reader_u32(struct bni_reader *reader, uint32_t *value);
bool bni_reader_u64(struct bni_reader *reader, uint64_t *value);

/* Steps over `n_bytes` and gives where they are; `bytes` may be NULL. */
bool bni_reader_take(struct bni_reader *reader, uint64_t n_bytes,
                     const uint8_t **bytes);

#endif
