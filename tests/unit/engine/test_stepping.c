/* SPDX-License-Identifier: MIT */
/*
 * test_stepping.c - engines without a thread: same tokens, no thread, one step at a
 * time, and whoever waits gets there, alone or among others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/engine/engines.h"
#include "support/jobs.h"
#include "support/models.h"
#include "threads/compute.h"

enum { WATCHDOG_S = 300, N_THREADS = 6 };

static bitnet_model *model;
static struct watchdog dog;

static int load(void **state)
{
    (void)state;
    model = load_model();
    return 0;
}

static int unload(void **state)
{
    (void)state;
    bitnet_model_release(model);
    return 0;
}

static int start_watch(void **state)
{
    (void)state;
    watchdog_start(&dog, "the tests of stepping", WATCHDOG_S);
    return 0;
}

static int stop_watch(void **state)
{
    (void)state;
    watchdog_stop(&dog);
    return 0;
}

static bitnet_engine *create_stepped(uint32_t max_batch, uint32_t max_requests)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.is_stepped = true;
    options.max_batch = max_batch;
    options.max_requests = max_requests;
    return create_engine(model, &options);
}

static bitnet_request *begin(bitnet_engine *engine, unsigned i)
{
    const bitnet_generate_options options = mixed_options(i);
    bitnet_request *request = NULL;
    if (bitnet_generate_async(engine, &options, test_prompts[i % N_PROMPTS],
                              &request) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return request;
}

static unsigned count_threads(void)
{
    unsigned n = 0;
    DIR *directory = opendir("/proc/self/task");
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

/* ---- one thread ------------------------------------------------------------------------- */

/* First of all tests, without a watchdog: that would be a thread. ThreadSanitizer has one
 * of its own, so what is there already is counted, too. */
static void with_one_compute_thread_there_is_no_other_thread(void **state)
{
    (void)state;
    const unsigned n_before = count_threads();
    assert_int_equal(bitnet_thread_manager_set_compute_threads(1), BITNET_OK);
    bitnet_engine *engine = create_stepped(4, 8);
    bitnet_generate_options options = mixed_options(1);
    bitnet_result result = generate_well(engine, &options, test_prompts[0]);
    assert_int_equal(count_threads(), n_before);
    bitnet_result_release(&result);
    destroy_engine(engine);
    assert_int_equal(count_threads(), n_before);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
}

static void tokens_and_logits_are_those_of_an_engine_with_a_thread(void **state)
{
    (void)state;
    bitnet_engine *threaded = create_engine(model, NULL);
    bitnet_engine *stepped = create_stepped(4, 8);
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    for (unsigned i = 0; i < N_PROMPTS; i++) {
        bitnet_generate_options options = mixed_options(i);
        options.keeps_logits = true;
        bitnet_result a = generate_well(threaded, &options, test_prompts[i]);
        bitnet_result b = generate_well(stepped, &options, test_prompts[i]);
        assert_same_result(&a, &b, info.n_vocab);
        assert_memory_equal(a.tokens, b.tokens, a.n_tokens * sizeof(*a.tokens));
        bitnet_result_release(&a);
        bitnet_result_release(&b);
    }
    destroy_engine(threaded);
    destroy_engine(stepped);
}

static void nothing_happens_between_steps_and_each_gives_tokens(void **state)
{
    (void)state;
    bitnet_engine *engine = create_stepped(4, 8);
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_ERROR_TIMED_OUT);
    bitnet_generate_options options = bitnet_generate_options_default();
    options.ignores_eos = true;
    options.temperature = 0.0f;
    options.max_tokens = 5;
    bitnet_request *request;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[3], &request),
                     BITNET_OK);
    for (unsigned n_steps = 0; n_steps < 5; n_steps++) {
        assert_int_equal(bitnet_request_next(request, 0, NULL, NULL, NULL),
                         BITNET_ERROR_TIMED_OUT);
        assert_int_equal(bitnet_request_finish(request), BITNET_FINISH_NONE);
        assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
        assert_int_equal(bitnet_request_next(request, 0, NULL, NULL, NULL), BITNET_OK);
    }
    assert_int_equal(bitnet_request_finish(request), BITNET_FINISH_LENGTH);
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_ERROR_TIMED_OUT);
    bitnet_request_release(request);
    destroy_engine(engine);
}

/* One is in the batch, one in the queue, and the third waits for room. */
static void one_thread_alone_gets_through_a_full_engine(void **state)
{
    (void)state;
    bitnet_engine *engine = create_stepped(1, 2);
    bitnet_request *first = begin(engine, 0);
    bitnet_request *second = begin(engine, 1);
    bitnet_generate_options options = mixed_options(2);
    options.when_full = BITNET_WHEN_FULL_REFUSE;
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &options, test_prompts[2], &result),
                     BITNET_ERROR_QUEUE_FULL);
    options.when_full = BITNET_WHEN_FULL_WAIT;
    result = generate_well(engine, &options, test_prompts[2]);
    bitnet_result_release(&result);
    assert_int_equal(bitnet_request_wait(second, &result), BITNET_OK);
    bitnet_result_release(&result);
    assert_int_equal(bitnet_request_wait(first, &result), BITNET_OK);
    bitnet_result_release(&result);
    bitnet_request_release(first);
    bitnet_request_release(second);
    destroy_engine(engine);
}

