/* SPDX-License-Identifier: MIT */
/*
 * tensor_types.h - the tensor types that files name by number, and their sizes.
 *
 * The table knows more types than the library reads, so that a file which is sound
 * but holds another type is told apart from a broken one, and its type has a name
 * in the message. A type that becomes readable gets a number in enum
 * bni_tensor_type and `is_read` here.
 */
#ifndef BNI_FORMATS_TENSOR_TYPES_H
#define BNI_FORMATS_TENSOR_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bni_tensor_type_info {
    uint32_t id;
    const char *name;
    uint32_t block_elements; /* dims[0] is a multiple of it; 0: size not known here */
    uint32_t block_bytes;
    uint32_t row_bytes;    /* beside the blocks, for each row */
    uint32_t tensor_bytes; /* beside the rows, once */
    bool is_read;
    const char *advice; /* for types that are not, or NULL */
};

/* Returns NULL for a number that names no type, or one that was withdrawn. */
const struct bni_tensor_type_info *bni_tensor_type_find(uint32_t id);

/*
 * Gives the bytes that `dims` take: dims[0] is a multiple of block_elements and the
 * size is known. Returns false if it does not fit a size_t.
 */
bool bni_tensor_type_bytes(const struct bni_tensor_type_info *type,
                           const uint64_t dims[4], size_t *n_bytes);

#endif
