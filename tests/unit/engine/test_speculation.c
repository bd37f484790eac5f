/* SPDX-License-Identifier: MIT */
/*
 * Guessed tokens: found in the text, tried as often as they are worth it, and in no
 * answer to be seen. Every answer is compared, to the bit and with its logits, with the
 * one of an engine that does not guess.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "engine/speculation.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/models.h"

/* ---- what is proposed ------------------------------------------------------------------ */

static void the_longest_match_is_continued_and_of_equals_the_newest(void **state)
{
    (void)state;
    bitnet_token tokens[32] = {0, 1, 2, 3, 50, 9, 1, 2, 3, 60, 1, 2, 3, 0, 1, 2, 3};
    assert_int_equal(bni_draft(tokens, 17, 1), 1);
    assert_int_equal(tokens[17], 50); /* after 0 1 2 3, not the newer after 1 2 3 */
    tokens[0] = tokens[13] = 7;
    tokens[9] = 1;
    assert_int_equal(bni_draft(tokens, 17, 2), 2);
    assert_int_equal(tokens[17], 50); /* after 7 1 2 3 */
    tokens[0] = 6;
    assert_int_equal(bni_draft(tokens, 17, 2), 2);
    assert_int_equal(tokens[17], 7); /* after the newest 1 2 3 */
    assert_int_equal(tokens[18], 1);
}

static void a_match_that_reaches_the_end_is_taken_for_a_loop(void **state)
{
    (void)state;
    bitnet_token tokens[16] = {5, 1, 2, 3, 1, 2, 3};
    assert_int_equal(bni_draft(tokens, 7, 7), 7);
    const bitnet_token expected[] = {1, 2, 3, 1, 2, 3, 1};
    assert_memory_equal(tokens + 7, expected, sizeof(expected));
}

static void nothing_is_proposed_without_a_match_of_three_tokens(void **state)
{
    (void)state;
    bitnet_token tokens[8] = {1, 2, 3, 4, 2, 3};
    assert_int_equal(bni_draft(tokens, 1, 3), 0);
    assert_int_equal(bni_draft(tokens, 2, 3), 0);
    assert_int_equal(bni_draft(tokens, 6, 3), 0);
    assert_int_equal(tokens[6], 0);
}

static void what_is_too_far_back_is_not_found(void **state)
{
    (void)state;
    enum { FAR = 5000, NEAR = 3000 };
    static bitnet_token tokens[FAR + 8];
    for (int i = 0; i < FAR; i++) tokens[i] = 100 + i;
    memcpy(tokens + FAR - 3, tokens + 10, 3 * sizeof(*tokens));
    assert_int_equal(bni_draft(tokens, FAR, 1), 0);
    memcpy(tokens + FAR - 3, tokens + NEAR, 3 * sizeof(*tokens));
    assert_int_equal(bni_draft(tokens, FAR, 1), 1);
    assert_int_equal(tokens[FAR], tokens[NEAR + 3]);
}

/* ---- how often ---------------------------------------------------------------------------- */

/* Tokens proposed in 1000 steps, of which each is right if `is_right`. */
static uint32_t propose_for_1000_steps(bool is_right, uint32_t n_generating)
{
    struct bni_speculation speculation;
    uint32_t n_proposed = 0;
    bni_speculation_init(&speculation, 8);
    for (int i = 0; i < 1000; i++) {
        const uint32_t n = bni_speculation_begin_step(&speculation, n_generating);
        assert_true(n <= 8);
        if (n > 0) bni_speculation_learn(&speculation, n, is_right ? n : 0);
        n_proposed += n;
    }
    return n_proposed;
}

static void what_is_never_right_is_tried_seldom_and_not_given_up(void **state)
{
    (void)state;
    for (uint32_t n_generating = 1; n_generating <= 32; n_generating *= 2) {
        const uint32_t n = propose_for_1000_steps(false, n_generating);
        assert_true(n >= 1000 / 65 && n <= 25);
    }
}

static void what_is_always_right_gets_as_much_as_there_is(void **state)
{
    (void)state;
    assert_true(propose_for_1000_steps(true, 1) > 7900);
    assert_true(propose_for_1000_steps(true, 16) > 5000); /* some steps to learn it */
}

