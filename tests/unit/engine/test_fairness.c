/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is: the table of clients, priorities, and a client with one request
 * beside one with very many.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "engine/clients.h"
#include "engine/random.h"
#include "engine/request.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"

/* ---- the table -------------------------------------------------------------------------- */

static void a_client_begins_at_the_least_of_those_present(void **state)
{
    (void)state;
    struct bni_clients clients;
    assert_int_equal(bni_clients_init(&clients, 4), BITNET_OK);
    const uint32_t a = bni_clients_join(&clients, 10);
    const uint32_t b = bni_clients_join(&clients, 20);
    bni_clients_charge(&clients, a, 500);
    bni_clients_charge(&clients, b, 300);
    bni_clients_settle(&clients);
    const uint32_t c = bni_clients_join(&clients, 30);
    assert_true(clients.table[c].n_served == 300);

    bni_clients_leave(&clients, b); /* and comes back: no better off than c */
    bni_clients_charge(&clients, c, 50);
    bni_clients_settle(&clients);
    const uint32_t again = bni_clients_join(&clients, 20);
    assert_true(clients.table[again].n_served == 350);
    assert_int_equal(bni_clients_join(&clients, 10), a); /* was here all along */
    assert_true(clients.table[a].n_served == 500);
    bni_clients_free(&clients);
}

static void clients_beyond_the_table_share_a_turn(void **state)
{
    (void)state;
    struct bni_clients clients;
    assert_int_equal(bni_clients_init(&clients, 2), BITNET_OK);
    const uint32_t a = bni_clients_join(&clients, 1);
    const uint32_t b = bni_clients_join(&clients, 2);
    assert_true(a != BNI_OTHER_CLIENTS && b != BNI_OTHER_CLIENTS && a != b);
    assert_int_equal(bni_clients_join(&clients, 3), BNI_OTHER_CLIENTS);
    assert_int_equal(bni_clients_join(&clients, 4), BNI_OTHER_CLIENTS);
    assert_int_equal(clients.n_present, 3);
    bni_clients_leave(&clients, a);
    assert_int_equal(bni_clients_join(&clients, 5), a);
    bni_clients_leave(&clients, BNI_OTHER_CLIENTS);
    bni_clients_leave(&clients, BNI_OTHER_CLIENTS);
    assert_int_equal(clients.n_present, 2);
    bni_clients_free(&clients);
}

static void clients_are_found_and_forgotten_in_a_long_run(void **state)
{
    (void)state;
    enum { N_IDS = 64, N_ROUNDS = 20000 };
    const uint64_t seed = 424242;
    print_message("seed %llu\n", (unsigned long long)seed);
    struct bni_clients clients;
    uint32_t places[N_IDS];
    uint32_t n_requests[N_IDS] = {0};
    assert_int_equal(bni_clients_init(&clients, N_IDS), BITNET_OK);
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        const uint64_t dice = bni_random_mix(seed + round);
        const unsigned id = dice % N_IDS;
        if (n_requests[id] > 0 && dice >> 40 & 1) {
            bni_clients_leave(&clients, places[id]);
            n_requests[id]--;
        } else {
            const uint32_t place = bni_clients_join(&clients, id);
            if (n_requests[id] > 0) assert_int_equal(place, places[id]);
            places[id] = place;
            n_requests[id]++;
        }
        uint32_t n_present = 0;
        for (unsigned i = 0; i < N_IDS; i++) {
            if (n_requests[i] == 0) continue;
            n_present++;
            assert_true(clients.table[places[i]].id == i);
            assert_int_equal(clients.table[places[i]].n_requests, n_requests[i]);
        }
        assert_int_equal(clients.n_present, n_present);
    }
    bni_clients_free(&clients);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    for (uint64_t n = 1; n <= 3; n++) {
        struct bni_clients clients;
        bni_fault_arm(n);
        assert_int_equal(bni_clients_init(&clients, 4), BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        bni_clients_free(&clients);
        assert_true(bni_alloc_in_use() == before);
    }
}

/* ---- an engine ---------------------------------------------------------------------------- */

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

