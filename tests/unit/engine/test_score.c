/* SPDX-License-Identifier: MIT */
/*
 * Scores of given tokens: right, against the forward pass by itself and double precision;
 * the same bits whatever the chunks, threads, cached prefixes and company; and requests
 * like others: cancelled, late, refused, failing.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/event_queue.h>
#include <bitnet/score.h>
#include <bitnet/thread_manager.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "engine/logprobs.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/forward_run.h"
#include "support/engine/held_engine.h"
#include "support/latch.h"

enum { WATCHDOG_S = 300, N_TOKENS = 150, N_SCORES = N_TOKENS - 1 };

static struct watchdog dog;
static bitnet_model *model;
static bitnet_token tokens[N_TOKENS];
static float expected[N_SCORES]; /* from the forward pass by itself */
static float *logits;            /* [N_SCORES][n_vocab], likewise */

static int compute_scores_without_an_engine(void **state)
{
    (void)state;
    watchdog_start(&dog, "scores", WATCHDOG_S);
    model = load_model();
    const uint32_t n_vocab = model->hparams.n_vocab;
    for (uint32_t i = 0; i < N_TOKENS; i++)
        tokens[i] = (bitnet_token)((i * 7919 + 13) % n_vocab);
    logits = forward_run(model, bni_kernels_select(), 1, tokens, N_SCORES, 64);
    for (size_t i = 0; i < N_SCORES; i++) {
        const float *row = logits + i * n_vocab;
        const struct bni_softmax softmax = bni_softmax_of(row, n_vocab);
        expected[i] = bni_logprob(&softmax, row[tokens[i + 1]]);
    }
    return 0;
}

static int release_all(void **state)
{
    (void)state;
    bni_free(logits);
    bitnet_model_release(model);
    watchdog_stop(&dog);
    return 0;
}

