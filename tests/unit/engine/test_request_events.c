/* SPDX-License-Identifier: MIT */
/*
 * test_request_events.c - what an event queue hears of requests, and that it hears
 * of each one's end once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>

#include "base/fault.h"
#include "support/engine/engines.h"
#include "support/latch.h"
#include "threads/compute.h"

enum { WATCHDOG_S = 300, N_PLACES = 4, TAG = 77 };

static bitnet_model *model;
static bitnet_engine *engine;
static bitnet_event_queue *queue;
static struct watchdog dog;

static int load(void **state)
{
    (void)state;
    watchdog_start(&dog, "the tests of the events of requests", WATCHDOG_S);
    model = load_model();
    return 0;
}

static int unload(void **state)
{
    (void)state;
    bitnet_model_release(model);
    watchdog_stop(&dog);
    return 0;
}

/* The engine has room for two requests, of which one runs. */
static int set_up(void **state)
{
    (void)state;
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 1;
    options.max_requests = 2;
    engine = create_engine(model, &options);
    return bitnet_event_queue_create(N_PLACES, &queue) == BITNET_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (engine != NULL) destroy_engine(engine);
    engine = NULL;
    bitnet_event_queue_destroy(queue);
    queue = NULL;
    return 0;
}

static bitnet_generate_options with_events(uint32_t max_tokens, uint64_t tag)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.temperature = 0.0f;
    options.ignores_eos = true;
    options.max_tokens = max_tokens;
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    options.events = queue;
    options.event_tag = tag;
    return options;
}

static bitnet_request *begin(uint32_t max_tokens, uint64_t tag)
{
    const bitnet_generate_options options = with_events(max_tokens, tag);
    bitnet_request *request = NULL;
    if (bitnet_generate_async(engine, &options, test_prompts[0], &request) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return request;
}

/* Collects the request's READY events up to its end, and checks that. */
static void check_end(uint64_t tag, bitnet_status status)
{
    bitnet_event event = {0};
    while (event.kind != BITNET_EVENT_REQUEST_ENDED) {
        assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE,
                                                       &event),
                         BITNET_OK);
        assert_int_equal(event.tag, tag);
        if (event.kind != BITNET_EVENT_REQUEST_ENDED)
            assert_int_equal(event.kind, BITNET_EVENT_REQUEST_READY);
    }
    assert_int_equal(event.status, status);
}

static void check_no_event(void)
{
    bitnet_event event;
    assert_false(bitnet_event_queue_next(queue, &event));
}

static void check_all_places_free(void)
{
    bitnet_event event;
    check_no_event();
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, i), BITNET_OK);
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_true(bitnet_event_queue_next(queue, &event));
}

/* ---- tokens --------------------------------------------------------------------------- */

/* Takes what is there, without waiting, and checks it; how the taking ended. */
static bitnet_status take_all(bitnet_request *request, const bitnet_result *expected,
                              size_t *n_taken)
{
    bitnet_token token;
    bitnet_status status;
    while ((status = bitnet_request_next(request, 0, &token, NULL, NULL)) ==
           BITNET_OK) {
        if (token == BITNET_NO_TOKEN) continue;
        assert_in_range(*n_taken, 0, expected->n_tokens - 1);
        assert_int_equal(token, expected->tokens[*n_taken]);
        ++*n_taken;
    }
    return status;
}

static void a_loop_that_never_waits_gets_every_token(void **state)
{
    (void)state;
    enum { N_TOKENS = 24 };
    bitnet_generate_options options = with_events(N_TOKENS, TAG);
    options.events = NULL;
    bitnet_result expected = generate_well(engine, &options, test_prompts[0]);
    bitnet_request *request = begin(N_TOKENS, TAG);

    struct pollfd polled = {.fd = bitnet_event_queue_fd(queue), .events = POLLIN};
    bitnet_event event = {0};
    size_t n_taken = 0;
    size_t n_ready = 0;
    while (event.kind != BITNET_EVENT_REQUEST_ENDED) {
        assert_int_equal(poll(&polled, 1, -1), 1);
        assert_true(bitnet_event_queue_next(queue, &event));
        assert_int_equal(event.tag, TAG);
        const bitnet_status status = take_all(request, &expected, &n_taken);
        if (event.kind == BITNET_EVENT_REQUEST_ENDED) {
            assert_int_equal(status, BITNET_ERROR_SHUT_DOWN);
        } else {
            assert_int_equal(event.kind, BITNET_EVENT_REQUEST_READY);
            n_ready++;
        }
    }
    assert_int_equal(event.status, BITNET_OK);
    assert_int_equal(n_taken, N_TOKENS);
    assert_in_range(n_ready, 0, N_TOKENS);
    check_all_places_free();
    bitnet_request_release(request);
    bitnet_result_release(&expected);
}

