/* SPDX-License-Identifier: MIT */
/*
 * Requests from many threads at once, on one engine and on two over one model: each
 * answer must be, byte for byte, the one that the same request gets alone, and each
 * cancelled one its beginning, while another thread reads the engines' numbers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/engine/engines.h"
#include "support/latch.h"

enum { WATCHDOG_S = 300, N_THREADS = 6, N_REQUESTS = 4, N_MIXES = 8, MAX_ENGINES = 2 };

static struct watchdog dog;
static bitnet_model *model;
static bitnet_result alone[N_MIXES]; /* read only, once the threads run */

static int answer_each_request_alone(void **state)
{
    (void)state;
    watchdog_start(&dog, "answering each request alone", WATCHDOG_S);
    model = load_model();
    bitnet_engine *engine = create_engine(model, NULL);
    for (unsigned i = 0; i < N_MIXES; i++) {
        const bitnet_generate_options options = mixed_options(i);
        alone[i] = generate_well(engine, &options, test_prompts[i % N_PROMPTS]);
    }
    destroy_engine(engine);
    watchdog_stop(&dog);
    return 0;
}

static int release_answers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_MIXES; i++) bitnet_result_release(&alone[i]);
    bitnet_model_release(model);
    return 0;
}

static int start_watchdog(void **state)
{
    (void)state;
    watchdog_start(&dog, "concurrent inference requests", WATCHDOG_S);
    return 0;
}

static int stop_watchdog(void **state)
{
    (void)state;
    watchdog_stop(&dog);
    return 0;
}

struct crowd {
    bitnet_engine *engines[MAX_ENGINES];
    unsigned n_engines;
    bool cancels; /* every third request, after some tokens */
    struct latch start;
    atomic_uint n_whole;
    atomic_uint n_cut;
    atomic_uint n_wrong;
    atomic_bool is_over;
    uint64_t n_readings; /* the reader's own */
};

struct caller {
    struct crowd *crowd;
    unsigned index;
    pthread_t thread;
};

static bool begins_like(const bitnet_result *result, const bitnet_result *whole)
{
    return result->n_tokens <= whole->n_tokens && result->text_len <= whole->text_len &&
           memcmp(result->tokens, whole->tokens,
                  result->n_tokens * sizeof(*result->tokens)) == 0 &&
           memcmp(result->text, whole->text, result->text_len) == 0;
}

static bool is_whole(const bitnet_result *result, const bitnet_result *whole)
{
    return begins_like(result, whole) && result->n_tokens == whole->n_tokens &&
           result->text_len == whole->text_len && result->finish == whole->finish &&
           result->n_prompt_tokens == whole->n_prompt_tokens;
}

/* Takes `n_tokens`, cancels the request, and takes what there is by then. */
static bitnet_status generate_and_cancel(bitnet_engine *engine,
                                         const bitnet_generate_options *options,
                                         const char *prompt, unsigned n_tokens,
                                         bitnet_result *result)
{
    bitnet_request *request;
    bitnet_status status = bitnet_generate_async(engine, options, prompt, &request);
    if (status != BITNET_OK) return status;
    for (unsigned i = 0; i < n_tokens && status == BITNET_OK; i++)
        status = bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, NULL, NULL);
    bitnet_request_cancel(request);
    status = bitnet_request_wait(request, result);
    bitnet_request_release(request);
    return status;
}

static void *be_a_caller(void *arg)
{
    const struct caller *caller = arg;
    struct crowd *crowd = caller->crowd;
    latch_meet(&crowd->start);
    for (unsigned i = 0; i < N_REQUESTS; i++) {
        const unsigned number = caller->index * N_REQUESTS + i;
        const unsigned mix = number * 7 % N_MIXES;
        const bitnet_generate_options options = mixed_options(mix);
        const char *prompt = test_prompts[mix % N_PROMPTS];
        bitnet_engine *engine = crowd->engines[number % crowd->n_engines];
        const bool is_cut = crowd->cancels && number % 3 == 1;
        bitnet_result result = {.struct_size = sizeof(result)};
        const bitnet_status status =
            is_cut ? generate_and_cancel(engine, &options, prompt, number % 6, &result)
                   : bitnet_generate(engine, &options, prompt, &result);
        /* One that is cancelled may have been quicker. */
        if (status == BITNET_OK && is_whole(&result, &alone[mix])) {
            atomic_fetch_add(&crowd->n_whole, 1);
        } else if (is_cut && status == BITNET_ERROR_CANCELLED &&
                   begins_like(&result, &alone[mix])) {
            atomic_fetch_add(&crowd->n_cut, 1);
        } else {
            atomic_fetch_add(&crowd->n_wrong, 1);
        }
        bitnet_result_release(&result);
    }
    return NULL;
}