static void score_well(bitnet_engine *engine, const bitnet_score_options *options,
                       float *logprobs)
{
    if (bitnet_score(engine, options, tokens, N_TOKENS, logprobs) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
}

/* ---- right --------------------------------------------------------------------------- */

static void a_score_is_the_logarithm_of_the_softmax(void **state)
{
    (void)state;
    const uint32_t n_vocab = model->hparams.n_vocab;
    bitnet_engine *engine = create_engine(model, NULL);
    float scores[N_SCORES];
    score_well(engine, NULL, scores);
    for (size_t i = 0; i < N_SCORES; i++) {
        const float *row = logits + i * n_vocab;
        double total = 0;
        for (uint32_t t = 0; t < n_vocab; t++) total += exp((double)row[t]);
        const double exact = (double)row[tokens[i + 1]] - log(total);
        assert_float_equal(scores[i], exact, 1e-5);
    }
    destroy_engine(engine);
}

static void what_was_generated_is_scored_as_it_was_told(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_generate_options options = bitnet_generate_options_default();
    enum { N_PROMPT = 20, N_GENERATED = 40 };
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = N_PROMPT;
    options.max_tokens = N_GENERATED;
    options.ignores_eos = true;
    options.keeps_logprobs = true;
    bitnet_result result = generate_well(engine, &options, NULL);
    assert_int_equal(result.n_tokens, N_GENERATED);

    bitnet_token text[N_PROMPT + N_GENERATED];
    memcpy(text, tokens, N_PROMPT * sizeof(*text));
    memcpy(text + N_PROMPT, result.tokens, N_GENERATED * sizeof(*text));
    bitnet_score_options score = bitnet_score_options_default();
    float scores[N_GENERATED];
    score.first_scored = N_PROMPT;
    assert_int_equal(bitnet_score(engine, &score, text, N_PROMPT + N_GENERATED, scores),
                     BITNET_OK);
    assert_memory_equal(scores, result.logprobs, sizeof(scores));
    bitnet_result_release(&result);
    destroy_engine(engine);
}

static void logits_are_kept_if_asked(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_score_options options = bitnet_score_options_default();
    bitnet_request *request;
    options.keeps_logits = true;
    assert_int_equal(bitnet_score_async(engine, &options, tokens, N_TOKENS, &request),
                     BITNET_OK);
    bitnet_result result = wait_well(request);
    assert_int_equal(result.n_logit_rows, N_SCORES);
    assert_memory_equal(result.logits, logits,
                        N_SCORES * model->hparams.n_vocab * sizeof(float));
    assert_int_equal(result.finish, BITNET_FINISH_STOP);
    assert_int_equal(result.n_tokens, 0);
    assert_string_equal(result.text, "");
    bitnet_result_release(&result);
    bitnet_request_release(request);
    destroy_engine(engine);
}

/* ---- the same bits ------------------------------------------------------------------- */

static void chunks_and_slices_change_no_bit(void **state)
{
    (void)state;
    static const uint32_t shapes[][2] = {/* step_tokens, max_batch */
                                         {1, 1},   {7, 1},  {33, 2},
                                         {32, 32}, {64, 5}, {256, 32}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        bitnet_engine_options options = bitnet_engine_options_default();
        options.step_tokens = shapes[i][0];
        options.max_batch = shapes[i][1];
        bitnet_engine *engine = create_engine(model, &options);
        float scores[N_SCORES];
        score_well(engine, NULL, scores);
        assert_memory_equal(scores, expected, sizeof(expected));
        destroy_engine(engine);
    }
}

static void the_number_of_threads_changes_no_bit(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    for (uint32_t n = 1; n <= 3; n++) {
        float scores[N_SCORES];
        assert_int_equal(bitnet_thread_manager_set_compute_threads(n), BITNET_OK);
        score_well(engine, NULL, scores);
        assert_memory_equal(scores, expected, sizeof(expected));
    }
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
    destroy_engine(engine);
}

static void context_comes_from_the_prefix_cache_and_scored_tokens_do_not(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_score_options options = bitnet_score_options_default();
    float scores[N_SCORES];
    score_well(engine, NULL, scores); /* its pages are known now */
    static const size_t firsts[] = {1, 32, 33, 34, 64, 65, 97, N_TOKENS - 1};
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        bitnet_request *request;
        options.first_scored = firsts[i];
        assert_int_equal(bitnet_score_async(engine, &options, tokens, N_TOKENS,
                                            &request),
                         BITNET_OK);
        bitnet_result result = wait_well(request);
        assert_int_equal(result.n_cached_tokens, (firsts[i] - 1) / 32 * 32);
        bitnet_result_release(&result);
        const float *found;
        size_t n_found;
        assert_int_equal(bitnet_request_get_score(request, &found, &n_found),
                         BITNET_OK);
        assert_int_equal(n_found, N_TOKENS - firsts[i]);
        assert_memory_equal(found, expected + firsts[i] - 1, n_found * sizeof(*found));
        bitnet_request_release(request);
    }
    destroy_engine(engine);
}

static void a_prompt_finds_the_pages_of_what_was_scored(void **state)
{
    (void)state;
    bitnet_engine *scored = create_engine(model, NULL);
    bitnet_engine *fresh = create_engine(model, NULL);
    bitnet_generate_options options = bitnet_generate_options_default();
    float scores[N_SCORES];
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = N_TOKENS;
    options.max_tokens = 8;
    options.ignores_eos = true;
    options.keeps_logits = true;
    score_well(scored, NULL, scores);
    bitnet_result found = generate_well(scored, &options, NULL);
    bitnet_result alone = generate_well(fresh, &options, NULL);
    assert_int_equal(found.n_cached_tokens, 128);
    assert_same_result(&found, &alone, model->hparams.n_vocab);
    bitnet_result_release(&found);
    bitnet_result_release(&alone);
    destroy_engine(scored);
    destroy_engine(fresh);
}

enum { N_CALLERS = 6, N_ROUNDS = 3 };

struct caller {
    pthread_t thread;
    struct latch *start;
    bitnet_engine *engine;
    unsigned index;
    unsigned n_wrong;
};

/* Even ones score, odd ones generate beside them. */
static void *call(void *user)
{
    struct caller *caller = user;
    latch_meet(caller->start);
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        if (caller->index % 2 == 0) {
            bitnet_score_options options = bitnet_score_options_default();
            float scores[N_SCORES];
            options.first_scored = 1 + 40 * round;
            options.client_id = caller->index;
            const size_t n = N_TOKENS - options.first_scored;
            if (bitnet_score(caller->engine, &options, tokens, N_TOKENS, scores) !=
                    BITNET_OK ||
                memcmp(scores, expected + options.first_scored - 1,
                       n * sizeof(*scores)) != 0)
                caller->n_wrong++;
        } else {
            bitnet_generate_options options = mixed_options(caller->index);
            bitnet_result result;
            if (bitnet_generate(caller->engine, &options, test_prompts[caller->index],
                                &result) != BITNET_OK)
                caller->n_wrong++;
            bitnet_result_release(&result);
        }
    }
    return NULL;
}