static void tokens_that_nobody_asks_about_are_one_event(void **state)
{
    (void)state;
    bitnet_request *request = begin(16, TAG);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_int_equal(result.n_tokens, 16);
    bitnet_event event = {0};
    assert_true(bitnet_event_queue_next(queue, &event)); /* there before the end was */
    assert_int_equal(event.kind, BITNET_EVENT_REQUEST_ENDED);
    assert_int_equal(event.status, BITNET_OK);
    check_all_places_free();
    bitnet_result_release(&result);
    bitnet_request_release(request);
}

static void a_first_token_is_told_before_the_end(void **state)
{
    (void)state;
    bitnet_request *request = begin(0, TAG); /* as many as the context holds */
    bitnet_event event = {0};
    assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE, &event),
                     BITNET_OK);
    bitnet_token token = BITNET_NO_TOKEN;
    assert_int_equal(bitnet_request_next(request, 0, &token, NULL, NULL), BITNET_OK);
    assert_true(token != BITNET_NO_TOKEN);
    if (event.kind == BITNET_EVENT_REQUEST_READY) {
        bitnet_request_cancel(request);
        while (event.kind == BITNET_EVENT_REQUEST_READY)
            assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE,
                                                           &event),
                             BITNET_OK);
    }
    assert_int_equal(event.kind, BITNET_EVENT_REQUEST_ENDED);
    check_all_places_free();
    bitnet_request_release(request);
}

/* ---- ends ------------------------------------------------------------------------------- */

static void cancelled_and_late_requests_post_their_end(void **state)
{
    (void)state;
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team),
                     BITNET_OK); /* no step until released */
    bitnet_request *request = begin(16, TAG);
    bitnet_request_cancel(request);
    bni_compute_release(team);
    check_end(TAG, BITNET_ERROR_CANCELLED);
    bitnet_request_release(request);

    bitnet_generate_options options = with_events(16, TAG + 1);
    options.deadline_ns = bitnet_clock_ns() + 1000000;
    const bitnet_status status =
        bitnet_generate_async(engine, &options, test_prompts[0], &request);
    if (status == BITNET_OK) {
        bitnet_event event = {0};
        while (event.kind != BITNET_EVENT_REQUEST_ENDED)
            assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE,
                                                           &event),
                             BITNET_OK);
        assert_int_equal(event.tag, TAG + 1);
        bitnet_result result; /* the same, whether it was in time or not */
        assert_int_equal(bitnet_request_wait(request, &result), event.status);
        bitnet_result_release(&result);
        bitnet_request_release(request);
    }
    check_all_places_free();
}

static void a_request_whose_handle_was_released_posts_its_end(void **state)
{
    (void)state;
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    bitnet_request *running = begin(16, TAG);
    bitnet_request *queued = begin(16, TAG + 1);
    bitnet_request_release(running);
    bitnet_request_release(queued);
    bni_compute_release(team);
    uint64_t tags = 0;
    for (int i = 0; i < 2; i++) {
        bitnet_event event = {0};
        assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE,
                                                       &event),
                         BITNET_OK);
        assert_int_equal(event.kind, BITNET_EVENT_REQUEST_ENDED);
        assert_int_equal(event.status, BITNET_ERROR_CANCELLED);
        tags += event.tag;
    }
    assert_int_equal(tags, 2 * TAG + 1);
    check_all_places_free();
}

static void destroying_the_engine_ends_and_tells_of_every_request(void **state)
{
    (void)state;
    bitnet_request *first = begin(0, 1);
    bitnet_request *second = begin(0, 1);
    bitnet_request_cancel(second);
    destroy_engine(engine);
    engine = NULL;
    unsigned n_ended = 0;
    bitnet_event event;
    while (bitnet_event_queue_next(queue, &event))
        n_ended += event.kind == BITNET_EVENT_REQUEST_ENDED;
    assert_int_equal(n_ended, 2);
    check_all_places_free();
    bitnet_request_release(first);
    bitnet_request_release(second);
}

