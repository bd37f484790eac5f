/* SPDX-License-Identifier: MIT */
/*
 * An engine among many callers: admission, waiting, cancelling, destroying,
 * accounting and memory.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/latch.h"
#include "threads/compute.h"

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

static bitnet_engine_stats stats_of(bitnet_engine *engine)
{
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(bitnet_engine_get_stats(engine, &stats), BITNET_OK);
    return stats;
}

/* Waits until `n` calls are inside the engine, or have been. */
static void wait_until_inside(bitnet_engine *engine, unsigned n)
{
    bitnet_engine_stats stats;
    do {
        stats = stats_of(engine);
    } while (stats.n_admitted + stats.n_blocked < n);
}

/* A request that goes on for as long as the context lasts. */
static bitnet_generate_options long_options(void)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = 0;
    options.ignores_eos = true;
    return options;
}

/* Holds its own thread, and nobody else's, in its first callback. */
struct holder {
    struct latch entered;
    struct latch leave;
};

static bool hold(void *user, const char *text, size_t text_len)
{
    (void)text;
    (void)text_len;
    struct holder *holder = user;
    latch_count_down(&holder->entered);
    latch_wait(&holder->leave);
    return true;
}

struct caller {
    pthread_t thread;
    bitnet_engine *engine;
    bitnet_generate_options options;
    const char *prompt;
    struct latch *start;
    bitnet_status status;
    bitnet_result result;
    char error[BITNET_MAX_ERROR_BYTES];
};

static void *call(void *arg)
{
    struct caller *caller = arg;
    if (caller->start != NULL) latch_meet(caller->start);
    caller->status = bitnet_generate(caller->engine, &caller->options, caller->prompt,
                                     &caller->result);
    strcpy(caller->error, bitnet_last_error());
    return NULL;
}

static void start_caller(struct caller *caller)
{
    assert_int_equal(pthread_create(&caller->thread, NULL, call, caller), 0);
}

static void join_caller(struct caller *caller)
{
    pthread_join(caller->thread, NULL);
    bitnet_result_release(&caller->result);
}

/* ---- one answer ------------------------------------------------------------------------ */

static void sixteen_callers_each_get_what_they_would_alone(void **state)
{
    (void)state;
    enum { N_CALLERS = 16 };
    bitnet_engine *engine = create_engine(model, NULL);
    struct latch start = LATCH(N_CALLERS);
    struct caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.engine = engine,
                                     .options = mixed_options(i),
                                     .prompt = test_prompts[i % N_PROMPTS],
                                     .start = &start};
        callers[i].options.keeps_logits = true;
        start_caller(&callers[i]);
    }
    for (unsigned i = 0; i < N_CALLERS; i++) pthread_join(callers[i].thread, NULL);
    for (unsigned i = 0; i < N_CALLERS; i++) {
        assert_int_equal(callers[i].status, BITNET_OK);
        bitnet_result alone =
            generate_well(engine, &callers[i].options, callers[i].prompt);
        assert_same_result(&alone, &callers[i].result, model->hparams.n_vocab);
        bitnet_result_release(&alone);
        bitnet_result_release(&callers[i].result);
    }
    destroy_engine(engine);
}

static void two_engines_share_a_model_and_the_compute_threads(void **state)
{
    (void)state;
    bitnet_engine *engines[2] = {create_engine(model, NULL),
                                 create_engine(model, NULL)};
    struct caller callers[8];
    for (unsigned i = 0; i < 8; i++) {
        callers[i] = (struct caller){.engine = engines[i % 2],
                                     .options = mixed_options(i / 2),
                                     .prompt = test_prompts[i / 2]};
        start_caller(&callers[i]);
    }
    for (unsigned i = 0; i < 8; i++) pthread_join(callers[i].thread, NULL);
    for (unsigned i = 0; i < 8; i += 2) {
        assert_same_result(&callers[i].result, &callers[i + 1].result, 0);
        bitnet_result_release(&callers[i].result);
        bitnet_result_release(&callers[i + 1].result);
    }
    destroy_engine(engines[0]);
    destroy_engine(engines[1]);
}

