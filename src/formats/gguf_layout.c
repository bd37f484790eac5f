/* SPDX-License-Identifier: MIT */
/*
 * gguf_layout.c - where each tensor's data lies.
 *
 *     [ header, metadata, records ][ pad ][ tensor ][ pad ][ tensor ] ...
 *                                         ^ data start, a multiple of general.alignment
 *
 * Every tensor lies in the file, at a multiple of the alignment, and on no other
 * tensor. Order and gaps are free. A tensor of a type that is not read is checked
 * like the others, as far as its size is known; only then is the file refused for
 * it, so that "not supported" is never said of a broken file.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "formats/gguf_index.h"
#include "formats/sort.h"

enum {
    DEFAULT_ALIGNMENT = 32,
    MIN_ALIGNMENT = 8, /* what the numbers in the data need */
    MAX_ALIGNMENT = 65536,
    TERNARY_BLOCK = 128, /* codes of I2_S that share 32 bytes */
};

static const char *name_of(struct bni_quote *quote,
                           const struct bni_gguf_tensor *tensor)
{
    return bni_quote_bytes(quote, tensor->name.bytes, tensor->name.n_bytes);
}

static bitnet_status read_alignment(const struct bni_gguf *gguf, uint64_t *alignment)
{
    const struct bni_gguf_value *value = bni_gguf_find(gguf, "general.alignment");
    *alignment = DEFAULT_ALIGNMENT;
    if (value == NULL) return BITNET_OK;
    if (value->type != BNI_GGUF_U32)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key general.alignment: is of type %s, expected u32",
                         gguf->label.text, bni_gguf_value_type_name(value->type));
    const bitnet_status status =
        bni_gguf_get_u64(gguf, "general.alignment", MIN_ALIGNMENT, MAX_ALIGNMENT, NULL,
                         alignment);
    if (status != BITNET_OK) return status;
    if ((*alignment & (*alignment - 1)) != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key general.alignment: is %" PRIu64
                         ", expected a power of two",
                         gguf->label.text, *alignment);
    return BITNET_OK;
}

/* Gives the size of the tensor's data; 0 if it is of a type whose size is unknown. */
static bitnet_status measure(const struct bni_gguf *gguf,
                             const struct bni_tensor_type_info *type,
                             struct bni_gguf_tensor *tensor)
{
    struct bni_quote quote;
    if (type->block_elements == 0) return BITNET_OK;
    if (tensor->dims[0] % type->block_elements != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: rows of %" PRIu64
                         " elements, expected a multiple of %s's %" PRIu32,
                         gguf->label.text, name_of(&quote, tensor), tensor->dims[0],
                         type->name, type->block_elements);
    if (type->id == BNI_TENSOR_I2_S && tensor->n_elements % TERNARY_BLOCK != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: %" PRIu64
                         " elements, expected a multiple of I2_S's %d",
                         gguf->label.text, name_of(&quote, tensor), tensor->n_elements,
                         TERNARY_BLOCK);
    if (!bni_tensor_type_bytes(type, tensor->dims, &tensor->n_bytes))
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: the size of its %" PRIu64
                         " elements does not fit the address space",
                         gguf->label.text, name_of(&quote, tensor), tensor->n_elements);
    return BITNET_OK;
}

/*
 * An early format, I2, had the number that BF16 has now. Its tensors are an eighth of
 * the size, so what seems to lie on its neighbour may be one of them.
 */
static bool looks_like_early_i2(const struct bni_gguf_tensor *tensor, uint64_t room,
                                uint64_t alignment)
{
    const uint64_t n_codes_bytes = tensor->n_elements / 4;
    return tensor->type == BNI_TENSOR_BF16 && room >= n_codes_bytes &&
           room < n_codes_bytes + 32 + alignment;
}

static bitnet_status early_i2(const struct bni_gguf *gguf,
                              const struct bni_gguf_tensor *tensor)
{
    struct bni_quote quote;
    return bni_error(
        BITNET_ERROR_UNSUPPORTED_OPERATION,
        "%s: tensor %s: seems to be in the pre-release I2 format, which is "
        "not read; export the model again as I2_S",
        gguf->label.text, name_of(&quote, tensor));
}

/* The distance from the tensor's data to the next in the file, or to the file's end. */
static uint64_t distance_to_next(const struct bni_gguf *gguf,
                                 const struct bni_gguf_record *records, size_t index,
                                 uint64_t room)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        if (records[i].offset <= records[index].offset) continue;
        const uint64_t distance = records[i].offset - records[index].offset;
        if (distance < room) room = distance;
    }
    return room;
}

