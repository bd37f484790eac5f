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
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"
#include "engine/grammar_builder.h"
#include "engine/grammar_check.h"

enum { N_NAME_SLOTS = 2 * BNI_GRAMMAR_MAX_RULES };

struct name {
    const char *text;
    uint32_t n_bytes;
    uint32_t rule;
    const char *definition; /* or NULL: only mentioned so far */
};

struct parser {
    const char *text;
    const char *at;
    struct bni_grammar_builder builder;
    struct name *names; /* [BNI_GRAMMAR_MAX_RULES] */
    uint32_t n_names;
    uint32_t *slots; /* [N_NAME_SLOTS] index of the name + 1, by hash; 0: free */
    unsigned depth;  /* of open groups */
};

/* ---- where, and what is wrong there ------------------------------------------------- */

/* Line and column from 1; a column is a character. */
static void locate(const struct parser *p, const char *where, unsigned *line,
                   unsigned *column)
{
    *line = 1;
    *column = 1;
    for (const char *c = p->text; c < where; c++) {
        if (*c == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)*c & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

static bitnet_status fail_at(const struct parser *p, const char *where,
                             bitnet_status status, const char *format, ...)
    BITNET_PRINTF(4, 5);

static bitnet_status fail_at(const struct parser *p, const char *where,
                             bitnet_status status, const char *format, ...)
{
    char message[256];
    unsigned line, column;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    locate(p, where, &line, &column);
    return bni_error(status, "grammar: line %u, column %u: %s", line, column, message);
}

/* Says where, of an error that the builder has found. */
static bitnet_status place_error(const struct parser *p, const char *where,
                                 bitnet_status status)
{
    if (status == BITNET_OK || status == BITNET_ERROR_OUT_OF_MEMORY) return status;
    unsigned line, column;
    locate(p, where, &line, &column);
    return bni_error_prefix("grammar: line %u, column %u", line, column);
}

static bitnet_status fail_expected(const struct parser *p, const char *expected)
{
    struct bni_quote quote;
    size_t n_bytes = 0;
    if (*p->at == '\0' || *p->at == '\n')
        return fail_at(p, p->at, BITNET_ERROR_INVALID_ARGUMENT,
                       "found the end of the %s, expected %s",
                       *p->at == '\0' ? "text" : "line", expected);
    bni_utf8_next((const uint8_t *)p->at, strnlen(p->at, BNI_UTF8_MAX_BYTES), &n_bytes);
    return fail_at(p, p->at, BITNET_ERROR_INVALID_ARGUMENT, "found \"%s\", expected %s",
                   bni_quote_bytes(&quote, p->at, n_bytes), expected);
}

/* ---- characters ------------------------------------------------------------------------ */

/* Takes one character of text that is known to be UTF-8. */
static uint32_t take_character(struct parser *p)
{
    const unsigned char lead = (unsigned char)*p->at++;
    if (lead < 0x80) return lead;
    unsigned n_left = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t character = lead & (0x3Fu >> n_left);
    for (; n_left > 0; n_left--)
        character = character << 6 | ((unsigned char)*p->at++ & 0x3F);
    return character;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bitnet_status take_hex(struct parser *p, unsigned n_digits, uint32_t *character)
{
    const char *begin = p->at - 2;
    *character = 0;
    for (unsigned i = 0; i < n_digits; i++, p->at++) {
        const int digit = hex_digit(*p->at);
        if (digit < 0) return fail_expected(p, "a hexadecimal digit");
        *character = *character << 4 | (uint32_t)digit;
    }
    if (*character > 0x10FFFF || (*character >= 0xD800 && *character <= 0xDFFF))
        return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                       "%" PRIX32 " is the number of no character", *character);
    return BITNET_OK;
}

/* Takes what follows a backslash. */
static bitnet_status take_escape(struct parser *p, uint32_t *character)
{
    const char c = *p->at;
    if (c == '\0' || strchr("nrt\\\"[]-^xuU", c) == NULL)
        return fail_expected(p, "one of n r t \\ \" [ ] - ^ x u U after a backslash");
    p->at++;
    switch (c) {
    case 'n': *character = '\n'; return BITNET_OK;
    case 'r': *character = '\r'; return BITNET_OK;
    case 't': *character = '\t'; return BITNET_OK;
    case 'x': return take_hex(p, 2, character);
    case 'u': return take_hex(p, 4, character);
    case 'U': return take_hex(p, 8, character);
    default: *character = (unsigned char)c; return BITNET_OK;
    }
}

static bitnet_status take_written(struct parser *p, uint32_t *character)
{
    if (*p->at == '\\') {
        p->at++;
        return take_escape(p, character);
    }
    *character = take_character(p);
    return BITNET_OK;
}

/* ---- space and names ------------------------------------------------------------------- */

static void skip_space(struct parser *p, bool over_lines)
{
    for (;;) {
        if (*p->at == '#') p->at += strcspn(p->at, "\n");
        const bool is_line_end = *p->at == '\n' || *p->at == '\r';
        if (*p->at != ' ' && *p->at != '\t' && !(is_line_end && over_lines)) return;
        p->at++;
    }
}

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
    const char *begin = p->at;
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; is_name_character(*p->at); p->at++)
        hash = (hash ^ (unsigned char)*p->at) * 16777619u;
    const uint32_t n_bytes = (uint32_t)(p->at - begin);
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
        place_error(p, begin, bni_grammar_add_rule(&p->builder, &rule));
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
    const char *begin = p->at++;
    while (*p->at != '"') {
        if (*p->at == '\0' || *p->at == '\n')
            return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                           "this \" has no other one in its line");
        uint32_t character;
        bitnet_status status = take_written(p, &character);
        if (status == BITNET_OK)
            status = place_error(p, begin,
                                 bni_grammar_push(&p->builder,
                                                  bni_grammar_element(BNI_GRAMMAR_CHAR,
                                                                      character)));
        if (status != BITNET_OK) return status;
    }
    p->at++;
    return BITNET_OK;
}

