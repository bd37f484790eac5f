/* SPDX-License-Identifier: MIT */
/*
 * Grammars: every construct of the notation and every refusal by hand, then random
 * grammars against a matcher that works on their syntax trees and tries everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "engine/grammar_matcher.h"
#include "engine/random.h"

static bitnet_grammar *parse(const char *text)
{
    bitnet_grammar *grammar;
    if (bitnet_grammar_parse(text, &grammar) != BITNET_OK)
        fail_msg("%s: %s", text, bitnet_last_error());
    return grammar;
}

static struct bni_grammar_matcher *start(const char *text)
{
    bitnet_grammar *grammar = parse(text);
    struct bni_grammar_matcher *matcher;
    assert_int_equal(bni_matcher_create(grammar, &matcher), BITNET_OK);
    bitnet_grammar_release(grammar); /* the matcher has its own */
    return matcher;
}

enum fit { REFUSED, BEGUN, WHOLE };

/* How a text fits a grammar: not at all, as a beginning only, or as a root. */
static enum fit fit(const char *grammar, const char *text)
{
    struct bni_grammar_matcher *matcher = start(grammar);
    enum fit result = REFUSED;
    if (bni_matcher_take(matcher, text, strlen(text)))
        result = bni_matcher_current(matcher)->can_end ? WHOLE : BEGUN;
    bni_matcher_destroy(matcher);
    return result;
}

