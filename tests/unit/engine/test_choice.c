/* SPDX-License-Identifier: MIT */
/*
 * What a request's options do to its tokens and to its end, on the shipped model.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "support/engine/engines.h"

static bitnet_model *model;
static bitnet_engine *engine;

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    engine = create_engine(model, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    destroy_engine(engine);
    bitnet_model_release(model);
    return 0;
}

static bitnet_generate_options greedy(uint32_t max_tokens)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.temperature = 0.0f;
    options.max_tokens = max_tokens;
    options.ignores_eos = true;
    return options;
}

/* ---- stops -------------------------------------------------------------------------- */

struct collected {
    char text[4096];
    size_t n_bytes;
};

static bool collect(void *user, const char *text, size_t text_len)
{
    struct collected *collected = user;
    assert_true(collected->n_bytes + text_len < sizeof(collected->text));
    memcpy(collected->text + collected->n_bytes, text, text_len);
    collected->n_bytes += text_len;
    return true;
}

/* Generates with one stop string taken out of the plain answer, and checks the cut. */
static void expect_cut(const bitnet_result *plain, size_t begin, size_t n_bytes)
{
    char stop[32];
    assert_true(n_bytes < sizeof(stop) && begin + n_bytes <= plain->text_len);
    memcpy(stop, plain->text + begin, n_bytes);
    stop[n_bytes] = '\0';
    const char *strings[] = {"#never#", stop};
    struct collected collected = {.n_bytes = 0};
    bitnet_generate_options options = greedy(40);
    options.stop_strings = strings;
    options.n_stop_strings = 2;
    options.on_text = collect;
    options.user = &collected;
    bitnet_result result = generate_well(engine, &options, test_prompts[0]);

    const size_t cut = (size_t)(strstr(plain->text, stop) - plain->text);
    assert_int_equal(result.finish, BITNET_FINISH_STOP);
    assert_int_equal(result.text_len, cut);
    assert_memory_equal(result.text, plain->text, cut);
    assert_int_equal(collected.n_bytes, cut);
    assert_memory_equal(collected.text, plain->text, cut);
    /* Its tokens are the plain answer's, up to the one that completed the string. */
    assert_true(result.n_tokens <= plain->n_tokens);
    assert_memory_equal(result.tokens, plain->tokens,
                        result.n_tokens * sizeof(*result.tokens));
    char text[4096];
    size_t n_text;
    assert_int_equal(bitnet_detokenize(model, result.tokens, result.n_tokens, false,
                                       text, sizeof(text) - 1, &n_text),
                     BITNET_OK);
    text[n_text] = '\0';
    assert_non_null(strstr(text, stop));
    bitnet_result_release(&result);
}

static void a_stop_string_ends_the_text_before_it_wherever_tokens_begin(void **state)
{
    (void)state;
    const bitnet_generate_options options = greedy(40);
    bitnet_result plain = generate_well(engine, &options, test_prompts[0]);
    for (size_t begin = 0; begin + 9 <= plain.text_len && begin < 40; begin += 3)
        for (size_t n_bytes = 1; n_bytes <= 9; n_bytes += 4)
            expect_cut(&plain, begin, n_bytes);
    bitnet_result_release(&plain);
}

static void pulled_text_is_held_back_like_called_back_text(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(40);
    bitnet_result plain = generate_well(engine, &options, test_prompts[0]);
    char stop[8];
    memcpy(stop, plain.text + 20, 7);
    stop[7] = '\0';
    const char *strings[] = {stop};
    options.stop_strings = strings;
    options.n_stop_strings = 1;
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], &request),
                     BITNET_OK);
    memset(stop, '?', 7); /* the request has its own copy */
    size_t n_bytes = 0;
    const char *text;
    size_t text_len;
    bitnet_status status;
    while ((status = bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, &text,
                                         &text_len)) == BITNET_OK) {
        assert_memory_equal(text, plain.text + n_bytes, text_len);
        n_bytes += text_len;
    }
    assert_int_equal(status, BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_request_finish(request), BITNET_FINISH_STOP);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_int_equal(result.text_len, n_bytes);
    bitnet_result_release(&result);
    bitnet_request_release(request);
    bitnet_result_release(&plain);
}

