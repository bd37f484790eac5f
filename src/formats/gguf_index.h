/* SPDX-License-Identifier: MIT */
/*
 * gguf_index.h - what the files that make up the GGUF reader share.
 *
 *   gguf_parse.c   header, metadata and tensor records: bytes to index
 *   gguf_layout.c  where the tensors' data lies, and that it lies in the file
 *   gguf_values.c  metadata by key and kind
 *   gguf.c         opening, closing, looking up
 */
#ifndef BNI_FORMATS_GGUF_INDEX_H
#define BNI_FORMATS_GGUF_INDEX_H

#include "base/file_map.h"
#include "base/quote.h"
#include "base/reader.h"
#include "formats/gguf.h"
#include "formats/tensor_types.h"

/* A tensor's record before its place is known to be good. */
struct bni_gguf_record {
    const struct bni_tensor_type_info *type;
    uint64_t offset; /* from the start of the data section */
};

struct bni_gguf {
    const uint8_t *bytes;
    size_t n_bytes;
    char *path;
    struct bni_quote label;
    struct bni_file_map map; /* empty if the bytes are borrowed */
    uint32_t version;

    struct bni_gguf_value *values;
    size_t n_values;
    uint32_t *values_by_key; /* indices, sorted by bni_string_compare() */

    struct bni_gguf_tensor *tensors;
    size_t n_tensors;
    uint32_t *tensors_by_name; /* likewise */
};

/* Orders by length, then by bytes: cheap, and total. */
int bni_string_compare(struct bni_string a, struct bni_string b);

/*
 * Reads everything up to the data section; `reader` is left behind the last record.
 * `*records` is one for each tensor, to be freed by the caller, also on failure; what
 * a tensor's record says of its data is not checked yet. Fails as bni_gguf_open().
 */
bitnet_status bni_gguf_parse(struct bni_gguf *gguf, struct bni_reader *reader,
                             struct bni_gguf_record **records);

/* Places the tensors' data, which begins after `header_bytes` and padding. */
bitnet_status bni_gguf_place_tensors(struct bni_gguf *gguf, size_t header_bytes,
                                     const struct bni_gguf_record *records);

/* "u32", "string", ... */
const char *bni_gguf_value_type_name(enum bni_gguf_value_type type);

/* Bytes of one value of a type that has a fixed size, else 0. */
size_t bni_gguf_value_type_bytes(enum bni_gguf_value_type type);

#endif