static void constructs_mean_what_the_header_says(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        const char *text;
        enum fit expected;
    } cases[] = {
        {"root ::= \"ab\"", "ab", WHOLE},
        {"root ::= \"ab\"", "a", BEGUN},
        {"root ::= \"ab\"", "b", REFUSED},
        {"root ::= \"ab\"", "abc", REFUSED},
        {"root ::= \"a\" \"b\"|\"c\"", "c", WHOLE},
        {"root ::= \"a\" (\"b\"|\"c\") \"d\"", "acd", WHOLE},
        {"root ::= \"a\" (\"b\"|\"c\") \"d\"", "ad", REFUSED},
        {"root ::= \"a\"* \"b\"", "aaab", WHOLE},
        {"root ::= \"a\"* \"b\"", "b", WHOLE},
        {"root ::= \"a\"+ \"b\"", "b", REFUSED},
        {"root ::= \"a\"+ \"b\"", "aab", WHOLE},
        {"root ::= \"a\"? \"b\"", "aab", REFUSED},
        {"root ::= \"a\"? \"b\"", "b", WHOLE},
        {"root ::= \"ab\"{2}", "abab", WHOLE},
        {"root ::= \"ab\"{2}", "ab", BEGUN},
        {"root ::= \"ab\"{2}", "ababa", REFUSED},
        {"root ::= \"a\"{2,}", "a", BEGUN},
        {"root ::= \"a\"{2,}", "aaaaa", WHOLE},
        {"root ::= \"a\"{ 1 , 3 }", "aaa", WHOLE},
        {"root ::= \"a\"{1,3}", "aaaa", REFUSED},
        {"root ::= \"a\"{0} \"b\"", "b", WHOLE},
        {"root ::= \"a\"{0,0} \"b\"", "ab", REFUSED},
        {"root ::= (\"a\"{1,2} \",\")*", "aa,a,", WHOLE},
        {"root ::= \"a\"?* \"b\"", "aab", WHOLE},
        {"root ::= ((\"a\"?)* \"b\"*)* \"c\"", "abbac", WHOLE},
        {"root ::= [a-c]", "b", WHOLE},
        {"root ::= [a-c]", "d", REFUSED},
        {"root ::= [^a-c]", "d", WHOLE},
        {"root ::= [^a-c]", "b", REFUSED},
        {"root ::= [^a-c]", "\xE2\x82\xAC", WHOLE},
        {"root ::= [a-]", "-", WHOLE},
        {"root ::= [-a]", "-", WHOLE},
        {"root ::= [\\]\\-\\^\\\\]", "]", WHOLE},
        {"root ::= [\\]\\-\\^\\\\]", "^", WHOLE},
        {"root ::= [\\]\\-\\^\\\\]", "\\", WHOLE},
        {"root ::= [\xC3\xA0-\xC3\xA9]", "\xC3\xA8", WHOLE},
        {"root ::= [\xC3\xA0-\xC3\xA9]", "\xC3", BEGUN},
        {"root ::= [\xC3\xA0-\xC3\xA9]", "\xC3\xAA", REFUSED},
        {"root ::= .", "x", WHOLE},
        {"root ::= .", "\xF0\x9F\x98\x80", WHOLE},
        {"root ::= .", "\n", WHOLE},
        {"root ::= \"\\n\\r\\t\\\\\\\"\"", "\n\r\t\\\"", WHOLE},
        {"root ::= \"\\x41\\u00e9\\U0001F600\"", "A\xC3\xA9\xF0\x9F\x98\x80", WHOLE},
        {"root ::= a-1\na-1 ::= \"x\" b_2\nb_2 ::= \"y\"", "xy", WHOLE},
        {"root ::= \"a\" |\n \"b\"", "b", WHOLE},
        {"root ::=\n \"a\"\n | \"b\"\nx ::= \"c\"", "b", WHOLE},
        {"root ::= ( \"a\"\n \"b\" )", "ab", WHOLE},
        {"# first\nroot ::= \"a\" # then\n\n# last", "a", WHOLE},
        {"root ::= \"a\" | ", "a", WHOLE},
        {"root ::= \"\" \"a\"", "a", WHOLE},
        {"root ::= \"(\" root \")\" | \"x\"", "((x))", WHOLE},
        {"root ::= \"(\" root \")\" | \"x\"", "((x)", BEGUN},
        {"root ::= \"#\" \"|\"", "#|", WHOLE},
        {"root ::= \"a\"\r\nb ::= \"c\"\r\n", "a", WHOLE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (fit(cases[i].grammar, cases[i].text) != cases[i].expected)
            fail_msg("%s with \"%s\" is not %d", cases[i].grammar, cases[i].text,
                     cases[i].expected);
}

static void wrong_grammars_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        bitnet_status status;
        const char *message;
    } cases[] = {
        {"", BITNET_ERROR_INVALID_ARGUMENT, "there is no rule root"},
        {"a ::= \"b\"", BITNET_ERROR_INVALID_ARGUMENT, "there is no rule root"},
        {"root = \"a\"", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 6: found \"=\", expected ::="},
        {"root ::= \"a\nb", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 10: this \" has no other one"},
        {"root ::= \"a\"\n  x ::= [a", BITNET_ERROR_INVALID_ARGUMENT,
         "line 2, column 9: this [ has no ]"},
        {"root ::= (\"a\"", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 10: this ( has no )"},
        {"root ::= \"a\")", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 13: found \")\", expected an item"},
        {"root ::= *", BITNET_ERROR_INVALID_ARGUMENT, "column 10: found \"*\""},
        {"root ::= \"\\q\"", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 12: found \"q\", expected one of"},
        {"root ::= \"\\x4g\"", BITNET_ERROR_INVALID_ARGUMENT, "hexadecimal digit"},
        {"root ::= \"\\uD800\"", BITNET_ERROR_INVALID_ARGUMENT,
         "D800 is the number of no character"},
        {"root ::= \"\\U00110000\"", BITNET_ERROR_INVALID_ARGUMENT, "110000"},
        {"root ::= [z-a]", BITNET_ERROR_INVALID_ARGUMENT, "runs backwards"},
        {"root ::= []", BITNET_ERROR_INVALID_ARGUMENT, "this set has no character"},
        {"root ::= [^\\x00-\\U0010FFFF]", BITNET_ERROR_INVALID_ARGUMENT,
         "this set has no character"},
        {"root ::= \"a\"{", BITNET_ERROR_INVALID_ARGUMENT, "expected a number"},
        {"root ::= \"a\"{2,1}", BITNET_ERROR_INVALID_ARGUMENT,
         "at least 2 and at most 1"},
        {"root ::= \"a\"{1;2}", BITNET_ERROR_INVALID_ARGUMENT, "expected }"},
        {"root ::= \"a\"{4097}", BITNET_ERROR_UNSUPPORTED_OPERATION,
         "more than 4096 repetitions"},
        {"root ::= (((\"a\"{4096}){4096}){4096}){4096}", BITNET_OK,
         ""}, /* rules within rules, so small */
        {"root ::= (\"a\"{0,4096}) (\"b\"{0,4096}) (\"c\"{0,4096}) (\"d\"{0,4096})",
         BITNET_ERROR_UNSUPPORTED_OPERATION, "more than 16384 rules"},
        {"root ::= \"a\" item\n", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 14: there is no rule item"},
        {"root ::= \"a\"\nroot ::= \"b\"", BITNET_ERROR_INVALID_ARGUMENT,
         "line 2, column 1: rule root is defined in line 1 already"},
        {"root ::= root \"a\" | \"b\"", BITNET_ERROR_UNSUPPORTED_OPERATION,
         "line 1, column 1: rule root begins with itself"},
        {"root ::= a\na ::= b? c \"x\" | \"y\"\nb ::= \"z\"\nc ::= b* a \"w\" | \"v\"",
         BITNET_ERROR_UNSUPPORTED_OPERATION, "begins with itself"},
        {"root ::= \"a\" b\nb ::= \"b\" b", BITNET_ERROR_INVALID_ARGUMENT,
         "line 2, column 1: rule b never ends"},
        {"root ::= root", BITNET_ERROR_INVALID_ARGUMENT, "rule root never ends"},
        {"root ::= \"\xff\"", BITNET_ERROR_INVALID_ARGUMENT,
         "line 1, column 11: the text is not UTF-8"},
        {"root ::= \xC3\xA9", BITNET_ERROR_INVALID_ARGUMENT, "column 10: found"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bitnet_grammar *grammar = NULL;
        const bitnet_status status = bitnet_grammar_parse(cases[i].grammar, &grammar);
        if (status != cases[i].status)
            fail_msg("%s gives %d: %s", cases[i].grammar, (int)status,
                     bitnet_last_error());
        if (status != BITNET_OK &&
            strstr(bitnet_last_error(), cases[i].message) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].grammar,
                     bitnet_last_error(), cases[i].message);
        bitnet_grammar_release(grammar);
    }
    bitnet_grammar *grammar;
    assert_int_equal(bitnet_grammar_parse(NULL, &grammar),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_grammar_parse("root ::= \"a\"", NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_grammar_release(NULL);
    assert_null(bitnet_grammar_retain(NULL));
}

static void groups_may_nest_sixty_four_deep(void **state)
{
    (void)state;
    for (int depth = 64; depth <= 65; depth++) {
        char text[256] = "root ::= ";
        for (int i = 0; i < depth; i++) strcat(text, "(");
        strcat(text, "\"a\"");
        for (int i = 0; i < depth; i++) strcat(text, ")");
        bitnet_grammar *grammar = NULL;
        assert_int_equal(bitnet_grammar_parse(text, &grammar),
                         depth == 64 ? BITNET_OK : BITNET_ERROR_UNSUPPORTED_OPERATION);
        bitnet_grammar_release(grammar);
    }
}

static void only_the_empty_text_is_no_use(void **state)
{
    (void)state;
    bitnet_grammar *grammar = parse("root ::= \"\"");
    struct bni_grammar_matcher *matcher;
    assert_int_equal(bni_matcher_create(grammar, &matcher),
                     BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_grammar_release(grammar);
}

static void ill_formed_bytes_fit_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"\x80",
                                        "\xC0\x80",
                                        "\xC1",
                                        "\xE0\x80",
                                        "\xED\xA0",
                                        "\xF0\x80",
                                        "\xF4\x90",
                                        "\xF5",
                                        "\xC3"
                                        "a",
                                        "\xE2\x82"
                                        "a",
                                        "\xF0\x9F\x98"
                                        "a"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(fit("root ::= .*", texts[i]), REFUSED);
    assert_int_equal(fit("root ::= .*", "\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"),
                     WHOLE);
}

static void nesting_beyond_all_room_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct bni_grammar_matcher *matcher = start("root ::= \"(\" root \")\" | \"x\"");
    unsigned depth = 0;
    while (bni_matcher_take(matcher, "(", 1)) depth++;
    assert_true(depth > 4000 && depth < BNI_MATCHER_MAX_NODES);
    assert_false(bni_matcher_allows(matcher, "(", 1));
    assert_true(bni_matcher_take(matcher, "x", 1));
    for (unsigned i = 0; i < depth; i++) assert_true(bni_matcher_take(matcher, ")", 1));
    assert_true(bni_matcher_is_complete(matcher));
    bni_matcher_destroy(matcher);
}

static void a_long_repetition_costs_no_room(void **state)
{
    (void)state;
    struct bni_grammar_matcher *matcher = start("root ::= \"[\" ([a-z] \",\"?)* \"]\"");
    assert_true(bni_matcher_take(matcher, "[", 1));
    for (int i = 0; i < 50000; i++) assert_true(bni_matcher_take(matcher, "a,", 2));
    assert_true(bni_matcher_current(matcher)->n_nodes < 16);
    assert_true(bni_matcher_take(matcher, "]", 1));
    assert_true(bni_matcher_is_complete(matcher));
    bni_matcher_destroy(matcher);
}

static void every_failed_allocation_is_told_and_leaks_nothing(void **state)
{
    (void)state;
    static const char text[] = "root ::= (\"a\" [b-d]{2,5} item)* | .\nitem ::= \"x\"?";
    for (uint64_t n = 1;; n++) {
        bitnet_grammar *grammar = NULL;
        struct bni_grammar_matcher *matcher = NULL;
        bni_fault_arm(n);
        bitnet_status status = bitnet_grammar_parse(text, &grammar);
        if (status == BITNET_OK) status = bni_matcher_create(grammar, &matcher);
        const bool is_past = bni_fault_count() < n;
        bni_fault_arm(0);
        bni_matcher_destroy(matcher);
        bitnet_grammar_release(grammar);
        if (is_past) {
            assert_int_equal(status, BITNET_OK);
            assert_true(n > 10);
            return;
        }
        assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
    }
}

/* ---- random grammars ------------------------------------------------------------------ */

static const uint64_t seed = 20250103;
static uint64_t n_drawn;

static unsigned random_below(unsigned n)
{
    return (unsigned)(bni_random_unit(seed, n_drawn++) * n);
}

enum kind { LETTERS, SEQUENCE, CHOICE, REPEAT, USE };

/* A syntax tree. Letters are a bit set of "abc". */
struct tree {
    enum kind kind;
    unsigned letters;
    unsigned min, max; /* of REPEAT; max 9: any number */
    unsigned rule;     /* of USE */
    unsigned n;
    struct tree *parts[3];
};

enum { N_RULES = 4, MAX_TREES = 4096, N_TEXT = 10 };

static struct tree trees[MAX_TREES];
static size_t n_trees;
static struct tree *rules[N_RULES];

static struct tree *new_tree(enum kind kind)
{
    assert_true(n_trees < MAX_TREES);
    struct tree *tree = &trees[n_trees++];
    *tree = (struct tree){.kind = kind};
    return tree;
}

static struct tree *letters(void)
{
    struct tree *tree = new_tree(LETTERS);
    tree->letters = 1 + random_below(7);
    return tree;
}

/* Uses later rules anywhere, but itself and earlier ones only behind a letter and where
 * it may be left out: so that nothing begins with itself, and everything ends. */
static struct tree *random_tree(unsigned rule, unsigned depth)
{
    const unsigned what = random_below(depth == 0 ? 2 : 7);
    struct tree *tree;
    if (what == 0) return letters();
    if (what == 1) {
        if (rule + 1 == N_RULES) return letters();
        tree = new_tree(USE);
        tree->rule = rule + 1 + random_below(N_RULES - rule - 1);
        return tree;
    }
    if (what == 2) { /* ( letter use )? */
        tree = new_tree(REPEAT);
        tree->max = 1;
        tree->parts[0] = new_tree(SEQUENCE);
        tree->parts[0]->n = 2;
        tree->parts[0]->parts[0] = letters();
        tree->parts[0]->parts[1] = new_tree(USE);
        tree->parts[0]->parts[1]->rule = random_below(N_RULES);
        return tree;
    }
    if (what == 3) {
        tree = new_tree(REPEAT);
        tree->min = random_below(3);
        tree->max = random_below(2) ? 9 : tree->min + random_below(3);
        if (tree->max == 0) tree->max = 1;
        tree->parts[0] = random_tree(rule, depth - 1);
        return tree;
    }
    tree = new_tree(what == 4 ? CHOICE : SEQUENCE);
    tree->n = 2 + random_below(2);
    for (unsigned i = 0; i < tree->n; i++)
        tree->parts[i] = random_tree(rule, depth - 1);
    return tree;
}

static void write_tree(const struct tree *tree, char *out)
{
    char *end = out + strlen(out);
    switch (tree->kind) {
    case LETTERS:
        sprintf(end, "[%s%s%s]", tree->letters & 1 ? "a" : "",
                tree->letters & 2 ? "b" : "", tree->letters & 4 ? "c" : "");
        break;
    case USE: sprintf(end, "r%u", tree->rule); break;
    case REPEAT:
        strcat(out, "(");
        write_tree(tree->parts[0], out);
        if (tree->max == 9)
            sprintf(out + strlen(out), "){%u,}", tree->min);
        else
            sprintf(out + strlen(out), "){%u,%u}", tree->min, tree->max);
        break;
    case SEQUENCE:
    case CHOICE:
        strcat(out, "(");
        for (unsigned i = 0; i < tree->n; i++) {
            if (i > 0) strcat(out, tree->kind == CHOICE ? "|" : " ");
            write_tree(tree->parts[i], out);
        }
        strcat(out, ")");
        break;
    }
}

/* Where the tree can end, a bit for each position, if it begins at any of `begins`.
 * `*wants_more` if it could take in all of the text and go on. */
static unsigned ends_of(const struct tree *tree, const char *text, unsigned begins,
                        bool *wants_more)
{
    const size_t n_text = strlen(text);
    unsigned ends = 0;
    if (begins == 0) return 0;
    switch (tree->kind) {
    case LETTERS:
        for (size_t i = 0; i <= n_text; i++) {
            if ((begins >> i & 1) == 0) continue;
            if (i == n_text)
                *wants_more = true;
            else if (tree->letters >> (text[i] - 'a') & 1)
                ends |= 1u << (i + 1);
        }
        return ends;
    case USE: return ends_of(rules[tree->rule], text, begins, wants_more);
    case SEQUENCE:
        for (unsigned i = 0; i < tree->n; i++)
            begins = ends_of(tree->parts[i], text, begins, wants_more);
        return begins;
    case CHOICE:
        for (unsigned i = 0; i < tree->n; i++)
            ends |= ends_of(tree->parts[i], text, begins, wants_more);
        return ends;
    case REPEAT:
        for (unsigned i = 0; i < tree->min; i++)
            begins = ends_of(tree->parts[0], text, begins, wants_more);
        ends = begins;
        for (unsigned i = tree->min; tree->max == 9 || i < tree->max; i++) {
            begins = ends_of(tree->parts[0], text, begins, wants_more);
            if (tree->max == 9 && (begins & ~ends) == 0) break;
            ends |= begins;
        }
        return ends;
    }
    return ends;
}

static void random_grammars_match_what_their_trees_match(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    int n_whole = 0;
    int n_refused = 0;
    int n_run_out = 0;
    for (int round = 0; round < 400; round++) {
        static char text[1 << 16];
        strcpy(text, "root ::= r0\n");
        n_trees = 0;
        for (unsigned r = 0; r < N_RULES; r++) {
            rules[r] = random_tree(r, 3);
            sprintf(text + strlen(text), "r%u ::= ", r);
            write_tree(rules[r], text);
            strcat(text, "\n");
        }
        bitnet_grammar *grammar = parse(text);
        for (int attempt = 0; attempt < 40; attempt++) {
            struct bni_grammar_matcher *matcher;
            if (bni_matcher_create(grammar, &matcher) != BITNET_OK) break;
            char word[N_TEXT + 1] = "";
            for (int n = 0; n <= N_TEXT; n++) {
                bool wants_more = false;
                const unsigned ends = ends_of(rules[0], word, 1, &wants_more);
                const bool is_whole = (ends >> n & 1) != 0;
                const struct bni_matcher_state *at = bni_matcher_current(matcher);
                if (at->can_end != is_whole || (at->n_places > 0) != wants_more)
                    fail_msg("\"%s\" can end: %d, not %d; can go on: %d, not %d: %s",
                             word, at->can_end, is_whole, at->n_places > 0, wants_more,
                             text);
                n_whole += is_whole;
                if (n == N_TEXT) break;
                word[n] = (char)('a' + random_below(3));
                word[n + 1] = '\0';
                wants_more = false;
                const bool fits =
                    (ends_of(rules[0], word, 1, &wants_more) >> (n + 1) & 1) != 0 ||
                    wants_more;
                const bool is_allowed = bni_matcher_allows(matcher, word + n, 1);
                const bool is_taken = bni_matcher_take(matcher, word + n, 1);
                if (bni_matcher_has_run_out(matcher)) { /* too many readings */
                    n_run_out++;
                    break;
                }
                if (is_allowed != fits || is_taken != fits)
                    fail_msg("\"%s\" fits: %d; allowed: %d, taken: %d: %s", word, fits,
                             is_allowed, is_taken, text);
                if (fits) continue;
                n_refused++;
                break;
            }
            bni_matcher_destroy(matcher);
        }
        bitnet_grammar_release(grammar);
    }
    print_message("%d whole, %d refused, %d run out\n", n_whole, n_refused, n_run_out);
    assert_true(n_whole > 1000 && n_refused > 1000 && n_run_out < 1600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constructs_mean_what_the_header_says),
        cmocka_unit_test(wrong_grammars_are_refused_with_their_place),
        cmocka_unit_test(groups_may_nest_sixty_four_deep),
        cmocka_unit_test(only_the_empty_text_is_no_use),
        cmocka_unit_test(ill_formed_bytes_fit_nothing),
        cmocka_unit_test(nesting_beyond_all_room_is_refused_and_changes_nothing),
        cmocka_unit_test(a_long_repetition_costs_no_room),
        cmocka_unit_test(every_failed_allocation_is_told_and_leaks_nothing),
        cmocka_unit_test(random_grammars_match_what_their_trees_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