static void without_drafts_allowed_none_are_proposed(void **state)
{
    (void)state;
    struct bni_speculation speculation;
    bni_speculation_init(&speculation, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(bni_speculation_begin_step(&speculation, 1), 0);
}

/* ---- answers ------------------------------------------------------------------------------ */

/* Every so many of the cases that are much alike. */
enum { STRIDE = IS_SLOW_BUILD ? 3 : 1 };

static bitnet_model *model;
static bitnet_engine *plain;    /* does not guess */
static bitnet_engine *guessing; /* does */

static bitnet_engine *create(bool guesses, uint32_t max_batch, uint32_t step_tokens,
                             bool prefix_cache)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.speculation = guesses;
    options.max_batch = max_batch;
    options.step_tokens = step_tokens;
    options.prefix_cache = prefix_cache;
    return create_engine(model, &options);
}

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    plain = create(false, 32, 128, true);
    guessing = create(true, 32, 128, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    destroy_engine(plain);
    destroy_engine(guessing);
    bitnet_model_release(model);
    return 0;
}

static const char repetitive[] =
    "Lily has a red ball. Tom has a red ball. Lily has a red ball. Tom has a";

/* The tokens that an answer of walk() is made of; their text has no ends in it. */
static const bitnet_token steps_of_walk[] = {300, 411, 522, 633};
static bitnet_logit_bias walk_biases[4];

/*
 * Options whose answer consists of the first `n` of these tokens. Greedily it goes round
 * in a circle; at a high temperature each token is anybody's guess.
 */
static bitnet_generate_options walk(size_t n, bool is_random, uint32_t max_tokens)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    for (size_t i = 0; i < 4; i++)
        walk_biases[i] = (bitnet_logit_bias){steps_of_walk[i], 1000.0f};
    options.logit_biases = walk_biases;
    options.n_logit_biases = n;
    options.prompt_tokens = steps_of_walk;
    options.n_prompt_tokens = n;
    options.max_tokens = max_tokens;
    options.temperature = is_random ? 100.0f : 0.0f;
    options.min_p = 0.0f;
    options.top_p = 1.0f;
    options.repeat_last_n = (uint32_t)n - 1;
    options.frequency_penalty = is_random ? 0.0f : 10.0f;
    options.presence_penalty = is_random ? 0.0f : 10.0f;
    options.keeps_logits = true;
    return options;
}

static void expect_same(const bitnet_result *expected, const bitnet_result *result)
{
    assert_int_equal(expected->n_drafted, 0);
    assert_true(result->n_accepted <= result->n_drafted);
    assert_same_result(expected, result, model->hparams.n_vocab);
    assert_int_equal(expected->logprobs == NULL, result->logprobs == NULL);
    if (expected->logprobs == NULL) return;
    assert_memory_equal(expected->logprobs, result->logprobs,
                        expected->n_tokens * sizeof(*expected->logprobs));
    assert_int_equal(expected->n_top_logprobs, result->n_top_logprobs);
    const size_t n_top = expected->n_tokens * expected->n_top_logprobs;
    for (size_t i = 0; i < n_top; i++) {
        assert_int_equal(expected->top_logprobs[i].token,
                         result->top_logprobs[i].token);
        assert_memory_equal(&expected->top_logprobs[i].logprob,
                            &result->top_logprobs[i].logprob, sizeof(float));
    }
}

struct counts {
    size_t n_tokens, n_drafted, n_accepted;
};

static void add_counts(struct counts *counts, const bitnet_result *result)
{
    counts->n_tokens += result->n_tokens;
    counts->n_drafted += result->n_drafted;
    counts->n_accepted += result->n_accepted;
}

/* Generates with and without guesses and compares. */
static struct counts compare(bitnet_engine *engine,
                             const bitnet_generate_options *options, const char *prompt)
{
    struct counts counts = {0, 0, 0};
    bitnet_result expected = generate_well(plain, options, prompt);
    bitnet_result result = generate_well(engine, options, prompt);
    expect_same(&expected, &result);
    add_counts(&counts, &result);
    bitnet_result_release(&expected);
    bitnet_result_release(&result);
    return counts;
}

static void a_circle_is_guessed_and_takes_fewer_steps(void **state)
{
    (void)state;
    for (size_t n = 2; n <= 4; n++) {
        const bitnet_generate_options options = walk(n, false, 60);
        const bitnet_engine_stats before = stats_of(guessing);
        const struct counts counts = compare(guessing, &options, NULL);
        const bitnet_engine_stats after = stats_of(guessing);
        assert_int_equal(counts.n_tokens, 60);
        assert_true(counts.n_accepted >= 30);
        /* Each step brings one token, and one for each accepted draft. */
        assert_int_equal(after.n_steps - before.n_steps, 60 - counts.n_accepted);
        assert_int_equal(after.n_rows - before.n_rows, n + 60 - 1);
        assert_int_equal(after.n_generated - before.n_generated, 60);
        assert_int_equal(after.n_drafted - before.n_drafted, counts.n_drafted);
        assert_int_equal(after.n_accepted - before.n_accepted, counts.n_accepted);
    }
}

