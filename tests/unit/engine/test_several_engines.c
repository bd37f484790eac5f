/* SPDX-License-Identifier: MIT */
/*
 * test_several_engines.c - models and engines that share one process and one compute
 * team: everybody gets the answers they get alone.
 *
 *     model A --- engine 0 (thread)        model B --- engine 2 (stepped by its callers)
 *          '----- engine 1 (thread, another shape)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include <bitnet/thread_manager.h>

#include "support/engine/engines.h"
#include "support/jobs.h"
#include "support/models.h"

enum {
    WATCHDOG_S = 300,
    N_MODELS = 2,
    N_ENGINES = 3,
    N_CALLERS = 4, /* of each engine */
    N_ANSWERS = 8, /* known */
};

static bitnet_model *models[N_MODELS];
static bitnet_engine *engines[N_ENGINES];
static bitnet_result answers[N_ANSWERS]; /* by an engine alone in the process */
static struct watchdog dog;

static bitnet_result ask(bitnet_engine *engine, unsigned i)
{
    const bitnet_generate_options options = mixed_options(i);
    return generate_well(engine, &options, test_prompts[i]);
}

static int set_up(void **state)
{
    (void)state;
    watchdog_start(&dog, "the tests of several engines", WATCHDOG_S);
    models[0] = load_model();
    bitnet_engine *alone = create_engine(models[0], NULL);
    for (unsigned i = 0; i < N_ANSWERS; i++) answers[i] = ask(alone, i);
    destroy_engine(alone);

    models[1] = load_model();
    bitnet_engine_options options = bitnet_engine_options_default();
    engines[0] = create_engine(models[0], &options);
    options.max_batch = 2;
    options.step_tokens = 7;
    engines[1] = create_engine(models[0], &options);
    options.is_stepped = true;
    engines[2] = create_engine(models[1], &options);
    /* The engines have their own references. */
    for (unsigned i = 0; i < N_MODELS; i++) bitnet_model_release(models[i]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_ENGINES; i++) destroy_engine(engines[i]);
    for (unsigned i = 0; i < N_ANSWERS; i++) bitnet_result_release(&answers[i]);
    watchdog_stop(&dog);
    return 0;
}

struct caller {
    bitnet_engine *engine;
    unsigned first;
    unsigned n_rounds;
    unsigned n_wrong;
};

static void *ask_and_compare(void *arg)
{
    struct caller *caller = arg;
    for (unsigned n = 0; n < caller->n_rounds; n++) {
        const unsigned i = (caller->first + n) % N_ANSWERS;
        const bitnet_generate_options options = mixed_options(i);
        bitnet_result result;
        const bitnet_status status =
            bitnet_generate(caller->engine, &options, test_prompts[i], &result);
        caller->n_wrong += status != BITNET_OK ||
                           result.n_tokens != answers[i].n_tokens ||
                           memcmp(result.tokens, answers[i].tokens,
                                  result.n_tokens * sizeof(*result.tokens)) != 0 ||
                           strcmp(result.text, answers[i].text) != 0;
        bitnet_result_release(&result);
    }
    return NULL;
}

static void run_callers(unsigned n_rounds)
{
    struct caller callers[N_ENGINES * N_CALLERS];
    pthread_t threads[N_ENGINES * N_CALLERS];
    for (unsigned i = 0; i < N_ENGINES * N_CALLERS; i++) {
        callers[i] = (struct caller){.engine = engines[i % N_ENGINES],
                                     .first = i,
                                     .n_rounds = n_rounds};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_and_compare,
                                        &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < N_ENGINES * N_CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].n_wrong, 0);
    }
}

static void three_engines_of_two_models_answer_as_if_alone(void **state)
{
    (void)state;
    run_callers(IS_SLOW_BUILD ? 2 : 6);
}

static void so_they_do_with_another_number_of_compute_threads(void **state)
{
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        assert_int_equal(bitnet_thread_manager_set_compute_threads(n_threads),
                         BITNET_OK);
        run_callers(1);
    }
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
}

/* One engine's callbacks ask another engine, of the same model and of another one. */
static bool ask_another(void *user, const char *text, size_t text_len)
{
    struct caller *caller = user;
    (void)text;
    (void)text_len;
    if (caller->n_rounds > 0) {
        ask_and_compare(caller);
        caller->n_rounds--;
    }
    return true;
}

static void an_engines_callback_may_ask_another_engine(void **state)
{
    (void)state;
    for (unsigned from = 0; from < N_ENGINES; from++) {
        struct caller inner = {.engine = engines[(from + 1) % N_ENGINES],
                               .first = from,
                               .n_rounds = 2};
        bitnet_generate_options options = mixed_options(1);
        options.on_text = ask_another;
        options.user = &inner;
        bitnet_result result = generate_well(engines[from], &options, test_prompts[1]);
        assert_same_result(&answers[1], &result, 0);
        assert_int_equal(inner.n_wrong, 0);
        assert_int_equal(inner.n_rounds, 0);
        bitnet_result_release(&result);
    }
}

static void engines_may_come_and_go_while_others_answer(void **state)
{
    (void)state;
    struct caller caller = {.engine = engines[0], .first = 3, .n_rounds = 4};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask_and_compare, &caller), 0);
    for (unsigned round = 0; round < 4; round++) {
        bitnet_model *model = load_model();
        bitnet_engine *passing = create_engine(model, NULL);
        bitnet_model_release(model);
        bitnet_result result = ask(passing, round);
        assert_same_result(&answers[round], &result, 0);
        bitnet_result_release(&result);
        destroy_engine(passing);
    }
    pthread_join(thread, NULL);
    assert_int_equal(caller.n_wrong, 0);
}

/* Each engine's text goes through one pool. */
static void one_pool_may_deliver_for_all_engines(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 1);
    for (unsigned i = 0; i < 2 * N_ANSWERS; i++) {
        bitnet_generate_options options = mixed_options(i % N_ANSWERS);
        options.delivery_pool = pool;
        assert_int_equal(bitnet_generate_async(engines[i % 2], &options,
                                               test_prompts[i % N_ANSWERS], NULL),
                         BITNET_OK);
    }
    run_callers(1);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK); /* waits for all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_engines_of_two_models_answer_as_if_alone),
        cmocka_unit_test(so_they_do_with_another_number_of_compute_threads),
        cmocka_unit_test(an_engines_callback_may_ask_another_engine),
        cmocka_unit_test(engines_may_come_and_go_while_others_answer),
        cmocka_unit_test(one_pool_may_deliver_for_all_engines),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
