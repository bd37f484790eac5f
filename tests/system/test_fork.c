/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - preload, fork, serve: what a child can use, what refuses, and what
 * can be given back. test_fork_busy.c does it to a parent that is at work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include <bitnet.h>

#include "base/fault.h"
#include "support/child.h"
#include "support/engine/engines.h"
#include "support/jobs.h"
#include "threads/fork.h"

enum { WATCHDOG_S = 240, N_CHILDREN = 4, N_JOBS = 20 };

static struct watchdog dog;

/* One of everything that a process can have. */
struct parent {
    bitnet_model *model;
    bitnet_engine *engine;
    bitnet_request *request; /* has ended, and was not consumed */
    bitnet_thread_pool *pool;
    struct blocker blocker;
    bitnet_job *running; /* blocked */
    bitnet_job *queued;
    bitnet_event_queue *events;
    bitnet_guarded *guarded;
    int object;
    bitnet_result expected;
};

static bitnet_generate_options short_options(void)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = 12;
    options.seed = 7;
    return options;
}

static bitnet_status do_nothing(void *arg)
{
    (void)arg;
    return BITNET_OK;
}

static bitnet_status look(const void *object, void *user)
{
    *(int *)user = *(const int *)object;
    return BITNET_OK;
}

static int set_up(void **state)
{
    static struct parent parent;
    parent = (struct parent){.blocker = BLOCKER(1), .object = 42};
    watchdog_start(&dog, "a test of fork", WATCHDOG_S);
    parent.model = load_model();
    parent.engine = create_engine(parent.model, NULL);
    const bitnet_generate_options options = short_options();
    parent.expected = generate_well(parent.engine, &options, test_prompts[0]);
    assert_int_equal(bitnet_generate_async(parent.engine, &options, test_prompts[0],
                                           &parent.request),
                     BITNET_OK);
    parent.pool = make_pool(1, 4);
    assert_int_equal(bitnet_thread_pool_submit(parent.pool, block_job, &parent.blocker,
                                               NULL, &parent.running),
                     BITNET_OK);
    latch_wait(&parent.blocker.entered);
    assert_int_equal(bitnet_thread_pool_submit(parent.pool, do_nothing, NULL, NULL,
                                               &parent.queued),
                     BITNET_OK);
    assert_int_equal(bitnet_event_queue_create(4, &parent.events), BITNET_OK);
    assert_int_equal(bitnet_guarded_create(&parent.object, NULL, &parent.guarded),
                     BITNET_OK);
    bitnet_thread_manager_options manager = bitnet_thread_manager_options_default();
    manager.num_threads = 3;
    assert_int_equal(bitnet_thread_manager_configure(&manager), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    *state = &parent;
    return 0;
}

/* Also shows that a parent goes on as if nothing had happened. */
static int tear_down(void **state)
{
    struct parent *parent = *state;
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(parent->request, &result), BITNET_OK);
    assert_same_result(&result, &parent->expected, 0);
    bitnet_result_release(&result);
    bitnet_result_release(&parent->expected);
    bitnet_request_release(parent->request);
    destroy_engine(parent->engine);
    bitnet_model_release(parent->model);

    latch_count_down(&parent->blocker.leave);
    assert_int_equal(bitnet_job_wait(parent->running), BITNET_OK);
    assert_int_equal(bitnet_job_wait(parent->queued), BITNET_OK);
    bitnet_job_release(parent->running);
    bitnet_job_release(parent->queued);
    assert_int_equal(bitnet_thread_pool_destroy(parent->pool), BITNET_OK);
    bitnet_event_queue_destroy(parent->events);
    assert_true(bitnet_guarded_release(parent->guarded));
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_configure(NULL), BITNET_OK);
    watchdog_stop(&dog);
    return 0;
}

/* ---- in the child -------------------------------------------------------------------- */

#define EXPECT_REFUSED(call) \
    do { \
        bitnet_clear_error(); \
        EXPECT((call) == BITNET_ERROR_THREAD_SAFETY); \
        EXPECT(strstr(bitnet_last_error(), "parent process") != NULL); \
    } while (0)