static void what_was_cancelled_ends_with_the_next_step(void **state)
{
    (void)state;
    bitnet_engine *engine = create_stepped(1, 4);
    bitnet_request *running = begin(engine, 0);
    bitnet_request *queued = begin(engine, 1);
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
    bitnet_engine_cancel_all(engine);
    assert_int_equal(bitnet_request_finish(running), BITNET_FINISH_NONE);
    assert_int_equal(bitnet_engine_step(engine, 0), BITNET_OK);
    assert_int_equal(bitnet_request_finish(running), BITNET_FINISH_CANCELLED);
    assert_int_equal(bitnet_request_finish(queued), BITNET_FINISH_CANCELLED);
    bitnet_request_release(running);
    bitnet_request_release(queued);

    bitnet_generate_options late = mixed_options(2);
    late.deadline_ns = bitnet_clock_ns() + 1;
    bitnet_result result;
    assert_int_equal(bitnet_generate(engine, &late, test_prompts[0], &result),
                     BITNET_ERROR_TIMED_OUT);
    bitnet_result_release(&result);
    bitnet_request *left = begin(engine, 3); /* ends with its engine */
    destroy_engine(engine);
    assert_int_equal(bitnet_request_finish(left), BITNET_FINISH_CANCELLED);
    bitnet_request_release(left);
}

static bitnet_engine *nested_engine;

static bool generate_inside(void *user, const char *text, size_t text_len)
{
    (void)text;
    (void)text_len;
    unsigned *n_pieces = user;
    if ((*n_pieces)++ > 0) return true;
    bitnet_generate_options options = mixed_options(5);
    bitnet_result result = generate_well(nested_engine, &options, test_prompts[5]);
    bitnet_result_release(&result);
    return bitnet_engine_step(nested_engine, 0) == BITNET_OK;
}

static void a_callback_may_generate_and_step(void **state)
{
    (void)state;
    unsigned n_pieces = 0;
    nested_engine = create_stepped(4, 8);
    bitnet_generate_options options = mixed_options(4);
    options.max_tokens = 60; /* it has not ended when the other has */
    options.ignores_eos = true;
    options.on_text = generate_inside;
    options.user = &n_pieces;
    bitnet_result result = generate_well(nested_engine, &options, test_prompts[4]);
    assert_true(n_pieces > 1);
    bitnet_result_release(&result);
    destroy_engine(nested_engine);
}

static void a_step_leaves_the_callers_error_and_floating_point_mode(void **state)
{
    (void)state;
    bitnet_engine *engine = create_stepped(4, 8);
    bitnet_request *request = begin(engine, 0);
    assert_int_equal(fesetround(FE_DOWNWARD), 0);
    bitnet_job_fail(BITNET_ERROR_INTERNAL, "mine");
    const bitnet_status status = bitnet_engine_step(engine, 0);
    const int rounding = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(rounding, FE_DOWNWARD);
    assert_string_equal(bitnet_last_error(), "mine");
    bitnet_request_release(request);
    destroy_engine(engine);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    bitnet_engine *threaded = create_engine(model, NULL);
    bitnet_engine *stepped = create_stepped(4, 8);
    bitnet_thread_pool *pool = make_pool(1, 1);
    bitnet_generate_options options = mixed_options(0);
    options.delivery_pool = pool;
    assert_int_equal(bitnet_engine_step(NULL, 0), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_engine_step(threaded, 0), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_generate_async(stepped, &options, test_prompts[0], NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "is_stepped"));
    bni_context_forbid_blocking("test's thread");
    assert_int_equal(bitnet_engine_step(stepped, 0), BITNET_ERROR_THREAD_SAFETY);
    bni_context_forbid_blocking(NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    destroy_engine(threaded);
    destroy_engine(stepped);
}

static void whatever_fails_nothing_is_left_behind(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    bitnet_engine_options options = bitnet_engine_options_default();
    options.is_stepped = true;
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_engine *engine = NULL;
        bni_fault_arm(n);
        const bitnet_status status = bitnet_engine_create(model, &options, &engine);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (status == BITNET_OK) destroy_engine(engine);
        assert_int_equal(bni_alloc_in_use(), before);
        if (!was_asked) break;
        n_failed++;
        assert_null(engine);
    }
    assert_true(n_failed > 8);
}

/* ---- several threads ---------------------------------------------------------------------- */

struct caller {
    bitnet_engine *engine;
    unsigned index;
    bitnet_result result;
    bitnet_status status;
};

static void *generate_some(void *arg)
{
    struct caller *caller = arg;
    const bitnet_generate_options options = mixed_options(caller->index);
    caller->status =
        bitnet_generate(caller->engine, &options,
                        test_prompts[caller->index % N_PROMPTS], &caller->result);
    return NULL;
}

