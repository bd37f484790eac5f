/* SPDX-License-Identifier: MIT */
/*
 * gguf_parse.c - the header, the metadata and the tensor records.
 *
 *     "GGUF" version:u32 n_tensors:u64 n_kv:u64
 *     n_kv      x  key:string type:u32 value
 *     n_tensors x  name:string n_dims:u32 dims:u64[n_dims] type:u32 offset:u64
 *
 * A string is a u64 length and bytes. Counts are held against caps and against
 * what the rest of the file could hold before anything is allocated for them, so
 * the memory taken is a small multiple of the file's size. Nothing recurses:
 * arrays of arrays are refused.
 */
#include "formats/gguf_index.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "formats/sort.h"

enum {
    MAX_VALUES = 65536,
    MAX_TENSORS = 65536,
    MAX_KEY_BYTES = 65535,
    MAX_NAME_BYTES = 63,
    MAX_STRING_BYTES = 64 << 20,
    MAX_ELEMENTS = 1 << 30,

    HEADER_BYTES = 24,
    MIN_VALUE_BYTES = 8 + 1 + 4 + 1,          /* a key of one byte, a u8 */
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8, /* a name of one byte, one dimension */
};

static const uint64_t MAX_DIM = UINT64_C(1) << 40;
static const uint64_t MAX_TENSOR_ELEMENTS = UINT64_C(1) << 62;

int bni_string_compare(struct bni_string a, struct bni_string b)
{
    if (a.n_bytes != b.n_bytes) return a.n_bytes < b.n_bytes ? -1 : 1;
    return memcmp(a.bytes, b.bytes, a.n_bytes);
}

static bitnet_status cut_off(const struct bni_gguf *gguf,
                             const struct bni_reader *reader, const char *what)
{
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                     "%s: the file ends inside %s at byte %zu: %zu bytes are left",
                     gguf->label.text, what, reader->offset, bni_reader_left(reader));
}

static bitnet_status read_header(struct bni_gguf *gguf, struct bni_reader *reader,
                                 uint64_t *n_tensors, uint64_t *n_values)
{
    const uint8_t *magic;
    if (reader->n_bytes < HEADER_BYTES)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: not a GGUF file: it has %zu bytes, a header alone has %d",
                         gguf->label.text, reader->n_bytes, HEADER_BYTES);
    bni_reader_take(reader, 4, &magic);
    if (memcmp(magic, "GGUF", 4) != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: not a GGUF file: it begins with the bytes "
                         "%02x %02x %02x %02x, expected 47 47 55 46",
                         gguf->label.text, magic[0], magic[1], magic[2], magic[3]);
    bni_reader_u32(reader, &gguf->version);
    if (gguf->version != 0 && (gguf->version & 0xFFFF) == 0)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: a big-endian GGUF file, expected a little-endian one",
                         gguf->label.text);
    if (gguf->version != 2 && gguf->version != 3)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: GGUF version %" PRIu32 ", expected 2 or 3",
                         gguf->label.text, gguf->version);
    bni_reader_u64(reader, n_tensors);
    bni_reader_u64(reader, n_values);

    const size_t n_left = bni_reader_left(reader);
    if (*n_values > MAX_VALUES || *n_values > n_left / MIN_VALUE_BYTES)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: the header counts %" PRIu64
                         " metadata keys; the limit is "
                         "%d, and the %zu bytes that follow hold at most %zu",
                         gguf->label.text, *n_values, MAX_VALUES, n_left,
                         n_left / MIN_VALUE_BYTES);
    if (*n_tensors > MAX_TENSORS || *n_tensors > n_left / MIN_TENSOR_BYTES)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: the header counts %" PRIu64
                         " tensors; the limit is %d, and "
                         "the %zu bytes that follow hold at most %zu",
                         gguf->label.text, *n_tensors, MAX_TENSORS, n_left,
                         n_left / MIN_TENSOR_BYTES);
    return BITNET_OK;
}

/* Reads a string that is part of `what`. */
static bitnet_status read_string(const struct bni_gguf *gguf, struct bni_reader *reader,
                                 const char *what, struct bni_string *string)
{
    uint64_t n_bytes;
    const uint8_t *bytes;
    const size_t begin = reader->offset;
    if (!bni_reader_u64(reader, &n_bytes)) return cut_off(gguf, reader, what);
    if (n_bytes > MAX_STRING_BYTES || !bni_reader_take(reader, n_bytes, &bytes))
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: a string at byte %zu has %" PRIu64
                         " bytes; %zu are left "
                         "in the file, and the limit is %d",
                         gguf->label.text, what, begin, n_bytes,
                         bni_reader_left(reader), MAX_STRING_BYTES);
    *string = (struct bni_string){(const char *)bytes, (size_t)n_bytes};
    return BITNET_OK;
}

