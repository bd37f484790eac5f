/* SPDX-License-Identifier: MIT */
/*
 * grammar_matcher.h - how far a text has come in a grammar, byte by byte.
 *
 * A text may stand in several places of a grammar at once. A place is an element of
 * the code, which takes in a character, and the way back: where the calls around it go
 * on. The ways back of all places form a tree, since a call only adds to its caller's:
 *
 *     places  [ element, node ] [ element, node ] ...
 *     nodes   return to, parent   <- a parent is always made before its children
 *
 * Equal nodes are one node, so that equal places are seen to be equal; that also ends
 * the expansion of x* where x may be empty. Places and nodes of later states lie above
 * those of earlier ones, so trying a byte is taken back by cutting both off.
 *
 * Inside of a character all places have seen the same bytes. These are kept once, and
 * those places are kept that take in some character which begins so.
 *
 * Everything is bounded and allocated at once: a text that would need more (nesting
 * some thousands deep, or some thousand readings of an ambiguous grammar at once) is
 * refused like one that does not fit, and that is remembered. A matcher belongs to one request, and to one thread at a time.
 */
#ifndef BNI_ENGINE_GRAMMAR_MATCHER_H
#define BNI_ENGINE_GRAMMAR_MATCHER_H

#include "engine/grammar.h"

enum {
    BNI_MATCHER_MAX_NODES = 8192,
    BNI_MATCHER_MAX_PLACES = 32768,
    BNI_MATCHER_MAX_EXPANDED = 8192, /* by one character */
};

/* Where a text is; cut off what lies above to come back to it. */
struct bni_matcher_state {
    uint32_t first_place;
    uint32_t n_places;
    uint32_t n_nodes;   /* in use, its own included */
    uint32_t character; /* the bits of a character that has begun */
    uint32_t least;     /* below which its encoding would be overlong */
    uint8_t n_missing;  /* bytes of it; 0: between characters */
    bool can_end;       /* the text is a root */
};

struct bni_grammar_matcher;

/*
 * Makes a matcher for the empty text, with a reference to `grammar`. Fails with
 * UNSUPPORTED_OPERATION if a text can begin in more ways than there is room for,
 * INVALID_ARGUMENT if it can only be empty, OUT_OF_MEMORY.
 */
bitnet_status bni_matcher_create(bitnet_grammar *grammar,
                                 struct bni_grammar_matcher **out);
void bni_matcher_destroy(struct bni_grammar_matcher *matcher);

/* The text so far. */
const struct bni_matcher_state *bni_matcher_current(
    const struct bni_grammar_matcher *matcher);

/* Whether the text so far is a root and nothing can follow. */
bool bni_matcher_is_complete(const struct bni_grammar_matcher *matcher);

/* Whether anything was ever refused for want of room. */
bool bni_matcher_has_run_out(const struct bni_grammar_matcher *matcher);

/* Goes from a state, which is the uppermost, one byte on. False, with nothing changed, if
 * the text cannot become a root any more. */
bool bni_matcher_step(struct bni_grammar_matcher *matcher,
                      const struct bni_matcher_state *from, uint8_t byte,
                      struct bni_matcher_state *to);

/* Makes `state` the uppermost again. */
void bni_matcher_cut(struct bni_grammar_matcher *matcher,
                     const struct bni_matcher_state *state);

/* Whether the text may go on with these bytes. Changes nothing. */
bool bni_matcher_allows(struct bni_grammar_matcher *matcher, const char *bytes,
                        size_t n_bytes);

/* Lets the text go on with them. False, with nothing changed, if it may not. */
bool bni_matcher_take(struct bni_grammar_matcher *matcher, const char *bytes,
                      size_t n_bytes);

#endif