/* A request of exactly `n_prompt` + `max_tokens` - 1 rows, none of them cached. */
static bitnet_generate_options exact_options(uint64_t client_id, uint32_t n_prompt,
                                             uint32_t max_tokens)
{
    static const bitnet_token tokens[512] = {0};
    bitnet_generate_options options = bitnet_generate_options_default();
    options.client_id = client_id;
    options.prompt_tokens = tokens;
    options.n_prompt_tokens = n_prompt;
    options.max_tokens = max_tokens;
    options.ignores_eos = true;
    return options;
}

static struct held_engine make_held(uint32_t max_batch, uint32_t step_tokens,
                                    uint32_t max_requests)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = max_batch;
    options.step_tokens = step_tokens;
    options.max_requests = max_requests;
    options.prefix_cache = false;
    return hold_engine(create_engine(model, &options));
}

/* When a request that has ended got its first token, and waits for that end. */
static uint64_t finish(bitnet_request *request, uint64_t *last_ns)
{
    bitnet_result result = wait_well(request);
    bitnet_result_release(&result);
    bni_mutex_lock(&request->lock);
    const uint64_t first_ns = request->first_token_ns;
    if (last_ns != NULL) *last_ns = request->last_token_ns;
    bni_mutex_unlock(&request->lock);
    bitnet_request_release(request);
    return first_ns;
}

/*
 * The bound: whoever has been served less than all others who wait is the next to
 * start, so it waits for those that run, at most max_batch, and for one more start,
 * which has not been charged yet. With equal requests that makes max_batch + 1 ahead
 * of it, however many wait.
 */
static void one_request_is_not_held_up_by_sixty_four(void **state)
{
    (void)state;
    enum { N_MANY = 64 };
    const uint32_t batches[] = {1, 4};
    for (size_t b = 0; b < 2; b++) {
        struct held_engine held = make_held(batches[b], 16, 128);
        const bitnet_generate_options many = exact_options(1, 12, 3);
        const bitnet_generate_options one = exact_options(2, 12, 3);
        bitnet_request *requests[N_MANY];
        for (int i = 0; i < N_MANY; i++) requests[i] = submit_well(held.engine, &many);
        bitnet_request *single = submit_well(held.engine, &one);
        let_engine_go(&held);
        const uint64_t single_ns = finish(single, NULL);
        uint32_t n_ahead = 0;
        for (int i = 0; i < N_MANY; i++) {
            uint64_t last_ns;
            finish(requests[i], &last_ns);
            n_ahead += last_ns < single_ns;
        }
        print_message("batch %u: %u of %d were ahead\n", batches[b], n_ahead, N_MANY);
        assert_true(n_ahead <= batches[b] + 1);
        destroy_engine(held.engine);
    }
}

/* One client has been served for long when another comes: that one is not owed for
 * the past, and they take turns from here on. */
static void who_comes_late_is_not_served_for_the_past(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_batch = 1;
    bitnet_engine *engine = create_engine(model, &engine_options);
    const bitnet_generate_options long_ago = exact_options(1, 300, 8);
    const bitnet_generate_options old = exact_options(1, 12, 3);
    const bitnet_generate_options new = exact_options(2, 12, 3);
    bitnet_request *first = submit_well(engine, &long_ago);
    assert_int_equal(bitnet_request_next(first, BITNET_NO_DEADLINE, NULL, NULL, NULL),
                     BITNET_OK);
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK); /* between two steps */
    bitnet_request *news[2] = {submit_well(engine, &new), submit_well(engine, &new)};
    bitnet_request *third = submit_well(engine, &old);
    bni_compute_release(team);
    finish(first, NULL);
    const uint64_t old_ns = finish(third, NULL);
    finish(news[0], NULL);
    assert_true(old_ns < finish(news[1], NULL));
    destroy_engine(engine);
}

static void a_higher_priority_starts_first(void **state)
{
    (void)state;
    struct held_engine held = make_held(1, 16, 128);
    bitnet_request *requests[3];
    for (int32_t i = 0; i < 3; i++) {
        bitnet_generate_options options = exact_options(1, 12, 3);
        options.priority = i - 1; /* -1, 0, 1: the last is the first */
        requests[i] = submit_well(held.engine, &options);
    }
    let_engine_go(&held);
    uint64_t first_ns[3];
    for (int i = 0; i < 3; i++) first_ns[i] = finish(requests[i], NULL);
    assert_true(first_ns[2] < first_ns[1] && first_ns[1] < first_ns[0]);
    destroy_engine(held.engine);
}

