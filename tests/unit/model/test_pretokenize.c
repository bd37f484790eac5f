/* SPDX-License-Identifier: MIT */
/*
 * test_pretokenize.c - where text is cut, against examples and a second opinion.
 *
 * The second opinion is reference_split(): Llama-3's rules one by one, as prose has
 * them, without a regular expression.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "model/pretokenize.h"

enum { MAX_PIECES = 4096, LONG = 1 << 18 };

struct pieces {
    const char *text;
    size_t ends[MAX_PIECES];
    size_t n; /* may be more than MAX_PIECES, which are then not all kept */
};

static bitnet_status take_piece(void *user, const char *piece, size_t n_bytes)
{
    struct pieces *pieces = user;
    const size_t begin =
        pieces->n == 0 || pieces->n > MAX_PIECES ? 0 : pieces->ends[pieces->n - 1];
    assert_true(n_bytes > 0);
    if (pieces->n < MAX_PIECES) {
        assert_ptr_equal(piece, pieces->text + begin); /* nothing lost, nothing twice */
        pieces->ends[pieces->n] = begin + n_bytes;
    }
    pieces->n++;
    return BITNET_OK;
}

static struct bni_pretokenizer *make(const char *name, bool uses_jit)
{
    struct bni_pretokenizer *pretokenizer = NULL;
    const struct bni_pretokenizer_kind *kind =
        bni_pretokenizer_find((struct bni_string){name, strlen(name)});
    assert_non_null(kind);
    assert_int_equal(bni_pretokenizer_create(kind, uses_jit, &pretokenizer), BITNET_OK);
    return pretokenizer;
}

static bitnet_status split(const struct bni_pretokenizer *pretokenizer,
                           const char *text, size_t n_bytes, struct pieces *pieces)
{
    struct bni_split_memory memory = {0};
    pieces->text = text;
    pieces->n = 0;
    bitnet_status status = bni_split_memory_init(&memory, pretokenizer, n_bytes);
    if (status != BITNET_OK) return status;
    status = bni_pretokenize(pretokenizer, &memory, text, n_bytes, take_piece, pieces);
    bni_split_memory_clear(&memory);
    return status;
}

/* `expected` has '|' between the pieces, and "text" none of its own. */
static void assert_splits(const char *name, const char *expected)
{
    char text[256];
    char found[512];
    size_t n_text = 0;
    for (const char *c = expected; *c != '\0'; c++)
        if (*c != '|') text[n_text++] = *c;

    for (int uses_jit = 0; uses_jit < 2; uses_jit++) {
        struct pieces pieces;
        struct bni_pretokenizer *pretokenizer = make(name, uses_jit != 0);
        assert_int_equal(split(pretokenizer, text, n_text, &pieces), BITNET_OK);
        bni_pretokenizer_destroy(pretokenizer);

        size_t n_found = 0;
        for (size_t i = 0, at = 0; i < pieces.n; i++) {
            if (i > 0) found[n_found++] = '|';
            while (at < pieces.ends[i]) found[n_found++] = text[at++];
        }
        found[n_found] = '\0';
        assert_string_equal(found, expected);
    }
}

static void llama3_splits_as_its_examples_say(void **state)
{
    (void)state;
    static const char *const examples[] = {
        "Hello| world",
        "I|'m| |123|45| years|!!\n\n|OK",
        " | foo|  | bar",
        "a|\n \n| b",
        "DON|'T| we|'LL",
        "x|=|3|.|141|59",
        "\t|\tif| (|x|)\n",
        "end|   ",
        "Assistant|:| ",
        "price|:$|1|,|234|.|50| ",
        "'t|is",
        "a|\xC2\xA0"
        "b",
        "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E| text",
        "\xE0\xA4\xB9|\xE0\xA4\xBF\xE0\xA4\xA8|\xE0\xA5\x8D\xE0\xA4\xA6|\xE0\xA5\x80",
        "\r\n\r\n|X",
        "\xF0\x9F\x99\x82\xF0\x9F\x99\x82| ok",
        " |\xC2\xB2\xE2\x85\xA7\xD9\xA3|1", /* superscript, Roman, Arabic digits */
        "'s|a|'\xC5\xBF"
        "a", /* long s is no s */
        "a|\xE1\xA0\x8E"
        "b", /* U+180E is no white space */
        "a|\xE2\x80\x8B"
        "b|\xEF\xBB\xBF|1", /* nor U+200B, U+FEFF */
        "a|\xE3\x80\x80|\xE2\x80\x83"
        "b|\xC2\x85"
        "c", /* U+3000, U+2003, U+0085 are */
    };
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++)
        assert_splits("llama-bpe", examples[i]);
}

