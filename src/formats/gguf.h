/* SPDX-License-Identifier: MIT */
/*
 * gguf.h - a GGUF file (v2, v3), checked and mapped read-only.
 *
 * bni_gguf_open() believes nothing: every length, count, offset and type is
 * checked against the file's size before it is used, and what remains is an
 * index of metadata and tensors whose bytes are known to lie inside the mapping.
 * Strings and arrays are not copied: they stay where they are in the file.
 */
#ifndef BNI_FORMATS_GGUF_H
#define BNI_FORMATS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>

enum { BNI_GGUF_MAX_DIMS = 4 };

/* Tensor types that the library reads, by their number in the file (tensor_types.h). */
enum bni_tensor_type {
    BNI_TENSOR_F32 = 0,
    BNI_TENSOR_F16 = 1,
    BNI_TENSOR_Q8_0 = 8,
    BNI_TENSOR_Q6_K = 14,
    BNI_TENSOR_BF16 = 30,
    BNI_TENSOR_I2_S = 36,
};

/* Bytes in the file, not NUL-terminated, any bytes at all. */
struct bni_string {
    const char *bytes;
    size_t n_bytes;
};

enum bni_gguf_value_type {
    BNI_GGUF_U8,
    BNI_GGUF_I8,
    BNI_GGUF_U16,
    BNI_GGUF_I16,
    BNI_GGUF_U32,
    BNI_GGUF_I32,
    BNI_GGUF_F32,
    BNI_GGUF_BOOL,
    BNI_GGUF_STRING,
    BNI_GGUF_ARRAY,
    BNI_GGUF_U64,
    BNI_GGUF_I64,
    BNI_GGUF_F64,
};

struct bni_gguf_value {
    struct bni_string key;
    enum bni_gguf_value_type type;
    enum bni_gguf_value_type element_type; /* of an array */
    uint64_t n_elements;                   /* of an array; else 1 */
    const uint8_t *bytes;                  /* the payload: unaligned, inside the file */
    size_t n_bytes;
};

struct bni_gguf_tensor {
    struct bni_string name;
    enum bni_tensor_type type;
    uint32_t n_dims;
    uint64_t dims[BNI_GGUF_MAX_DIMS]; /* dims[0] is contiguous: the inputs; rest 1 */
    uint64_t n_elements;
    const uint8_t *bytes; /* inside the file */
    size_t n_bytes;       /* the scale of I2_S included */
    uint64_t file_offset; /* of bytes, for messages */
};

struct bni_gguf;

/*
 * Maps and checks the file. Fails with MODEL_NOT_FOUND if it cannot be opened,
 * MODEL_LOAD_FAILED if it is not sound, UNSUPPORTED_OPERATION for what is sound
 * but not read here (a big-endian file, a tensor type), OUT_OF_MEMORY.
 */
bitnet_status bni_gguf_open(const char *path, struct bni_gguf **out);

/* The same over bytes in memory, at a multiple of 8 and borrowed until close; `name` is
 * for messages. */
bitnet_status bni_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                                   struct bni_gguf **out);

/* NULL does nothing. */
void bni_gguf_close(struct bni_gguf *gguf);

const char *bni_gguf_path(const struct bni_gguf *gguf);
/* The path made short and printable, for messages; lives as long as the file is open. */
const char *bni_gguf_label(const struct bni_gguf *gguf);
uint64_t bni_gguf_file_bytes(const struct bni_gguf *gguf);
uint32_t bni_gguf_version(const struct bni_gguf *gguf);
/* What the index of the file takes, for accounting. */
uint64_t bni_gguf_allocated_bytes(const struct bni_gguf *gguf);

size_t bni_gguf_n_values(const struct bni_gguf *gguf);
const struct bni_gguf_value *bni_gguf_value_at(const struct bni_gguf *gguf,
                                               size_t index);
size_t bni_gguf_n_tensors(const struct bni_gguf *gguf);
const struct bni_gguf_tensor *bni_gguf_tensor_at(const struct bni_gguf *gguf,
                                                 size_t index);

/* Such as "I2_S". Static. */
const char *bni_gguf_tensor_type_name(enum bni_tensor_type type);

/* Return NULL if there is none. */
const struct bni_gguf_value *bni_gguf_find(const struct bni_gguf *gguf,
                                           const char *key);
const struct bni_gguf_tensor *bni_gguf_find_tensor(const struct bni_gguf *gguf,
                                                   const char *name);

/*
 * Read a value of the right kind, whatever width it was written with. `is_found` may
 * be NULL: then a missing key is an error. A found key of the wrong kind, or out of
 * range, is always an error that names file, key, found and expected. `*out` is left
 * alone if the key is missing.
 */
bitnet_status bni_gguf_get_u64(const struct bni_gguf *gguf, const char *key,
                               uint64_t min, uint64_t max, bool *is_found,
                               uint64_t *out);
bitnet_status bni_gguf_get_f32(const struct bni_gguf *gguf, const char *key,
                               bool *is_found, float *out);
bitnet_status bni_gguf_get_bool(const struct bni_gguf *gguf, const char *key,
                                bool *is_found, bool *out);
bitnet_status bni_gguf_get_string(const struct bni_gguf *gguf, const char *key,
                                  bool *is_found, struct bni_string *out);

/* Finds an array with elements of `type`; an error names what was found instead. */
bitnet_status bni_gguf_get_array(const struct bni_gguf *gguf, const char *key,
                                 enum bni_gguf_value_type type, bool *is_found,
                                 const struct bni_gguf_value **out);

/* Walks an array of strings: `*cursor` starts at 0; false at the end. */
bool bni_gguf_next_string(const struct bni_gguf_value *array, size_t *cursor,
                          struct bni_string *out);

/* Element `index` of an array of F32 or I32. */
float bni_gguf_f32_at(const struct bni_gguf_value *array, uint64_t index);
int32_t bni_gguf_i32_at(const struct bni_gguf_value *array, uint64_t index);

#endif
