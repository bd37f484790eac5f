/* SPDX-License-Identifier: MIT */
/*
 * grammar.c - see grammar.h: references, and what an element takes in.
 */
#include "engine/grammar.h"

#include "base/alloc.h"

void bni_grammar_destroy(bitnet_grammar *grammar)
{
    bni_free(grammar->rules);
    bni_free(grammar->alternatives);
    bni_free(grammar->code);
    bni_free(grammar->sets);
    bni_free(grammar->ranges);
    bni_free(grammar);
}

bitnet_grammar *bitnet_grammar_retain(bitnet_grammar *grammar)
{
    /* Relaxed: whoever retains has a reference already. */
    if (grammar != NULL)
        atomic_fetch_add_explicit(&grammar->n_references, 1, memory_order_relaxed);
    return grammar;
}

void bitnet_grammar_release(bitnet_grammar *grammar)
{
    if (grammar == NULL) return;
    /* Release our reads; the last one acquires everybody's before it frees. */
    if (atomic_fetch_sub_explicit(&grammar->n_references, 1, memory_order_acq_rel) == 1)
        bni_grammar_destroy(grammar);
}

bool bni_grammar_takes_in_some(const bitnet_grammar *grammar, uint32_t element,
                               uint32_t first, uint32_t last)
{
    const uint32_t argument = bni_grammar_argument_of(element);
    if (bni_grammar_op_of(element) == BNI_GRAMMAR_CHAR)
        return first <= argument && argument <= last;
    /* The first range that does not end before `first`, by halving. */
    uint32_t begin = grammar->sets[argument].begin;
    uint32_t end = grammar->sets[argument].end;
    const uint32_t set_end = end;
    while (begin < end) {
        const uint32_t middle = begin + (end - begin) / 2;
        if (grammar->ranges[middle].last < first)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin < set_end && grammar->ranges[begin].first <= last;
}