/* Refuses names that are empty, too long, or not what they seem when printed. */
static bitnet_status check_name(const struct bni_gguf *gguf, struct bni_string name,
                                const char *what, size_t max_bytes)
{
    struct bni_quote quote;
    if (name.n_bytes == 0 || name.n_bytes > max_bytes)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s %s has %zu bytes, expected 1 to %zu", gguf->label.text,
                         what, bni_quote_bytes(&quote, name.bytes, name.n_bytes),
                         name.n_bytes, max_bytes);
    if (memchr(name.bytes, '\0', name.n_bytes) != NULL)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s %s contains a NUL byte", gguf->label.text, what,
                         bni_quote_bytes(&quote, name.bytes, name.n_bytes));
    return BITNET_OK;
}

static bitnet_status read_array(const struct bni_gguf *gguf, struct bni_reader *reader,
                                const char *what, struct bni_gguf_value *value)
{
    uint32_t type;
    uint64_t n_elements;
    if (!bni_reader_u32(reader, &type) || !bni_reader_u64(reader, &n_elements))
        return cut_off(gguf, reader, what);
    if (type > BNI_GGUF_F64)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: an array of unknown type %" PRIu32
                         ", expected 0 to 12",
                         gguf->label.text, what, type);
    if (type == BNI_GGUF_ARRAY)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: an array of arrays, which no model needs",
                         gguf->label.text, what);
    value->element_type = (enum bni_gguf_value_type)type;
    value->n_elements = n_elements;

    /* A string takes at least its length's 8 bytes. */
    const size_t fixed_bytes = bni_gguf_value_type_bytes(value->element_type);
    const size_t min_bytes = fixed_bytes != 0 ? fixed_bytes : sizeof(uint64_t);
    const size_t n_left = bni_reader_left(reader);
    if (n_elements > MAX_ELEMENTS || n_elements > n_left / min_bytes)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: an array of %" PRIu64 " %s; the limit is %d, and the "
                         "%zu bytes that follow hold at most %zu",
                         gguf->label.text, what, n_elements,
                         bni_gguf_value_type_name(value->element_type), MAX_ELEMENTS,
                         n_left, n_left / min_bytes);

    const size_t begin = reader->offset;
    if (fixed_bytes != 0) bni_reader_take(reader, n_elements * fixed_bytes, NULL);
    for (uint64_t i = 0; fixed_bytes == 0 && i < n_elements; i++) {
        struct bni_string element;
        const bitnet_status status = read_string(gguf, reader, what, &element);
        if (status != BITNET_OK) return status;
    }
    value->bytes = reader->bytes + begin;
    value->n_bytes = reader->offset - begin;
    return BITNET_OK;
}

/* The payload of a string is its bytes, without the length. */
static bitnet_status read_payload(const struct bni_gguf *gguf,
                                  struct bni_reader *reader, const char *what,
                                  struct bni_gguf_value *value)
{
    if (value->type == BNI_GGUF_ARRAY) return read_array(gguf, reader, what, value);
    if (value->type == BNI_GGUF_STRING) {
        struct bni_string string;
        const bitnet_status status = read_string(gguf, reader, what, &string);
        if (status != BITNET_OK) return status;
        value->bytes = (const uint8_t *)string.bytes;
        value->n_bytes = string.n_bytes;
        return BITNET_OK;
    }
    value->n_bytes = bni_gguf_value_type_bytes(value->type);
    if (!bni_reader_take(reader, value->n_bytes, &value->bytes))
        return cut_off(gguf, reader, what);
    if (value->type == BNI_GGUF_BOOL && value->bytes[0] > 1)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: a bool is %d, expected 0 or 1", gguf->label.text,
                         what, value->bytes[0]);
    return BITNET_OK;
}

/* "key NAME", for messages. */
static const char *describe(struct bni_quote *quote, const char *kind,
                            struct bni_string name)
{
    char text[BNI_QUOTE_MAX_BYTES];
    const size_t n_kind = strlen(kind);
    const size_t n_name = bni_size_min(name.n_bytes, sizeof(text) - n_kind);
    memcpy(text, kind, n_kind);
    memcpy(text + n_kind, name.bytes, n_name);
    return bni_quote_bytes(quote, text, n_kind + n_name);
}

static bitnet_status read_value(const struct bni_gguf *gguf, struct bni_reader *reader,
                                struct bni_gguf_value *value)
{
    struct bni_quote quote;
    uint32_t type;
    bitnet_status status = read_string(gguf, reader, "a metadata key", &value->key);
    if (status != BITNET_OK) return status;
    status = check_name(gguf, value->key, "key", MAX_KEY_BYTES);
    if (status != BITNET_OK) return status;

    const char *what = describe(&quote, "key ", value->key);
    if (!bni_reader_u32(reader, &type)) return cut_off(gguf, reader, what);
    if (type > BNI_GGUF_F64)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: unknown value type %" PRIu32 ", expected 0 to 12",
                         gguf->label.text, what, type);
    value->type = (enum bni_gguf_value_type)type;
    value->element_type = value->type;
    value->n_elements = 1;
    return read_payload(gguf, reader, what, value);
}

static bitnet_status read_tensor(const struct bni_gguf *gguf, struct bni_reader *reader,
                                 struct bni_gguf_tensor *tensor,
                                 struct bni_gguf_record *record)
{
    struct bni_quote quote;
    uint32_t type;
    bitnet_status status = read_string(gguf, reader, "a tensor name", &tensor->name);
    if (status != BITNET_OK) return status;
    status = check_name(gguf, tensor->name, "tensor", MAX_NAME_BYTES);
    if (status != BITNET_OK) return status;

