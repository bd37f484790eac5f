/* SPDX-License-Identifier: MIT */
/*
 * gguf.c - opening, closing, looking up.
 *
 * An open file is two arrays of what it holds, in file order, and for each an array
 * of indices in the order of the names, where names are looked up by bisection.
 * Nothing changes after opening: any number of threads read it without a lock.
 */
#include "formats/gguf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "formats/gguf_index.h"

/* Checks the bytes and builds the index. `gguf` has path, label and bytes. */
static bitnet_status build_index(struct bni_gguf *gguf)
{
    struct bni_reader reader = {gguf->bytes, gguf->n_bytes, 0};
    struct bni_gguf_record *records = NULL;
    bitnet_status status = bni_gguf_parse(gguf, &reader, &records);
    if (status == BITNET_OK)
        status = bni_gguf_place_tensors(gguf, reader.offset, records);
    bni_free(records);
    return status;
}

/* Opens the file at `path` if `bytes` is NULL, else what is at `bytes`. */
static bitnet_status open_any(const char *path, const void *bytes, size_t n_bytes,
                              struct bni_gguf **out)
{
    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    struct bni_gguf *gguf = bni_calloc(1, sizeof(*gguf));
    if (gguf == NULL) return status;
    gguf->path = bni_alloc(strlen(path) + 1);
    if (gguf->path == NULL) goto fail;
    memcpy(gguf->path, path, strlen(path) + 1);
    bni_quote_path(&gguf->label, path);

    gguf->bytes = bytes;
    gguf->n_bytes = n_bytes;
    if (bytes == NULL) {
        status = bni_file_map_open(path, &gguf->map);
        if (status != BITNET_OK) goto fail;
        gguf->bytes = gguf->map.bytes;
        gguf->n_bytes = gguf->map.n_bytes;
    }
    status = build_index(gguf);
    if (status != BITNET_OK) goto fail;
    *out = gguf;
    return BITNET_OK;

fail:
    bni_gguf_close(gguf);
    return status;
}

bitnet_status bni_gguf_open(const char *path, struct bni_gguf **out)
{
    return open_any(path, NULL, 0, out);
}

bitnet_status bni_gguf_open_memory(const void *bytes, size_t n_bytes, const char *name,
                                   struct bni_gguf **out)
{
    if (bytes == NULL || (uintptr_t)bytes % 8 != 0)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: the bytes of a GGUF file must lie at a multiple of 8",
                         name);
    return open_any(name, bytes, n_bytes, out);
}

void bni_gguf_close(struct bni_gguf *gguf)
{
    if (gguf == NULL) return;
    bni_free(gguf->tensors_by_name);
    bni_free(gguf->tensors);
    bni_free(gguf->values_by_key);
    bni_free(gguf->values);
    bni_file_map_close(&gguf->map);
    bni_free(gguf->path);
    bni_free(gguf);
}

const char *bni_gguf_path(const struct bni_gguf *gguf)
{
    return gguf->path;
}

const char *bni_gguf_label(const struct bni_gguf *gguf)
{
    return gguf->label.text;
}

uint64_t bni_gguf_file_bytes(const struct bni_gguf *gguf)
{
    return gguf->n_bytes;
}

uint32_t bni_gguf_version(const struct bni_gguf *gguf)
{
    return gguf->version;
}

uint64_t bni_gguf_allocated_bytes(const struct bni_gguf *gguf)
{
    return sizeof(*gguf) + strlen(gguf->path) + 1 +
           gguf->n_values * (sizeof(*gguf->values) + sizeof(*gguf->values_by_key)) +
           gguf->n_tensors * (sizeof(*gguf->tensors) + sizeof(*gguf->tensors_by_name));
}

size_t bni_gguf_n_values(const struct bni_gguf *gguf)
{
    return gguf->n_values;
}

const struct bni_gguf_value *bni_gguf_value_at(const struct bni_gguf *gguf,
                                               size_t index)
{
    return &gguf->values[index];
}

size_t bni_gguf_n_tensors(const struct bni_gguf *gguf)
{
    return gguf->n_tensors;
}

const struct bni_gguf_tensor *bni_gguf_tensor_at(const struct bni_gguf *gguf,
                                                 size_t index)
{
    return &gguf->tensors[index];
}

const char *bni_gguf_tensor_type_name(enum bni_tensor_type type)
{
    return bni_tensor_type_find(type)->name;
}

const struct bni_gguf_value *bni_gguf_find(const struct bni_gguf *gguf, const char *key)
{
    const struct bni_string wanted = {key, strlen(key)};
    size_t begin = 0;
    size_t end = gguf->n_values;
    while (begin < end) {
        const size_t middle = begin + (end - begin) / 2;
        const struct bni_gguf_value *value = &gguf->values[gguf->values_by_key[middle]];
        const int order = bni_string_compare(wanted, value->key);
        if (order == 0) return value;
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return NULL;
}

const struct bni_gguf_tensor *bni_gguf_find_tensor(const struct bni_gguf *gguf,
                                                   const char *name)
{
    const struct bni_string wanted = {name, strlen(name)};
    size_t begin = 0;
    size_t end = gguf->n_tensors;
    while (begin < end) {
        const size_t middle = begin + (end - begin) / 2;
        const struct bni_gguf_tensor *tensor =
            &gguf->tensors[gguf->tensors_by_name[middle]];
        const int order = bni_string_compare(wanted, tensor->name);
        if (order == 0) return tensor;
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return NULL;
}
