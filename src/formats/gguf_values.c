/* SPDX-License-Identifier: MIT */
/*
 * gguf_values.c - metadata by key and kind.
 *
 * Writers disagree on the width of integers and floats, so a getter takes any
 * width of the right kind. Payloads were checked when the file was opened; what
 * remains to be checked here is whether the value is what the asker expects.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "formats/gguf_index.h"

static const struct {
    const char *name;
    size_t n_bytes;
} VALUE_TYPES[] = {
    [BNI_GGUF_U8] = {"u8", 1},         [BNI_GGUF_I8] = {"i8", 1},
    [BNI_GGUF_U16] = {"u16", 2},       [BNI_GGUF_I16] = {"i16", 2},
    [BNI_GGUF_U32] = {"u32", 4},       [BNI_GGUF_I32] = {"i32", 4},
    [BNI_GGUF_F32] = {"f32", 4},       [BNI_GGUF_BOOL] = {"bool", 1},
    [BNI_GGUF_STRING] = {"string", 0}, [BNI_GGUF_ARRAY] = {"array", 0},
    [BNI_GGUF_U64] = {"u64", 8},       [BNI_GGUF_I64] = {"i64", 8},
    [BNI_GGUF_F64] = {"f64", 8},
};

const char *bni_gguf_value_type_name(enum bni_gguf_value_type type)
{
    return VALUE_TYPES[type].name;
}

size_t bni_gguf_value_type_bytes(enum bni_gguf_value_type type)
{
    return VALUE_TYPES[type].n_bytes;
}

/*
 * Finds `key`. BITNET_OK with `*value` NULL means that it is missing and may be.
 */
static bitnet_status find(const struct bni_gguf *gguf, const char *key, bool *is_found,
                          const struct bni_gguf_value **value)
{
    *value = bni_gguf_find(gguf, key);
    if (is_found != NULL) *is_found = *value != NULL;
    if (*value != NULL || is_found != NULL) return BITNET_OK;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED, "%s: key %s: is missing",
                     gguf->label.text, key);
}

static bitnet_status wrong_kind(const struct bni_gguf *gguf, const char *key,
                                const struct bni_gguf_value *value,
                                const char *expected)
{
    const bool is_array = value->type == BNI_GGUF_ARRAY;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                     "%s: key %s: is of type %s%s, expected %s", gguf->label.text, key,
                     is_array ? "array of " : "",
                     bni_gguf_value_type_name(is_array ? value->element_type
                                                       : value->type),
                     expected);
}

/* The integer as its magnitude and sign; false if the value is no integer. */
static bool integer_of(const struct bni_gguf_value *value, uint64_t *magnitude,
                       bool *is_negative)
{
    uint64_t bits = 0;
    unsigned n_sign_bits = 0; /* of a signed type: those above its own */
    switch (value->type) {
    case BNI_GGUF_U8:
    case BNI_GGUF_U16:
    case BNI_GGUF_U32:
    case BNI_GGUF_U64: break;
    case BNI_GGUF_I8: n_sign_bits = 57; break;
    case BNI_GGUF_I16: n_sign_bits = 49; break;
    case BNI_GGUF_I32: n_sign_bits = 33; break;
    case BNI_GGUF_I64: n_sign_bits = 1; break;
    default: return false;
    }
    memcpy(&bits, value->bytes, value->n_bytes);
    *is_negative = n_sign_bits != 0 && (bits >> (64 - n_sign_bits)) != 0;
    if (*is_negative) {
        if (n_sign_bits > 1) bits |= ~UINT64_C(0) << (65 - n_sign_bits);
        bits = 0 - bits;
    }
    *magnitude = bits;
    return true;
}