static void the_number_of_compute_threads_may_change_under_way(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    struct caller caller = {.engine = engine,
                            .options = long_options(),
                            .prompt = test_prompts[0]};
    start_caller(&caller);
    for (unsigned n = 1; n <= 4; n++)
        assert_int_equal(bitnet_thread_manager_set_compute_threads(n), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
    pthread_join(caller.thread, NULL);
    assert_int_equal(caller.status, BITNET_OK);
    bitnet_result alone = generate_well(engine, &caller.options, caller.prompt);
    assert_same_result(&alone, &caller.result, 0);
    bitnet_result_release(&alone);
    bitnet_result_release(&caller.result);
    destroy_engine(engine);
}

/* ---- a slow consumer ----------------------------------------------------------------------- */

static void a_stuck_callback_holds_up_nobody(void **state)
{
    (void)state;
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 1; /* one place: whoever kept it would stop everybody */
    bitnet_engine *engine = create_engine(model, &options);
    struct holder holder = {LATCH(1), LATCH(1)};
    struct caller stuck = {.engine = engine,
                           .options = long_options(),
                           .prompt = test_prompts[0]};
    stuck.options.on_text = hold;
    stuck.options.user = &holder;
    start_caller(&stuck);
    latch_wait(&holder.entered);

    const bitnet_generate_options others = mixed_options(3);
    for (unsigned i = 0; i < 3; i++) {
        bitnet_result result = generate_well(engine, &others, test_prompts[i]);
        bitnet_result_release(&result);
    }
    latch_count_down(&holder.leave);
    pthread_join(stuck.thread, NULL);
    assert_int_equal(stuck.status, BITNET_OK);
    bitnet_result_release(&stuck.result);
    destroy_engine(engine);
}

/* ---- cancel and deadline ----------------------------------------------------------------- */

static void a_request_is_cancelled_from_another_thread(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    const bitnet_generate_options options = long_options();
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], &request),
                     BITNET_OK);
    assert_int_equal(bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, NULL, NULL),
                     BITNET_OK);
    bitnet_request_cancel(request);
    bitnet_request_cancel(request); /* again, to no effect */
    bitnet_result result;
    const bitnet_status status = bitnet_request_wait(request, &result);
    /* It may have run to its end before the cancel was seen; never anything else. */
    assert_true((status == BITNET_ERROR_CANCELLED &&
                 result.finish == BITNET_FINISH_CANCELLED) ||
                (status == BITNET_OK && result.finish == BITNET_FINISH_LENGTH));
    assert_true(result.n_tokens >= 1);
    bitnet_result_release(&result);
    bitnet_request_release(request);
    destroy_engine(engine);
}

static void a_queued_request_is_cancelled_without_having_run(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_batch = 1;
    bitnet_engine *engine = create_engine(model, &engine_options);
    const bitnet_generate_options options = long_options();
    bitnet_request *first;
    bitnet_request *second;
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team),
                     BITNET_OK); /* no step until we let go */
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], &first),
                     BITNET_OK);
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[1], &second),
                     BITNET_OK);
    bitnet_request_cancel(second);
    bni_compute_release(team);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(second, &result), BITNET_ERROR_CANCELLED);
    assert_int_equal(result.n_tokens, 0);
    bitnet_result_release(&result);
    bitnet_request_release(second);
    bitnet_request_release(first); /* cancels it */
    destroy_engine(engine);
}

static void releasing_a_request_under_way_gives_its_place_back(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_requests = 1;
    engine_options.max_batch = 1;
    bitnet_engine *engine = create_engine(model, &engine_options);
    const bitnet_generate_options options = long_options();
    for (int i = 0; i < 20; i++) {
        bitnet_request *request;
        assert_int_equal(bitnet_generate_async(engine, &options,
                                               test_prompts[i % N_PROMPTS], &request),
                         BITNET_OK);
        bitnet_request_release(request);
    }
    destroy_engine(engine);
}

