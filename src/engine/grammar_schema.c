/* SPDX-License-Identifier: MIT */
/*
 * grammar_schema.c - from a JSON Schema to a grammar.
 *
 * Writes the grammar in its notation, a rule for each schema, and has it parsed: what
 * comes out can be read. A schema that was begun already is used by its rule's name,
 * which is what makes recursion through $ref possible. Properties keep their order, so
 * those that may be left out need two rules each: one for when nothing stands before
 * them in the object, and one, with a comma, for when something does.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/alloc.h"
#include "base/error.h"
#include "engine/grammar.h"
#include "engine/grammar_schema_read.h"

enum {
    MAX_SCHEMAS = 4096,
    MAX_SCHEMA_DEPTH = 256,
};

/* Any JSON value, without \u escapes, which would need care for surrogates. */
static const char common_rules[] =
    "value ::= object | array | string | number | boolean | null\n"
    "object ::= \"{\" (string colon value (comma string colon value)*)? \"}\"\n"
    "array ::= \"[\" (value (comma value)*)? \"]\"\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" [\"\\\\/bfnrt]\n"
    "integer ::= \"-\"? (\"0\" | [1-9] [0-9]{0,15})\n"
    "number ::= integer (\".\" [0-9]{1,16})? ([eE] [\\-+]? [0-9]{1,2})?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "colon ::= \":\" \" \"?\n"
    "comma ::= \",\" \" \"?\n";

struct writer {
    const json_t *whole; /* the document: what $ref points into */
    char *text;
    size_t n_bytes;
    size_t n_room;
    const json_t *schemas[MAX_SCHEMAS]; /* schema number i has rule s<i> */
    unsigned n_schemas;
    unsigned depth;
};

/* ---- text ---------------------------------------------------------------------------- */

static bitnet_status append_bytes(struct writer *w, const char *bytes, size_t n_bytes)
{
    if (n_bytes > BNI_GRAMMAR_MAX_TEXT_BYTES - w->n_bytes)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "JSON schema: its grammar has more than %d bytes",
                         BNI_GRAMMAR_MAX_TEXT_BYTES);
    if (w->n_bytes + n_bytes >= w->n_room) {
        const size_t n_room = 2 * (w->n_bytes + n_bytes) + 1024;
        char *text = bni_alloc(n_room);
        if (text == NULL) return bitnet_last_status();
        if (w->n_bytes > 0) memcpy(text, w->text, w->n_bytes);
        bni_free(w->text);
        w->text = text;
        w->n_room = n_room;
    }
    memcpy(w->text + w->n_bytes, bytes, n_bytes);
    w->n_bytes += n_bytes;
    w->text[w->n_bytes] = '\0';
    return BITNET_OK;
}

static bitnet_status append(struct writer *w, const char *format, ...)
    BITNET_PRINTF(2, 3);

static bitnet_status append(struct writer *w, const char *format, ...)
{
    char bytes[256];
    va_list arguments;
    va_start(arguments, format);
    const int n_bytes = vsnprintf(bytes, sizeof(bytes), format, arguments);
    va_end(arguments);
    return append_bytes(w, bytes, (size_t)n_bytes);
}

/* Writes the JSON text of a value as a literal. */
static bitnet_status append_value(struct writer *w, const json_t *value)
{
    char *json = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (json == NULL)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY, "JSON schema: out of memory");
    bitnet_status status = append_bytes(w, "\"", 1);
    for (const char *c = json; *c != '\0' && status == BITNET_OK; c++) {
        if (*c == '"' || *c == '\\') status = append_bytes(w, "\\", 1);
        if (status == BITNET_OK) status = append_bytes(w, c, 1);
    }
    if (status == BITNET_OK) status = append_bytes(w, "\"", 1);
    free(json);
    return status;
}

/* ---- schemas ------------------------------------------------------------------------------ */

static bitnet_status write_schema(struct writer *w, const json_t *schema,
                                  unsigned *number);

static bool is_required(const json_t *schema, const char *name)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(schema, "required"), i, entry)
    {
        if (strcmp(json_string_value(entry), name) == 0) return true;
    }
    return false;
}

static bitnet_status check_required(const json_t *schema, const json_t *properties)
{
    const json_t *required = json_object_get(schema, "required");
    if (required != NULL && !json_is_array(required))
        return bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, "required",
                                 "must be a list of names");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const json_t *name = json_array_get(required, i);
        if (!json_is_string(name) ||
            json_object_get(properties, json_string_value(name)) == NULL)
            return bni_schema_refuse(
                BITNET_ERROR_UNSUPPORTED_OPERATION, "required",
                "names something that \"properties\" does not have");
    }
    return BITNET_OK;
}

