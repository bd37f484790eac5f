/* SPDX-License-Identifier: MIT */
/*
 * grammar_schema_read.c - see grammar_schema_read.h.
 */
#include "engine/grammar_schema_read.h"

#include <string.h>

#include "base/error.h"
#include "base/quote.h"
#include "engine/grammar.h"

enum { MAX_POINTER_BYTES = 1024 };

/* ---- what is understood ---------------------------------------------------------------- */

static const char *const types[] = {"object",  "array",   "string", "number",
                                    "integer", "boolean", "null"};

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

bitnet_status bni_schema_refuse(bitnet_status status, const char *keyword,
                                const char *expected)
{
    struct bni_quote quote;
    return bni_error(status, "JSON schema: \"%s\" %s",
                     bni_quote_bytes(&quote, keyword, strlen(keyword)), expected);
}

static bool is_type_name(const json_t *name)
{
    return json_is_string(name) &&
           is_one_of(json_string_value(name), types, sizeof(types) / sizeof(types[0]));
}

/* One of the types, or a list of some, if it is there at all. */
static bitnet_status check_type(const json_t *type)
{
    if (type == NULL || is_type_name(type)) return BITNET_OK;
    bool is_sound = json_is_array(type);
    for (size_t i = 0; i < json_array_size(type); i++)
        is_sound = is_sound && is_type_name(json_array_get(type, i));
    if (!is_sound)
        return bni_schema_refuse(
            BITNET_ERROR_INVALID_ARGUMENT, "type",
            "must be object, array, string, number, integer, boolean or null, "
            "or a list of these");
    if (json_array_size(type) == 0)
        return bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, "type",
                                 "is an empty list");
    return BITNET_OK;
}

bitnet_status bni_schema_check_keywords(const json_t *schema)
{
    static const char *const known[] = {
        "type",     "properties",  "required",  "additionalProperties",
        "items",    "minItems",    "maxItems",  "enum",
        "const",    "minLength",   "maxLength", "anyOf",
        "oneOf",    "$ref",        "$defs",     "definitions",
        "title",    "description", "default",   "examples",
        "$schema",  "$id",         "$comment",  "deprecated",
        "readOnly", "writeOnly"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)schema, key, value)
    {
        if (!is_one_of(key, known, sizeof(known) / sizeof(known[0])))
            return bni_schema_refuse(BITNET_ERROR_UNSUPPORTED_OPERATION, key,
                                     "is not a keyword that is supported");
    }
    return check_type(json_object_get(schema, "type"));
}

static bool has_type(const json_t *value, const char *type)
{
    if (strcmp(type, "object") == 0) return json_is_object(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "integer") == 0) return json_is_integer(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    return json_is_null(value);
}

bool bni_schema_fits_type(const json_t *schema, const json_t *value)
{
    const json_t *type = json_object_get(schema, "type");
    if (json_is_string(type)) return has_type(value, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++)
        if (has_type(value, json_string_value(json_array_get(type, i)))) return true;
    return type == NULL;
}

/* Reads a count, which is `*count` if the schema has none. */
static bitnet_status read_count(const json_t *schema, const char *keyword,
                                int64_t *count)
{
    const json_t *value = json_object_get(schema, keyword);
    if (value == NULL) return BITNET_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > BNI_GRAMMAR_MAX_REPETITIONS)
        return bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, keyword,
                                 "must be a whole number from 0 to 4096");
    *count = json_integer_value(value);
    return BITNET_OK;
}

bitnet_status bni_schema_counts(const json_t *schema, const char *min_keyword,
                                const char *max_keyword, int64_t *min, int64_t *max)
{
    *min = 0;
    *max = -1;
    bitnet_status status = read_count(schema, min_keyword, min);
    if (status == BITNET_OK) status = read_count(schema, max_keyword, max);
    if (status == BITNET_OK && *max >= 0 && *max < *min)
        status = bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, max_keyword,
                                   "is less than the minimum");
    return status;
}

/* ---- $ref --------------------------------------------------------------------------------- */

bitnet_status bni_schema_resolve(const json_t *document, const json_t *reference,
                                 const json_t **target)
{
    static const char wanted[] =
        "must be \"#\" or point into this document, as \"#/$defs/name\" does";
    const char *pointer = json_string_value(reference);
    if (pointer == NULL || pointer[0] != '#' || strlen(pointer) > MAX_POINTER_BYTES)
        return bni_schema_refuse(BITNET_ERROR_UNSUPPORTED_OPERATION, "$ref", wanted);
    *target = document;
    for (const char *at = pointer + 1; *at != '\0';) {
        char key[MAX_POINTER_BYTES + 1];
        size_t n = 0;
        if (*at++ != '/')
            return bni_schema_refuse(BITNET_ERROR_UNSUPPORTED_OPERATION, "$ref",
                                     wanted);
        for (; *at != '\0' && *at != '/'; at++) {
            const bool is_escape = at[0] == '~' && (at[1] == '0' || at[1] == '1');
            key[n++] = is_escape ? (at[1] == '0' ? '~' : '/') : *at;
            if (is_escape) at++;
        }
        key[n] = '\0';
        *target = json_object_get(*target, key);
        if (*target == NULL) {
            struct bni_quote quote;
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "JSON schema: \"$ref\" to \"%s\": there is nothing there",
                             bni_quote_bytes(&quote, pointer, strlen(pointer)));
        }
    }
    return BITNET_OK;
}
