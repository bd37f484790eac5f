/* SPDX-License-Identifier: MIT */
/*
 * One request: what it gives back, how it ends, and what is refused.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/float_env.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/forward_run.h"
#include "support/float_mode.h"

static bitnet_model *model;
static bitnet_engine *engine;

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    engine = create_engine(model, NULL);
    return 0;
}

static int load_only(void **state)
{
    (void)state;
    model = load_model();
    return 0;
}

static int release_only(void **state)
{
    (void)state;
    bitnet_model_release(model);
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
    return options;
}

/* ---- what comes out ------------------------------------------------------------------ */

static void greedy_tokens_are_the_arg_max_of_the_forward_pass(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(40);
    options.ignores_eos = true;
    bitnet_result result = generate_well(engine, &options, test_prompts[0]);
    assert_int_equal(result.n_tokens, 40);
    assert_int_equal(result.finish, BITNET_FINISH_LENGTH);

    bitnet_token tokens[128];
    size_t n_prompt;
    assert_int_equal(bitnet_tokenize(model, test_prompts[0], strlen(test_prompts[0]),
                                     NULL, tokens, 128, &n_prompt),
                     BITNET_OK);
    assert_int_equal(result.n_prompt_tokens, n_prompt);
    memcpy(tokens + n_prompt, result.tokens, result.n_tokens * sizeof(*tokens));
    const size_t n_vocab = model->hparams.n_vocab;
    float *logits =
        forward_run(model, bni_kernels_select(), 1, tokens, n_prompt + 40, 1);
    for (size_t i = 0; i < 40; i++) {
        const float *row = logits + (n_prompt - 1 + i) * n_vocab;
        bitnet_token best = 0;
        for (size_t t = 1; t < n_vocab; t++)
            if (row[t] > row[best]) best = (bitnet_token)t;
        assert_int_equal(result.tokens[i], best);
    }
    bni_free(logits);
    bitnet_result_release(&result);
}

static void kept_logits_are_those_of_the_forward_pass(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(5);
    options.keeps_logits = true;
    options.ignores_eos = true;
    bitnet_result result = generate_well(engine, &options, test_prompts[1]);
    assert_int_equal(result.n_logit_rows, 5);

    bitnet_token tokens[64];
    size_t n_prompt;
    assert_int_equal(bitnet_tokenize(model, test_prompts[1], strlen(test_prompts[1]),
                                     NULL, tokens, 64, &n_prompt),
                     BITNET_OK);
    memcpy(tokens + n_prompt, result.tokens, 5 * sizeof(*tokens));
    const size_t n_vocab = model->hparams.n_vocab;
    float *logits =
        forward_run(model, bni_kernels_select(), 2, tokens, n_prompt + 4, 7);
    assert_memory_equal(result.logits, logits + (n_prompt - 1) * n_vocab,
                        5 * n_vocab * sizeof(float));
    bni_free(logits);
    bitnet_result_release(&result);
}

static void the_text_is_the_tokens_detokenised(void **state)
{
    (void)state;
    bitnet_result result = generate_well(engine, NULL, test_prompts[2]);
    char text[4096];
    size_t n_bytes;
    assert_int_equal(bitnet_detokenize(model, result.tokens, result.n_tokens, false,
                                       text, sizeof(text), &n_bytes),
                     BITNET_OK);
    assert_int_equal(n_bytes, result.text_len);
    assert_memory_equal(text, result.text, n_bytes);
    assert_int_equal(strlen(result.text), result.text_len);
    bitnet_result_release(&result);
}

static void prompt_tokens_give_what_their_text_gives(void **state)
{
    (void)state;
    bitnet_token tokens[64];
    size_t n_tokens;
    assert_int_equal(bitnet_tokenize(model, test_prompts[3], strlen(test_prompts[3]),
                                     NULL, tokens, 64, &n_tokens),
                     BITNET_OK);
    bitnet_generate_options options = mixed_options(4);
    bitnet_result from_text = generate_well(engine, &options, test_prompts[3]);
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = n_tokens;
    bitnet_result from_tokens = generate_well(engine, &options, NULL);
    assert_same_result(&from_text, &from_tokens, 0);
    bitnet_result_release(&from_text);
    bitnet_result_release(&from_tokens);
}