/* Reads until all is over: the sums must hold at every instant, and counts only grow. */
static void *read_numbers(void *arg)
{
    struct crowd *crowd = arg;
    bitnet_engine_stats before[MAX_ENGINES] = {{0}};
    latch_meet(&crowd->start);
    do {
        for (unsigned i = 0; i < crowd->n_engines; i++) {
            bitnet_engine_stats now = {.struct_size = sizeof(now)};
            const bool is_right =
                bitnet_engine_get_stats(crowd->engines[i], &now) == BITNET_OK &&
                now.n_admitted == now.n_running + now.n_waiting + now.n_ended &&
                now.n_ended >= before[i].n_ended && now.n_rows >= before[i].n_rows &&
                now.n_generated >= before[i].n_generated &&
                now.kv_pages_used <= now.kv_pages_total;
            if (!is_right) atomic_fetch_add(&crowd->n_wrong, 1);
            before[i] = now;
            crowd->n_readings++;
        }
    } while (!atomic_load(&crowd->is_over));
    return NULL;
}

static void run_crowd(struct crowd *crowd)
{
    struct caller callers[N_THREADS];
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_numbers, crowd), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        callers[i] = (struct caller){.crowd = crowd, .index = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, be_a_caller,
                                        &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < N_THREADS; i++) pthread_join(callers[i].thread, NULL);
    atomic_store(&crowd->is_over, true);
    pthread_join(reader, NULL);

    assert_int_equal(atomic_load(&crowd->n_wrong), 0);
    assert_int_equal(atomic_load(&crowd->n_whole) + atomic_load(&crowd->n_cut),
                     N_THREADS * N_REQUESTS);
    assert_true(crowd->n_readings > 0);
    for (unsigned i = 0; i < crowd->n_engines; i++) {
        bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
        do { /* pages come back a moment after their request has ended */
            assert_int_equal(bitnet_engine_get_stats(crowd->engines[i], &stats),
                             BITNET_OK);
            assert_int_equal(stats.n_ended, stats.n_admitted);
        } while (stats.kv_pages_used > 0);
    }
}

static void test_concurrent_inference_requests_on_one_engine(void **state)
{
    (void)state;
    struct crowd crowd = {.n_engines = 1, .start = LATCH(N_THREADS + 1)};
    crowd.engines[0] = create_engine(model, NULL);
    run_crowd(&crowd);
    assert_int_equal(atomic_load(&crowd.n_whole), N_THREADS * N_REQUESTS);
    destroy_engine(crowd.engines[0]);
}

static void test_concurrent_inference_requests_with_some_cancelled(void **state)
{
    (void)state;
    struct crowd crowd = {.n_engines = 1,
                          .cancels = true,
                          .start = LATCH(N_THREADS + 1)};
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 3;    /* so that requests wait for a place in the batch, */
    options.max_requests = 4; /* and callers for one in the queue */
    crowd.engines[0] = create_engine(model, &options);
    run_crowd(&crowd);
    destroy_engine(crowd.engines[0]);
}

static void test_concurrent_inference_requests_on_two_engines_of_one_model(void **state)
{
    (void)state;
    struct crowd crowd = {.n_engines = 2,
                          .cancels = true,
                          .start = LATCH(N_THREADS + 1)};
    bitnet_engine_options options = bitnet_engine_options_default();
    crowd.engines[0] = create_engine(model, &options);
    options.max_batch = 2;
    options.step_tokens = 16; /* other batches, the same answers */
    crowd.engines[1] = create_engine(model, &options);
    run_crowd(&crowd);
    destroy_engine(crowd.engines[0]);
    destroy_engine(crowd.engines[1]);
}

#define WATCHED(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog, stop_watchdog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(test_concurrent_inference_requests_on_one_engine),
        WATCHED(test_concurrent_inference_requests_with_some_cancelled),
        WATCHED(test_concurrent_inference_requests_on_two_engines_of_one_model),
    };
    return cmocka_run_group_tests(tests, answer_each_request_alone, release_answers);
}
