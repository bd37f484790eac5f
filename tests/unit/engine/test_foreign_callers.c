/* SPDX-License-Identifier: MIT */
/*
 * test_foreign_callers.c - text generation called from where a program may happen to
 * be: threads of GLib and libuv, their loops, our own workers, and on_text callbacks
 * that generate and use pools themselves. Everybody gets the tokens that a plain call
 * gets, or is refused; nobody hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include <bitnet/thread_manager.h>

#include "support/engine/engines.h"
#include "support/jobs.h"
#include "support/sanitizers.h"

enum { WATCHDOG_S = 240, N_CALLERS = 6, N_FOREIGN_THREADS = 3, MAX_TOKENS = 8 };

/* These libraries are not built for ThreadSanitizer, which would take what it does not
 * see them do for races. */
TSAN_OPTIONS_ARE("ignore_noninstrumented_modules=1");

struct callers {
    bitnet_model *model;
    bitnet_engine *engine;
    bitnet_result expected;
    struct latch begin;
    struct latch done;
    atomic_uint n_wrong;
    struct watchdog dog;
};

static bitnet_generate_options greedy_options(void)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.temperature = 0;
    options.max_tokens = MAX_TOKENS;
    return options;
}

static int set_up(void **state)
{
    static struct callers callers;
    callers = (struct callers){.begin = LATCH(1), .done = LATCH(N_CALLERS)};
    watchdog_start(&callers.dog, "generating on another runtime's thread", WATCHDOG_S);
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_requests = 2; /* so that callers wait for room, too */
    options.max_batch = 2;
    callers.model = load_model();
    callers.engine = create_engine(callers.model, &options);
    const bitnet_generate_options greedy = greedy_options();
    callers.expected = generate_well(callers.engine, &greedy, test_prompts[0]);
    *state = &callers;
    return bitnet_thread_manager_initialize() == BITNET_OK ? 0 : 1;
}

static int tear_down(void **state)
{
    struct callers *callers = *state;
    bitnet_result_release(&callers->expected);
    destroy_engine(callers->engine);
    bitnet_model_release(callers->model);
    const bitnet_status status = bitnet_thread_manager_cleanup();
    watchdog_stop(&callers->dog);
    return status == BITNET_OK ? 0 : 1;
}

static void check_one(struct callers *callers, bitnet_status status,
                      bitnet_result *result)
{
    const bitnet_result *expected = &callers->expected;
    if (status != BITNET_OK) print_error("%s\n", bitnet_last_error());
    if (status != BITNET_OK || result->n_tokens != expected->n_tokens ||
        memcmp(result->tokens, expected->tokens,
               expected->n_tokens * sizeof(*expected->tokens)) != 0)
        atomic_fetch_add(&callers->n_wrong, 1);
    bitnet_result_release(result);
}

static void generate_one(struct callers *callers)
{
    const bitnet_generate_options options = greedy_options();
    bitnet_result result;
    check_one(callers,
              bitnet_generate(callers->engine, &options, test_prompts[0], &result),
              &result);
}

/* The one call, and the two it is made of. */
static void generate_in_every_way(struct callers *callers)
{
    latch_wait(&callers->begin);
    generate_one(callers);
    const bitnet_generate_options options = greedy_options();
    bitnet_request *request;
    bitnet_result result;
    if (bitnet_generate_async(callers->engine, &options, test_prompts[0], &request) !=
        BITNET_OK) {
        atomic_fetch_add(&callers->n_wrong, 1);
    } else {
        bitnet_token token;
        if (bitnet_request_next(request, BITNET_NO_DEADLINE, &token, NULL, NULL) !=
                BITNET_OK ||
            token != callers->expected.tokens[0])
            atomic_fetch_add(&callers->n_wrong, 1);
        check_one(callers, bitnet_request_wait(request, &result), &result);
        bitnet_request_release(request);
    }
    latch_count_down(&callers->done);
}

static void generate_on_glib_thread(gpointer data, gpointer user)
{
    (void)user;
    generate_in_every_way(data);
}

static void all_get_their_tokens_in_a_glib_thread_pool(void **state)
{
    struct callers *callers = *state;
    GThreadPool *threads = g_thread_pool_new(generate_on_glib_thread, NULL,
                                             N_FOREIGN_THREADS, FALSE, NULL);
    for (int i = 0; i < N_CALLERS; i++)
        assert_true(g_thread_pool_push(threads, callers, NULL));
    latch_count_down(&callers->begin);
    latch_wait(&callers->done);
    g_thread_pool_free(threads, FALSE, TRUE);
    assert_int_equal(atomic_load(&callers->n_wrong), 0);
}

struct in_main_loop {
    GMainLoop *loop;
    struct callers *callers;
};

static gboolean generate_in_main_loop(gpointer data)
{
    struct in_main_loop *in = data;
    generate_in_every_way(in->callers);
    g_main_loop_quit(in->loop);
    return G_SOURCE_REMOVE;
}

