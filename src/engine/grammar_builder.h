/* SPDX-License-Identifier: MIT */
/*
 * grammar_builder.h - a grammar while it is being written down.
 *
 * Groups nest, but the code of an alternative and the alternatives of a rule must each
 * lie in one piece. So what is unfinished stands on two stacks, and is copied to its
 * place when it ends:
 *
 *     elements  [ of the outer alternative | of the group's | ... ]
 *     begins    [ of the outer rule's finished alternatives | of the group's | ... ]
 *
 * Every function that can fail leaves the builder as it may be released.
 */
#ifndef BNI_ENGINE_GRAMMAR_BUILDER_H
#define BNI_ENGINE_GRAMMAR_BUILDER_H

#include "engine/grammar.h"

/* An array that grows up to a limit, with a name for the message. */
struct bni_grammar_array {
    void *items;
    size_t n;
    size_t n_room;
};

struct bni_grammar_builder {
    struct bni_grammar_array rules;        /* struct bni_grammar_rule */
    struct bni_grammar_array owners;       /* uint32_t: the named rule it belongs to */
    struct bni_grammar_array alternatives; /* uint32_t */
    struct bni_grammar_array code;         /* uint32_t */
    struct bni_grammar_array sets;         /* struct bni_grammar_set */
    struct bni_grammar_array ranges;       /* struct bni_grammar_range */
    struct bni_grammar_array elements;     /* uint32_t, a stack */
    struct bni_grammar_array begins;       /* uint32_t, a stack */
    uint32_t owner;                        /* of rules added now */
};

void bni_grammar_builder_free(struct bni_grammar_builder *builder);

/* Pushes an element of the alternative that is being written. */
bitnet_status bni_grammar_push(struct bni_grammar_builder *builder, uint32_t element);

/* Adds a rule without alternatives; they come by bni_grammar_end_rule(). */
bitnet_status bni_grammar_add_rule(struct bni_grammar_builder *builder, uint32_t *rule);

/* Ends the alternative whose elements are those from `n_elements` on the stack. */
bitnet_status bni_grammar_end_alternative(struct bni_grammar_builder *builder,
                                          size_t n_elements);

/* Gives `rule` the alternatives that have ended since there were `n_begins`. */
bitnet_status bni_grammar_end_rule(struct bni_grammar_builder *builder, uint32_t rule,
                                   size_t n_begins);

#define BNI_GRAMMAR_NO_MAXIMUM UINT32_MAX

/* Replaces the elements from `n_elements` on by `min` to `max` times them. */
bitnet_status bni_grammar_repeat(struct bni_grammar_builder *builder, size_t n_elements,
                                 uint32_t min, uint32_t max);

/*
 * Pushes a set of the ranges added to builder->ranges since there were `n_ranges`, or
 * of all other characters. Fails with INVALID_ARGUMENT if no character is left.
 */
bitnet_status bni_grammar_push_set(struct bni_grammar_builder *builder, size_t n_ranges,
                                   bool is_negated);

bitnet_status bni_grammar_add_range(struct bni_grammar_builder *builder, uint32_t first,
                                    uint32_t last);

/* Makes a grammar of what has been built, and frees nothing of the builder but that. */
bitnet_status bni_grammar_builder_finish(struct bni_grammar_builder *builder,
                                         uint32_t root, bitnet_grammar **out);

#endif
