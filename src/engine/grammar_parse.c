/* SPDX-License-Identifier: MIT */
/*
 * grammar_parse.c - from the notation to a grammar.
 *
 * Descent over the text, which is checked to be UTF-8 first. What stands before a
 * repetition is what lies on the builder's stack since the item began, so "ab"*
 * repeats both letters. Rules are known by name from their first mention on.
 *
 *     rules        = { name "::=" alternatives }
 *     alternatives = sequence { "|" sequence }
 *     sequence     = { item { "*" | "+" | "?" | "{" m [ "," [ n ] ] "}" } }
 *     item         = literal | set | "." | name | "(" alternatives ")"
 */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "engine/grammar_builder.h"
#include "engine/grammar_check.h"
#include "engine/grammar_scan.h"

enum { N_NAME_SLOTS = 2 * BNI_GRAMMAR_MAX_RULES };

struct name {
    const char *text;
    uint32_t n_bytes;
    uint32_t rule;
    const char *definition; /* or NULL: only mentioned so far */
};

struct parser {
    struct bni_grammar_scan scan;
    struct bni_grammar_builder builder;
    struct name *names; /* [BNI_GRAMMAR_MAX_RULES] */
    uint32_t n_names;
    uint32_t *slots; /* [N_NAME_SLOTS] index of the name + 1, by hash; 0: free */
    unsigned depth;  /* of open groups */
};

/* ---- names ----------------------------------------------------------------------------- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

/* How much of a name stands in a message. */
static int shown_bytes(const struct name *name)
{
    enum { MAX_SHOWN = 60 };
    return name->n_bytes < MAX_SHOWN ? (int)name->n_bytes : MAX_SHOWN;
}

/* Finds the name at the parser's place, or adds it with a rule of its own. */
static bitnet_status take_name(struct parser *p, uint32_t *name)
{
    const char *begin = p->scan.at;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; is_name_character(*p->scan.at); p->scan.at++)
        hash = (hash ^ (unsigned char)*p->scan.at) * 16777619u;
    const uint32_t n_bytes = (uint32_t)(p->scan.at - begin);
    uint32_t slot = hash % N_NAME_SLOTS;
    for (; p->slots[slot] != 0; slot = (slot + 1) % N_NAME_SLOTS) {
        const struct name *known = &p->names[p->slots[slot] - 1];
        if (known->n_bytes != n_bytes || memcmp(known->text, begin, n_bytes) != 0)
            continue;
        *name = p->slots[slot] - 1;
        return BITNET_OK;
    }
    const uint32_t owner = p->builder.owner;
    p->builder.owner = p->n_names;
    uint32_t rule;
    const bitnet_status status =
        bni_scan_place(&p->scan, begin, bni_grammar_add_rule(&p->builder, &rule));
    p->builder.owner = owner;
    if (status != BITNET_OK) return status; /* so there are never too many names */
    p->names[p->n_names] = (struct name){begin, n_bytes, rule, NULL};
    p->slots[slot] = p->n_names + 1;
    *name = p->n_names++;
    return BITNET_OK;
}

/* ---- items ------------------------------------------------------------------------------- */

static bitnet_status parse_literal(struct parser *p)
{
    const char *begin = p->scan.at++;
    while (*p->scan.at != '"') {
        if (*p->scan.at == '\0' || *p->scan.at == '\n')
            return bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                                 "this \" has no other one in its line");
        uint32_t character;
        bitnet_status status = bni_scan_written(&p->scan, &character);
        if (status == BITNET_OK)
            status =
                bni_scan_place(&p->scan, begin,
                               bni_grammar_push(&p->builder,
                                                bni_grammar_element(BNI_GRAMMAR_CHAR,
                                                                    character)));
        if (status != BITNET_OK) return status;
    }
    p->scan.at++;
    return BITNET_OK;
}