static void company_changes_no_bit(void **state)
{
    (void)state;
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 4; /* so that some wait */
    options.step_tokens = 48;
    bitnet_engine *engine = create_engine(model, &options);
    struct latch start = LATCH(N_CALLERS);
    struct caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.start = &start, .engine = engine, .index = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < N_CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].n_wrong, 0);
    }
    destroy_engine(engine);
}

/* ---- a request like others ----------------------------------------------------------- */

static void a_scored_text_can_be_cancelled_or_come_too_late(void **state)
{
    (void)state;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    bitnet_score_options options = bitnet_score_options_default();
    bitnet_request *cancelled, *late;
    bitnet_result result;
    const float *scores;
    size_t n;
    assert_int_equal(bitnet_score_async(held.engine, NULL, tokens, N_TOKENS,
                                        &cancelled),
                     BITNET_OK);
    options.deadline_ns = bitnet_clock_ns();
    assert_int_equal(bitnet_score_async(held.engine, &options, tokens, N_TOKENS, &late),
                     BITNET_OK);
    bitnet_request_cancel(cancelled);
    assert_int_equal(bitnet_request_get_score(cancelled, &scores, &n),
                     BITNET_ERROR_INVALID_ARGUMENT);
    let_engine_go(&held);
    assert_int_equal(bitnet_request_wait(cancelled, &result), BITNET_ERROR_CANCELLED);
    assert_non_null(strstr(bitnet_last_error(), "score: the request was cancelled"));
    bitnet_result_release(&result);
    assert_int_equal(bitnet_request_wait(late, &result), BITNET_ERROR_TIMED_OUT);
    bitnet_result_release(&result);
    assert_int_equal(bitnet_request_get_score(late, &scores, &n),
                     BITNET_ERROR_TIMED_OUT);
    bitnet_request_release(cancelled);
    bitnet_request_release(late);
    float found[N_SCORES];
    score_well(held.engine, NULL, found);
    assert_memory_equal(found, expected, sizeof(expected));
    destroy_engine(held.engine);
}

static void the_end_is_posted_to_an_event_queue(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_event_queue *queue;
    bitnet_event event;
    bitnet_request *request;
    bitnet_score_options options = bitnet_score_options_default();
    assert_int_equal(bitnet_event_queue_create(1, &queue), BITNET_OK);
    options.events = queue;
    options.event_tag = 42;
    assert_int_equal(bitnet_score_async(engine, &options, tokens, N_TOKENS, &request),
                     BITNET_OK);
    assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE, &event),
                     BITNET_OK);
    assert_int_equal(event.kind, BITNET_EVENT_REQUEST_ENDED);
    assert_int_equal(event.tag, 42);
    const float *scores;
    size_t n;
    assert_int_equal(bitnet_request_get_score(request, &scores, &n), BITNET_OK);
    assert_memory_equal(scores, expected, sizeof(expected));
    bitnet_request_release(request);
    bitnet_event_queue_destroy(queue);
    destroy_engine(engine);
}

static void a_full_engine_refuses_by_name(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_requests = 1;
    struct held_engine held = hold_engine(create_engine(model, &engine_options));
    bitnet_score_options options = bitnet_score_options_default();
    float scores[N_SCORES];
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    assert_int_equal(bitnet_score(held.engine, &options, tokens, N_TOKENS, scores),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "score: no room"));
    let_engine_go(&held);
    destroy_engine(held.engine);
}