static void what_only_might_have_become_a_stop_string_is_delivered_at_the_end(
    void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(12);
    bitnet_result plain = generate_well(engine, &options, test_prompts[0]);
    char stop[64];
    assert_true(plain.text_len >= 10 && plain.text_len < 4000);
    memcpy(stop, plain.text + plain.text_len - 10, 10); /* the end, and one more */
    strcpy(stop + 10, "~");
    const char *strings[] = {stop};
    options.stop_strings = strings;
    options.n_stop_strings = 1;
    bitnet_result result = generate_well(engine, &options, test_prompts[0]);
    assert_int_equal(result.finish, BITNET_FINISH_LENGTH);
    assert_string_equal(result.text, plain.text);
    bitnet_result_release(&result);
    bitnet_result_release(&plain);
}

static void a_stop_token_ends_it_and_is_not_among_the_tokens(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(20);
    bitnet_result plain = generate_well(engine, &options, test_prompts[1]);
    const bitnet_token stops[] = {plain.tokens[7]};
    size_t first = 0;
    while (plain.tokens[first] != stops[0]) first++;
    options.stop_tokens = stops;
    options.n_stop_tokens = 1;
    bitnet_result result = generate_well(engine, &options, test_prompts[1]);
    assert_int_equal(result.finish, BITNET_FINISH_STOP);
    assert_int_equal(result.n_tokens, first);
    bitnet_result_release(&result);
    bitnet_result_release(&plain);
}

/* ---- biases ------------------------------------------------------------------------- */

static void a_banned_token_gives_way_to_the_next_best(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(6);
    options.keeps_logits = true;
    bitnet_result plain = generate_well(engine, &options, test_prompts[2]);
    const bitnet_logit_bias ban = {plain.tokens[0], -INFINITY};
    options.logit_biases = &ban;
    options.n_logit_biases = 1;
    bitnet_result result = generate_well(engine, &options, test_prompts[2]);
    bitnet_token second = plain.tokens[0] == 0 ? 1 : 0;
    for (uint32_t t = 0; t < model->hparams.n_vocab; t++)
        if ((bitnet_token)t != ban.token && plain.logits[t] > plain.logits[second])
            second = (bitnet_token)t;
    assert_int_equal(result.tokens[0], second);
    for (size_t i = 0; i < result.n_tokens; i++)
        assert_int_not_equal(result.tokens[i], ban.token);
    /* Kept logits are the model's own. */
    assert_memory_equal(result.logits, plain.logits,
                        model->hparams.n_vocab * sizeof(float));
    bitnet_result_release(&result);
    bitnet_result_release(&plain);
}

/* ---- log-probabilities ----------------------------------------------------------------- */

static void log_probabilities_are_those_of_the_kept_logits(void **state)
{
    (void)state;
    bitnet_generate_options options = mixed_options(4);
    options.repeat_penalty = 1.3f;
    options.keeps_logits = true;
    options.keeps_logprobs = true;
    options.top_logprobs = 3;
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[3], &request),
                     BITNET_OK);
    float first;
    const bitnet_token_logprob *first_top;
    size_t n_top;
    assert_int_equal(bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_request_get_logprobs(request, 0, &first, &first_top,
                                                 &n_top),
                     BITNET_OK);
    assert_int_equal(n_top, 3);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_true(first == result.logprobs[0]);
    assert_memory_equal(first_top, result.top_logprobs, 3 * sizeof(*first_top));
    assert_int_equal(result.n_top_logprobs, 3);
    assert_int_equal(bitnet_request_get_logprobs(request, result.n_tokens, NULL, NULL,
                                                 NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);

    const uint32_t n_vocab = model->hparams.n_vocab;
    for (size_t i = 0; i < result.n_tokens; i++) {
        const float *row = result.logits + i * n_vocab;
        double total = 0;
        for (uint32_t t = 0; t < n_vocab; t++) total += exp((double)row[t]);
        const double expected = (double)row[result.tokens[i]] - log(total);
        assert_true(fabs((double)result.logprobs[i] - expected) < 1e-5);
        const bitnet_token_logprob *top = result.top_logprobs + i * 3;
        for (int k = 0; k < 3; k++) {
            assert_true(fabs((double)top[k].logprob -
                             ((double)row[top[k].token] - log(total))) < 1e-5);
            if (k > 0) assert_true(top[k].logprob <= top[k - 1].logprob);
        }
    }
    bitnet_result_release(&result);
    bitnet_request_release(request);
}

