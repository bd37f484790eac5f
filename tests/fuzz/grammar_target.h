/* SPDX-License-Identifier: MIT */
/*
 * grammar_target.h - what the fuzz targets of both kinds of grammar do.
 *
 * The bytes up to the first NUL are the text. If it is accepted, a matcher goes through
 * the text itself, then through bytes that many grammars begin with, and is cut back. A
 * text that the matcher allows it must take, and the other way round.
 */
#ifndef TESTS_FUZZ_GRAMMAR_TARGET_H
#define TESTS_FUZZ_GRAMMAR_TARGET_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/grammar.h>

#include "base/alloc.h"
#include "engine/grammar_matcher.h"

static inline void match(bitnet_grammar *grammar, const char *text, size_t n_bytes)
{
    static const char usual[] = "{\"a\": [1, -2.5e3, \"x\\n\", true, null]}aaaabbbb01";
    struct bni_grammar_matcher *matcher;
    if (bni_matcher_create(grammar, &matcher) != BITNET_OK) return;
    for (size_t i = 0; i < n_bytes && i < 64; i++)
        if (bni_matcher_allows(matcher, text + i, 1) !=
            bni_matcher_take(matcher, text + i, 1))
            abort();
    for (size_t i = 0; i + 1 < sizeof(usual); i++)
        bni_matcher_take(matcher, usual + i, 1);
    (void)bni_matcher_is_complete(matcher);
    bni_matcher_destroy(matcher);
}

static inline int try_grammar_text(const uint8_t *data, size_t n_bytes,
                                   bitnet_status (*parse)(const char *,
                                                          bitnet_grammar **))
{
    const uint64_t in_use_before = bni_alloc_in_use();
    bitnet_grammar *grammar;
    char *text = malloc(n_bytes + 1); /* of this very size: reading on is seen */
    if (text == NULL) return 0;
    if (n_bytes > 0) memcpy(text, data, n_bytes);
    text[n_bytes] = '\0';
    if (parse(text, &grammar) == BITNET_OK) {
        match(grammar, text, strlen(text));
        bitnet_grammar_release(grammar);
    }
    free(text);
    if (bni_alloc_in_use() != in_use_before) abort();
    return 0;
}

#endif