static void a_random_walk_is_the_same_and_not_guessed_at_for_long(void **state)
{
    (void)state;
    struct counts all = {0, 0, 0};
    for (uint64_t seed = 0; seed < 2; seed += STRIDE) {
        bitnet_generate_options options = walk(4, true, 200);
        options.seed = seed;
        const struct counts counts = compare(guessing, &options, NULL);
        all.n_drafted += counts.n_drafted;
        all.n_accepted += counts.n_accepted;
    }
    assert_true(all.n_accepted < all.n_drafted); /* some were wrong */
    assert_true(all.n_drafted > 0 && all.n_drafted < 400 / 4);
}

static void every_sampler_answers_the_same(void **state)
{
    (void)state;
    struct counts all = {0, 0, 0};
    const unsigned n_cases = IS_SLOW_BUILD ? 6 : 18;
    for (unsigned i = 0; i < n_cases; i++) {
        bitnet_generate_options options = mixed_options(i);
        options.keeps_logits = true;
        options.keeps_logprobs = i % 2 == 0;
        options.top_logprobs = i % 2 == 0 ? 3 : 0;
        options.typical_p = i % 6 == 5 ? 0.7f : 1.0f;
        options.frequency_penalty = i % 6 == 4 ? 0.3f : 0.0f;
        if (i % 3 == 1) options.temperature = 0.2f;
        const struct counts counts = compare(guessing, &options, repetitive);
        all.n_accepted += counts.n_accepted;
    }
    assert_true(all.n_accepted > 0);
}

static void max_tokens_and_the_context_end_a_run_where_they_would(void **state)
{
    (void)state;
    for (uint32_t max_tokens = 1; max_tokens <= 24; max_tokens += STRIDE) {
        const bitnet_generate_options options = walk(2, false, max_tokens);
        const struct counts counts = compare(guessing, &options, NULL);
        assert_int_equal(counts.n_tokens, max_tokens);
    }
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.n_ctx = 45;
    bitnet_engine *small = create_engine(model, &engine_options);
    bitnet_generate_options options = walk(3, false, 0);
    bitnet_result result = generate_well(small, &options, NULL);
    options.max_tokens = 42;
    bitnet_result expected = generate_well(plain, &options, NULL);
    assert_int_equal(result.finish, BITNET_FINISH_LENGTH);
    assert_true(result.n_accepted > 0);
    expect_same(&expected, &result);
    bitnet_result_release(&expected);
    bitnet_result_release(&result);
    destroy_engine(small);
}

/* The text of `n` tokens of a circle of one token. */
static void write_repeated(char *out, size_t n_bytes, size_t n)
{
    bitnet_token tokens[32];
    size_t n_text;
    for (size_t i = 0; i < n; i++) tokens[i] = steps_of_walk[0];
    assert_int_equal(bitnet_detokenize(model, tokens, n, false, out, n_bytes - 1,
                                       &n_text),
                     BITNET_OK);
    out[n_text] = '\0';
}

static void a_stop_string_cuts_a_run_where_it_is_complete(void **state)
{
    (void)state;
    struct counts all = {0, 0, 0};
    for (size_t n = 1; n <= 20; n += STRIDE) {
        char stop[512];
        const char *strings[] = {stop};
        write_repeated(stop, sizeof(stop), n);
        bitnet_generate_options options = walk(1, false, 40);
        options.stop_strings = strings;
        options.n_stop_strings = 1;
        const struct counts counts = compare(guessing, &options, NULL);
        assert_int_equal(counts.n_tokens, n);
        all.n_accepted += counts.n_accepted;
    }
    assert_true(all.n_accepted > 0);
}

static void a_stop_token_ends_a_run_where_it_is_chosen(void **state)
{
    (void)state;
    struct counts all = {0, 0, 0};
    for (uint64_t seed = 0; seed < 8; seed += STRIDE) {
        bitnet_generate_options options = walk(3, true, 120);
        options.stop_tokens = &steps_of_walk[2];
        options.n_stop_tokens = 1;
        walk_biases[2].bias = 800.0f; /* now and then */
        walk_biases[1].bias = 500.0f; /* hardly ever: mostly one token */
        options.seed = seed;
        const struct counts counts = compare(guessing, &options, NULL);
        all.n_tokens += counts.n_tokens;
        all.n_accepted += counts.n_accepted;
    }
    assert_true(all.n_tokens < 8 * 120);
    assert_true(all.n_accepted > 0);
}