    const char *what = describe(&quote, "tensor ", tensor->name);
    if (!bni_reader_u32(reader, &tensor->n_dims)) return cut_off(gguf, reader, what);
    if (tensor->n_dims < 1 || tensor->n_dims > BNI_GGUF_MAX_DIMS)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: %" PRIu32 " dimensions, expected 1 to %d",
                         gguf->label.text, what, tensor->n_dims, BNI_GGUF_MAX_DIMS);

    tensor->n_elements = 1;
    for (uint32_t i = 0; i < BNI_GGUF_MAX_DIMS; i++) {
        uint64_t *dim = &tensor->dims[i];
        *dim = 1;
        if (i >= tensor->n_dims) continue;
        if (!bni_reader_u64(reader, dim)) return cut_off(gguf, reader, what);
        if (*dim < 1 || *dim > MAX_DIM)
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: %s: dimension %" PRIu32 " is %" PRIu64
                             ", expected 1 to %" PRIu64,
                             gguf->label.text, what, i, *dim, MAX_DIM);
        if (tensor->n_elements > MAX_TENSOR_ELEMENTS / *dim)
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: %s: more than %" PRIu64 " elements", gguf->label.text,
                             what, MAX_TENSOR_ELEMENTS);
        tensor->n_elements *= *dim;
    }
    if (!bni_reader_u32(reader, &type) || !bni_reader_u64(reader, &record->offset))
        return cut_off(gguf, reader, what);

    record->type = bni_tensor_type_find(type);
    if (record->type == NULL)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %s: unknown type %" PRIu32 "%s", gguf->label.text, what,
                         type,
                         type > 100 && type < 1000
                             ? "; numbers like it are ik_llama.cpp's: export the model "
                               "again as I2_S"
                             : "");
    tensor->type = (enum bni_tensor_type)type;
    return BITNET_OK;
}

static int compare_keys(const void *context, uint32_t a, uint32_t b)
{
    const struct bni_gguf_value *values = context;
    return bni_string_compare(values[a].key, values[b].key);
}

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const struct bni_gguf_tensor *tensors = context;
    return bni_string_compare(tensors[a].name, tensors[b].name);
}

/*
 * Gives the indices 0..n-1 of `items` in their order. Two that are equal are the
 * same name twice: `*twin` is one of them, else `n`.
 */
static uint32_t *sort_by_name(const void *items, size_t n, bni_compare_fn compare,
                              size_t *twin)
{
    uint32_t *indices = bni_calloc(n, sizeof(*indices));
    if (indices == NULL) return NULL;
    for (size_t i = 0; i < n; i++) indices[i] = (uint32_t)i;
    bni_sort_indices(indices, n, compare, items);
    *twin = n;
    for (size_t i = 1; i < n; i++)
        if (compare(items, indices[i - 1], indices[i]) == 0) *twin = indices[i];
    return indices;
}

static bitnet_status parse_values(struct bni_gguf *gguf, struct bni_reader *reader,
                                  size_t n_values)
{
    gguf->values = bni_calloc(n_values, sizeof(*gguf->values));
    if (gguf->values == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    gguf->n_values = n_values;
    for (size_t i = 0; i < n_values; i++) {
        const bitnet_status status = read_value(gguf, reader, &gguf->values[i]);
        if (status != BITNET_OK) return status;
    }

    size_t twin;
    gguf->values_by_key = sort_by_name(gguf->values, n_values, compare_keys, &twin);
    if (gguf->values_by_key == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    if (twin == n_values) return BITNET_OK;
    struct bni_quote quote;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED, "%s: %s is there twice",
                     gguf->label.text,
                     describe(&quote, "key ", gguf->values[twin].key));
}

bitnet_status bni_gguf_parse(struct bni_gguf *gguf, struct bni_reader *reader,
                             struct bni_gguf_record **records)
{
    uint64_t n_tensors;
    uint64_t n_values;
    bitnet_status status = read_header(gguf, reader, &n_tensors, &n_values);
    if (status != BITNET_OK) return status;
    status = parse_values(gguf, reader, (size_t)n_values);
    if (status != BITNET_OK) return status;

    gguf->tensors = bni_calloc((size_t)n_tensors, sizeof(*gguf->tensors));
    *records = bni_calloc((size_t)n_tensors, sizeof(**records));
    if (gguf->tensors == NULL || *records == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    gguf->n_tensors = (size_t)n_tensors;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        status = read_tensor(gguf, reader, &gguf->tensors[i], &(*records)[i]);
        if (status != BITNET_OK) return status;
    }

    size_t twin;
    gguf->tensors_by_name =
        sort_by_name(gguf->tensors, gguf->n_tensors, compare_names, &twin);
    if (gguf->tensors_by_name == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    if (twin == gguf->n_tensors) return BITNET_OK;
    struct bni_quote quote;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED, "%s: %s is there twice",
                     gguf->label.text,
                     describe(&quote, "tensor ", gguf->tensors[twin].name));
}