static void a_request_goes_on_without_a_queue_that_was_destroyed(void **state)
{
    (void)state;
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    bitnet_request *request = begin(8, TAG);
    bitnet_event_queue_destroy(queue);
    queue = NULL;
    bni_compute_release(team);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_OK);
    assert_int_equal(result.n_tokens, 8);
    bitnet_result_release(&result);
    bitnet_request_release(request);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void check_refused(const bitnet_generate_options *options, const char *prompt,
                          bitnet_status status, const char *named)
{
    bitnet_request *request = NULL;
    assert_int_equal(bitnet_generate_async(engine, options, prompt, &request), status);
    assert_null(request);
    if (strstr(bitnet_last_error(), named) == NULL)
        fail_msg("\"%s\" does not name %s", bitnet_last_error(), named);
}

static void a_refused_request_posts_nothing_and_leaves_its_place_free(void **state)
{
    (void)state;
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    bitnet_request *first = begin(4, TAG);
    bitnet_request *second = begin(4, TAG);
    bitnet_generate_options options = with_events(4, 9);
    for (unsigned i = 0; i < 2 * N_PLACES; i++)
        check_refused(&options, test_prompts[1], BITNET_ERROR_QUEUE_FULL,
                      "max_requests");
    check_refused(&options, NULL, BITNET_ERROR_INVALID_ARGUMENT, "prompt_tokens");
    options.when_full = BITNET_WHEN_FULL_WAIT;
    options.deadline_ns = 1;
    check_refused(&options, test_prompts[1], BITNET_ERROR_TIMED_OUT, "deadline");
    check_no_event();
    bni_compute_release(team);
    check_end(TAG, BITNET_OK);
    check_end(TAG, BITNET_OK);
    check_all_places_free();
    bitnet_request_release(first);
    bitnet_request_release(second);
}

static void without_a_place_in_the_event_queue_a_request_is_refused(void **state)
{
    (void)state;
    const bitnet_generate_options options = with_events(4, TAG);
    bitnet_event event;
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, i), BITNET_OK);
    check_refused(&options, test_prompts[1], BITNET_ERROR_QUEUE_FULL,
                  "generate: the event queue has 4 places");
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_true(bitnet_event_queue_next(queue, &event));
    bitnet_request *request = begin(4, TAG);
    check_end(TAG, BITNET_OK);
    bitnet_request_release(request);
}

/* Whatever a request cannot be made for, its place is free again and says nothing. */
static void a_request_that_cannot_be_made_gives_its_place_back(void **state)
{
    (void)state;
    bitnet_generate_options options = with_events(4, TAG);
    options.keeps_logits = true;
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        struct bni_team *team;
        bitnet_request *request = NULL;
        /* With our turn taken, the scheduler does not ask for anything meanwhile. */
        assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
        bni_fault_arm(n);
        const bitnet_status status =
            bitnet_generate_async(engine, &options, test_prompts[0], &request);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        bni_compute_release(team);
        if (status == BITNET_OK) {
            check_end(TAG, BITNET_OK);
            bitnet_request_release(request);
        } else {
            n_failed++;
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        }
        check_all_places_free();
        if (!was_asked) break;
    }
    assert_true(n_failed >= 4); /* tokens, request, logits, lock at least */
}

#define EVENT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENT_TEST(a_loop_that_never_waits_gets_every_token),
        EVENT_TEST(tokens_that_nobody_asks_about_are_one_event),
        EVENT_TEST(a_first_token_is_told_before_the_end),
        EVENT_TEST(cancelled_and_late_requests_post_their_end),
        EVENT_TEST(a_request_whose_handle_was_released_posts_its_end),
        EVENT_TEST(destroying_the_engine_ends_and_tells_of_every_request),
        EVENT_TEST(a_request_goes_on_without_a_queue_that_was_destroyed),
        EVENT_TEST(a_refused_request_posts_nothing_and_leaves_its_place_free),
        EVENT_TEST(without_a_place_in_the_event_queue_a_request_is_refused),
        EVENT_TEST(a_request_that_cannot_be_made_gives_its_place_back),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
