/* SPDX-License-Identifier: MIT */
/*
 * grammar_schema_read.h - what a JSON Schema says: the keywords that are understood, and
 * refusal of all others, since a constraint passed over would be a promise broken.
 */
#ifndef BNI_ENGINE_GRAMMAR_SCHEMA_READ_H
#define BNI_ENGINE_GRAMMAR_SCHEMA_READ_H

#include <stdbool.h>
#include <stdint.h>

#include <bitnet/status.h>
#include <jansson.h>

/* Fails with `status`, naming the keyword. */
bitnet_status bni_schema_refuse(bitnet_status status, const char *keyword,
                                const char *expected);

/* Fails unless all keywords of the schema, an object, are understood, and its type, if it
 * has one, is object, array, string, number, integer, boolean or null, or a list of
 * these. */
bitnet_status bni_schema_check_keywords(const json_t *schema);

/* Whether a value has the type, or one of the types, that the schema names. */
bool bni_schema_fits_type(const json_t *schema, const json_t *value);

/* Reads two counts; `*max` is -1 if there is no maximum. */
bitnet_status bni_schema_counts(const json_t *schema, const char *min_keyword,
                                const char *max_keyword, int64_t *min, int64_t *max);

/* Follows "#/a/b" from the document, "~1" standing for "/" and "~0" for "~". */
bitnet_status bni_schema_resolve(const json_t *document, const json_t *reference,
                                 const json_t **target);

#endif