static void qwen2_takes_digits_one_by_one(void **state)
{
    (void)state;
    assert_splits("qwen2", "x|=|3|.|1|4|1|5|9");
    assert_splits("qwen2", "DON|'T| |1|2| \n|x");
}

static void gpt2_keeps_a_space_before_numbers_and_knows_lower_case_contractions(
    void **state)
{
    (void)state;
    assert_splits("gpt-2", "I|'m| 12345| years|!!|\n|\n|OK");
    assert_splits("gpt-2", "DON|'|T| we|'|LL| it|'s");
    assert_splits("gpt-2", "a|  | b|\n");
}

static void the_default_isolates_punctuation_and_cuts_digits_by_three(void **state)
{
    (void)state;
    assert_splits("default", "x|=|3|.|141|59");
    assert_splits("default", "it|'|s| |123|45| |$+|a");
}

static void starcoder_takes_digits_one_by_one(void **state)
{
    (void)state;
    assert_splits("starcoder", "a| |1|2| b|'s");
}

static void an_unknown_name_is_not_found(void **state)
{
    (void)state;
    assert_null(bni_pretokenizer_find((struct bni_string){"gpt-3", 5}));
    assert_null(bni_pretokenizer_find((struct bni_string){"gpt-", 4}));
    assert_null(bni_pretokenizer_find((struct bni_string){"", 0}));
}

/* The characters that random texts are made of, with what they are. */
static const struct {
    const char *bytes;
    char kind; /* letter, number, line end, blank, other */
} alphabet[] = {
    {"a", 'L'},
    {"s", 'L'},
    {"T", 'L'},
    {"l", 'L'},
    {"v", 'L'},
    {"e", 'L'},
    {"\xC3\xA9", 'L'},
    {"\xE6\x97\xA5", 'L'},
    {"1", 'N'},
    {"\xC2\xBD", 'N'},
    {" ", 'B'},
    {" ", 'B'},
    {"\t", 'B'},
    {"\xE3\x80\x80", 'B'},
    {"\n", 'E'},
    {"\r", 'E'},
    {"'", 'O'},
    {".", 'O'},
    {"\xF0\x9F\x99\x82", 'O'},
    {"\xCC\x81", 'O'},
};

enum { N_ALPHABET = sizeof(alphabet) / sizeof(*alphabet), MAX_CHARS = 64 };

static bool is_space(char kind)
{
    return kind == 'B' || kind == 'E';
}

/* Returns the length of the run of kinds in `set` that begins at `at`. */
static size_t run_of(const char *kinds, size_t at, const char *set)
{
    return strspn(kinds + at, set);
}

static bool same_letter(const char *text, char lower)
{
    return text[0] == lower || text[0] == lower - 'a' + 'A';
}

/* Characters of the contraction at the start of `text`, or 0. */
static size_t contraction(const char *text)
{
    if (text[0] != '\'') return 0;
    for (const char *c = "stmd"; *c != '\0'; c++)
        if (same_letter(text + 1, *c)) return 2;
    static const char *const pairs[] = {"re", "ve", "ll"};
    for (int i = 0; i < 3; i++)
        if (same_letter(text + 1, pairs[i][0]) && same_letter(text + 2, pairs[i][1]))
            return 3;
    return 0;
}

/* Returns how many characters the piece at `at` has; `kinds` ends in a NUL. */
static size_t reference_piece(const char *text, const char *kinds, size_t at)
{
    size_t n = contraction(text);
    if (n > 0) return n;
    const size_t skip = kinds[at] == 'B' || kinds[at] == 'O';
    n = run_of(kinds, at + skip, "L");
    if (n > 0) return skip + n;
    n = run_of(kinds, at, "N");
    if (n > 0) return n < 3 ? n : 3;
    const size_t blank = text[0] == ' ';
    n = run_of(kinds, at + blank, "O");
    if (n > 0) return blank + n + run_of(kinds, at + blank + n, "E");

    const size_t n_space = run_of(kinds, at, "BE");
    for (size_t i = n_space; i > 0; i--)
        if (kinds[at + i - 1] == 'E') return i;
    assert_true(is_space(kinds[at]));
    return kinds[at + n_space] == '\0' || n_space == 1 ? n_space : n_space - 1;
}