/* An object of any names, whose values fit the schema `extra`, or any if it is NULL. */
static bitnet_status write_open_object(struct writer *w, unsigned self,
                                       const json_t *extra)
{
    unsigned value = 0;
    if (extra == NULL) return append(w, "s%u-object ::= object\n", self);
    if (json_is_false(extra)) return append(w, "s%u-object ::= \"{}\"\n", self);
    const bitnet_status status = write_schema(w, extra, &value);
    if (status != BITNET_OK) return status;
    return append(w,
                  "s%u-object ::= \"{\" (string colon s%u (comma string colon "
                  "s%u)*)? \"}\"\n",
                  self, value, value);
}

/*
 * Property i of schema N has three rules: sN-pI is the pair itself, sN-fI what may come
 * from it on while the object is empty, and sN-rI likewise while it is not.
 */
static bitnet_status write_property(struct writer *w, unsigned self, unsigned i,
                                    const char *name, const json_t *schema,
                                    bool is_needed)
{
    unsigned value = 0;
    bitnet_status status = write_schema(w, schema, &value);
    json_t *key = json_string(name);
    if (key == NULL)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY, "JSON schema: out of memory");
    if (status == BITNET_OK) status = append(w, "s%u-p%u ::= ", self, i);
    if (status == BITNET_OK) status = append_value(w, key);
    json_decref(key);
    if (status == BITNET_OK) status = append(w, " colon s%u\n", value);
    if (status == BITNET_OK)
        status =
            append(w, "s%u-f%u ::= s%u-p%u s%u-r%u", self, i, self, i, self, i + 1);
    if (status == BITNET_OK && !is_needed)
        status = append(w, " | s%u-f%u", self, i + 1);
    if (status != BITNET_OK) return status;
    return append(w,
                  is_needed ? "\ns%u-r%u ::= comma s%u-p%u s%u-r%u\n"
                            : "\ns%u-r%u ::= (comma s%u-p%u)? s%u-r%u\n",
                  self, i, self, i, self, i + 1);
}

static bitnet_status write_object(struct writer *w, unsigned self, const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *extra = json_object_get(schema, "additionalProperties");
    if (properties != NULL && !json_is_object(properties))
        return bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, "properties",
                                 "must be an object");
    bitnet_status status = check_required(schema, properties);
    if (status != BITNET_OK) return status;
    if (json_object_size(properties) == 0) return write_open_object(w, self, extra);
    if (json_is_object(extra))
        return bni_schema_refuse(
            BITNET_ERROR_UNSUPPORTED_OPERATION, "additionalProperties",
            "with a schema is not supported beside \"properties\"");

    unsigned i = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)properties, name, value)
    {
        status = write_property(w, self, i, name, value, is_required(schema, name));
        if (status != BITNET_OK) return status;
        i++;
    }
    return append(w,
                  "s%u-f%u ::= \"\"\n"
                  "s%u-r%u ::= \"\"\n"
                  "s%u-object ::= \"{\" s%u-f0 \"}\"\n",
                  self, i, self, i, self, self);
}

static bitnet_status write_array(struct writer *w, unsigned self, const json_t *schema)
{
    static const char begin[] = "s%u-array ::= \"[\" (s%u (comma s%u){%d,";
    const json_t *items = json_object_get(schema, "items");
    unsigned item = 0;
    int64_t min, max;
    bitnet_status status =
        bni_schema_counts(schema, "minItems", "maxItems", &min, &max);
    if (status != BITNET_OK) return status;
    if (max == 0) return append(w, "s%u-array ::= \"[]\"\n", self);
    json_t *any = json_true();
    status = write_schema(w, items != NULL ? items : any, &item);
    if (status != BITNET_OK) return status;
    const int n_least = min > 1 ? (int)min - 1 : 0;
    status = append(w, begin, self, item, item, n_least);
    if (status == BITNET_OK && max > 0) status = append(w, "%d", (int)max - 1);
    if (status != BITNET_OK) return status;
    return append(w, min == 0 ? "})? \"]\"\n" : "}) \"]\"\n");
}

static bitnet_status write_string(struct writer *w, unsigned self, const json_t *schema)
{
    int64_t min, max;
    bitnet_status status =
        bni_schema_counts(schema, "minLength", "maxLength", &min, &max);
    if (status != BITNET_OK) return status;
    status = append(w, "s%u-string ::= \"\\\"\" char{%d,", self, (int)min);
    if (status == BITNET_OK && max >= 0) status = append(w, "%d", (int)max);
    if (status != BITNET_OK) return status;
    return append(w, "} \"\\\"\"\n");
}

