/* SPDX-License-Identifier: MIT */
/*
 * The way in: what is refused, with which numbers, when to try again, and for how long
 * a call waits.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/kv_cache.h"
#include "engine/prefix_cache.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"

static bitnet_model *model;

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_model_release(model);
    return 0;
}

static struct held_engine make_held(uint32_t max_requests, uint64_t max_prompt_tokens)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 1;
    options.max_requests = max_requests;
    options.max_prompt_tokens = max_prompt_tokens;
    return hold_engine(create_engine(model, &options));
}

static bitnet_generate_options options_of(uint32_t n_prompt)
{
    static const bitnet_token tokens[1024] = {0};
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = n_prompt;
    options.max_tokens = 2;
    options.ignores_eos = true;
    return options;
}

static void expect_refusal(bitnet_engine *engine,
                           const bitnet_generate_options *options,
                           bitnet_status expected, const char *const named[])
{
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, options, NULL, &request), expected);
    for (size_t i = 0; named[i] != NULL; i++)
        if (strstr(bitnet_last_error(), named[i]) == NULL)
            fail_msg("\"%s\" does not name %s", bitnet_last_error(), named[i]);
}

/* ---- the bounds ------------------------------------------------------------------- */

static void the_bound_in_requests_is_named_with_its_numbers(void **state)
{
    (void)state;
    struct held_engine held = make_held(2, 1000);
    bitnet_generate_options options = options_of(10);
    bitnet_request *second = submit_well(held.engine, &options);
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    expect_refusal(held.engine, &options, BITNET_ERROR_QUEUE_FULL,
                   (const char *const[]){"1 requests run", "1 wait",
                                         "max_requests is 2", "try again in about",
                                         NULL});
    assert_int_equal(stats_of(held.engine).n_refused, 1);
    let_engine_go(&held);
    bitnet_request_release(second);
    destroy_engine(held.engine);
}

static void the_bound_in_prompt_tokens_is_named_with_its_numbers(void **state)
{
    (void)state;
    struct held_engine held = make_held(10, 100);
    bitnet_generate_options options = options_of(60);
    bitnet_request *second = submit_well(held.engine, &options);
    options = options_of(41);
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    expect_refusal(held.engine, &options, BITNET_ERROR_QUEUE_FULL,
                   (const char *const[]){"60 prompt tokens wait", "has 41",
                                         "max_prompt_tokens is 100",
                                         "try again in about", NULL});
    options = options_of(40); /* just fits */
    bitnet_request *third = submit_well(held.engine, &options);
    let_engine_go(&held);
    bitnet_request_release(second);
    bitnet_request_release(third);
    destroy_engine(held.engine);
}

static void a_prompt_above_the_bound_is_let_in_when_nothing_waits(void **state)
{
    (void)state;
    struct held_engine held = make_held(10, 100);
    bitnet_generate_options options = options_of(300);
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    bitnet_request *second = submit_well(held.engine, &options);
    let_engine_go(&held);
    bitnet_result result = wait_well(second);
    assert_int_equal(result.n_prompt_tokens, 300);
    bitnet_result_release(&result);
    bitnet_request_release(second);
    destroy_engine(held.engine);
}

static void what_can_never_fit_is_refused_at_once_even_by_a_full_engine(void **state)
{
    (void)state;
    struct held_engine held = make_held(1, 100);       /* the holder fills it */
    bitnet_generate_options options = options_of(600); /* and would wait for room */
    expect_refusal(held.engine, &options, BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED,
                   (const char *const[]){"600 tokens", "512", NULL});
    options = options_of(500);
    options.max_tokens = 13;
    expect_refusal(held.engine, &options, BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED,
                   (const char *const[]){"500", "13", "at most 12", NULL});
    let_engine_go(&held);
    destroy_engine(held.engine);
}

/* ---- when to try again ------------------------------------------------------------- */

struct caller {
    pthread_t thread;
    bitnet_engine *engine;
    bitnet_generate_options options;
    bitnet_status status;
    bitnet_result result;
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    caller->status =
        bitnet_generate(caller->engine, &caller->options, NULL, &caller->result);
    return NULL;
}

static void the_hint_grows_with_the_line_and_is_zero_with_room(void **state)
{
    (void)state;
    const uint64_t ms = 1000000;
    struct held_engine held = make_held(1, 100);
    /* Nothing has ended yet: 100 ms for each. */
    assert_true(bitnet_engine_retry_after_ns(held.engine) == 100 * ms);
    struct caller caller = {.engine = held.engine, .options = options_of(10)};
    assert_int_equal(pthread_create(&caller.thread, NULL, call, &caller), 0);
    while (stats_of(held.engine).n_blocked == 0) {
    }
    assert_true(bitnet_engine_retry_after_ns(held.engine) == 200 * ms);
    let_engine_go(&held);
    pthread_join(caller.thread, NULL);
    assert_int_equal(caller.status, BITNET_OK);
    bitnet_result_release(&caller.result);
    assert_true(bitnet_engine_retry_after_ns(held.engine) == 0);
    assert_true(bitnet_engine_retry_after_ns(NULL) == 0);

    /* Now there is something to judge by. */
    struct held_engine again = hold_engine(held.engine);
    assert_true(bitnet_engine_retry_after_ns(held.engine) >= ms);
    let_engine_go(&again);
    destroy_engine(held.engine);
}