static void requests_of_one_client_start_in_their_order(void **state)
{
    (void)state;
    struct held_engine held = make_held(2, 16, 128);
    bitnet_request *requests[12];
    for (unsigned i = 0; i < 12; i++) {
        const bitnet_generate_options options = exact_options(i % 2, 12, 3);
        requests[i] = submit_well(held.engine, &options);
    }
    let_engine_go(&held);
    uint64_t first_ns[12];
    for (unsigned i = 0; i < 12; i++) {
        first_ns[i] = finish(requests[i], NULL);
        if (i >= 2) assert_true(first_ns[i - 2] < first_ns[i]);
    }
    destroy_engine(held.engine);
}

/* Four long prompts of one client and, last, one of another: they take turns. */
static void prompts_share_the_budget_by_client(void **state)
{
    (void)state;
    struct held_engine held = make_held(8, 8, 128);
    const bitnet_generate_options many = exact_options(1, 160, 2);
    const bitnet_generate_options one = exact_options(2, 160, 2);
    bitnet_request *requests[4];
    for (int i = 0; i < 4; i++) requests[i] = submit_well(held.engine, &many);
    bitnet_request *single = submit_well(held.engine, &one);
    let_engine_go(&held);
    const uint64_t single_ns = finish(single, NULL);
    for (int i = 0; i < 4; i++) {
        const uint64_t first_ns = finish(requests[i], NULL);
        if (i > 0) assert_true(single_ns < first_ns);
    }
    destroy_engine(held.engine);
}

static void step(bitnet_engine *engine)
{
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
}

/* Of its own client or of another's, the prompt of 20 tokens has its first token after
 * one step, although one of 400 came before. */
static void a_short_prompt_does_not_wait_for_a_long_one(void **state)
{
    (void)state;
    for (uint64_t client = 1; client <= 2; client++) {
        bitnet_engine_options engine_options = bitnet_engine_options_default();
        engine_options.is_stepped = true;
        engine_options.step_tokens = 96;
        engine_options.prefix_cache = false; /* they begin alike */
        bitnet_engine *engine = create_engine(model, &engine_options);
        bitnet_generate_options options = exact_options(1, 400, 2);
        bitnet_request *long_one = submit_well(engine, &options);
        step(engine);
        options = exact_options(client, 20, 2);
        bitnet_request *short_one = submit_well(engine, &options);
        step(engine);
        bitnet_token token;
        assert_int_equal(bitnet_request_next(short_one, 0, &token, NULL, NULL),
                         BITNET_OK);
        assert_int_equal(bitnet_request_next(long_one, 0, &token, NULL, NULL),
                         BITNET_ERROR_TIMED_OUT);
        finish(short_one, NULL);
        finish(long_one, NULL);
        destroy_engine(engine);
    }
}

static bitnet_engine *make_stepped(uint32_t step_tokens)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.is_stepped = true;
    options.step_tokens = step_tokens;
    options.speculation = false;
    options.prefix_cache = false;
    return create_engine(model, &options);
}

/* Has a prompt of so many tokens read; returns after how many steps it has a token. */
static unsigned count_steps_to_first_token(bitnet_engine *engine, uint64_t client,
                                           uint32_t n_prompt)
{
    const bitnet_generate_options options = exact_options(client, n_prompt, 2);
    bitnet_request *request = submit_well(engine, &options);
    bitnet_token token;
    unsigned n_steps = 0;
    do {
        step(engine);
        n_steps++;
    } while (bitnet_request_next(request, 0, &token, NULL, NULL) != BITNET_OK);
    finish(request, NULL);
    return n_steps;
}