static bitnet_status parse_set(struct parser *p)
{
    const char *begin = p->scan.at++;
    const size_t n_ranges = p->builder.ranges.n;
    const bool is_negated = *p->scan.at == '^';
    if (is_negated) p->scan.at++;
    while (*p->scan.at != ']') {
        if (*p->scan.at == '\0' || *p->scan.at == '\n')
            return bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                                 "this [ has no ] in its line");
        uint32_t first;
        bitnet_status status = bni_scan_written(&p->scan, &first);
        uint32_t last = first;
        if (status == BITNET_OK && p->scan.at[0] == '-' && p->scan.at[1] != ']') {
            p->scan.at++;
            if (*p->scan.at == '\0' || *p->scan.at == '\n') continue;
            status = bni_scan_written(&p->scan, &last);
        }
        if (status == BITNET_OK && last < first)
            status = bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                                   "the range from U+%04" PRIX32 " to U+%04" PRIX32
                                   " in this set runs backwards",
                                   first, last);
        if (status == BITNET_OK)
            status = bni_scan_place(&p->scan, begin,
                                    bni_grammar_add_range(&p->builder, first, last));
        if (status != BITNET_OK) return status;
    }
    p->scan.at++;
    return bni_scan_place(&p->scan, begin,
                          bni_grammar_push_set(&p->builder, n_ranges, is_negated));
}

static bitnet_status parse_any(struct parser *p)
{
    const char *begin = p->scan.at++;
    return bni_scan_place(&p->scan, begin,
                          bni_grammar_push_set(&p->builder, p->builder.ranges.n, true));
}

static bitnet_status parse_use(struct parser *p)
{
    const char *begin = p->scan.at;
    uint32_t name;
    const bitnet_status status = take_name(p, &name);
    if (status != BITNET_OK) return status;
    return bni_scan_place(&p->scan, begin,
                          bni_grammar_push(&p->builder,
                                           bni_grammar_element(BNI_GRAMMAR_CALL,
                                                               p->names[name].rule)));
}

static bitnet_status parse_alternatives(struct parser *p, uint32_t rule);

static bitnet_status parse_group(struct parser *p)
{
    const char *begin = p->scan.at++;
    uint32_t rule;
    if (p->depth == BNI_GRAMMAR_MAX_DEPTH)
        return bni_scan_fail(&p->scan, begin, BITNET_ERROR_UNSUPPORTED_OPERATION,
                             "more than %d groups in one another",
                             BNI_GRAMMAR_MAX_DEPTH);
    bitnet_status status =
        bni_scan_place(&p->scan, begin, bni_grammar_add_rule(&p->builder, &rule));
    if (status != BITNET_OK) return status;
    p->depth++;
    status = parse_alternatives(p, rule);
    p->depth--;
    if (status != BITNET_OK) return status;
    if (*p->scan.at != ')') {
        return bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                             "this ( has no )");
    }
    p->scan.at++;
    return bni_scan_place(
        &p->scan, begin,
        bni_grammar_push(&p->builder, bni_grammar_element(BNI_GRAMMAR_CALL, rule)));
}

/* ---- repetition ------------------------------------------------------------------------ */

static bitnet_status take_counts(struct parser *p, uint32_t *min, uint32_t *max)
{
    const char *begin = p->scan.at++;
    bni_scan_space(&p->scan, false);
    bitnet_status status = bni_scan_number(&p->scan, min);
    if (status != BITNET_OK) return status;
    *max = *min;
    bni_scan_space(&p->scan, false);
    if (*p->scan.at == ',') {
        p->scan.at++;
        bni_scan_space(&p->scan, false);
        *max = BNI_GRAMMAR_NO_MAXIMUM;
        if (*p->scan.at != '}') status = bni_scan_number(&p->scan, max);
        if (status != BITNET_OK) return status;
        bni_scan_space(&p->scan, false);
    }
    if (*p->scan.at != '}') return bni_scan_fail_expected(&p->scan, "}");
    p->scan.at++;
    if (*max < *min)
        return bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                             "at least %" PRIu32 " and at most %" PRIu32
                             " cannot both be",
                             *min, *max);
    return BITNET_OK;
}

