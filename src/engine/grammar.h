/* SPDX-License-Identifier: MIT */
/*
 * grammar.h - a grammar, compiled.
 *
 * Rules are alternatives, alternatives are runs of elements in one array of code:
 *
 *     root ::= "a" item | [bc]        rules[0].first_alternative --+
 *                                                                  v
 *     alternatives  [ begin of 1st | begin of 2nd | ...            ]
 *     code          [ CHAR a | CALL item | END | SET {bc} | END | ... ]
 *
 * Everything else is rewritten to that by the compiler: a group is a rule of its own,
 * and x* is a rule r ::= x r | (nothing). A call at the end of an alternative needs no
 * return, so repetition costs no stack.
 *
 * Elements are characters and not bytes; a token that ends inside of a character is
 * the matcher's business (grammar_matcher.h). Immutable once made.
 */
#ifndef BNI_ENGINE_GRAMMAR_H
#define BNI_ENGINE_GRAMMAR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/grammar.h>

enum {
    BNI_GRAMMAR_MAX_TEXT_BYTES = 1 << 20,
    BNI_GRAMMAR_MAX_RULES =
        1 << 14, /* those that repetitions and groups make included */
    BNI_GRAMMAR_MAX_CODE = 1 << 18,
    BNI_GRAMMAR_MAX_REPETITIONS = 4096, /* the numbers in {m,n} */
    BNI_GRAMMAR_MAX_DEPTH = 64,         /* of groups in groups */
};

/* An element: what it is in the upper 8 bits, which one in the lower 24. */
enum bni_grammar_op {
    BNI_GRAMMAR_END,  /* of the alternative */
    BNI_GRAMMAR_CHAR, /* the character with this number */
    BNI_GRAMMAR_SET,  /* one character of sets[n] */
    BNI_GRAMMAR_CALL, /* rules[n] */
};

static inline uint32_t bni_grammar_element(enum bni_grammar_op op, uint32_t argument)
{
    return (uint32_t)op << 24 | argument;
}

static inline enum bni_grammar_op bni_grammar_op_of(uint32_t element)
{
    return (enum bni_grammar_op)(element >> 24);
}

static inline uint32_t bni_grammar_argument_of(uint32_t element)
{
    return element & 0xFFFFFFu;
}

struct bni_grammar_range {
    uint32_t first;
    uint32_t last;
};

/* Ranges [begin, end) of the grammar's, in order, apart, and without surrogates. */
struct bni_grammar_set {
    uint32_t begin;
    uint32_t end;
};

struct bni_grammar_rule {
    uint32_t first_alternative;
    uint32_t n_alternatives;
};

struct bitnet_grammar {
    atomic_uint n_references;
    uint32_t root; /* a rule */
    struct bni_grammar_rule *rules;
    uint32_t *alternatives; /* where each begins in the code */
    uint32_t *code;
    struct bni_grammar_set *sets;
    struct bni_grammar_range *ranges;
};

/* Frees the arrays that are not NULL, and the struct. */
void bni_grammar_destroy(bitnet_grammar *grammar);

/* Whether the element takes in some character in [first, last]. */
bool bni_grammar_takes_in_some(const bitnet_grammar *grammar, uint32_t element,
                               uint32_t first, uint32_t last);

#endif