static bitnet_status place(const struct bni_gguf *gguf, size_t data_start,
                           uint64_t alignment, const struct bni_gguf_record *records,
                           size_t index)
{
    const struct bni_gguf_record *record = &records[index];
    struct bni_gguf_tensor *tensor = &gguf->tensors[index];
    struct bni_quote quote;
    const bitnet_status status = measure(gguf, record->type, tensor);
    if (status != BITNET_OK) return status;
    if (record->offset % alignment != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: offset %" PRIu64
                         " is not a multiple of the alignment, %" PRIu64,
                         gguf->label.text, name_of(&quote, tensor), record->offset,
                         alignment);
    const size_t data_bytes = gguf->n_bytes - data_start;
    if (record->offset > data_bytes)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: begins %" PRIu64
                         " bytes into the data, which has %zu",
                         gguf->label.text, name_of(&quote, tensor), record->offset,
                         data_bytes);
    const size_t begin = data_start + (size_t)record->offset;
    const size_t room = gguf->n_bytes - begin;
    if (tensor->n_bytes > room) {
        if (looks_like_early_i2(tensor, distance_to_next(gguf, records, index, room),
                                alignment))
            return early_i2(gguf, tensor);
        size_t end;
        if (!bni_size_add(begin, tensor->n_bytes, &end)) end = SIZE_MAX;
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: ends at byte %zu, past the file's %zu",
                         gguf->label.text, name_of(&quote, tensor), end, gguf->n_bytes);
    }
    tensor->bytes = gguf->bytes + begin;
    tensor->file_offset = begin;
    return BITNET_OK;
}

static int compare_offsets(const void *context, uint32_t a, uint32_t b)
{
    const struct bni_gguf_tensor *tensors = context;
    if (tensors[a].file_offset == tensors[b].file_offset) return 0;
    return tensors[a].file_offset < tensors[b].file_offset ? -1 : 1;
}

static bitnet_status check_overlaps(const struct bni_gguf *gguf, uint64_t alignment)
{
    uint32_t *order = bni_calloc(gguf->n_tensors, sizeof(*order));
    if (order == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < gguf->n_tensors; i++) order[i] = (uint32_t)i;
    bni_sort_indices(order, gguf->n_tensors, compare_offsets, gguf->tensors);

    bitnet_status status = BITNET_OK;
    for (size_t i = 1; i < gguf->n_tensors && status == BITNET_OK; i++) {
        const struct bni_gguf_tensor *lower = &gguf->tensors[order[i - 1]];
        const struct bni_gguf_tensor *upper = &gguf->tensors[order[i]];
        const uint64_t room = upper->file_offset - lower->file_offset;
        struct bni_quote lower_quote;
        struct bni_quote upper_quote;
        if (lower->n_bytes <= room) continue;
        if (looks_like_early_i2(lower, room, alignment))
            status = early_i2(gguf, lower);
        else
            status = bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                               "%s: tensor %s: ends at byte %" PRIu64
                               ", but tensor %s begins at byte %" PRIu64,
                               gguf->label.text, name_of(&lower_quote, lower),
                               lower->file_offset + lower->n_bytes,
                               name_of(&upper_quote, upper), upper->file_offset);
    }
    bni_free(order);
    return status;
}

static bitnet_status check_types(const struct bni_gguf *gguf,
                                 const struct bni_gguf_record *records)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct bni_tensor_type_info *type = records[i].type;
        struct bni_quote quote;
        if (type->is_read) continue;
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: tensor %s: is of type %" PRIu32
                         " (%s), expected F32, F16, BF16, Q8_0, Q6_K or I2_S%s%s",
                         gguf->label.text, name_of(&quote, &gguf->tensors[i]), type->id,
                         type->name, type->advice != NULL ? "; " : "",
                         type->advice != NULL ? type->advice : "");
    }
    return BITNET_OK;
}

bitnet_status bni_gguf_place_tensors(struct bni_gguf *gguf, size_t header_bytes,
                                     const struct bni_gguf_record *records)
{
    uint64_t alignment;
    size_t data_start;
    bitnet_status status = read_alignment(gguf, &alignment);
    if (status != BITNET_OK || gguf->n_tensors == 0) return status;

    if (!bni_size_round_up(header_bytes, (size_t)alignment, &data_start) ||
        data_start > gguf->n_bytes)
        return bni_error(
            BITNET_ERROR_MODEL_LOAD_FAILED,
            "%s: the file ends at byte %zu, before its data section, which "
            "begins at the next multiple of %" PRIu64 " after byte %zu",
            gguf->label.text, gguf->n_bytes, alignment, header_bytes);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        status = place(gguf, data_start, alignment, records, i);
        if (status != BITNET_OK) return status;
    }
    status = check_overlaps(gguf, alignment);
    return status == BITNET_OK ? check_types(gguf, records) : status;
}