/* Writes the rule that a type of the schema needs beyond the common ones. */
static bitnet_status write_type(struct writer *w, unsigned self, const json_t *schema,
                                const json_t *type)
{
    const char *name = json_string_value(type);
    if (strcmp(name, "object") == 0) return write_object(w, self, schema);
    if (strcmp(name, "array") == 0) return write_array(w, self, schema);
    if (strcmp(name, "string") == 0) return write_string(w, self, schema);
    return append(w, "s%u-%s ::= %s\n", self, name, name);
}

static bitnet_status write_types(struct writer *w, unsigned self, const json_t *schema,
                                 const json_t *type)
{
    if (!json_is_array(type)) {
        const bitnet_status status = write_type(w, self, schema, type);
        if (status != BITNET_OK) return status;
        return append(w, "s%u ::= s%u-%s\n", self, self, json_string_value(type));
    }
    size_t i;
    const json_t *entry;
    bitnet_status status = BITNET_OK;
    json_array_foreach(type, i, entry)
    {
        status = write_type(w, self, schema, entry);
        if (status != BITNET_OK) return status;
    }
    status = append(w, "s%u ::= ", self);
    json_array_foreach(type, i, entry)
    {
        if (status == BITNET_OK)
            status = append(w, "%ss%u-%s", i > 0 ? " | " : "", self,
                            json_string_value(entry));
    }
    return status == BITNET_OK ? append(w, "\n") : status;
}

/* One of some values, of those that fit the type. */
static bitnet_status write_values(struct writer *w, unsigned self, const json_t *schema,
                                  const json_t *values)
{
    size_t n_written = 0;
    bitnet_status status = append(w, "s%u ::= ", self);
    for (size_t i = 0; i < json_array_size(values) && status == BITNET_OK; i++) {
        const json_t *value = json_array_get(values, i);
        if (!bni_schema_fits_type(schema, value)) continue;
        if (n_written++ > 0) status = append(w, " | ");
        if (status == BITNET_OK) status = append_value(w, value);
    }
    if (status == BITNET_OK && n_written == 0)
        return bni_schema_refuse(
            BITNET_ERROR_INVALID_ARGUMENT, "enum",
            "must be a list with at least one value of the schema's type");
    return status == BITNET_OK ? append(w, "\n") : status;
}

static bitnet_status write_choices(struct writer *w, unsigned self,
                                   const json_t *choices, const char *keyword)
{
    if (json_array_size(choices) == 0)
        return bni_schema_refuse(BITNET_ERROR_INVALID_ARGUMENT, keyword,
                                 "must be a list of schemas");
    unsigned *numbers = bni_calloc(json_array_size(choices), sizeof(*numbers));
    if (numbers == NULL) return bitnet_last_status();
    bitnet_status status = BITNET_OK;
    for (size_t i = 0; i < json_array_size(choices) && status == BITNET_OK; i++)
        status = write_schema(w, json_array_get(choices, i), &numbers[i]);
    if (status == BITNET_OK) status = append(w, "s%u ::= s%u", self, numbers[0]);
    for (size_t i = 1; i < json_array_size(choices) && status == BITNET_OK; i++)
        status = append(w, " | s%u", numbers[i]);
    bni_free(numbers);
    return status == BITNET_OK ? append(w, "\n") : status;
}

/* The type that other keywords tell, where none is named; NULL if they do not. */
static const char *implied_type(const json_t *schema)
{
    static const struct {
        const char *keyword, *type;
    } implications[] = {
        {"properties", "object"},
        {"required", "object"},
        {"additionalProperties", "object"},
        {"items", "array"},
        {"minItems", "array"},
        {"maxItems", "array"},
        {"minLength", "string"},
        {"maxLength", "string"},
    };
    for (size_t i = 0; i < sizeof(implications) / sizeof(implications[0]); i++)
        if (json_object_get(schema, implications[i].keyword) != NULL)
            return implications[i].type;
    return NULL;
}

/* Of the keywords that each decide everything, a schema may have one. */
static bitnet_status find_decider(const json_t *schema, const char **decider)
{
    static const char *const deciders[] = {"$ref", "enum", "const", "anyOf", "oneOf"};
    *decider = NULL;
    for (size_t i = 0; i < sizeof(deciders) / sizeof(deciders[0]); i++) {
        if (json_object_get(schema, deciders[i]) == NULL) continue;
        if (*decider != NULL)
            return bni_schema_refuse(BITNET_ERROR_UNSUPPORTED_OPERATION, deciders[i],
                                     "is not supported beside another such keyword");
        *decider = deciders[i];
    }
    return BITNET_OK;
}

