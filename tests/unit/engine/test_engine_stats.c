/* SPDX-License-Identifier: MIT */
/*
 * What an engine tells about itself: counted exactly where the scene is set, in order
 * where it is not, and from any thread while it works.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

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

static uint64_t sum_of(const uint64_t counts[BITNET_N_STEP_SIZES])
{
    uint64_t sum = 0;
    for (int i = 0; i < BITNET_N_STEP_SIZES; i++) sum += counts[i];
    return sum;
}

static void expect_in_order(const bitnet_durations *times)
{
    assert_true(times->p50_ns <= times->p90_ns && times->p90_ns <= times->p99_ns);
    assert_true(times->p99_ns <= times->p999_ns && times->p999_ns <= times->max_ns);
    assert_true(times->total_ns <= times->n * times->max_ns);
}

static bitnet_generate_options options_of(uint32_t n_prompt, uint32_t max_tokens)
{
    static const bitnet_token tokens[512] = {0};
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = n_prompt;
    options.max_tokens = max_tokens;
    options.ignores_eos = true;
    return options;
}

static void steps_and_tokens_are_counted_exactly(void **state)
{
    (void)state;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    bitnet_request *requests[3];
    for (unsigned i = 0; i < 3; i++) {
        bitnet_generate_options options = options_of(10, 4);
        options.client_id = i;
        requests[i] = submit_well(held.engine, &options);
    }
    assert_int_equal(stats_of(held.engine).n_clients, 4); /* and the holder's */
    assert_int_equal(stats_of(held.engine).n_waiting, 3);
    let_engine_go(&held);
    for (unsigned i = 0; i < 3; i++) {
        bitnet_result result = wait_well(requests[i]);
        bitnet_result_release(&result);
        bitnet_request_release(requests[i]);
    }
    const bitnet_engine_stats stats = stats_of(held.engine);
    /* The holder's step of one row; 3 times 10 rows; then three times 3 rows. */
    assert_true(stats.n_steps == 5);
    assert_true(stats.n_rows == 1 + 30 + 9);
    assert_true(stats.n_steps_by_rows[0] == 1);
    assert_true(stats.n_steps_by_rows[5] == 1); /* 17 to 32 */
    assert_true(stats.n_steps_by_rows[2] == 3); /* 3 and 4 */
    assert_true(sum_of(stats.n_steps_by_rows) == 5);
    assert_true(stats.n_steps_by_requests[0] == 1);
    assert_true(stats.n_steps_by_requests[2] == 4);
    assert_true(sum_of(stats.n_steps_by_requests) == 5);
    assert_true(stats.n_prompt_tokens == 31);
    assert_true(stats.n_generated == 13);
    assert_true(stats.admission_wait.n == 4);
    assert_true(stats.queue_wait.n == 4);
    assert_true(stats.first_token.n == 4);
    assert_true(stats.between_tokens.n == 9);
    expect_in_order(&stats.admission_wait);
    expect_in_order(&stats.queue_wait);
    expect_in_order(&stats.first_token);
    expect_in_order(&stats.between_tokens);
    /* The queue is on the way to the first token. */
    assert_true(stats.first_token.total_ns >= stats.queue_wait.total_ns);
    assert_int_equal(stats.n_clients, 0);
    destroy_engine(held.engine);
}

static void the_full_step_is_in_the_entry_of_its_size(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    const bitnet_generate_options options = options_of(160, 1);
    bitnet_result result = generate_well(engine, &options, NULL);
    bitnet_result_release(&result);
    const bitnet_engine_stats stats = stats_of(engine);
    assert_true(stats.n_steps_by_rows[7] == 1); /* 128, the budget */
    assert_true(stats.n_steps_by_rows[5] == 1); /* and 32 */
    assert_true(stats.n_steps == 2);
    destroy_engine(engine);
}

static void shared_and_cached_pages_are_told(void **state)
{
    (void)state;
    struct held_engine held = hold_engine(create_engine(model, NULL));
    const bitnet_generate_options options = options_of(65, 3);
    bitnet_request *requests[2] = {submit_well(held.engine, &options),
                                   submit_well(held.engine, &options)};
    let_engine_go(&held);
    for (unsigned i = 0; i < 2; i++) {
        bitnet_result result = wait_well(requests[i]);
        bitnet_result_release(&result);
        bitnet_request_release(requests[i]);
    }
    bitnet_engine_stats stats;
    do { /* pages come back a moment after the result */
        stats = stats_of(held.engine);
    } while (stats.kv_pages_used > 0);
    assert_true(stats.n_cached_tokens == 64);
    assert_int_equal(stats.kv_pages_cached, 2);
    assert_int_equal(stats.kv_pages_shared, 0);
    assert_true(stats.n_kv_pages_evicted == 0);
    destroy_engine(held.engine);
}

static void a_caller_of_an_older_header_gets_what_it_knows(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_engine_stats stats;
    memset(&stats, 0x5a, sizeof(stats));
    stats.struct_size = offsetof(bitnet_engine_stats, kv_pages_cached);
    assert_int_equal(bitnet_engine_get_stats(engine, &stats), BITNET_OK);
    assert_int_equal(stats.kv_page_positions, 32);
    assert_int_equal(stats.kv_pages_cached, 0x5a5a5a5a);
    destroy_engine(engine);
}

struct reader {
    bitnet_engine *engine;
    atomic_bool is_done;
    uint64_t n_looks;
    uint64_t n_wrong;
};

static void *read_stats(void *arg)
{
    struct reader *reader = arg;
    bitnet_engine_stats last = {0};
    do {
        bitnet_engine_stats now = {.struct_size = sizeof(now)};
        const bool is_right =
            bitnet_engine_get_stats(reader->engine, &now) == BITNET_OK &&
            now.n_steps >= last.n_steps && now.n_rows >= last.n_rows &&
            now.first_token.n >= last.first_token.n &&
            sum_of(now.n_steps_by_rows) == now.n_steps &&
            now.n_generated == now.first_token.n + now.between_tokens.n &&
            now.kv_pages_used + now.kv_pages_cached <= now.kv_pages_total &&
            now.kv_pages_shared <= now.kv_pages_used;
        if (!is_right) reader->n_wrong++;
        last = now;
        reader->n_looks++;
    } while (!atomic_load(&reader->is_done));
    return NULL;
}

static void they_can_be_read_by_any_thread_while_the_engine_works(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    struct reader readers[2] = {{.engine = engine}, {.engine = engine}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_stats, &readers[i]), 0);
    bitnet_request *requests[24];
    for (unsigned i = 0; i < 24; i++) {
        bitnet_generate_options options = options_of(20 + 10 * (i % 4), 10);
        options.client_id = i % 5;
        requests[i] = submit_well(engine, &options);
    }
    for (unsigned i = 0; i < 24; i++) {
        bitnet_result result = wait_well(requests[i]);
        bitnet_result_release(&result);
        bitnet_request_release(requests[i]);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].is_done, true);
        pthread_join(threads[i], NULL);
        assert_true(readers[i].n_looks > 0);
        assert_true(readers[i].n_wrong == 0);
    }
    assert_true(stats_of(engine).n_generated == 240);
    destroy_engine(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_and_tokens_are_counted_exactly),
        cmocka_unit_test(the_full_step_is_in_the_entry_of_its_size),
        cmocka_unit_test(shared_and_cached_pages_are_told),
        cmocka_unit_test(a_caller_of_an_older_header_gets_what_it_knows),
        cmocka_unit_test(they_can_be_read_by_any_thread_while_the_engine_works),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
