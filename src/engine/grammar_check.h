/* SPDX-License-Identifier: MIT */
/*
 * grammar_check.h - rules that no text could ever satisfy, or that would not end.
 */
#ifndef BNI_ENGINE_GRAMMAR_CHECK_H
#define BNI_ENGINE_GRAMMAR_CHECK_H

#include "engine/grammar_builder.h"

enum bni_grammar_fault {
    BNI_GRAMMAR_FAULT_NONE,
    BNI_GRAMMAR_FAULT_ENDLESS,        /* every text of the rule would be infinite */
    BNI_GRAMMAR_FAULT_LEFT_RECURSION, /* it begins with itself */
};

/*
 * Looks for such a rule among those of the builder, all of which have their
 * alternatives. Returns OUT_OF_MEMORY or BITNET_OK with what it found.
 */
bitnet_status bni_grammar_check(const struct bni_grammar_builder *builder,
                                enum bni_grammar_fault *fault, uint32_t *rule);

#endif