static void run_callers(struct caller callers[N_THREADS], bitnet_engine *engine)
{
    pthread_t threads[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        callers[i] = (struct caller){.engine = engine, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, generate_some, &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
}

/* With room for two they also step while they wait for room. */
static void callers_step_for_each_other_and_all_get_there(void **state)
{
    (void)state;
    bitnet_engine *alone = create_engine(model, NULL);
    for (unsigned round = 0; round < (IS_SLOW_BUILD ? 2 : 8); round++) {
        struct caller callers[N_THREADS];
        bitnet_engine *engine = create_stepped(2, round % 2 == 0 ? 2 : 64);
        run_callers(callers, engine);
        for (unsigned i = 0; i < N_THREADS; i++) {
            const bitnet_generate_options options = mixed_options(i);
            bitnet_result expected = generate_well(alone, &options, test_prompts[i]);
            assert_int_equal(callers[i].status, BITNET_OK);
            assert_same_result(&expected, &callers[i].result, 0);
            bitnet_result_release(&expected);
            bitnet_result_release(&callers[i].result);
        }
        destroy_engine(engine);
    }
    destroy_engine(alone);
}

static void *step_once(void *arg)
{
    struct caller *caller = arg;
    caller->status = bitnet_engine_step(caller->engine, BITNET_NO_DEADLINE);
    return NULL;
}

static void a_thread_that_steps_sleeps_until_a_request_comes(void **state)
{
    (void)state;
    struct caller stepper = {.engine = create_stepped(2, 4)};
    pthread_t thread;
    bitnet_token token;
    assert_int_equal(pthread_create(&thread, NULL, step_once, &stepper), 0);
    bitnet_request *request = begin(stepper.engine, 0);
    pthread_join(thread, NULL);
    assert_int_equal(stepper.status, BITNET_OK);
    assert_int_equal(bitnet_request_next(request, 0, &token, NULL, NULL), BITNET_OK);
    bitnet_request_release(request);
    destroy_engine(stepper.engine);
}

/* While another thread's step waits for the compute team, nobody else steps. */
static void a_step_is_taken_by_one_thread_at_a_time(void **state)
{
    (void)state;
    struct caller stepper = {.engine = create_stepped(2, 4)};
    pthread_t thread;
    struct bni_team *team;
    bitnet_request *request = begin(stepper.engine, 0);
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    assert_int_equal(pthread_create(&thread, NULL, step_once, &stepper), 0);
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    while (stats.n_running == 0) /* then it is on its way to the team */
        assert_int_equal(bitnet_engine_get_stats(stepper.engine, &stats), BITNET_OK);
    assert_int_equal(bitnet_engine_step(stepper.engine, 0), BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "another thread"));
    assert_int_equal(bitnet_request_next(request, bitnet_clock_ns() + 1, NULL, NULL,
                                         NULL),
                     BITNET_ERROR_TIMED_OUT);
    bni_compute_release(team);
    pthread_join(thread, NULL);
    assert_int_equal(bitnet_request_next(request, 0, NULL, NULL, NULL), BITNET_OK);
    bitnet_request_release(request);
    destroy_engine(stepper.engine);
}

static void destroying_ends_callers_that_step(void **state)
{
    (void)state;
    struct caller callers[N_THREADS];
    pthread_t threads[N_THREADS];
    bitnet_engine *engine = create_stepped(2, 2);
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK); /* steps stand still */
    for (unsigned i = 0; i < N_THREADS; i++) {
        callers[i] = (struct caller){.engine = engine, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, generate_some, &callers[i]),
                         0);
    }
    while (stats.n_admitted < 2 || stats.n_blocked < N_THREADS - 2)
        assert_int_equal(bitnet_engine_get_stats(engine, &stats), BITNET_OK);
    bni_compute_release(team);
    destroy_engine(engine);
    for (unsigned i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(callers[i].status == BITNET_OK ||
                    callers[i].status == BITNET_ERROR_CANCELLED ||
                    callers[i].status == BITNET_ERROR_SHUT_DOWN);
        bitnet_result_release(&callers[i].result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_one_compute_thread_there_is_no_other_thread),
        cmocka_unit_test_setup(tokens_and_logits_are_those_of_an_engine_with_a_thread,
                               start_watch),
        cmocka_unit_test(nothing_happens_between_steps_and_each_gives_tokens),
        cmocka_unit_test(one_thread_alone_gets_through_a_full_engine),
        cmocka_unit_test(what_was_cancelled_ends_with_the_next_step),
        cmocka_unit_test(a_callback_may_generate_and_step),
        cmocka_unit_test(a_step_leaves_the_callers_error_and_floating_point_mode),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(whatever_fails_nothing_is_left_behind),
        cmocka_unit_test(callers_step_for_each_other_and_all_get_there),
        cmocka_unit_test(a_thread_that_steps_sleeps_until_a_request_comes),
        cmocka_unit_test(a_step_is_taken_by_one_thread_at_a_time),
        cmocka_unit_test_teardown(destroying_ends_callers_that_step, stop_watch),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