static void a_seed_names_one_answer_and_another_seed_another(void **state)
{
    (void)state;
    bitnet_generate_options options = bitnet_generate_options_default();
    options.seed = 11;
    bitnet_result a = generate_well(engine, &options, test_prompts[0]);
    bitnet_result b = generate_well(engine, &options, test_prompts[0]);
    assert_same_result(&a, &b, 0);
    options.seed = 12;
    bitnet_result c = generate_well(engine, &options, test_prompts[0]);
    assert_string_not_equal(a.text, c.text);
    bitnet_result_release(&a);
    bitnet_result_release(&b);
    bitnet_result_release(&c);
}

static void the_host_s_floating_point_mode_changes_nothing(void **state)
{
    (void)state;
    bitnet_generate_options options = mixed_options(5);
    options.keeps_logits = true;
    bitnet_result expected = generate_well(engine, &options, test_prompts[5]);

    fenv_t before;
    bni_float_env_enter(&before);
    set_hostile_float_mode();
    const uint64_t hostile_mode = float_mode();
    bitnet_model *other_model = load_model();
    bitnet_engine *other = create_engine(other_model, NULL);
    bitnet_result result = generate_well(other, &options, test_prompts[5]);
    const uint64_t mode_after = float_mode();
    destroy_engine(other);
    bitnet_model_release(other_model);
    bni_float_env_leave(&before);

    assert_int_equal(mode_after, hostile_mode); /* the host has its own mode back */
    assert_same_result(&expected, &result, model->hparams.n_vocab);
    bitnet_result_release(&expected);
    bitnet_result_release(&result);
}

static void max_tokens_zero_fills_the_context(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(0);
    options.ignores_eos = true;
    bitnet_result result = generate_well(engine, &options, test_prompts[4]);
    assert_int_equal(result.finish, BITNET_FINISH_LENGTH);
    assert_int_equal(result.n_prompt_tokens + result.n_tokens,
                     model->hparams.n_ctx_train);
    bitnet_result_release(&result);
}

static void times_are_told_in_order(void **state)
{
    (void)state;
    bitnet_result result = generate_well(engine, NULL, test_prompts[5]);
    assert_true(result.time_to_first_token_ns > 0);
    assert_true(result.total_ns >= result.time_to_first_token_ns);
    bitnet_result_release(&result);
}

/* ---- callbacks ------------------------------------------------------------------------ */

struct collected {
    char text[4096];
    size_t n_bytes;
    int n_calls;
    int stop_at; /* return false at this call; 0 never */
};

static bool collect(void *user, const char *text, size_t text_len)
{
    struct collected *collected = user;
    assert_true(collected->n_bytes + text_len < sizeof(collected->text));
    memcpy(collected->text + collected->n_bytes, text, text_len);
    collected->n_bytes += text_len;
    return ++collected->n_calls != collected->stop_at;
}

static void the_pieces_together_are_the_text(void **state)
{
    (void)state;
    struct collected collected = {.n_calls = 0};
    bitnet_generate_options options = mixed_options(1);
    options.on_text = collect;
    options.user = &collected;
    bitnet_result result = generate_well(engine, &options, test_prompts[6]);
    assert_int_equal(collected.n_bytes, result.text_len);
    assert_memory_equal(collected.text, result.text, result.text_len);
    bitnet_result_release(&result);
}

static void a_callback_that_returns_false_stops_its_request_right_there(void **state)
{
    (void)state;
    struct collected collected = {.stop_at = 3};
    bitnet_generate_options options = greedy(100);
    options.on_text = collect;
    options.user = &collected;
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &options, test_prompts[0], &result),
                     BITNET_ERROR_CANCELLED);
    assert_int_equal(result.finish, BITNET_FINISH_CANCELLED);
    assert_int_equal(collected.n_calls, 3);
    assert_int_equal(result.text_len, collected.n_bytes);
    assert_memory_equal(result.text, collected.text, collected.n_bytes);
    bitnet_result_release(&result);
}

struct inner_call {
    bitnet_status destroy_status;
    bitnet_status generate_status;
    bitnet_status wait_status;
    bitnet_request *own;
};

static bool call_inside(void *user, const char *text, size_t text_len)
{
    (void)text;
    (void)text_len;
    struct inner_call *inner = user;
    bitnet_result result;
    const bitnet_generate_options options = greedy(3);
    inner->destroy_status = bitnet_engine_destroy(engine);
    inner->generate_status =
        bitnet_generate(engine, &options, test_prompts[7], &result);
    bitnet_result_release(&result);
    if (inner->own != NULL) {
        inner->wait_status = bitnet_request_wait(inner->own, &result);
        bitnet_result_release(&result);
    }
    return false;
}

