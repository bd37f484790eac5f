/* SPDX-License-Identifier: MIT */
/*
 * grammar_matcher.c - see grammar_matcher.h.
 */
#include "engine/grammar_matcher.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

enum {
    N_BUCKETS = 4096,
    N_SEEN_SLOTS = 2 * BNI_MATCHER_MAX_EXPANDED,
    EMPTY_STACK = 0, /* the node of a root: nothing to return to */
    LAST_CHARACTER = 0x10FFFF,
};

struct place {
    uint32_t element; /* index into the code */
    uint32_t node;
};

struct node {
    uint32_t return_to; /* index into the code */
    uint32_t parent;
    uint32_t next; /* of its bucket, made before it; 0: none */
};

struct seen_slot {
    uint32_t expansion; /* the slot is free in any other */
    struct place place;
};

struct bni_grammar_matcher {
    bitnet_grammar *grammar; /* a reference */
    struct bni_matcher_state current;
    uint32_t n_places;
    uint32_t n_nodes;
    uint32_t expansion; /* number of the one under way, never 0 */
    uint32_t n_expanded;
    bool has_run_out;
    struct place places[BNI_MATCHER_MAX_PLACES];
    struct node nodes[BNI_MATCHER_MAX_NODES];
    uint32_t buckets[N_BUCKETS];
    struct place expanded[BNI_MATCHER_MAX_EXPANDED]; /* all seen, in order */
    struct seen_slot seen[N_SEEN_SLOTS];
    uint32_t new_numbers[BNI_MATCHER_MAX_NODES]; /* scratch of compact() */
};

_Static_assert(sizeof(struct bni_grammar_matcher) <= 660 * 1024,
               "bitnet/engine.h tells how large a matcher is");

static uint32_t hash_pair(uint32_t a, uint32_t b)
{
    const uint64_t mixed = ((uint64_t)a << 32 | b) *
                           UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    return (uint32_t)(mixed >> 32);
}

/* ---- nodes ---------------------------------------------------------------------------- */

/* Finds or makes a node; false if there is no room. */
static bool find_node(struct bni_grammar_matcher *m, uint32_t return_to,
                      uint32_t parent, uint32_t *node)
{
    uint32_t *bucket = &m->buckets[hash_pair(return_to, parent) % N_BUCKETS];
    for (uint32_t n = *bucket; n != 0; n = m->nodes[n].next) {
        if (m->nodes[n].return_to != return_to || m->nodes[n].parent != parent)
            continue;
        *node = n;
        return true;
    }
    if (m->n_nodes == BNI_MATCHER_MAX_NODES) return false;
    *node = m->n_nodes++;
    m->nodes[*node] = (struct node){return_to, parent, *bucket};
    *bucket = *node;
    return true;
}

/* Takes nodes off in the reverse order of their making: each is the first of its
 * bucket then. */
static void cut_nodes(struct bni_grammar_matcher *m, uint32_t n_nodes)
{
    while (m->n_nodes > n_nodes) {
        const struct node *node = &m->nodes[--m->n_nodes];
        m->buckets[hash_pair(node->return_to, node->parent) % N_BUCKETS] = node->next;
    }
}

/* ---- expansion -------------------------------------------------------------------------- */

static void begin_expansion(struct bni_grammar_matcher *m)
{
    m->n_expanded = 0;
    if (++m->expansion == 0) { /* after 2^32 of them: forget all marks */
        memset(m->seen, 0, sizeof(m->seen));
        m->expansion = 1;
    }
}

/* Notes a place to be expanded, once; false if there is no room. */
static bool note(struct bni_grammar_matcher *m, uint32_t element, uint32_t node)
{
    uint32_t slot = hash_pair(element, node) % N_SEEN_SLOTS;
    for (; m->seen[slot].expansion == m->expansion; slot = (slot + 1) % N_SEEN_SLOTS)
        if (m->seen[slot].place.element == element && m->seen[slot].place.node == node)
            return true;
    if (m->n_expanded == BNI_MATCHER_MAX_EXPANDED) return false;
    m->seen[slot] = (struct seen_slot){m->expansion, {element, node}};
    m->expanded[m->n_expanded++] = (struct place){element, node};
    return true;
}