static void expect_pool_refuses(struct parent *parent)
{
    bitnet_thread_pool *pool = parent->pool;
    bitnet_job *job = NULL;
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    EXPECT_REFUSED(bitnet_thread_pool_submit(pool, do_nothing, NULL, NULL, &job));
    EXPECT_REFUSED(
        bitnet_thread_pool_submit_until(pool, 0, do_nothing, NULL, NULL, NULL));
    EXPECT_REFUSED(bitnet_thread_pool_try_submit(pool, do_nothing, NULL, NULL, NULL));
    EXPECT_REFUSED(bitnet_thread_pool_submit_with(pool, do_nothing, NULL, NULL, NULL));
    EXPECT_REFUSED(bitnet_thread_pool_wait(pool));
    EXPECT_REFUSED(bitnet_thread_pool_wait_until(pool, BITNET_NO_DEADLINE));
    EXPECT_REFUSED(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                               BITNET_NO_DEADLINE));
    EXPECT_REFUSED(bitnet_thread_pool_resize(pool, 2));
    EXPECT_REFUSED(bitnet_thread_pool_get_stats(pool, &stats));
    EXPECT(job == NULL);

    EXPECT_REFUSED(bitnet_job_wait(parent->running));
    EXPECT_REFUSED(bitnet_job_wait(parent->queued));
    EXPECT_REFUSED(bitnet_job_get_status(parent->queued));
    EXPECT(!bitnet_job_cancel(parent->running));
    EXPECT(!bitnet_job_cancel(parent->queued));
    EXPECT(!bitnet_job_should_stop());
}

static void expect_others_refuse(struct parent *parent)
{
    const bitnet_generate_options options = short_options();
    bitnet_result result;
    bitnet_request *request = NULL;
    bitnet_event event;
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    int seen = 0;
    EXPECT_REFUSED(bitnet_generate(parent->engine, &options, "A", &result));
    EXPECT_REFUSED(bitnet_generate_async(parent->engine, &options, "A", &request));
    EXPECT_REFUSED(bitnet_engine_get_stats(parent->engine, &stats));
    EXPECT_REFUSED(bitnet_request_wait(parent->request, &result));
    EXPECT_REFUSED(
        bitnet_request_next(parent->request, BITNET_NO_DEADLINE, NULL, NULL, NULL));
    EXPECT(bitnet_request_finish(parent->request) == BITNET_FINISH_NONE);
    bitnet_request_cancel(parent->request);
    bitnet_engine_cancel_all(parent->engine);

    EXPECT_REFUSED(bitnet_event_queue_next_until(parent->events, 0, &event));
    EXPECT_REFUSED(bitnet_event_queue_post(parent->events, BITNET_OK, 1));
    EXPECT(!bitnet_event_queue_next(parent->events, &event));
    EXPECT_REFUSED(bitnet_guarded_read(parent->guarded, look, &seen));
}

static void expect_manager_refuses(void)
{
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    EXPECT_REFUSED(bitnet_thread_manager_execute(do_nothing, NULL, NULL, NULL));
    EXPECT_REFUSED(bitnet_thread_manager_wait_for_completion());
    EXPECT_REFUSED(bitnet_thread_manager_get_stats(&stats));
    EXPECT_REFUSED(bitnet_thread_manager_set_num_threads(2));
    EXPECT(bitnet_thread_manager_get_num_threads() == 3);
}

static void give_back_the_parents(struct parent *parent)
{
    bitnet_job_release(bitnet_job_retain(parent->running));
    bitnet_job_release(parent->running);
    EXPECT(bitnet_thread_pool_destroy(parent->pool) == BITNET_OK);
    bitnet_job_release(parent->queued);
    bitnet_event_queue_destroy(parent->events);
    bitnet_request_release(parent->request);
    EXPECT(bitnet_engine_destroy(parent->engine) == BITNET_OK);
    EXPECT(bitnet_guarded_release(parent->guarded));
}

static void expect_pool_works(void)
{
    _Atomic unsigned count = 0;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    bitnet_thread_pool *pool;
    options.num_threads = 2;
    options.max_queue_size = 2;
    EXPECT(bitnet_thread_pool_create(&options, &pool) == BITNET_OK);
    for (int i = 0; i < N_JOBS; i++)
        EXPECT(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL) ==
               BITNET_OK);
    EXPECT(bitnet_thread_pool_wait(pool) == BITNET_OK);
    EXPECT(atomic_load(&count) == N_JOBS);
    EXPECT(bitnet_thread_pool_destroy(pool) == BITNET_OK);
}

static void expect_manager_works(void)
{
    _Atomic unsigned count = 0;
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    EXPECT(bitnet_thread_manager_initialize() == BITNET_OK);
    EXPECT(bitnet_thread_manager_execute(count_job, &count, NULL, NULL) == BITNET_OK);
    EXPECT(bitnet_thread_manager_wait_for_completion() == BITNET_OK);
    EXPECT(atomic_load(&count) == 1);
    EXPECT(bitnet_thread_manager_get_stats(&stats) == BITNET_OK);
    EXPECT(stats.n_threads == 3 && stats.n_completed == 1);
    EXPECT(bitnet_thread_manager_cleanup() == BITNET_OK);
}