static void a_callback_may_generate_but_not_wait_for_itself_or_destroy(void **state)
{
    (void)state;
    struct inner_call inner = {0};
    bitnet_generate_options options = greedy(20);
    options.on_text = call_inside;
    options.user = &inner;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0],
                                           &inner.own),
                     BITNET_OK);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(inner.own, &result), BITNET_ERROR_CANCELLED);
    assert_int_equal(inner.destroy_status, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(inner.generate_status, BITNET_OK);
    assert_int_equal(inner.wait_status, BITNET_ERROR_THREAD_SAFETY);
    bitnet_result_release(&result);
    bitnet_request_release(inner.own);
}

/* ---- pulling ---------------------------------------------------------------------------- */

static void pulled_tokens_and_text_are_those_of_the_blocking_call(void **state)
{
    (void)state;
    const bitnet_generate_options options = mixed_options(6);
    bitnet_result expected = generate_well(engine, &options, test_prompts[8]);
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[8], &request),
                     BITNET_OK);
    size_t n_tokens = 0;
    size_t n_bytes = 0;
    bitnet_status status;
    bitnet_token token;
    const char *text;
    size_t text_len;
    while ((status = bitnet_request_next(request, BITNET_NO_DEADLINE, &token, &text,
                                         &text_len)) == BITNET_OK) {
        if (token != BITNET_NO_TOKEN)
            assert_int_equal(token, expected.tokens[n_tokens++]);
        assert_memory_equal(text, expected.text + n_bytes, text_len);
        n_bytes += text_len;
    }
    assert_int_equal(status, BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(n_tokens, expected.n_tokens);
    assert_int_equal(n_bytes, expected.text_len);

    bitnet_result result; /* what was pulled is in the result too */
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_same_result(&expected, &result, 0);
    bitnet_result_release(&result);
    bitnet_result_release(&expected);
    bitnet_request_release(request);
}

static void a_request_that_is_over_outlives_its_engine(void **state)
{
    (void)state;
    bitnet_engine *other = create_engine(model, NULL);
    const bitnet_generate_options options = greedy(5);
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(other, &options, test_prompts[0], &request),
                     BITNET_OK);
    destroy_engine(other); /* cancels it, if it has not finished */
    bitnet_result result;
    const bitnet_status status = bitnet_request_wait(request, &result);
    assert_true(status == BITNET_OK || status == BITNET_ERROR_CANCELLED);
    assert_true(bitnet_request_finish(request) != BITNET_FINISH_NONE);
    bitnet_result_release(&result);
    bitnet_request_release(request);
}

/* ---- what is refused ----------------------------------------------------------------------- */

static void expect_refusal(bitnet_generate_options options, const char *prompt,
                           bitnet_status expected, const char *named)
{
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &options, prompt, &result), expected);
    assert_null(result.text);
    if (strstr(bitnet_last_error(), named) == NULL)
        fail_msg("\"%s\" does not name %s", bitnet_last_error(), named);
}

static void options_out_of_range_are_named(void **state)
{
    (void)state;
    const bitnet_generate_options good = bitnet_generate_options_default();
    bitnet_generate_options bad;
    const float bad_temperatures[] = {-1.0f, 101.0f, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        bad = good;
        bad.temperature = bad_temperatures[i];
        expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "temperature");
    }
    bad = good;
    bad.top_p = 0.0f;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "top_p");
    bad = good;
    bad.min_p = 1.5f;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "min_p");
    bad = good;
    bad.repeat_penalty = 0.0f;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "repeat_penalty");
    bad = good;
    bad.repeat_last_n = 4097;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "repeat_last_n");
    bad = good;
    bad.when_full = (bitnet_when_full)7;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "when_full");
    bad = good;
    bad.struct_size = 3;
    expect_refusal(bad, "A", BITNET_ERROR_INVALID_ARGUMENT, "struct_size");
}

static void a_prompt_that_does_not_fit_is_refused_with_the_numbers(void **state)
{
    (void)state;
    bitnet_generate_options options = bitnet_generate_options_default();
    bitnet_token tokens[600] = {0};
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = 600;
    expect_refusal(options, NULL, BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED, "600");
    options.n_prompt_tokens = 500;
    options.max_tokens = 13;
    expect_refusal(options, NULL, BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED, "at most 12");
}