static bool note_call(struct bni_grammar_matcher *m, uint32_t element, uint32_t node)
{
    const bitnet_grammar *g = m->grammar;
    const struct bni_grammar_rule *rule =
        &g->rules[bni_grammar_argument_of(g->code[element])];
    const bool returns = bni_grammar_op_of(g->code[element + 1]) != BNI_GRAMMAR_END;
    if (returns && !find_node(m, element + 1, node, &node)) return false;
    for (uint32_t i = 0; i < rule->n_alternatives; i++)
        if (!note(m, g->alternatives[rule->first_alternative + i], node)) return false;
    return true;
}

/* Follows calls and returns from what is noted, until only places are left, which are
 * added to `state`. */
static bool expand(struct bni_grammar_matcher *m, struct bni_matcher_state *state)
{
    for (uint32_t i = 0; i < m->n_expanded; i++) {
        const struct place place = m->expanded[i];
        switch (bni_grammar_op_of(m->grammar->code[place.element])) {
        case BNI_GRAMMAR_CHAR:
        case BNI_GRAMMAR_SET:
            if (m->n_places == BNI_MATCHER_MAX_PLACES) return false;
            m->places[m->n_places++] = place;
            state->n_places++;
            break;
        case BNI_GRAMMAR_CALL:
            if (!note_call(m, place.element, place.node)) return false;
            break;
        case BNI_GRAMMAR_END:
            if (place.node == EMPTY_STACK)
                state->can_end = true;
            else if (!note(m, m->nodes[place.node].return_to,
                           m->nodes[place.node].parent))
                return false;
            break;
        }
    }
    state->n_nodes = m->n_nodes;
    return true;
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* Reads a byte into a character. False if no character is encoded so. */
static bool read_byte(const struct bni_matcher_state *from, uint8_t byte,
                      struct bni_matcher_state *to)
{
    if (from->n_missing > 0) {
        if ((byte & 0xC0) != 0x80) return false;
        to->character = from->character << 6 | (byte & 0x3F);
        to->n_missing = from->n_missing - 1;
        to->least = from->least;
    } else if (byte < 0x80) {
        to->character = byte;
    } else if (byte >= 0xC2 && byte < 0xF5) {
        to->n_missing = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
        to->character = byte & (0x3Fu >> to->n_missing);
        to->least = byte < 0xE0 ? 0x80 : byte < 0xF0 ? 0x800 : 0x10000;
    } else {
        return false;
    }
    return true;
}

bool bni_matcher_step(struct bni_grammar_matcher *m,
                      const struct bni_matcher_state *from, uint8_t byte,
                      struct bni_matcher_state *to)
{
    struct bni_matcher_state next = {.first_place = m->n_places, .n_nodes = m->n_nodes};
    if (!read_byte(from, byte, &next)) return false;

    /* The characters that have begun like this; sets have no surrogates among them. */
    const unsigned shift = 6u * next.n_missing;
    uint32_t first = next.character << shift;
    uint32_t last = first | ((1u << shift) - 1);
    if (first < next.least) first = next.least;
    if (last > LAST_CHARACTER) last = LAST_CHARACTER;
    if (first > last) return false;

    begin_expansion(m);
    for (uint32_t i = 0; i < from->n_places; i++) {
        const struct place place = m->places[from->first_place + i];
        if (!bni_grammar_takes_in_some(m->grammar, m->grammar->code[place.element],
                                       first, last))
            continue;
        if (next.n_missing == 0) {
            if (!note(m, place.element + 1, place.node)) goto no_room;
        } else {
            if (m->n_places == BNI_MATCHER_MAX_PLACES) goto no_room;
            m->places[m->n_places++] = place;
            next.n_places++;
        }
    }
    if (next.n_missing == 0 && !expand(m, &next)) goto no_room;
    if (next.n_places == 0 && !next.can_end) {
        bni_matcher_cut(m, from);
        return false;
    }
    *to = next;
    return true;

no_room:
    m->has_run_out = true;
    bni_matcher_cut(m, from);
    return false;
}

void bni_matcher_cut(struct bni_grammar_matcher *m,
                     const struct bni_matcher_state *state)
{
    m->n_places = state->first_place + state->n_places;
    cut_nodes(m, state->n_nodes);
}

/* ---- texts -------------------------------------------------------------------------------- */

static bool walk(struct bni_grammar_matcher *m, const char *bytes, size_t n_bytes,
                 struct bni_matcher_state *state)
{
    *state = m->current;
    for (size_t i = 0; i < n_bytes; i++) {
        if (bni_matcher_step(m, state, (uint8_t)bytes[i], state)) continue;
        bni_matcher_cut(m, &m->current);
        return false;
    }
    return true;
}

bool bni_matcher_allows(struct bni_grammar_matcher *m, const char *bytes,
                        size_t n_bytes)
{
    struct bni_matcher_state state;
    if (!walk(m, bytes, n_bytes, &state)) return false;
    bni_matcher_cut(m, &m->current);
    return true;
}

/* Moves the state to the bottom, and keeps only the nodes it needs. */
static void compact(struct bni_grammar_matcher *m, struct bni_matcher_state *state)
{
    uint32_t *numbers = m->new_numbers;
    memmove(m->places, m->places + state->first_place,
            state->n_places * sizeof(*m->places));
    memset(numbers, 0, m->n_nodes * sizeof(*numbers));
    for (uint32_t i = 0; i < state->n_places; i++) numbers[m->places[i].node] = 1;
    for (uint32_t n = m->n_nodes; n-- > 1;)
        if (numbers[n] != 0) numbers[m->nodes[n].parent] = 1;

    const uint32_t n_old = m->n_nodes;
    memset(m->buckets, 0, sizeof(m->buckets));
    m->n_nodes = 1;
    numbers[EMPTY_STACK] = EMPTY_STACK;
    for (uint32_t n = 1; n < n_old; n++) {
        if (numbers[n] == 0) continue;
        const struct node old = m->nodes[n]; /* not overwritten yet: n_nodes <= n */
        const uint32_t parent = numbers[old.parent];
        uint32_t *bucket = &m->buckets[hash_pair(old.return_to, parent) % N_BUCKETS];
        numbers[n] = m->n_nodes;
        m->nodes[m->n_nodes] = (struct node){old.return_to, parent, *bucket};
        *bucket = m->n_nodes++;
    }
    for (uint32_t i = 0; i < state->n_places; i++)
        m->places[i].node = numbers[m->places[i].node];
    state->first_place = 0;
    state->n_nodes = m->n_nodes;
    m->n_places = state->n_places;
}

bool bni_matcher_take(struct bni_grammar_matcher *m, const char *bytes, size_t n_bytes)
{
    struct bni_matcher_state state;
    if (!walk(m, bytes, n_bytes, &state)) return false;
    compact(m, &state);
    m->current = state;
    return true;
}

/* ---- life ----------------------------------------------------------------------------------- */

bitnet_status bni_matcher_create(bitnet_grammar *grammar,
                                 struct bni_grammar_matcher **out)
{
    /* Mapped: most of it is never touched, and as blocks in the heaps of many threads
     * matchers make a process grow: by 78 instead of 7 MiB in 20 s of test_soak. */
    struct bni_grammar_matcher *m = bni_map_zeroed(sizeof(*m));
    if (m == NULL) return bitnet_last_status();
    m->grammar = bitnet_grammar_retain(grammar);
    m->n_nodes = 1; /* EMPTY_STACK */
    begin_expansion(m);
    const struct bni_grammar_rule *root = &grammar->rules[grammar->root];
    bool fits = true;
    for (uint32_t i = 0; i < root->n_alternatives && fits; i++)
        fits = note(m, grammar->alternatives[root->first_alternative + i], EMPTY_STACK);
    fits = fits && expand(m, &m->current);

    bitnet_status status = BITNET_OK;
    if (!fits)
        status = bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                           "generate: a text of the grammar can begin in more than %d "
                           "ways",
                           BNI_MATCHER_MAX_EXPANDED);
    else if (m->current.n_places == 0)
        status = bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                           "generate: the only text of the grammar is the empty one");
    if (status != BITNET_OK) {
        bni_matcher_destroy(m);
        return status;
    }
    *out = m;
    return BITNET_OK;
}

void bni_matcher_destroy(struct bni_grammar_matcher *matcher)
{
    if (matcher == NULL) return;
    bitnet_grammar_release(matcher->grammar);
    bni_unmap(matcher, sizeof(*matcher));
}

const struct bni_matcher_state *bni_matcher_current(
    const struct bni_grammar_matcher *matcher)
{
    return &matcher->current;
}

bool bni_matcher_has_run_out(const struct bni_grammar_matcher *matcher)
{
    return matcher->has_run_out;
}

bool bni_matcher_is_complete(const struct bni_grammar_matcher *matcher)
{
    return matcher->current.can_end && matcher->current.n_places == 0;
}