static void expect_engine_agrees(struct parent *parent)
{
    const bitnet_generate_options options = short_options();
    bitnet_engine *engine;
    bitnet_result result;
    EXPECT(bitnet_engine_create(parent->model, NULL, &engine) == BITNET_OK);
    EXPECT(bitnet_generate(engine, &options, test_prompts[0], &result) == BITNET_OK);
    EXPECT(result.n_tokens == parent->expected.n_tokens);
    EXPECT(memcmp(result.tokens, parent->expected.tokens,
                  result.n_tokens * sizeof(*result.tokens)) == 0);
    bitnet_result_release(&result);
    EXPECT(bitnet_engine_destroy(engine) == BITNET_OK);
}

static void expect_event_queue_works(void)
{
    bitnet_event_queue *events;
    bitnet_event event;
    EXPECT(bitnet_event_queue_create(2, &events) == BITNET_OK);
    EXPECT(bitnet_event_queue_post(events, BITNET_OK, 5) == BITNET_OK);
    EXPECT(bitnet_event_queue_next_until(events, BITNET_NO_DEADLINE, &event) ==
           BITNET_OK);
    EXPECT(event.tag == 5);
    bitnet_event_queue_destroy(events);
}

static void refuse_then_serve(void *arg)
{
    struct parent *parent = arg;
    expect_pool_refuses(parent);
    expect_others_refuse(parent);
    expect_manager_refuses();
    give_back_the_parents(parent);
    expect_event_queue_works();
    if (CHILD_CAN_HAVE_THREADS) {
        expect_pool_works();
        expect_manager_works();
        expect_engine_agrees(parent);
    }
    bitnet_model_release(parent->model);
}

/* ---- tests ----------------------------------------------------------------------------- */

/* First of all tests: later the process is registered. */
static void what_must_notice_forks_fails_if_it_could_not(void **state)
{
    (void)state;
    bni_fault_arm(1);
    assert_int_equal(bni_fork_watch(), BITNET_ERROR_OUT_OF_MEMORY);
    assert_non_null(strstr(bitnet_last_error(), "process forks"));
    bni_fault_arm(0);
    assert_int_equal(bni_fork_watch(), BITNET_OK);
    assert_int_equal(bni_fork_watch(), BITNET_OK);
}

static void four_children_refuse_what_is_the_parents_and_serve(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    pid_t children[N_CHILDREN];
    for (int i = 0; i < N_CHILDREN; i++)
        children[i] = start_child(refuse_then_serve, *state);
    for (int i = 0; i < N_CHILDREN; i++) assert_int_equal(end_of_child(children[i]), 0);
}

static void be_a_grandchild(void *arg)
{
    struct parent *childs = arg;
    expect_pool_refuses(childs);
    EXPECT_REFUSED(bitnet_thread_manager_wait_for_completion());
    expect_pool_works();
    EXPECT(bitnet_thread_manager_cleanup() == BITNET_OK);
    EXPECT(bitnet_thread_manager_execute(do_nothing, NULL, NULL, NULL) ==
           BITNET_ERROR_SHUT_DOWN);
}

static void be_a_child_with_a_child(void *arg)
{
    struct parent *parent = arg;
    struct parent own = {.blocker = BLOCKER(1)};
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 1;
    EXPECT(bitnet_thread_pool_create(&options, &own.pool) == BITNET_OK);
    EXPECT(bitnet_thread_pool_submit(own.pool, block_job, &own.blocker, NULL,
                                     &own.running) == BITNET_OK);
    latch_wait(&own.blocker.entered);
    EXPECT(bitnet_thread_pool_submit(own.pool, do_nothing, NULL, NULL, &own.queued) ==
           BITNET_OK);
    EXPECT(bitnet_thread_manager_initialize() == BITNET_OK);

    EXPECT(in_child(be_a_grandchild, &own) == 0);
    EXPECT(in_child(be_a_grandchild, parent) == 0);

    EXPECT(bitnet_thread_manager_wait_for_completion() == BITNET_OK);
    latch_count_down(&own.blocker.leave);
    EXPECT(bitnet_job_wait(own.queued) == BITNET_OK);
}