static void a_bad_prompt_token_and_no_prompt_at_all_are_refused(void **state)
{
    (void)state;
    bitnet_generate_options options = bitnet_generate_options_default();
    expect_refusal(options, NULL, BITNET_ERROR_INVALID_ARGUMENT, "prompt");
    const bitnet_token outside[] = {1, (bitnet_token)model->hparams.n_vocab};
    options.prompt_tokens = outside;
    options.n_prompt_tokens = 2;
    expect_refusal(options, NULL, BITNET_ERROR_INVALID_ARGUMENT, "prompt_tokens[1]");
    const bitnet_token negative[] = {-1};
    options.prompt_tokens = negative;
    options.n_prompt_tokens = 1;
    expect_refusal(options, NULL, BITNET_ERROR_INVALID_ARGUMENT, "prompt_tokens[0]");
}

static void a_deadline_that_has_passed_ends_the_request(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(20);
    options.deadline_ns = 1;
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &options, test_prompts[0], &result),
                     BITNET_ERROR_TIMED_OUT);
    assert_int_equal(result.n_tokens, 0);
    bitnet_result_release(&result);
}

static void null_arguments_are_errors(void **state)
{
    (void)state;
    bitnet_result result;
    bitnet_request *request;
    assert_int_equal(bitnet_generate(NULL, NULL, "A", &result),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_generate(engine, NULL, "A", NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_generate_async(engine, NULL, "A", NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_generate_async(NULL, NULL, "A", &request),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_request_wait(NULL, &result), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_request_next(NULL, 0, NULL, NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_request_cancel(NULL);
    bitnet_request_release(NULL);
    bitnet_result_release(NULL);
    assert_int_equal(bitnet_engine_destroy(NULL), BITNET_OK);
}

static void when_any_acquisition_fails_the_call_fails_cleanly(void **state)
{
    (void)state;
    bitnet_generate_options options = greedy(4);
    options.keeps_logits = true;
    const uint64_t before = bni_alloc_in_use();
    bitnet_engine *own = create_engine(model, NULL);
    bitnet_result expected = generate_well(own, &options, test_prompts[0]);
    bool has_succeeded = false;
    for (uint64_t n = 1; !has_succeeded; n++) {
        bitnet_result result;
        bni_fault_arm(n);
        const bitnet_status status =
            bitnet_generate(own, &options, test_prompts[0], &result);
        has_succeeded = bni_fault_count() < n;
        bni_fault_arm(0);
        if (status == BITNET_OK) {
            assert_same_result(&expected, &result, model->hparams.n_vocab);
        } else {
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_true(bitnet_last_error()[0] != '\0');
        }
        bitnet_result_release(&result);
        assert_true(n < 100);
    }
    bitnet_result_release(&expected);
    destroy_engine(own); /* its scheduler is joined: nobody holds anything any more */
    assert_true(bni_alloc_in_use() == before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_tokens_are_the_arg_max_of_the_forward_pass),
        cmocka_unit_test(kept_logits_are_those_of_the_forward_pass),
        cmocka_unit_test(the_text_is_the_tokens_detokenised),
        cmocka_unit_test(prompt_tokens_give_what_their_text_gives),
        cmocka_unit_test(a_seed_names_one_answer_and_another_seed_another),
        cmocka_unit_test(the_host_s_floating_point_mode_changes_nothing),
        cmocka_unit_test(max_tokens_zero_fills_the_context),
        cmocka_unit_test(times_are_told_in_order),
        cmocka_unit_test(the_pieces_together_are_the_text),
        cmocka_unit_test(a_callback_that_returns_false_stops_its_request_right_there),
        cmocka_unit_test(a_callback_may_generate_but_not_wait_for_itself_or_destroy),
        cmocka_unit_test(pulled_tokens_and_text_are_those_of_the_blocking_call),
        cmocka_unit_test(a_request_that_is_over_outlives_its_engine),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_refused_with_the_numbers),
        cmocka_unit_test(a_bad_prompt_token_and_no_prompt_at_all_are_refused),
        cmocka_unit_test(a_deadline_that_has_passed_ends_the_request),
        cmocka_unit_test(null_arguments_are_errors),
    };
    /* Without the other engine, whose scheduler may still be giving something back. */
    const struct CMUnitTest counting_tests[] = {
        cmocka_unit_test(when_any_acquisition_fails_the_call_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down) +
           cmocka_run_group_tests(counting_tests, load_only, release_only);
}