static void a_grammar_advances_with_what_is_accepted_only(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "root ::= (\"red \" | \"blue \")+ \".\"",
        "root ::= \"ball ball ball ball ball ball ball ball ball ball ball \"",
        "root ::= \"[\" [0-9] (\",\" [0-9])* \"]\"",
    };
    struct counts all = {0, 0, 0};
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        bitnet_grammar *grammar;
        assert_int_equal(bitnet_grammar_parse(rules[r], &grammar), BITNET_OK);
        for (unsigned i = 0; i < 6; i += STRIDE) {
            bitnet_generate_options options = mixed_options(i);
            options.grammar = grammar;
            options.keeps_logits = true;
            options.max_tokens = 30;
            const struct counts counts = compare(guessing, &options, repetitive);
            all.n_accepted += counts.n_accepted;
        }
        bitnet_grammar_release(grammar);
    }
    assert_true(all.n_accepted > 0);
}

struct listener {
    unsigned n_left;
    size_t n_bytes;
};

static bool listen_for_a_while(void *user, const char *text, size_t text_len)
{
    struct listener *listener = user;
    (void)text;
    listener->n_bytes += text_len;
    return --listener->n_left > 0;
}

static void a_callback_stops_a_run_where_it_says_so(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 12; n += STRIDE) {
        struct listener listeners[2] = {{n, 0}, {n, 0}};
        bitnet_result results[2];
        for (int i = 0; i < 2; i++) {
            bitnet_generate_options options = walk(2, false, 40);
            options.on_text = listen_for_a_while;
            options.user = &listeners[i];
            assert_int_equal(bitnet_generate(i == 0 ? plain : guessing, &options, NULL,
                                             &results[i]),
                             BITNET_ERROR_CANCELLED);
        }
        expect_same(&results[0], &results[1]);
        assert_int_equal(listeners[0].n_bytes, listeners[1].n_bytes);
        bitnet_result_release(&results[0]);
        bitnet_result_release(&results[1]);
    }
}

/* Prompts of a circle, a random walk and stories, long enough to share pages. */
static bitnet_generate_options companion(unsigned i, bitnet_token *prompt,
                                         size_t n_prompt)
{
    const bool is_random = i % 4 == 1;
    bitnet_generate_options options = walk(i % 4 == 3 ? 4 : 3, is_random, 16 + 3 * i);
    for (size_t p = 0; p < n_prompt; p++) prompt[p] = steps_of_walk[p % 3];
    options.prompt_tokens = prompt;
    options.n_prompt_tokens = n_prompt;
    options.seed = i;
    options.client_id = i % 3;
    if (i % 4 == 2) options.n_logit_biases = 0;
    return options;
}

enum { N_COMPANIONS = 8, MAX_PROMPT = 100 };

/* All at once on one engine; returns what was guessed. */
static struct counts compare_in_company(bitnet_engine *engine,
                                        const bitnet_result *expected)
{
    struct counts all = {0, 0, 0};
    bitnet_token prompt[MAX_PROMPT];
    bitnet_request *requests[N_COMPANIONS];
    struct held_engine held = hold_engine(engine);
    for (unsigned i = 0; i < N_COMPANIONS; i++) {
        const bitnet_generate_options options = companion(i, prompt, 5 + 13 * i);
        requests[i] = submit_well(engine, &options);
    }
    let_engine_go(&held);
    for (unsigned i = 0; i < N_COMPANIONS; i++) {
        bitnet_result result = wait_well(requests[i]);
        expect_same(&expected[i], &result);
        add_counts(&all, &result);
        bitnet_result_release(&result);
        bitnet_request_release(requests[i]);
    }
    return all;
}