/* Repeats what has been pushed since there were `n_elements`, as often as it says. */
static bitnet_status parse_repetitions(struct parser *p, size_t n_elements)
{
    for (;;) {
        const char *begin = p->scan.at;
        uint32_t min = 0;
        uint32_t max = BNI_GRAMMAR_NO_MAXIMUM;
        bitnet_status status = BITNET_OK;
        switch (*p->scan.at) {
        case '*': p->scan.at++; break;
        case '+': p->scan.at++, min = 1; break;
        case '?': p->scan.at++, max = 1; break;
        case '{': status = take_counts(p, &min, &max); break;
        default: return BITNET_OK;
        }
        if (status == BITNET_OK)
            status =
                bni_scan_place(&p->scan, begin,
                               bni_grammar_repeat(&p->builder, n_elements, min, max));
        if (status != BITNET_OK) return status;
        bni_scan_space(&p->scan, p->depth > 0);
    }
}

/* ---- sequences, alternatives, rules ------------------------------------------------------- */

/* Whether the rule goes on in a line that begins with "|". */
static bool goes_on_in_next_line(struct parser *p)
{
    const char *here = p->scan.at;
    bni_scan_space(&p->scan, true);
    if (*p->scan.at == '|') return true;
    p->scan.at = here;
    return false;
}

static bitnet_status parse_sequence(struct parser *p)
{
    const size_t n_elements = p->builder.elements.n;
    for (;;) {
        bni_scan_space(&p->scan, p->depth > 0);
        const size_t n_before = p->builder.elements.n;
        bitnet_status status;
        if (*p->scan.at == '"')
            status = parse_literal(p);
        else if (*p->scan.at == '[')
            status = parse_set(p);
        else if (*p->scan.at == '.')
            status = parse_any(p);
        else if (*p->scan.at == '(')
            status = parse_group(p);
        else if (is_name_character(*p->scan.at))
            status = parse_use(p);
        else
            break;
        bni_scan_space(&p->scan, p->depth > 0);
        if (status == BITNET_OK) status = parse_repetitions(p, n_before);
        if (status != BITNET_OK) return status;
    }
    return bni_scan_place(&p->scan, p->scan.at,
                          bni_grammar_end_alternative(&p->builder, n_elements));
}

static bitnet_status parse_alternatives(struct parser *p, uint32_t rule)
{
    const size_t n_begins = p->builder.begins.n;
    for (;;) {
        const bitnet_status status = parse_sequence(p);
        if (status != BITNET_OK) return status;
        if (*p->scan.at != '|' && !(p->depth == 0 && goes_on_in_next_line(p))) break;
        p->scan.at++;
        bni_scan_space(&p->scan, true);
    }
    return bni_scan_place(&p->scan, p->scan.at,
                          bni_grammar_end_rule(&p->builder, rule, n_begins));
}

