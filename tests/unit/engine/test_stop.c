/* SPDX-License-Identifier: MIT */
/*
 * Stop strings: the matcher against a search that looks at everything again, and the
 * stream of text over the shipped model's tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/random.h"
#include "engine/text_stream.h"
#include "model/model.h"
#include "support/models.h"

static const uint64_t seed = 20250102;
static uint64_t n_drawn;

static size_t random_below(size_t n)
{
    return (size_t)(bni_random_unit(seed, n_drawn++) * (double)n);
}

static struct bni_stop_rules make_rules(const char *const *strings, size_t n_strings)
{
    struct bni_stop_rules rules;
    bitnet_generate_options options = bitnet_generate_options_default();
    options.stop_strings = strings;
    options.n_stop_strings = n_strings;
    assert_int_equal(bni_stop_rules_init(&rules, &options), BITNET_OK);
    return rules;
}

/* ---- the plain way ------------------------------------------------------------------ */

/* Where the text is cut: before the longest string that ends where the first ends. */
static bool reference_cut(const char *text, size_t n_text, const char *const *strings,
                          size_t n_strings, size_t *cut)
{
    for (size_t end = 1; end <= n_text; end++) {
        bool is_complete = false;
        for (size_t i = 0; i < n_strings; i++) {
            const size_t n = strlen(strings[i]);
            if (n > end || memcmp(text + end - n, strings[i], n) != 0) continue;
            if (!is_complete || end - n < *cut) *cut = end - n;
            is_complete = true;
        }
        if (is_complete) return true;
    }
    return false;
}

/* The longest end of the text that a string begins with. */
static size_t reference_held(const char *text, size_t n_text,
                             const char *const *strings, size_t n_strings)
{
    size_t longest = 0;
    for (size_t i = 0; i < n_strings; i++)
        for (size_t n = 1; n < strlen(strings[i]) && n <= n_text; n++)
            if (n > longest && memcmp(text + n_text - n, strings[i], n) == 0)
                longest = n;
    return longest;
}

/* ---- the matcher -------------------------------------------------------------------- */

static void the_matcher_finds_and_holds_what_a_plain_search_does(void **state)
{
    (void)state;
    enum { N_STRINGS = 4, N_TEXT = 40 };
    int n_found = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 4000; round++) {
        char storage[N_STRINGS][12];
        const char *strings[N_STRINGS];
        const size_t n_strings = 1 + random_below(N_STRINGS);
        for (size_t i = 0; i < n_strings; i++) { /* two letters: much overlaps */
            const size_t n = 1 + random_below(11);
            for (size_t k = 0; k < n; k++) storage[i][k] = random_below(2) ? 'a' : 'b';
            storage[i][n] = '\0';
            strings[i] = storage[i];
        }
        struct bni_stop_rules rules = make_rules(strings, n_strings);
        struct bni_stop_matcher matcher = {{0}};
        char text[N_TEXT];
        for (size_t i = 0; i < N_TEXT; i++) {
            text[i] = random_below(8) == 0 ? 'c' : random_below(2) ? 'a' : 'b';
            const size_t n_stop =
                bni_stop_matcher_push(&matcher, &rules, (uint8_t)text[i]);
            size_t cut = 0;
            const bool is_cut = reference_cut(text, i + 1, strings, n_strings, &cut);
            assert_int_equal(n_stop != 0, is_cut);
            if (is_cut) {
                assert_int_equal(i + 1 - n_stop, cut);
                n_found++;
                break;
            }
            assert_int_equal(bni_stop_matcher_n_held(&matcher, &rules),
                             reference_held(text, i + 1, strings, n_strings));
        }
        bni_stop_rules_free(&rules);
    }
    assert_true(n_found > 400 && n_found < 4000);
}

static void the_longest_string_of_the_greatest_number_is_found(void **state)
{
    (void)state;
    static char storage[BITNET_MAX_STOP_STRINGS][BITNET_MAX_STOP_STRING_BYTES + 1];
    const char *strings[BITNET_MAX_STOP_STRINGS];
    for (size_t i = 0; i < BITNET_MAX_STOP_STRINGS; i++) {
        memset(storage[i], 'x', BITNET_MAX_STOP_STRING_BYTES - 1);
        storage[i][BITNET_MAX_STOP_STRING_BYTES - 1] = (char)('0' + i);
        strings[i] = storage[i];
    }
    struct bni_stop_rules rules = make_rules(strings, BITNET_MAX_STOP_STRINGS);
    struct bni_stop_matcher matcher = {{0}};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bni_stop_matcher_push(&matcher, &rules, 'x'), 0);
    assert_int_equal(bni_stop_matcher_n_held(&matcher, &rules), 255);
    assert_int_equal(bni_stop_matcher_push(&matcher, &rules, '0' + 63), 256);
    bni_stop_rules_free(&rules);
}

