/* SPDX-License-Identifier: MIT */
/*
 * grammar_builder.c - see grammar_builder.h.
 */
#include "engine/grammar_builder.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    LAST_CHARACTER = 0x10FFFF,
    FIRST_SURROGATE = 0xD800,
    LAST_SURROGATE = 0xDFFF,
};

/* ---- arrays -------------------------------------------------------------------------- */

static bitnet_status reserve(struct bni_grammar_array *array, size_t item_bytes,
                             size_t max, const char *what)
{
    if (array->n < array->n_room) return BITNET_OK;
    if (array->n >= max)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "it comes to more than %zu %s, repetitions written out", max,
                         what);
    size_t n_room = array->n_room == 0 ? 64 : 2 * array->n_room;
    if (n_room > max) n_room = max;
    void *items = bni_alloc(n_room * item_bytes);
    if (items == NULL) return bitnet_last_status();
    if (array->n > 0) memcpy(items, array->items, array->n * item_bytes);
    bni_free(array->items);
    array->items = items;
    array->n_room = n_room;
    return BITNET_OK;
}

static bitnet_status append_u32(struct bni_grammar_array *array, uint32_t value,
                                size_t max, const char *what)
{
    const bitnet_status status = reserve(array, sizeof(value), max, what);
    if (status == BITNET_OK) ((uint32_t *)array->items)[array->n++] = value;
    return status;
}

void bni_grammar_builder_free(struct bni_grammar_builder *builder)
{
    bni_free(builder->rules.items);
    bni_free(builder->owners.items);
    bni_free(builder->alternatives.items);
    bni_free(builder->code.items);
    bni_free(builder->sets.items);
    bni_free(builder->ranges.items);
    bni_free(builder->elements.items);
    bni_free(builder->begins.items);
    *builder = (struct bni_grammar_builder){.owner = 0};
}

/* ---- rules ---------------------------------------------------------------------------- */

bitnet_status bni_grammar_push(struct bni_grammar_builder *builder, uint32_t element)
{
    return append_u32(&builder->elements, element, BNI_GRAMMAR_MAX_CODE, "elements");
}

bitnet_status bni_grammar_add_rule(struct bni_grammar_builder *builder, uint32_t *rule)
{
    bitnet_status status = reserve(&builder->rules, sizeof(struct bni_grammar_rule),
                                   BNI_GRAMMAR_MAX_RULES, "rules");
    if (status == BITNET_OK)
        status = append_u32(&builder->owners, builder->owner, BNI_GRAMMAR_MAX_RULES,
                            "rules");
    if (status != BITNET_OK) return status;
    *rule = (uint32_t)builder->rules.n;
    ((struct bni_grammar_rule *)builder->rules.items)[builder->rules.n++] =
        (struct bni_grammar_rule){0, 0};
    return BITNET_OK;
}

bitnet_status bni_grammar_end_alternative(struct bni_grammar_builder *builder,
                                          size_t n_elements)
{
    bitnet_status status = append_u32(&builder->begins, (uint32_t)builder->code.n,
                                      BNI_GRAMMAR_MAX_CODE, "alternatives");
    for (size_t i = n_elements; i < builder->elements.n && status == BITNET_OK; i++)
        status = append_u32(&builder->code, ((uint32_t *)builder->elements.items)[i],
                            BNI_GRAMMAR_MAX_CODE, "elements");
    if (status == BITNET_OK)
        status = append_u32(&builder->code, bni_grammar_element(BNI_GRAMMAR_END, 0),
                            BNI_GRAMMAR_MAX_CODE, "elements");
    builder->elements.n = n_elements;
    return status;
}

bitnet_status bni_grammar_end_rule(struct bni_grammar_builder *builder, uint32_t rule,
                                   size_t n_begins)
{
    struct bni_grammar_rule *r = (struct bni_grammar_rule *)builder->rules.items + rule;
    r->first_alternative = (uint32_t)builder->alternatives.n;
    r->n_alternatives = (uint32_t)(builder->begins.n - n_begins);
    bitnet_status status = BITNET_OK;
    for (size_t i = n_begins; i < builder->begins.n && status == BITNET_OK; i++)
        status =
            append_u32(&builder->alternatives, ((uint32_t *)builder->begins.items)[i],
                       BNI_GRAMMAR_MAX_CODE, "alternatives");
    builder->begins.n = n_begins;
    return status;
}