static bitnet_status parse_rule(struct parser *p)
{
    const char *begin = p->scan.at;
    uint32_t name;
    if (!is_name_character(*p->scan.at))
        return bni_scan_fail_expected(&p->scan, "the name of a rule");
    bitnet_status status = take_name(p, &name);
    if (status != BITNET_OK) return status;
    struct name *named = &p->names[name];
    if (named->definition != NULL) {
        unsigned line, column;
        bni_scan_locate(&p->scan, named->definition, &line, &column);
        return bni_scan_fail(&p->scan, begin, BITNET_ERROR_INVALID_ARGUMENT,
                             "rule %.*s is defined in line %u already",
                             shown_bytes(named), named->text, line);
    }
    named->definition = begin;
    p->builder.owner = name;
    bni_scan_space(&p->scan, false);
    if (strncmp(p->scan.at, "::=", 3) != 0)
        return bni_scan_fail_expected(&p->scan, "::=");
    p->scan.at += 3;
    bni_scan_space(&p->scan, true);
    status = parse_alternatives(p, named->rule);
    if (status == BITNET_OK && *p->scan.at != '\0' && *p->scan.at != '\n' &&
        *p->scan.at != '\r')
        status = bni_scan_fail_expected(&p->scan, "an item, | or the end of the rule");
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* All rules are there, and none is such that nothing could match it. */
static bitnet_status check_rules(const struct parser *p)
{
    for (uint32_t i = 0; i < p->n_names; i++)
        if (p->names[i].definition == NULL)
            return bni_scan_fail(&p->scan, p->names[i].text,
                                 BITNET_ERROR_INVALID_ARGUMENT, "there is no rule %.*s",
                                 shown_bytes(&p->names[i]), p->names[i].text);
    enum bni_grammar_fault fault;
    uint32_t rule = 0;
    const bitnet_status status = bni_grammar_check(&p->builder, &fault, &rule);
    if (status != BITNET_OK || fault == BNI_GRAMMAR_FAULT_NONE) return status;
    const struct name *owner =
        &p->names[((const uint32_t *)p->builder.owners.items)[rule]];
    const int n_bytes = shown_bytes(owner);
    if (fault == BNI_GRAMMAR_FAULT_ENDLESS)
        return bni_scan_fail(&p->scan, owner->definition, BITNET_ERROR_INVALID_ARGUMENT,
                             "rule %.*s never ends: it always comes to itself again",
                             n_bytes, owner->text);
    return bni_scan_fail(
        &p->scan, owner->definition, BITNET_ERROR_UNSUPPORTED_OPERATION,
        "rule %.*s begins with itself, directly or through others (left "
        "recursion); write it as a repetition",
        n_bytes, owner->text);
}

static bitnet_status parse_all(struct parser *p, bitnet_grammar **out)
{
    const size_t n_bytes = strnlen(p->scan.text, BNI_GRAMMAR_MAX_TEXT_BYTES + 1);
    if (n_bytes > BNI_GRAMMAR_MAX_TEXT_BYTES)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "grammar: the text has more than %d bytes",
                         BNI_GRAMMAR_MAX_TEXT_BYTES);
    bitnet_status status = bni_scan_check_utf8(&p->scan, n_bytes);
    if (status != BITNET_OK) return status;

    uint32_t root = UINT32_MAX;
    for (bni_scan_space(&p->scan, true); *p->scan.at != '\0';
         bni_scan_space(&p->scan, true)) {
        status = parse_rule(p);
        if (status != BITNET_OK) return status;
    }
    status = check_rules(p);
    if (status != BITNET_OK) return status;
    for (uint32_t i = 0; i < p->n_names; i++)
        if (p->names[i].n_bytes == 4 && memcmp(p->names[i].text, "root", 4) == 0)
            root = p->names[i].rule;
    if (root == UINT32_MAX)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "grammar: there is no rule root, which a text begins with");
    return bni_grammar_builder_finish(&p->builder, root, out);
}

bitnet_status bitnet_grammar_parse(const char *text, bitnet_grammar **out)
{
    if (text == NULL || out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "grammar: %s is NULL",
                         text == NULL ? "text" : "out");
    struct parser p = {.scan = {text, text}};
    bitnet_status status = BITNET_OK;
    p.names = bni_alloc(BNI_GRAMMAR_MAX_RULES * sizeof(*p.names));
    p.slots = bni_calloc(N_NAME_SLOTS, sizeof(*p.slots));
    if (p.names == NULL || p.slots == NULL)
        status = bitnet_last_status();
    else
        status = parse_all(&p, out);
    bni_grammar_builder_free(&p.builder);
    bni_free(p.slots);
    bni_free(p.names);
    return status;
}