static void without_being_asked_there_are_none(void **state)
{
    (void)state;
    const bitnet_generate_options options = greedy(2);
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[3], &request),
                     BITNET_OK);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_null(result.logprobs);
    assert_null(result.top_logprobs);
    assert_int_equal(bitnet_request_get_logprobs(request, 0, NULL, NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "keeps_logprobs"));
    bitnet_result_release(&result);
    bitnet_request_release(request);
}

/* ---- what is refused ----------------------------------------------------------------- */

static void expect_refusal(const bitnet_generate_options *options, const char *named)
{
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, options, "A", &result),
                     BITNET_ERROR_INVALID_ARGUMENT);
    if (strstr(bitnet_last_error(), named) == NULL)
        fail_msg("\"%s\" does not name %s", bitnet_last_error(), named);
}

static void numbers_out_of_range_are_named(void **state)
{
    (void)state;
    const bitnet_generate_options good = bitnet_generate_options_default();
    const float bad[] = {-11.0f, 11.0f, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        bitnet_generate_options options = good;
        options.typical_p = bad[i];
        expect_refusal(&options, "typical_p is ");
        options = good;
        options.frequency_penalty = bad[i];
        expect_refusal(&options, "frequency_penalty is ");
        options = good;
        options.presence_penalty = bad[i];
        expect_refusal(&options, "presence_penalty is ");
    }
    bitnet_generate_options options = good;
    options.top_logprobs = 3;
    expect_refusal(&options, "keeps_logprobs");
    options.keeps_logprobs = true;
    options.top_logprobs = 21;
    expect_refusal(&options, "top_logprobs is 21; at most 20");
}

static void lists_are_checked_entry_by_entry(void **state)
{
    (void)state;
    const bitnet_generate_options good = bitnet_generate_options_default();
    bitnet_generate_options options = good;
    options.n_logit_biases = 1;
    expect_refusal(&options, "n_logit_biases is 1, but logit_biases is NULL");
    options.n_logit_biases = 1025;
    expect_refusal(&options, "n_logit_biases is 1025; at most 1024");
    bitnet_logit_bias biases[] = {{0, 1.0f}, {-1, 1.0f}};
    options.logit_biases = biases;
    options.n_logit_biases = 2;
    expect_refusal(&options, "logit_biases[1].token is -1");
    biases[1] = (bitnet_logit_bias){1, INFINITY};
    expect_refusal(&options, "logit_biases[1].bias is inf");
    biases[1].bias = NAN;
    expect_refusal(&options, "logit_biases[1].bias is");

    options = good;
    char longer[258];
    memset(longer, 'a', 257);
    longer[257] = '\0';
    const char *strings[] = {"good", NULL};
    options.stop_strings = strings;
    options.n_stop_strings = 65;
    expect_refusal(&options, "n_stop_strings is 65; at most 64");
    options.n_stop_strings = 2;
    expect_refusal(&options, "stop_strings[1] is NULL");
    strings[1] = "";
    expect_refusal(&options, "stop_strings[1] is empty");
    strings[1] = longer;
    expect_refusal(&options, "stop_strings[1] is longer");
    strings[1] = "a\xff";
    expect_refusal(&options, "stop_strings[1] \"a\\xff\" is not UTF-8");

    options = good;
    const bitnet_token tokens[] = {1 << 30};
    options.stop_tokens = tokens;
    options.n_stop_tokens = 65;
    expect_refusal(&options, "n_stop_tokens is 65; at most 64");
    options.n_stop_tokens = 1;
    expect_refusal(&options, "stop_tokens[0] is 1073741824");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_string_ends_the_text_before_it_wherever_tokens_begin),
        cmocka_unit_test(pulled_text_is_held_back_like_called_back_text),
        cmocka_unit_test(
            what_only_might_have_become_a_stop_string_is_delivered_at_the_end),
        cmocka_unit_test(a_stop_token_ends_it_and_is_not_among_the_tokens),
        cmocka_unit_test(a_banned_token_gives_way_to_the_next_best),
        cmocka_unit_test(log_probabilities_are_those_of_the_kept_logits),
        cmocka_unit_test(without_being_asked_there_are_none),
        cmocka_unit_test(numbers_out_of_range_are_named),
        cmocka_unit_test(lists_are_checked_entry_by_entry),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