static void random_texts_split_as_the_rules_say(void **state)
{
    (void)state;
    const unsigned seed = 20240511;
    print_message("seed %u\n", seed);
    srand(seed);
    struct bni_pretokenizer *jit = make("llama-bpe", true);
    struct bni_pretokenizer *interpreted = make("llama-bpe", false);
    for (int round = 0; round < 4000; round++) {
        char text[MAX_CHARS * 4 + 1];
        char kinds[MAX_CHARS + 1] = "";
        size_t starts[MAX_CHARS + 1];
        size_t n_text = 0;
        const size_t n_chars = 1 + (size_t)rand() % MAX_CHARS;
        for (size_t i = 0; i < n_chars; i++) {
            const size_t letter = (size_t)rand() % N_ALPHABET;
            starts[i] = n_text;
            kinds[i] = alphabet[letter].kind;
            n_text += (size_t)snprintf(text + n_text, sizeof(text) - n_text, "%s",
                                       alphabet[letter].bytes);
        }
        starts[n_chars] = n_text;
        text[n_text] = '\0';

        struct pieces pieces;
        struct pieces again;
        assert_int_equal(split(jit, text, n_text, &pieces), BITNET_OK);
        assert_int_equal(split(interpreted, text, n_text, &again), BITNET_OK);
        assert_int_equal(pieces.n, again.n);
        size_t n_pieces = 0;
        for (size_t at = 0; at < n_chars; n_pieces++) {
            at += reference_piece(text + starts[at], kinds, at);
            if (pieces.ends[n_pieces] != starts[at])
                fail_msg("\"%s\": piece %zu ends at %zu, expected %zu", text, n_pieces,
                         pieces.ends[n_pieces], starts[at]);
            assert_int_equal(again.ends[n_pieces], starts[at]);
        }
        assert_int_equal(pieces.n, n_pieces);
    }
    bni_pretokenizer_destroy(jit);
    bni_pretokenizer_destroy(interpreted);
}

/* The step limit is proportional to the text: whatever backtracks more fails here. */
static void a_long_run_of_anything_takes_a_step_for_each_byte(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "a",
        " ",
        "\n",
        "\n ",
        " \n",
        "1",
        ".",
        "'",
        "'s",
        "a ",
        ". ",
        "\xE6\x97\xA5",
        "\xE3\x80\x80",
        "\xCC\x81",
        "\xE3\x80\x80\n",
    };
    char *text = malloc(LONG + 1);
    assert_non_null(text);
    const struct bni_pretokenizer_kind *kind;
    for (size_t k = 0; (kind = bni_pretokenizer_at(k)) != NULL; k++) {
        if (k > 0 && kind->patterns == bni_pretokenizer_at(k - 1)->patterns) continue;
        for (int uses_jit = 0; uses_jit < 2; uses_jit++) {
            struct bni_pretokenizer *pretokenizer = make(kind->name, uses_jit != 0);
            for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
                struct pieces pieces;
                const size_t n_pattern = strlen(patterns[i]);
                /* Interpreting all kinds takes long; a part of it shows the same. */
                const size_t n_text =
                    (uses_jit ? LONG : LONG / 16) / n_pattern * n_pattern;
                for (size_t at = 0; at < n_text; at += n_pattern)
                    memcpy(text + at, patterns[i], n_pattern);
                if (split(pretokenizer, text, n_text, &pieces) != BITNET_OK)
                    fail_msg("%s, \"%s\": %s", kind->name, patterns[i],
                             bitnet_last_error());
                assert_true(pieces.n > 0);
            }
            bni_pretokenizer_destroy(pretokenizer);
        }
    }
    free(text);
}

static void creation_and_use_survive_every_refused_allocation(void **state)
{
    (void)state;
    const uint64_t in_use = bni_alloc_in_use();
    const struct bni_pretokenizer_kind *kind =
        bni_pretokenizer_find((struct bni_string){"default", 7});
    bitnet_status status = BITNET_ERROR_INTERNAL;
    uint64_t n = 0;
    while (status != BITNET_OK) {
        struct pieces pieces;
        struct bni_pretokenizer *pretokenizer = NULL;
        bni_fault_arm(++n);
        status = bni_pretokenizer_create(kind, true, &pretokenizer);
        if (status == BITNET_OK) status = split(pretokenizer, "a 12345", 7, &pieces);
        bni_pretokenizer_destroy(pretokenizer);
        if (status != BITNET_OK) assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        assert_int_equal(bni_alloc_in_use(), in_use);
    }
    assert_true(bni_fault_count() < n); /* it came to an end without a refusal */
    bni_fault_arm(0);
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3_splits_as_its_examples_say),
        cmocka_unit_test(qwen2_takes_digits_one_by_one),
        cmocka_unit_test(
            gpt2_keeps_a_space_before_numbers_and_knows_lower_case_contractions),
        cmocka_unit_test(the_default_isolates_punctuation_and_cuts_digits_by_three),
        cmocka_unit_test(starcoder_takes_digits_one_by_one),
        cmocka_unit_test(an_unknown_name_is_not_found),
        cmocka_unit_test(random_texts_split_as_the_rules_say),
        cmocka_unit_test(a_long_run_of_anything_takes_a_step_for_each_byte),
        cmocka_unit_test(creation_and_use_survive_every_refused_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