static void cancel_all_ends_those_that_run_and_those_that_wait(void **state)
{
    (void)state;
    enum { N_CALLERS = 6 };
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.max_batch = 1;
    engine_options.max_requests = 2;
    bitnet_engine *engine = create_engine(model, &engine_options);
    struct caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.engine = engine,
                                     .options = long_options(),
                                     .prompt = test_prompts[i]};
        start_caller(&callers[i]);
    }
    wait_until_inside(engine, N_CALLERS);
    bitnet_engine_cancel_all(engine);
    for (unsigned i = 0; i < N_CALLERS; i++) {
        join_caller(&callers[i]);
        assert_true(callers[i].status == BITNET_ERROR_CANCELLED ||
                    callers[i].status == BITNET_OK);
    }
    assert_int_equal(stats_of(engine).n_running + stats_of(engine).n_waiting, 0);
    destroy_engine(engine);
}

static void a_deadline_under_way_gives_what_there_is(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_generate_options options = long_options();
    bitnet_result result;
    options.deadline_ns = bitnet_deadline_after_ms(5);
    const bitnet_status status =
        bitnet_generate(engine, &options, test_prompts[0], &result);
    if (status != BITNET_OK) { /* a very fast machine may have been faster */
        assert_int_equal(status, BITNET_ERROR_TIMED_OUT);
        assert_int_equal(result.finish, BITNET_FINISH_DEADLINE);
        assert_non_null(strstr(bitnet_last_error(), "deadline"));
    }
    assert_non_null(result.text);
    bitnet_result_release(&result);
    destroy_engine(engine);
}

/* ---- admission ------------------------------------------------------------------------------- */

/*
 * An engine with room for one request, which is taken by one that does not end: we
 * have the compute team's turn, so the engine's step waits for us.
 */
struct full_engine {
    bitnet_engine *engine;
    bitnet_request *occupant;
    struct bni_team *team;
};

static struct full_engine make_full_engine(void)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_requests = 1;
    options.max_batch = 1;
    struct full_engine full = {.engine = create_engine(model, &options)};
    const bitnet_generate_options long_request = long_options();
    assert_int_equal(bni_compute_acquire(&full.team), BITNET_OK);
    assert_int_equal(bitnet_generate_async(full.engine, &long_request, test_prompts[0],
                                           &full.occupant),
                     BITNET_OK);
    return full;
}

static void let_occupant_go(struct full_engine *full)
{
    bni_compute_release(full->team);
    bitnet_request_release(full->occupant); /* cancels it */
}

static void who_does_not_want_to_wait_is_refused_with_the_limit(void **state)
{
    (void)state;
    struct full_engine full = make_full_engine();
    bitnet_generate_options options = bitnet_generate_options_default();
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    bitnet_result result;
    assert_int_equal(bitnet_generate(full.engine, &options, test_prompts[1], &result),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "max_requests"));
    assert_int_equal(stats_of(full.engine).n_refused, 1);
    let_occupant_go(&full);
    destroy_engine(full.engine);
}

static void who_waits_is_served_when_there_is_room(void **state)
{
    (void)state;
    struct full_engine full = make_full_engine();
    struct caller waiting = {.engine = full.engine,
                             .options = mixed_options(2),
                             .prompt = test_prompts[1]};
    start_caller(&waiting);
    wait_until_inside(full.engine, 2);
    assert_int_equal(stats_of(full.engine).n_blocked, 1);
    let_occupant_go(&full);
    pthread_join(waiting.thread, NULL);
    assert_int_equal(waiting.status, BITNET_OK);
    bitnet_result_release(&waiting.result);
    destroy_engine(full.engine);
}

static void who_waits_for_room_leaves_at_the_deadline(void **state)
{
    (void)state;
    struct full_engine full = make_full_engine();
    bitnet_generate_options options = bitnet_generate_options_default();
    options.deadline_ns = bitnet_clock_ns();
    bitnet_result result;
    assert_int_equal(bitnet_generate(full.engine, &options, test_prompts[1], &result),
                     BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "waiting for room"));
    let_occupant_go(&full);
    destroy_engine(full.engine);
}