/* ---- repetition ------------------------------------------------------------------------- */

/* Adds a rule ::= `element` `next` | (nothing), where `next` may be the rule itself, or
 * END for none. */
static bitnet_status add_optional(struct bni_grammar_builder *builder, uint32_t element,
                                  bool is_loop, uint32_t next, uint32_t *call)
{
    const size_t n_elements = builder->elements.n;
    const size_t n_begins = builder->begins.n;
    uint32_t rule;
    bitnet_status status = bni_grammar_add_rule(builder, &rule);
    if (status != BITNET_OK) return status;
    *call = bni_grammar_element(BNI_GRAMMAR_CALL, rule);
    if (is_loop) next = *call;
    status = bni_grammar_push(builder, element);
    if (status == BITNET_OK && bni_grammar_op_of(next) != BNI_GRAMMAR_END)
        status = bni_grammar_push(builder, next);
    if (status == BITNET_OK) status = bni_grammar_end_alternative(builder, n_elements);
    if (status == BITNET_OK) status = bni_grammar_end_alternative(builder, n_elements);
    if (status == BITNET_OK) status = bni_grammar_end_rule(builder, rule, n_begins);
    return status;
}

/* Makes one element of those from `n_elements` on, by a rule if they are not one. */
static bitnet_status join_elements(struct bni_grammar_builder *builder,
                                   size_t n_elements, uint32_t *element)
{
    if (builder->elements.n == n_elements + 1) {
        *element = ((uint32_t *)builder->elements.items)[--builder->elements.n];
        return BITNET_OK;
    }
    const size_t n_begins = builder->begins.n;
    uint32_t rule;
    bitnet_status status = bni_grammar_add_rule(builder, &rule);
    if (status == BITNET_OK) status = bni_grammar_end_alternative(builder, n_elements);
    if (status == BITNET_OK) status = bni_grammar_end_rule(builder, rule, n_begins);
    if (status == BITNET_OK) *element = bni_grammar_element(BNI_GRAMMAR_CALL, rule);
    return status;
}

bitnet_status bni_grammar_repeat(struct bni_grammar_builder *builder, size_t n_elements,
                                 uint32_t min, uint32_t max)
{
    uint32_t element = 0;
    uint32_t rest = bni_grammar_element(BNI_GRAMMAR_END, 0);
    bitnet_status status = join_elements(builder, n_elements, &element);
    for (uint32_t i = 0; i < min && status == BITNET_OK; i++)
        status = bni_grammar_push(builder, element);
    if (max == BNI_GRAMMAR_NO_MAXIMUM) {
        if (status == BITNET_OK)
            status = add_optional(builder, element, true, 0, &rest);
    } else {
        for (uint32_t i = min; i < max && status == BITNET_OK; i++)
            status = add_optional(builder, element, false, rest, &rest);
    }
    if (status == BITNET_OK && bni_grammar_op_of(rest) != BNI_GRAMMAR_END)
        status = bni_grammar_push(builder, rest);
    return status;
}

/* ---- sets ------------------------------------------------------------------------------- */

static bitnet_status append_range(struct bni_grammar_builder *builder, uint32_t first,
                                  uint32_t last)
{
    const bitnet_status status =
        reserve(&builder->ranges, sizeof(struct bni_grammar_range),
                BNI_GRAMMAR_MAX_CODE, "ranges of characters");
    if (status == BITNET_OK)
        ((struct bni_grammar_range *)builder->ranges.items)[builder->ranges.n++] =
            (struct bni_grammar_range){first, last};
    return status;
}

/* Leaves out the surrogates, which are no characters. */
bitnet_status bni_grammar_add_range(struct bni_grammar_builder *builder, uint32_t first,
                                    uint32_t last)
{
    bitnet_status status = BITNET_OK;
    if (first < FIRST_SURROGATE)
        status = append_range(builder, first,
                              last < FIRST_SURROGATE ? last : FIRST_SURROGATE - 1);
    if (status == BITNET_OK && last > LAST_SURROGATE)
        status =
            append_range(builder, first > LAST_SURROGATE ? first : LAST_SURROGATE + 1,
                         last);
    return status;
}