static void one_gets_its_tokens_in_a_glib_main_loop(void **state)
{
    struct in_main_loop in = {g_main_loop_new(NULL, FALSE), *state};
    latch_count_down(&in.callers->begin);
    g_idle_add(generate_in_main_loop, &in);
    g_main_loop_run(in.loop);
    g_main_loop_unref(in.loop);
    assert_int_equal(atomic_load(&in.callers->n_wrong), 0);
}

static void generate_on_uv_thread(uv_work_t *work)
{
    generate_in_every_way(work->data);
}

static void generate_after_uv_work(uv_work_t *work, int status)
{
    (void)status;
    generate_one(work->data); /* on the loop's own thread */
}

static void all_get_their_tokens_in_uv_queue_work_and_after_it(void **state)
{
    struct callers *callers = *state;
    uv_loop_t loop;
    uv_work_t works[N_CALLERS];
    assert_int_equal(uv_loop_init(&loop), 0);
    for (int i = 0; i < N_CALLERS; i++) {
        works[i].data = callers;
        assert_int_equal(uv_queue_work(&loop, &works[i], generate_on_uv_thread,
                                       generate_after_uv_work),
                         0);
    }
    latch_count_down(&callers->begin);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(atomic_load(&callers->n_wrong), 0);
}

static bitnet_status generate_in_job(void *arg)
{
    generate_in_every_way(arg);
    return BITNET_OK;
}

static void all_get_their_tokens_in_our_own_workers(void **state)
{
    struct callers *callers = *state;
    bitnet_thread_pool *pool = make_pool(N_FOREIGN_THREADS, N_CALLERS);
    for (int i = 0; i < N_CALLERS; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, generate_in_job, callers, NULL,
                                                   NULL),
                         BITNET_OK);
    latch_count_down(&callers->begin);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    assert_int_equal(atomic_load(&callers->n_wrong), 0);
}

/* ---- inside on_text --------------------------------------------------------------------------- */

struct nested {
    struct callers *callers;
    bitnet_thread_pool *pool;
    bitnet_request *own; /* the request that the callback is of */
    unsigned n_calls;
};

static void expect_status(struct nested *nested, bitnet_status status,
                          bitnet_status expected)
{
    if (status != expected) atomic_fetch_add(&nested->callers->n_wrong, 1);
}

static bitnet_status generate_one_in_job(void *arg)
{
    generate_one(arg);
    return BITNET_OK;
}

static bool do_everything(void *user, const char *text, size_t text_len)
{
    struct nested *nested = user;
    bitnet_result result;
    bitnet_job *job;
    (void)text;
    (void)text_len;
    if (nested->n_calls++ > 0) return true;
    generate_one(nested->callers);
    expect_status(nested,
                  bitnet_thread_pool_submit(nested->pool, generate_one_in_job,
                                            nested->callers, NULL, &job),
                  BITNET_OK);
    expect_status(nested, bitnet_job_wait(job), BITNET_OK);
    bitnet_job_release(job);
    expect_status(nested, bitnet_thread_pool_wait(nested->pool), BITNET_OK);
    expect_status(nested,
                  bitnet_thread_manager_execute(generate_one_in_job, nested->callers,
                                                NULL, NULL),
                  BITNET_OK);
    expect_status(nested, bitnet_thread_manager_wait_for_completion(), BITNET_OK);

    expect_status(nested, bitnet_request_wait(nested->own, &result),
                  BITNET_ERROR_THREAD_SAFETY);
    expect_status(nested,
                  bitnet_request_next(nested->own, BITNET_NO_DEADLINE, NULL, NULL,
                                      NULL),
                  BITNET_ERROR_THREAD_SAFETY);
    expect_status(nested, bitnet_engine_destroy(nested->callers->engine),
                  BITNET_ERROR_THREAD_SAFETY);
    return true;
}

static void on_text_may_do_all_but_wait_for_its_own_request(void **state)
{
    struct nested nested = {.callers = *state, .pool = make_pool(1, 1)};
    bitnet_generate_options options = greedy_options();
    bitnet_result result;
    options.on_text = do_everything;
    options.user = &nested;
    assert_int_equal(bitnet_generate_async(nested.callers->engine, &options,
                                           test_prompts[0], &nested.own),
                     BITNET_OK);
    check_one(nested.callers, bitnet_request_wait(nested.own, &result), &result);
    bitnet_request_release(nested.own);
    assert_true(nested.n_calls > 0);
    assert_int_equal(atomic_load(&nested.callers->n_wrong), 0);
    assert_int_equal(bitnet_thread_pool_destroy(nested.pool), BITNET_OK);
}

#define ENGINE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(all_get_their_tokens_in_a_glib_thread_pool),
        ENGINE_TEST(one_gets_its_tokens_in_a_glib_main_loop),
        ENGINE_TEST(all_get_their_tokens_in_uv_queue_work_and_after_it),
        ENGINE_TEST(all_get_their_tokens_in_our_own_workers),
        ENGINE_TEST(on_text_may_do_all_but_wait_for_its_own_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