static void waiting_prompt_tokens_are_bounded(void **state)
{
    (void)state;
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 1;
    options.step_tokens = 1;
    options.max_prompt_tokens = 100;
    bitnet_engine *engine = create_engine(model, &options);
    bitnet_token tokens[90] = {0};
    bitnet_generate_options request = long_options();
    request.prompt_tokens = tokens;
    request.n_prompt_tokens = 90;
    request.when_full = BITNET_WHEN_FULL_REFUSE;
    bitnet_request *requests[3] = {NULL};
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team),
                     BITNET_OK); /* no step until we let go */
    /* The first runs, the second waits with its 90 tokens, the third finds 90 waiting. */
    assert_int_equal(bitnet_generate_async(engine, &request, NULL, &requests[0]),
                     BITNET_OK);
    while (stats_of(engine).n_running == 0) {
    }
    assert_int_equal(bitnet_generate_async(engine, &request, NULL, &requests[1]),
                     BITNET_OK);
    assert_int_equal(bitnet_generate_async(engine, &request, NULL, &requests[2]),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "max_prompt_tokens"));
    bni_compute_release(team);
    bitnet_request_release(requests[1]);
    bitnet_request_release(requests[0]);
    destroy_engine(engine);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void destroying_an_engine_frees_everybody_inside(void **state)
{
    (void)state;
    enum { N_CALLERS = 8 };
    for (int round = 0; round < 5; round++) {
        bitnet_engine_options options = bitnet_engine_options_default();
        options.max_requests = 3;
        options.max_batch = 2;
        bitnet_engine *engine = create_engine(model, &options);
        struct caller callers[N_CALLERS];
        for (unsigned i = 0; i < N_CALLERS; i++) {
            callers[i] = (struct caller){.engine = engine,
                                         .options = long_options(),
                                         .prompt = test_prompts[i]};
            start_caller(&callers[i]);
        }
        wait_until_inside(engine, N_CALLERS);
        destroy_engine(engine);
        for (unsigned i = 0; i < N_CALLERS; i++) {
            join_caller(&callers[i]);
            assert_true(callers[i].status == BITNET_OK ||
                        callers[i].status == BITNET_ERROR_CANCELLED ||
                        callers[i].status == BITNET_ERROR_SHUT_DOWN);
        }
    }
}

static void the_accounts_balance_at_every_look(void **state)
{
    (void)state;
    enum { N_CALLERS = 8 };
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 3;
    options.max_requests = 5;
    bitnet_engine *engine = create_engine(model, &options);
    struct caller callers[N_CALLERS];
    for (unsigned i = 0; i < N_CALLERS; i++) {
        callers[i] = (struct caller){.engine = engine,
                                     .options = mixed_options(i),
                                     .prompt = test_prompts[i]};
        start_caller(&callers[i]);
    }
    bitnet_engine_stats stats;
    do {
        stats = stats_of(engine);
        assert_true(stats.n_admitted ==
                    stats.n_running + stats.n_waiting + stats.n_ended);
        assert_true(stats.n_running <= 3 && stats.n_running + stats.n_waiting <= 5);
        assert_true(stats.kv_pages_used <= stats.kv_pages_total);
    } while (stats.n_ended < N_CALLERS);
    for (unsigned i = 0; i < N_CALLERS; i++) join_caller(&callers[i]);
    destroy_engine(engine);
}