static void numbers_that_are_not_finite_end_it_and_the_layer_is_named(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    float *norm = (float *)(uintptr_t)model->layers[2].attn_norm;
    const float before = *norm;
    float scores[N_SCORES];
    *norm = NAN;
    assert_int_equal(bitnet_score(engine, NULL, tokens, N_TOKENS, scores),
                     BITNET_ERROR_INFERENCE_FAILED);
    *norm = before;
    assert_non_null(strstr(bitnet_last_error(), "score: the numbers of position 0"));
    assert_non_null(strstr(bitnet_last_error(), "in layer 2"));
    destroy_engine(engine);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.n_ctx = N_TOKENS - 1;
    bitnet_engine *engine = create_engine(model, &engine_options);
    bitnet_score_options options = bitnet_score_options_default();
    bitnet_token bad[] = {1, (bitnet_token)model->hparams.n_vocab};
    float scores[N_SCORES];
    const bitnet_status invalid = BITNET_ERROR_INVALID_ARGUMENT;
    assert_int_equal(bitnet_score(NULL, NULL, tokens, 2, scores), invalid);
    assert_int_equal(bitnet_score(engine, NULL, NULL, 2, scores), invalid);
    assert_int_equal(bitnet_score(engine, NULL, tokens, 2, NULL), invalid);
    assert_int_equal(bitnet_score(engine, NULL, tokens, 1, scores), invalid);
    assert_int_equal(bitnet_score(engine, NULL, bad, 2, scores), invalid);
    assert_non_null(strstr(bitnet_last_error(), "tokens[1]"));
    options.first_scored = 0;
    assert_int_equal(bitnet_score(engine, &options, tokens, 4, scores), invalid);
    options.first_scored = 4;
    assert_int_equal(bitnet_score(engine, &options, tokens, 4, scores), invalid);
    assert_non_null(strstr(bitnet_last_error(), "from 1 to 3"));
    assert_int_equal(bitnet_score(engine, NULL, tokens, N_TOKENS, scores),
                     BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED);
    assert_int_equal(bitnet_score(engine, NULL, tokens, N_TOKENS - 1, scores),
                     BITNET_OK); /* as many as the context holds */
    assert_memory_equal(scores, expected, (N_TOKENS - 2) * sizeof(*scores));
    destroy_engine(engine);
}

static void no_row_of_logits_is_kept_unasked(void **state)
{
    (void)state;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    bitnet_request *request;
    const uint64_t before = bni_alloc_in_use();
    assert_int_equal(bitnet_score_async(held.engine, NULL, tokens, N_TOKENS, &request),
                     BITNET_OK);
    assert_true(bni_alloc_in_use() - before < 16 * 1024);
    let_engine_go(&held);
    bitnet_result result = wait_well(request);
    bitnet_result_release(&result);
    bitnet_request_release(request);
    destroy_engine(held.engine);
}

static void every_refused_allocation_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_score_options options = bitnet_score_options_default();
    options.keeps_logits = true;
    bitnet_status status = BITNET_ERROR_OUT_OF_MEMORY;
    uint64_t n = 0;
    while (status != BITNET_OK) {
        bitnet_request *request;
        const uint64_t before = bni_alloc_in_use();
        bni_fault_arm(++n);
        status = bitnet_score_async(engine, &options, tokens, N_TOKENS, &request);
        bni_fault_arm(0);
        assert_true(n < 50);
        if (status != BITNET_OK) {
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_int_equal(bni_alloc_in_use(), before);
            continue;
        }
        bitnet_request_release(request);
    }
    assert_true(n > 2);
    destroy_engine(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_the_logarithm_of_the_softmax),
        cmocka_unit_test(what_was_generated_is_scored_as_it_was_told),
        cmocka_unit_test(logits_are_kept_if_asked),
        cmocka_unit_test(chunks_and_slices_change_no_bit),
        cmocka_unit_test(the_number_of_threads_changes_no_bit),
        cmocka_unit_test(context_comes_from_the_prefix_cache_and_scored_tokens_do_not),
        cmocka_unit_test(a_prompt_finds_the_pages_of_what_was_scored),
        cmocka_unit_test(company_changes_no_bit),
        cmocka_unit_test(a_scored_text_can_be_cancelled_or_come_too_late),
        cmocka_unit_test(the_end_is_posted_to_an_event_queue),
        cmocka_unit_test(a_full_engine_refuses_by_name),
        cmocka_unit_test(numbers_that_are_not_finite_end_it_and_the_layer_is_named),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(no_row_of_logits_is_kept_unasked),
        cmocka_unit_test(every_refused_allocation_is_told_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, compute_scores_without_an_engine, release_all);
}