bitnet_status bni_gguf_get_u64(const struct bni_gguf *gguf, const char *key,
                               uint64_t min, uint64_t max, bool *is_found,
                               uint64_t *out)
{
    const struct bni_gguf_value *value;
    uint64_t magnitude;
    bool is_negative;
    const bitnet_status status = find(gguf, key, is_found, &value);
    if (status != BITNET_OK || value == NULL) return status;
    if (!integer_of(value, &magnitude, &is_negative))
        return wrong_kind(gguf, key, value, "an integer");
    if (is_negative || magnitude < min || magnitude > max)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: is %s%" PRIu64 ", expected %" PRIu64
                         " to %" PRIu64,
                         gguf->label.text, key, is_negative ? "-" : "", magnitude, min,
                         max);
    *out = magnitude;
    return BITNET_OK;
}

bitnet_status bni_gguf_get_f32(const struct bni_gguf *gguf, const char *key,
                               bool *is_found, float *out)
{
    const struct bni_gguf_value *value;
    const bitnet_status status = find(gguf, key, is_found, &value);
    if (status != BITNET_OK || value == NULL) return status;
    if (value->type == BNI_GGUF_F32) {
        memcpy(out, value->bytes, sizeof(*out));
        return BITNET_OK;
    }
    if (value->type != BNI_GGUF_F64) return wrong_kind(gguf, key, value, "a float");

    double wide;
    memcpy(&wide, value->bytes, sizeof(wide));
    if (isfinite(wide) && fabs(wide) > (double)FLT_MAX)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: is %g, expected a number that fits an f32",
                         gguf->label.text, key, wide);
    *out = (float)wide;
    return BITNET_OK;
}

bitnet_status bni_gguf_get_bool(const struct bni_gguf *gguf, const char *key,
                                bool *is_found, bool *out)
{
    const struct bni_gguf_value *value;
    const bitnet_status status = find(gguf, key, is_found, &value);
    if (status != BITNET_OK || value == NULL) return status;
    if (value->type != BNI_GGUF_BOOL) return wrong_kind(gguf, key, value, "a bool");
    *out = value->bytes[0] != 0;
    return BITNET_OK;
}

bitnet_status bni_gguf_get_string(const struct bni_gguf *gguf, const char *key,
                                  bool *is_found, struct bni_string *out)
{
    const struct bni_gguf_value *value;
    const bitnet_status status = find(gguf, key, is_found, &value);
    if (status != BITNET_OK || value == NULL) return status;
    if (value->type != BNI_GGUF_STRING) return wrong_kind(gguf, key, value, "a string");
    *out = (struct bni_string){(const char *)value->bytes, value->n_bytes};
    return BITNET_OK;
}

bitnet_status bni_gguf_get_array(const struct bni_gguf *gguf, const char *key,
                                 enum bni_gguf_value_type type, bool *is_found,
                                 const struct bni_gguf_value **out)
{
    const struct bni_gguf_value *value;
    const bitnet_status status = find(gguf, key, is_found, &value);
    if (status != BITNET_OK || value == NULL) return status;
    if (value->type != BNI_GGUF_ARRAY || value->element_type != type) {
        char expected[32];
        snprintf(expected, sizeof(expected), "an array of %s",
                 bni_gguf_value_type_name(type));
        return wrong_kind(gguf, key, value, expected);
    }
    *out = value;
    return BITNET_OK;
}

bool bni_gguf_next_string(const struct bni_gguf_value *array, size_t *cursor,
                          struct bni_string *out)
{
    struct bni_reader reader = {array->bytes, array->n_bytes, *cursor};
    uint64_t n_bytes;
    const uint8_t *bytes;
    if (!bni_reader_u64(&reader, &n_bytes) ||
        !bni_reader_take(&reader, n_bytes, &bytes))
        return false;
    *cursor = reader.offset;
    *out = (struct bni_string){(const char *)bytes, (size_t)n_bytes};
    return true;
}

float bni_gguf_f32_at(const struct bni_gguf_value *array, uint64_t index)
{
    float value;
    memcpy(&value, array->bytes + index * sizeof(value), sizeof(value));
    return value;
}

int32_t bni_gguf_i32_at(const struct bni_gguf_value *array, uint64_t index)
{
    int32_t value;
    memcpy(&value, array->bytes + index * sizeof(value), sizeof(value));
    return value;
}