static bitnet_status write_decided(struct writer *w, unsigned self,
                                   const json_t *schema, const char *decider)
{
    const json_t *value = json_object_get(schema, decider);
    if (strcmp(decider, "enum") == 0) return write_values(w, self, schema, value);
    if (strcmp(decider, "const") == 0) {
        bitnet_status status = append(w, "s%u ::= ", self);
        if (status == BITNET_OK) status = append_value(w, value);
        return status == BITNET_OK ? append(w, "\n") : status;
    }
    if (implied_type(schema) != NULL)
        return bni_schema_refuse(BITNET_ERROR_UNSUPPORTED_OPERATION, decider,
                                 "is not supported beside keywords of one type");
    if (strcmp(decider, "$ref") != 0) return write_choices(w, self, value, decider);
    const json_t *target = NULL;
    unsigned number = 0;
    bitnet_status status = bni_schema_resolve(w->whole, value, &target);
    if (status == BITNET_OK) status = write_schema(w, target, &number);
    return status == BITNET_OK ? append(w, "s%u ::= s%u\n", self, number) : status;
}

static bitnet_status write_rules_of(struct writer *w, unsigned self,
                                    const json_t *schema)
{
    if (json_is_true(schema)) return append(w, "s%u ::= value\n", self);
    if (!json_is_object(schema))
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "JSON schema: a schema must be an object or true");
    const char *decider;
    bitnet_status status = bni_schema_check_keywords(schema);
    if (status == BITNET_OK) status = find_decider(schema, &decider);
    if (status != BITNET_OK) return status;
    if (decider != NULL) return write_decided(w, self, schema, decider);
    const json_t *type = json_object_get(schema, "type");
    if (type != NULL) return write_types(w, self, schema, type);
    const char *implied = implied_type(schema);
    if (implied == NULL) return append(w, "s%u ::= value\n", self);
    json_t *implied_value = json_string(implied);
    if (implied_value == NULL)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY, "JSON schema: out of memory");
    status = write_types(w, self, schema, implied_value);
    json_decref(implied_value);
    return status;
}

/* Gives the number of the schema's rule, and writes it unless that is done or begun. */
static bitnet_status write_schema(struct writer *w, const json_t *schema,
                                  unsigned *number)
{
    for (unsigned i = 0; i < w->n_schemas; i++) {
        if (w->schemas[i] != schema) continue;
        *number = i;
        return BITNET_OK;
    }
    if (w->n_schemas == MAX_SCHEMAS || w->depth == MAX_SCHEMA_DEPTH)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "JSON schema: more than %d schemas, or more than %d in one "
                         "another",
                         MAX_SCHEMAS, MAX_SCHEMA_DEPTH);
    *number = w->n_schemas;
    w->schemas[w->n_schemas++] = schema;
    w->depth++;
    const bitnet_status status = write_rules_of(w, *number, schema);
    w->depth--;
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static bitnet_status make_grammar(struct writer *w, bitnet_grammar **out)
{
    unsigned root = 0;
    bitnet_status status = write_schema(w, w->whole, &root);
    if (status == BITNET_OK) status = append(w, "root ::= s%u\n", root);
    if (status == BITNET_OK)
        status = append_bytes(w, common_rules, sizeof(common_rules) - 1);
    if (status != BITNET_OK) return status;
    status = bitnet_grammar_parse(w->text, out);
    if (status == BITNET_OK || status == BITNET_ERROR_OUT_OF_MEMORY) return status;
    return bni_error_prefix("JSON schema");
}

bitnet_status bitnet_grammar_from_json_schema(const char *schema, bitnet_grammar **out)
{
    if (schema == NULL || out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "JSON schema: %s is NULL",
                         schema == NULL ? "schema" : "out");
    const size_t n_bytes = strnlen(schema, BNI_GRAMMAR_MAX_TEXT_BYTES + 1);
    if (n_bytes > BNI_GRAMMAR_MAX_TEXT_BYTES)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "JSON schema: it has more than %d bytes",
                         BNI_GRAMMAR_MAX_TEXT_BYTES);
    json_error_t error;
    json_t *document =
        json_loadb(schema, n_bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (document == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "JSON schema: line %d, column %d: %s", error.line,
                         error.column, error.text);
    struct writer *w = bni_calloc(1, sizeof(*w));
    bitnet_status status = bitnet_last_status();
    if (w != NULL) {
        w->whole = document;
        status = make_grammar(w, out);
        bni_free(w->text);
        bni_free(w);
    }
    json_decref(document);
    return status;
}