static void company_threads_and_budgets_change_nothing(void **state)
{
    (void)state;
    static const struct {
        uint32_t max_batch, step_tokens, n_threads;
        bool prefix_cache, has_room; /* to guess, always */
    } cases[] = {
        {32, 128, 1, true, true}, {32, 128, 2, false, true}, {32, 32, 3, true, true},
        {9, 11, 2, true, false},  {4, 5, 4, true, false},    {2, 2, 1, true, false},
        {1, 64, 2, true, true},   {1, 1, 1, false, false},
    };
    bitnet_result expected[N_COMPANIONS];
    for (unsigned i = 0; i < N_COMPANIONS; i++) {
        bitnet_token prompt[MAX_PROMPT];
        const bitnet_generate_options options = companion(i, prompt, 5 + 13 * i);
        expected[i] = generate_well(plain, &options, NULL);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i += STRIDE) {
        assert_int_equal(bitnet_thread_manager_set_compute_threads(cases[i].n_threads),
                         BITNET_OK);
        bitnet_engine *engine = create(true, cases[i].max_batch, cases[i].step_tokens,
                                       cases[i].prefix_cache);
        for (int round = 0; round < 2; round++) { /* then with known prefixes */
            const struct counts counts = compare_in_company(engine, expected);
            if (cases[i].has_room) assert_true(counts.n_accepted > 0);
            if (cases[i].step_tokens == 1) assert_int_equal(counts.n_drafted, 0);
        }
        destroy_engine(engine);
    }
    for (unsigned i = 0; i < N_COMPANIONS; i++) bitnet_result_release(&expected[i]);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
}

/* What was guessed wrong was written behind the answer: nobody may ever read it. */
static void pages_with_wrong_guesses_in_them_are_never_shared(void **state)
{
    (void)state;
    bitnet_engine *uncached = create(false, 32, 128, false);
    struct counts all = {0, 0, 0};
    for (uint64_t seed = 0; seed < 3; seed += STRIDE) {
        bitnet_token text[256];
        bitnet_generate_options options = walk(4, true, 150);
        options.seed = seed;
        bitnet_result answer = generate_well(guessing, &options, NULL);
        add_counts(&all, &answer);
        memcpy(text, options.prompt_tokens, 4 * sizeof(*text));
        memcpy(text + 4, answer.tokens, 150 * sizeof(*text));
        for (size_t n = 33; n <= 154; n += 40) { /* to the end, and short of it */
            bitnet_generate_options next = walk(4, false, 10);
            next.prompt_tokens = text;
            next.n_prompt_tokens = n;
            bitnet_result expected = generate_well(uncached, &next, NULL);
            bitnet_result result = generate_well(guessing, &next, NULL);
            assert_int_equal(result.n_cached_tokens, (n - 1) / 32 * 32);
            expect_same(&expected, &result);
            bitnet_result_release(&expected);
            bitnet_result_release(&result);
        }
        bitnet_result_release(&answer);
    }
    assert_true(all.n_accepted < all.n_drafted);
    destroy_engine(uncached);
}

static void a_request_may_do_without_or_with_fewer(void **state)
{
    (void)state;
    bitnet_generate_options options = walk(2, false, 40);
    options.max_draft_tokens = 0;
    assert_int_equal(compare(guessing, &options, NULL).n_drafted, 0);
    options.max_draft_tokens = 1;
    const struct counts counts = compare(guessing, &options, NULL);
    assert_true(counts.n_accepted > 5 && counts.n_accepted <= 20); /* of every two */
    options.max_draft_tokens = BITNET_MAX_DRAFT_TOKENS + 1;
    bitnet_result result;
    assert_int_equal(bitnet_generate(guessing, &options, NULL, &result),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_string_equal(bitnet_last_error(),
                        "generate: max_draft_tokens is 9; at most 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_longest_match_is_continued_and_of_equals_the_newest),
        cmocka_unit_test(a_match_that_reaches_the_end_is_taken_for_a_loop),
        cmocka_unit_test(nothing_is_proposed_without_a_match_of_three_tokens),
        cmocka_unit_test(what_is_too_far_back_is_not_found),
        cmocka_unit_test(what_is_never_right_is_tried_seldom_and_not_given_up),
        cmocka_unit_test(what_is_always_right_gets_as_much_as_there_is),
        cmocka_unit_test(without_drafts_allowed_none_are_proposed),
        cmocka_unit_test(a_circle_is_guessed_and_takes_fewer_steps),
        cmocka_unit_test(a_random_walk_is_the_same_and_not_guessed_at_for_long),
        cmocka_unit_test(every_sampler_answers_the_same),
        cmocka_unit_test(max_tokens_and_the_context_end_a_run_where_they_would),
        cmocka_unit_test(a_stop_string_cuts_a_run_where_it_is_complete),
        cmocka_unit_test(a_stop_token_ends_a_run_where_it_is_chosen),
        cmocka_unit_test(a_grammar_advances_with_what_is_accepted_only),
        cmocka_unit_test(a_callback_stops_a_run_where_it_says_so),
        cmocka_unit_test(company_threads_and_budgets_change_nothing),
        cmocka_unit_test(pages_with_wrong_guesses_in_them_are_never_shared),
        cmocka_unit_test(a_request_may_do_without_or_with_fewer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