static void beside_others_a_long_prompt_gets_half_the_budget(void **state)
{
    (void)state;
    bitnet_engine *engine = make_stepped(96);
    const bitnet_generate_options options = exact_options(1, 20, 50);
    bitnet_request *other = submit_well(engine, &options);
    step(engine); /* from now on it generates */
    assert_int_equal(count_steps_to_first_token(engine, 2, 48), 1);
    assert_int_equal(count_steps_to_first_token(engine, 2, 49), 2);
    finish(other, NULL);
    assert_int_equal(count_steps_to_first_token(engine, 2, 96), 1);
    destroy_engine(engine);
}

/* Attention takes the longer the more positions there are: a step's time is bounded. */
static void later_rows_of_a_long_prompt_count_for_more(void **state)
{
    (void)state;
    bitnet_engine *engine = make_stepped(96);
    assert_int_equal(count_steps_to_first_token(engine, 1, 96), 1);
    assert_int_equal(count_steps_to_first_token(engine, 1, 97), 2);
    assert_true(count_steps_to_first_token(engine, 1, 480) > 480 / 96);
    destroy_engine(engine);
}

static void a_prompt_of_higher_priority_has_the_budget_to_itself(void **state)
{
    (void)state;
    struct held_engine held = make_held(8, 8, 128);
    bitnet_generate_options options = exact_options(1, 100, 2);
    bitnet_request *low = submit_well(held.engine, &options);
    options = exact_options(2, 200, 2);
    options.priority = 1;
    bitnet_request *high = submit_well(held.engine, &options);
    let_engine_go(&held);
    const uint64_t high_ns = finish(high, NULL);
    assert_true(high_ns < finish(low, NULL));
    destroy_engine(held.engine);
}

/* ---- the line before the queue ----------------------------------------------------- */

struct caller {
    pthread_t thread;
    bitnet_engine *engine;
    bitnet_generate_options options;
    bitnet_request *request;
};

static void *submit_and_wait(void *arg)
{
    struct caller *caller = arg;
    bitnet_generate_async(caller->engine, &caller->options, NULL, &caller->request);
    return NULL;
}

static void start_caller(struct caller *caller, unsigned n_blocked_before)
{
    assert_int_equal(pthread_create(&caller->thread, NULL, submit_and_wait, caller), 0);
    while (stats_of(caller->engine).n_blocked == n_blocked_before) {
    }
}

/* The same in the line: eight calls of the client that is served, then one other. */
static void one_caller_is_not_held_up_by_a_line_of_others(void **state)
{
    (void)state;
    enum { N_CALLERS = 9 };
    struct held_engine held = make_held(1, 16, 1); /* the holder fills it */
    struct caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        const bool is_other = i + 1 == N_CALLERS;
        callers[i] =
            (struct caller){.engine = held.engine,
                            .options = exact_options(is_other ? 5 : 999, 12, 3)};
        start_caller(&callers[i], i);
    }
    let_engine_go(&held); /* its client, 999, is charged */
    for (unsigned i = 0; i < N_CALLERS; i++) pthread_join(callers[i].thread, NULL);
    const uint64_t other_ns = finish(callers[N_CALLERS - 1].request, NULL);
    for (unsigned i = 0; i + 1 < N_CALLERS; i++)
        assert_true(other_ns < finish(callers[i].request, NULL));
    destroy_engine(held.engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_begins_at_the_least_of_those_present),
        cmocka_unit_test(clients_beyond_the_table_share_a_turn),
        cmocka_unit_test(clients_are_found_and_forgotten_in_a_long_run),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(one_request_is_not_held_up_by_sixty_four),
        cmocka_unit_test(who_comes_late_is_not_served_for_the_past),
        cmocka_unit_test(a_higher_priority_starts_first),
        cmocka_unit_test(requests_of_one_client_start_in_their_order),
        cmocka_unit_test(prompts_share_the_budget_by_client),
        cmocka_unit_test(a_short_prompt_does_not_wait_for_a_long_one),
        cmocka_unit_test(beside_others_a_long_prompt_gets_half_the_budget),
        cmocka_unit_test(later_rows_of_a_long_prompt_count_for_more),
        cmocka_unit_test(a_prompt_of_higher_priority_has_the_budget_to_itself),
        cmocka_unit_test(one_caller_is_not_held_up_by_a_line_of_others),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