static void engine_options_out_of_range_are_named(void **state)
{
    (void)state;
    const bitnet_engine_options good = bitnet_engine_options_default();
    bitnet_engine_options bad[8] = {good, good, good, good, good, good, good, good};
    const char *const names[8] = {"n_ctx",       "max_batch",         "max_requests",
                                  "step_tokens", "max_prompt_tokens", "kv_cache_bytes",
                                  "struct_size", "kv_type is 2"};
    bad[0].n_ctx = model->hparams.n_ctx_train + 1;
    bad[1].max_batch = 0;
    bad[2].max_requests = 0;
    bad[3].step_tokens = good.max_batch - 1;
    bad[4].max_prompt_tokens = 0;
    bad[5].kv_cache_bytes = 1000;
    bad[6].struct_size = 0;
    bad[7].kv_type = (bitnet_kv_type)2;
    for (size_t i = 0; i < 8; i++) {
        bitnet_engine *engine;
        assert_int_equal(bitnet_engine_create(model, &bad[i], &engine),
                         BITNET_ERROR_INVALID_ARGUMENT);
        if (strstr(bitnet_last_error(), names[i]) == NULL)
            fail_msg("\"%s\" does not name %s", bitnet_last_error(), names[i]);
    }
}

static void check_holdings(bitnet_kv_type kv_type)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_requests = 8;
    options.max_batch = 4;
    options.kv_type = kv_type;
    uint64_t bound;
    assert_int_equal(bitnet_engine_memory_bound(model, &options, &bound), BITNET_OK);
    const uint64_t before = bni_alloc_in_use();
    bitnet_engine *engine = create_engine(model, &options);
    const bitnet_generate_options request = long_options();
    bitnet_request *requests[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(bitnet_generate_async(engine, &request, test_prompts[i],
                                               &requests[i]),
                         BITNET_OK);
    /* The compute team is the process's; it is small and made at the first step. */
    assert_true(bni_alloc_in_use() - before <= bound + 65536);
    for (int i = 0; i < 8; i++) bitnet_request_release(requests[i]);
    destroy_engine(engine);
}

static void an_engine_holds_no_more_than_it_announced(void **state)
{
    (void)state;
    check_holdings(BITNET_KV_F16);
    check_holdings(BITNET_KV_INT8);
}

static void check_failing_creation(bitnet_kv_type kv_type)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.kv_type = kv_type;
    const uint64_t before = bni_alloc_in_use();
    bitnet_engine *engine = NULL;
    for (uint64_t n = 1; engine == NULL; n++) {
        bni_fault_arm(n);
        const bitnet_status status = bitnet_engine_create(model, &options, &engine);
        bni_fault_arm(0);
        if (status == BITNET_OK) break;
        assert_null(engine);
        assert_true(bitnet_last_error()[0] != '\0');
        assert_true(bni_alloc_in_use() == before);
        assert_true(n < 100);
    }
    destroy_engine(engine);
    assert_true(bni_alloc_in_use() == before);
}

static void when_any_acquisition_fails_no_engine_is_left_behind(void **state)
{
    (void)state;
    check_failing_creation(BITNET_KV_F16);
    check_failing_creation(BITNET_KV_INT8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_any_acquisition_fails_no_engine_is_left_behind),
        cmocka_unit_test(sixteen_callers_each_get_what_they_would_alone),
        cmocka_unit_test(two_engines_share_a_model_and_the_compute_threads),
        cmocka_unit_test(the_number_of_compute_threads_may_change_under_way),
        cmocka_unit_test(a_stuck_callback_holds_up_nobody),
        cmocka_unit_test(a_request_is_cancelled_from_another_thread),
        cmocka_unit_test(a_queued_request_is_cancelled_without_having_run),
        cmocka_unit_test(releasing_a_request_under_way_gives_its_place_back),
        cmocka_unit_test(cancel_all_ends_those_that_run_and_those_that_wait),
        cmocka_unit_test(a_deadline_under_way_gives_what_there_is),
        cmocka_unit_test(who_does_not_want_to_wait_is_refused_with_the_limit),
        cmocka_unit_test(who_waits_is_served_when_there_is_room),
        cmocka_unit_test(who_waits_for_room_leaves_at_the_deadline),
        cmocka_unit_test(waiting_prompt_tokens_are_bounded),
        cmocka_unit_test(destroying_an_engine_frees_everybody_inside),
        cmocka_unit_test(the_accounts_balance_at_every_look),
        cmocka_unit_test(engine_options_out_of_range_are_named),
        cmocka_unit_test(an_engine_holds_no_more_than_it_announced),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