static void without_strings_nothing_is_held(void **state)
{
    (void)state;
    struct bni_stop_rules rules = make_rules(NULL, 0);
    struct bni_stop_matcher matcher = {{0}};
    assert_int_equal(bni_stop_matcher_push(&matcher, &rules, 'a'), 0);
    assert_int_equal(bni_stop_matcher_n_held(&matcher, &rules), 0);
    bni_stop_rules_free(&rules);
}

/* ---- the stream --------------------------------------------------------------------- */

enum { N_TOKENS = 60, MAX_TEXT = 16384 };

/* Streams the tokens, checking at each that what must be held is held. */
static size_t stream_all(const bitnet_model *model, const struct bni_stop_rules *rules,
                         const char *const *strings, size_t n_strings,
                         const bitnet_token *tokens, char *out)
{
    struct bni_text_stream stream;
    char *buffer = malloc(bni_text_stream_buffer_bytes(model->tokenizer, rules));
    assert_non_null(buffer);
    bni_text_stream_init(&stream, model->tokenizer, rules, buffer);
    size_t n_out = 0;
    for (size_t i = 0; i <= N_TOKENS; i++) {
        const size_t n = i < N_TOKENS ? bni_text_stream_push(&stream, tokens[i])
                                      : bni_text_stream_flush(&stream);
        memcpy(out + n_out, buffer, n);
        n_out += n;
        if (i == N_TOKENS || stream.is_stopped) continue;
        char whole[512];
        const size_t n_held = stream.n_held;
        const size_t n_seen = n_out < 256 ? n_out : 256;
        memcpy(whole, out + n_out - n_seen, n_seen);
        memcpy(whole + n_seen, buffer + n, n_held);
        assert_int_equal(n_held,
                         reference_held(whole, n_seen + n_held, strings, n_strings));
    }
    free(buffer);
    return n_out;
}

static void the_stream_ends_before_the_first_stop_string(void **state)
{
    (void)state;
    bitnet_model *model;
    const bitnet_model_options vocabulary_only = {.struct_size =
                                                      sizeof(vocabulary_only),
                                                  .is_vocabulary_only = true};
    assert_int_equal(bitnet_model_load(SHIPPED_MODEL, &vocabulary_only, &model),
                     BITNET_OK);
    static char expected[MAX_TEXT];
    static char given[MAX_TEXT];
    const struct bni_stop_rules none = {0};
    int n_cut = 0;
    for (int round = 0; round < 300; round++) {
        bitnet_token tokens[N_TOKENS];
        for (size_t i = 0; i < N_TOKENS; i++)
            tokens[i] =
                (bitnet_token)random_below(bni_tokenizer_n_tokens(model->tokenizer));
        size_t n_text = stream_all(model, &none, NULL, 0, tokens, expected);
        assert_true(n_text < MAX_TEXT && n_text > 40);

        /* Parts of the text, some with a letter changed at the end. */
        char storage[3][16];
        const char *strings[3];
        for (size_t i = 0; i < 3; i++) {
            const size_t n = 1 + random_below(14);
            memcpy(storage[i], expected + random_below(n_text - n), n);
            storage[i][n] = '\0';
            if (random_below(2) == 0) storage[i][n - 1] = '~';
            strings[i] = storage[i];
        }
        struct bni_stop_rules rules = make_rules(strings, 3);
        size_t cut = n_text;
        if (reference_cut(expected, n_text, strings, 3, &cut)) n_cut++;
        const size_t n_given = stream_all(model, &rules, strings, 3, tokens, given);
        assert_int_equal(n_given, cut);
        assert_memory_equal(given, expected, cut);
        bni_stop_rules_free(&rules);
    }
    assert_true(n_cut > 100 && n_cut < 300);
    bitnet_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matcher_finds_and_holds_what_a_plain_search_does),
        cmocka_unit_test(the_longest_string_of_the_greatest_number_is_found),
        cmocka_unit_test(without_strings_nothing_is_held),
        cmocka_unit_test(the_stream_ends_before_the_first_stop_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