static bitnet_status parse_set(struct parser *p)
{
    const char *begin = p->at++;
    const size_t n_ranges = p->builder.ranges.n;
    const bool is_negated = *p->at == '^';
    if (is_negated) p->at++;
    while (*p->at != ']') {
        if (*p->at == '\0' || *p->at == '\n')
            return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                           "this [ has no ] in its line");
        uint32_t first;
        bitnet_status status = take_written(p, &first);
        uint32_t last = first;
        if (status == BITNET_OK && p->at[0] == '-' && p->at[1] != ']') {
            p->at++;
            if (*p->at == '\0' || *p->at == '\n') continue;
            status = take_written(p, &last);
        }
        if (status == BITNET_OK && last < first)
            status = fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                             "the range from U+%04" PRIX32 " to U+%04" PRIX32
                             " in this set runs backwards",
                             first, last);
        if (status == BITNET_OK)
            status =
                place_error(p, begin, bni_grammar_add_range(&p->builder, first, last));
        if (status != BITNET_OK) return status;
    }
    p->at++;
    return place_error(p, begin,
                       bni_grammar_push_set(&p->builder, n_ranges, is_negated));
}

static bitnet_status parse_any(struct parser *p)
{
    const char *begin = p->at++;
    return place_error(p, begin,
                       bni_grammar_push_set(&p->builder, p->builder.ranges.n, true));
}

static bitnet_status parse_use(struct parser *p)
{
    const char *begin = p->at;
    uint32_t name;
    const bitnet_status status = take_name(p, &name);
    if (status != BITNET_OK) return status;
    return place_error(p, begin,
                       bni_grammar_push(&p->builder,
                                        bni_grammar_element(BNI_GRAMMAR_CALL,
                                                            p->names[name].rule)));
}

static bitnet_status parse_alternatives(struct parser *p, uint32_t rule);