/* Insertion sort and then merging: the ranges of one set, written by hand, are few. */
static size_t normalise(struct bni_grammar_range *ranges, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct bni_grammar_range range = ranges[i];
        size_t k = i;
        for (; k > 0 && ranges[k - 1].first > range.first; k--)
            ranges[k] = ranges[k - 1];
        ranges[k] = range;
    }
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (n_kept > 0 && ranges[i].first <= ranges[n_kept - 1].last + 1) {
            if (ranges[i].last > ranges[n_kept - 1].last)
                ranges[n_kept - 1].last = ranges[i].last;
        } else {
            ranges[n_kept++] = ranges[i];
        }
    }
    return n_kept;
}

/* Puts what lies between the normalised ranges [begin, n) behind them, then there. */
static bitnet_status negate(struct bni_grammar_builder *builder, size_t begin)
{
    const size_t end = builder->ranges.n;
    uint32_t next = 0;
    bitnet_status status = BITNET_OK;
    for (size_t i = begin; i <= end && status == BITNET_OK; i++) {
        const struct bni_grammar_range *ranges = builder->ranges.items;
        const uint32_t first = i < end ? ranges[i].first : LAST_CHARACTER + 1;
        const uint32_t after = i < end ? ranges[i].last + 1 : 0;
        if (first > next) status = bni_grammar_add_range(builder, next, first - 1);
        next = after;
    }
    struct bni_grammar_range *ranges = builder->ranges.items;
    const size_t n_new = builder->ranges.n - end;
    if (n_new > 0) memmove(ranges + begin, ranges + end, n_new * sizeof(*ranges));
    builder->ranges.n = begin + n_new;
    return status;
}

bitnet_status bni_grammar_push_set(struct bni_grammar_builder *builder, size_t n_ranges,
                                   bool is_negated)
{
    struct bni_grammar_range *ranges = builder->ranges.items;
    if (builder->ranges.n > n_ranges)
        builder->ranges.n =
            n_ranges + normalise(ranges + n_ranges, builder->ranges.n - n_ranges);
    if (is_negated) {
        const bitnet_status status = negate(builder, n_ranges);
        if (status != BITNET_OK) return status;
        ranges = builder->ranges.items;
    }
    if (builder->ranges.n == n_ranges)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "this set has no character");
    if (builder->ranges.n == n_ranges + 1 &&
        ranges[n_ranges].first == ranges[n_ranges].last) {
        builder->ranges.n = n_ranges;
        return bni_grammar_push(builder, bni_grammar_element(BNI_GRAMMAR_CHAR,
                                                             ranges[n_ranges].first));
    }
    const bitnet_status status = reserve(&builder->sets, sizeof(struct bni_grammar_set),
                                         BNI_GRAMMAR_MAX_CODE, "sets");
    if (status != BITNET_OK) return status;
    ((struct bni_grammar_set *)builder->sets.items)[builder->sets.n] =
        (struct bni_grammar_set){(uint32_t)n_ranges, (uint32_t)builder->ranges.n};
    return bni_grammar_push(builder, bni_grammar_element(BNI_GRAMMAR_SET,
                                                         (uint32_t)builder->sets.n++));
}

/* ---- the end ----------------------------------------------------------------------------- */

/* Hands an array over. */
static void *take_items(struct bni_grammar_array *array)
{
    void *items = array->items;
    *array = (struct bni_grammar_array){NULL, 0, 0};
    return items;
}

bitnet_status bni_grammar_builder_finish(struct bni_grammar_builder *builder,
                                         uint32_t root, bitnet_grammar **out)
{
    bitnet_grammar *grammar = bni_calloc(1, sizeof(*grammar));
    if (grammar == NULL) return bitnet_last_status();
    atomic_init(&grammar->n_references, 1);
    grammar->root = root;
    grammar->rules = take_items(&builder->rules);
    grammar->alternatives = take_items(&builder->alternatives);
    grammar->code = take_items(&builder->code);
    grammar->sets = take_items(&builder->sets);
    grammar->ranges = take_items(&builder->ranges);
    *out = grammar;
    return BITNET_OK;
}