/* ---- how long to wait ----------------------------------------------------------------- */

static void a_call_waits_for_room_until_a_deadline_of_its_own(void **state)
{
    (void)state;
    struct held_engine held = make_held(1, 100);
    bitnet_generate_options options = options_of(10);
    options.room_deadline_ns = bitnet_clock_ns();
    expect_refusal(held.engine, &options, BITNET_ERROR_TIMED_OUT,
                   (const char *const[]){"room_deadline_ns", "max_requests is 1",
                                         NULL});
    options.room_deadline_ns = bitnet_deadline_after_ms(1); /* sleeps, and wakes */
    expect_refusal(held.engine, &options, BITNET_ERROR_TIMED_OUT,
                   (const char *const[]){"room_deadline_ns", NULL});
    options.room_deadline_ns = BITNET_NO_DEADLINE;
    options.deadline_ns = bitnet_clock_ns();
    expect_refusal(held.engine, &options, BITNET_ERROR_TIMED_OUT,
                   (const char *const[]){"the deadline passed", NULL});
    assert_int_equal(stats_of(held.engine).n_refused, 0);
    assert_int_equal(stats_of(held.engine).n_blocked, 0);
    assert_int_equal(stats_of(held.engine).n_clients, 1); /* they left no trace */
    let_engine_go(&held);
    destroy_engine(held.engine);
}

static void a_deadline_for_room_means_nothing_once_inside(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_generate_options options = options_of(10);
    options.room_deadline_ns = 1;
    bitnet_result result = generate_well(engine, &options, NULL);
    assert_int_equal(result.n_tokens, 2);
    bitnet_result_release(&result);
    destroy_engine(engine);
}

/* ---- memory ---------------------------------------------------------------------------- */

static uint64_t bound_of(const bitnet_engine_options *options)
{
    uint64_t bound;
    assert_int_equal(bitnet_engine_memory_bound(model, options, &bound), BITNET_OK);
    return bound;
}

static void check_bound(bitnet_kv_type kv_type)
{
    const uint64_t page_bytes = bni_kv_page_bytes(&model->hparams, kv_type);
    bitnet_engine_options options = bitnet_engine_options_default();
    options.kv_type = kv_type;
    options.kv_cache_bytes = 100 * page_bytes;
    const uint64_t before = bound_of(&options);
    options.kv_cache_bytes++; /* less than a page more: not taken */
    assert_true(bound_of(&options) == before);
    options.kv_cache_bytes = 101 * page_bytes; /* a page, its number, its entry */
    assert_true(bound_of(&options) == before + page_bytes + sizeof(uint32_t) +
                                          bni_prefix_cache_bytes(101, true) -
                                          bni_prefix_cache_bytes(100, true));
    const uint64_t with_cache = bound_of(&options);
    options.prefix_cache = false;
    assert_true(bound_of(&options) == with_cache - bni_prefix_cache_bytes(101, true) +
                                          bni_prefix_cache_bytes(101, false));
}

static void the_bound_is_exact_to_the_page(void **state)
{
    (void)state;
    check_bound(BITNET_KV_F16);
    check_bound(BITNET_KV_INT8);
}

static void more_than_the_process_may_have_is_refused_at_creation(void **state)
{
    (void)state;
    const bitnet_engine_options options = bitnet_engine_options_default();
    const uint64_t bound = bound_of(&options);
    const uint64_t in_use = bni_alloc_in_use();
    bitnet_engine *engine = NULL;
    bni_alloc_set_limit(in_use + bound - 1);
    const bitnet_status refused = bitnet_engine_create(model, &options, &engine);
    bni_alloc_set_limit(in_use + bound);
    const bitnet_status accepted = bitnet_engine_create(model, &options, &engine);
    bni_alloc_set_limit(UINT64_MAX);
    assert_int_equal(refused, BITNET_ERROR_OUT_OF_MEMORY);
    assert_non_null(strstr(bitnet_last_error(), "bitnet_engine_memory_bound"));
    assert_int_equal(accepted, BITNET_OK);
    destroy_engine(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_in_requests_is_named_with_its_numbers),
        cmocka_unit_test(the_bound_in_prompt_tokens_is_named_with_its_numbers),
        cmocka_unit_test(a_prompt_above_the_bound_is_let_in_when_nothing_waits),
        cmocka_unit_test(what_can_never_fit_is_refused_at_once_even_by_a_full_engine),
        cmocka_unit_test(the_hint_grows_with_the_line_and_is_zero_with_room),
        cmocka_unit_test(a_call_waits_for_room_until_a_deadline_of_its_own),
        cmocka_unit_test(a_deadline_for_room_means_nothing_once_inside),
        cmocka_unit_test(the_bound_is_exact_to_the_page),
        cmocka_unit_test(more_than_the_process_may_have_is_refused_at_creation),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