static void a_grandchild_refuses_what_is_of_both_its_elders(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    if (!CHILD_CAN_HAVE_THREADS) skip();
    assert_int_equal(in_child(be_a_child_with_a_child, *state), 0);
}

static void configure_and_clean_up(void *arg)
{
    (void)arg;
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 2;
    EXPECT(bitnet_thread_manager_configure(&options) == BITNET_OK);
    EXPECT_REFUSED(bitnet_thread_manager_wait_for_completion());
    EXPECT(bitnet_thread_manager_cleanup() == BITNET_OK);
    EXPECT(bitnet_thread_manager_wait_for_completion() == BITNET_OK);
    EXPECT(bitnet_thread_manager_get_num_threads() == 2);
}

static void cleanup_in_a_child_forgets_the_parents_pool(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    (void)state;
    assert_int_equal(in_child(configure_and_clean_up, NULL), 0);
}

/* ---- forks in callbacks: the child comes back from them ---------------------------------- */

struct fork_inside {
    struct parent *parent;
    pid_t child; /* 0 in the child */
    int end;
};

/* In the child, returns; in the parent, waits for the child's end. */
static void fork_here(struct fork_inside *inside)
{
    inside->child = fork_child();
    if (inside->child != 0) inside->end = end_of_child(inside->child);
}

static bitnet_status fork_in_job(void *arg)
{
    struct fork_inside *inside = arg;
    fork_here(inside);
    if (inside->child != 0) return BITNET_OK;
    expect_pool_refuses(inside->parent);
    if (CHILD_CAN_HAVE_THREADS) expect_pool_works();
    return BITNET_OK; /* to a worker that has no pool here: its thread ends */
}

static void a_child_that_returns_from_a_job_ends(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    struct fork_inside inside = {.parent = *state, .end = -1};
    bitnet_thread_pool *pool = make_pool(2, 4);
    bitnet_job *job;
    assert_int_equal(bitnet_thread_pool_submit(pool, fork_in_job, &inside, NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    assert_int_equal(inside.end, 0);
    bitnet_job_release(job);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void fork_in_drop(void *arg)
{
    fork_here(arg);
}

static void a_child_that_returns_from_a_drop_function_goes_on(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    struct fork_inside inside = {.parent = *state, .end = -1};
    struct blocker blocker = BLOCKER(1);
    bitnet_thread_pool *pool = make_pool(1, 4);
    bitnet_job *job;
    block_workers(pool, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_submit(pool, do_nothing, &inside, fork_in_drop,
                                               &job),
                     BITNET_OK);
    const bool was_cancelled = bitnet_job_cancel(job);
    if (inside.child == 0) {
        EXPECT_REFUSED(bitnet_job_wait(job));
        bitnet_job_release(job);
        EXPECT(bitnet_thread_pool_destroy(pool) == BITNET_OK);
        if (CHILD_CAN_HAVE_THREADS) expect_pool_works();
        _exit(0);
    }
    assert_true(was_cancelled);
    assert_int_equal(inside.end, 0);
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static bool fork_in_on_text(void *user, const char *text, size_t text_len)
{
    struct fork_inside *inside = user;
    (void)text;
    (void)text_len;
    if (inside->end < 0) fork_here(inside);
    return true;
}

static void a_child_that_returns_from_on_text_is_refused_the_rest(void **state)
{
    if (!CHILD_CAN_ALLOCATE) skip();
    struct fork_inside inside = {.parent = *state, .end = -1};
    bitnet_generate_options options = short_options();
    bitnet_result result;
    options.on_text = fork_in_on_text;
    options.user = &inside;
    const bitnet_status status =
        bitnet_generate(inside.parent->engine, &options, test_prompts[0], &result);
    if (inside.child == 0) {
        EXPECT(status == BITNET_ERROR_THREAD_SAFETY);
        EXPECT(strstr(bitnet_last_error(), "parent process") != NULL);
        EXPECT(result.text == NULL);
        if (CHILD_CAN_HAVE_THREADS) expect_engine_agrees(inside.parent);
        _exit(0);
    }
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(inside.end, 0);
    assert_same_result(&result, &inside.parent->expected, 0);
    bitnet_result_release(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_must_notice_forks_fails_if_it_could_not),
        cmocka_unit_test_setup_teardown(
            four_children_refuse_what_is_the_parents_and_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_grandchild_refuses_what_is_of_both_its_elders,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(cleanup_in_a_child_forgets_the_parents_pool,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_that_returns_from_a_job_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_child_that_returns_from_a_drop_function_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_child_that_returns_from_on_text_is_refused_the_rest, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