static bitnet_status parse_group(struct parser *p)
{
    const char *begin = p->at++;
    uint32_t rule;
    if (p->depth == BNI_GRAMMAR_MAX_DEPTH)
        return fail_at(p, begin, BITNET_ERROR_UNSUPPORTED_OPERATION,
                       "more than %d groups in one another", BNI_GRAMMAR_MAX_DEPTH);
    bitnet_status status =
        place_error(p, begin, bni_grammar_add_rule(&p->builder, &rule));
    if (status != BITNET_OK) return status;
    p->depth++;
    status = parse_alternatives(p, rule);
    p->depth--;
    if (status != BITNET_OK) return status;
    if (*p->at != ')') {
        return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT, "this ( has no )");
    }
    p->at++;
    return place_error(p, begin,
                       bni_grammar_push(&p->builder,
                                        bni_grammar_element(BNI_GRAMMAR_CALL, rule)));
}

/* ---- repetition ------------------------------------------------------------------------ */

static bitnet_status take_number(struct parser *p, uint32_t *number)
{
    const char *begin = p->at;
    if (*p->at < '0' || *p->at > '9') return fail_expected(p, "a number");
    for (*number = 0; *p->at >= '0' && *p->at <= '9'; p->at++) {
        *number = *number * 10 + (uint32_t)(*p->at - '0');
        if (*number > BNI_GRAMMAR_MAX_REPETITIONS)
            return fail_at(p, begin, BITNET_ERROR_UNSUPPORTED_OPERATION,
                           "more than %d repetitions", BNI_GRAMMAR_MAX_REPETITIONS);
    }
    return BITNET_OK;
}

static bitnet_status take_counts(struct parser *p, uint32_t *min, uint32_t *max)
{
    const char *begin = p->at++;
    skip_space(p, false);
    bitnet_status status = take_number(p, min);
    if (status != BITNET_OK) return status;
    *max = *min;
    skip_space(p, false);
    if (*p->at == ',') {
        p->at++;
        skip_space(p, false);
        *max = BNI_GRAMMAR_NO_MAXIMUM;
        if (*p->at != '}') status = take_number(p, max);
        if (status != BITNET_OK) return status;
        skip_space(p, false);
    }
    if (*p->at != '}') return fail_expected(p, "}");
    p->at++;
    if (*max < *min)
        return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                       "at least %" PRIu32 " and at most %" PRIu32 " cannot both be",
                       *min, *max);
    return BITNET_OK;
}

/* Repeats what has been pushed since there were `n_elements`, as often as it says. */
static bitnet_status parse_repetitions(struct parser *p, size_t n_elements)
{
    for (;;) {
        const char *begin = p->at;
        uint32_t min = 0;
        uint32_t max = BNI_GRAMMAR_NO_MAXIMUM;
        bitnet_status status = BITNET_OK;
        switch (*p->at) {
        case '*': p->at++; break;
        case '+': p->at++, min = 1; break;
        case '?': p->at++, max = 1; break;
        case '{': status = take_counts(p, &min, &max); break;
        default: return BITNET_OK;
        }
        if (status == BITNET_OK)
            status = place_error(p, begin,
                                 bni_grammar_repeat(&p->builder, n_elements, min, max));
        if (status != BITNET_OK) return status;
        skip_space(p, p->depth > 0);
    }
}

/* ---- sequences, alternatives, rules ------------------------------------------------------- */

/* Whether the rule goes on in a line that begins with "|". */
static bool goes_on_in_next_line(struct parser *p)
{
    const char *here = p->at;
    skip_space(p, true);
    if (*p->at == '|') return true;
    p->at = here;
    return false;
}

static bitnet_status parse_sequence(struct parser *p)
{
    const size_t n_elements = p->builder.elements.n;
    for (;;) {
        skip_space(p, p->depth > 0);
        const size_t n_before = p->builder.elements.n;
        bitnet_status status;
        if (*p->at == '"')
            status = parse_literal(p);
        else if (*p->at == '[')
            status = parse_set(p);
        else if (*p->at == '.')
            status = parse_any(p);
        else if (*p->at == '(')
            status = parse_group(p);
        else if (is_name_character(*p->at))
            status = parse_use(p);
        else
            break;
        skip_space(p, p->depth > 0);
        if (status == BITNET_OK) status = parse_repetitions(p, n_before);
        if (status != BITNET_OK) return status;
    }
    return place_error(p, p->at, bni_grammar_end_alternative(&p->builder, n_elements));
}

static bitnet_status parse_alternatives(struct parser *p, uint32_t rule)
{
    const size_t n_begins = p->builder.begins.n;
    for (;;) {
        const bitnet_status status = parse_sequence(p);
        if (status != BITNET_OK) return status;
        if (*p->at != '|' && !(p->depth == 0 && goes_on_in_next_line(p))) break;
        p->at++;
        skip_space(p, true);
    }
    return place_error(p, p->at, bni_grammar_end_rule(&p->builder, rule, n_begins));
}

static bitnet_status parse_rule(struct parser *p)
{
    const char *begin = p->at;
    uint32_t name;
    if (!is_name_character(*p->at)) return fail_expected(p, "the name of a rule");
    bitnet_status status = take_name(p, &name);
    if (status != BITNET_OK) return status;
    struct name *named = &p->names[name];
    if (named->definition != NULL) {
        unsigned line, column;
        locate(p, named->definition, &line, &column);
        return fail_at(p, begin, BITNET_ERROR_INVALID_ARGUMENT,
                       "rule %.*s is defined in line %u already", shown_bytes(named),
                       named->text, line);
    }
    named->definition = begin;
    p->builder.owner = name;
    skip_space(p, false);
    if (strncmp(p->at, "::=", 3) != 0) return fail_expected(p, "::=");
    p->at += 3;
    skip_space(p, true);
    status = parse_alternatives(p, named->rule);
    if (status == BITNET_OK && *p->at != '\0' && *p->at != '\n' && *p->at != '\r')
        status = fail_expected(p, "an item, | or the end of the rule");
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bitnet_status check_utf8(const struct parser *p, size_t n_bytes)
{
    for (size_t i = 0, length; i < n_bytes; i += length)
        if (bni_utf8_next((const uint8_t *)p->text + i, n_bytes - i, &length) !=
            BNI_UTF8_CHARACTER)
            return fail_at(p, p->text + i, BITNET_ERROR_INVALID_ARGUMENT,
                           "the text is not UTF-8 here");
    return BITNET_OK;
}

/* All rules are there, and none is such that nothing could match it. */
static bitnet_status check_rules(const struct parser *p)
{
    for (uint32_t i = 0; i < p->n_names; i++)
        if (p->names[i].definition == NULL)
            return fail_at(p, p->names[i].text, BITNET_ERROR_INVALID_ARGUMENT,
                           "there is no rule %.*s", shown_bytes(&p->names[i]),
                           p->names[i].text);
    enum bni_grammar_fault fault;
    uint32_t rule = 0;
    const bitnet_status status = bni_grammar_check(&p->builder, &fault, &rule);
    if (status != BITNET_OK || fault == BNI_GRAMMAR_FAULT_NONE) return status;
    const struct name *owner =
        &p->names[((const uint32_t *)p->builder.owners.items)[rule]];
    const int n_bytes = shown_bytes(owner);
    if (fault == BNI_GRAMMAR_FAULT_ENDLESS)
        return fail_at(p, owner->definition, BITNET_ERROR_INVALID_ARGUMENT,
                       "rule %.*s never ends: it always comes to itself again", n_bytes,
                       owner->text);
    return fail_at(p, owner->definition, BITNET_ERROR_UNSUPPORTED_OPERATION,
                   "rule %.*s begins with itself, directly or through others (left "
                   "recursion); write it as a repetition",
                   n_bytes, owner->text);
}

static bitnet_status parse_all(struct parser *p, bitnet_grammar **out)
{
    const size_t n_bytes = strnlen(p->text, BNI_GRAMMAR_MAX_TEXT_BYTES + 1);
    if (n_bytes > BNI_GRAMMAR_MAX_TEXT_BYTES)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "grammar: the text has more than %d bytes",
                         BNI_GRAMMAR_MAX_TEXT_BYTES);
    bitnet_status status = check_utf8(p, n_bytes);
    if (status != BITNET_OK) return status;

    uint32_t root = UINT32_MAX;
    for (skip_space(p, true); *p->at != '\0'; skip_space(p, true)) {
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
    struct parser p = {.text = text, .at = text};
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
