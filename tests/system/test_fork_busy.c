/* SPDX-License-Identifier: MIT */
/*
 * test_fork_busy.c - forks of a parent whose other threads are in the middle of
 * everything: submitting to a full queue, waiting, cancelling, resizing, generating,
 * asleep on an event queue, setting the log callback. Whatever locks they hold at that
 * moment, the child can use none of them, and serves nevertheless.
 *
 *     test_fork_busy [forks]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet.h>

#include "support/child.h"
#include "support/engine/engines.h"
#include "support/jobs.h"
#include "support/models.h"

enum { WATCHDOG_S = 400, N_CHILD_JOBS = 10 };

static unsigned n_forks = IS_SLOW_BUILD ? 6 : 20;

struct parent {
    bitnet_model *model;
    bitnet_engine *engine;
    bitnet_thread_pool *pool;
    bitnet_event_queue *events;
    bitnet_job *job; /* some job of the pool's, for the child to refuse */
    bitnet_result expected;
    struct latch all_busy;
    atomic_bool is_over;
    atomic_uint n_wrong;
};

static bitnet_generate_options short_options(void)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = 6;
    options.seed = 3;
    return options;
}

/* ---- the parent's threads: each says when it has gone round once ---------------------- */

static void expect_ok(struct parent *parent, bitnet_status status)
{
    if (status != BITNET_OK) atomic_fetch_add(&parent->n_wrong, 1);
}

static bool goes_on(struct parent *parent, unsigned n_rounds)
{
    if (n_rounds == 1) latch_count_down(&parent->all_busy);
    return !atomic_load(&parent->is_over);
}

static void *submit_and_wait(void *arg)
{
    struct parent *parent = arg;
    _Atomic unsigned count = 0;
    for (unsigned n = 0; goes_on(parent, n); n++) {
        bitnet_job *job;
        expect_ok(parent, bitnet_thread_pool_submit(parent->pool, count_job, &count,
                                                    NULL, &job));
        expect_ok(parent, bitnet_thread_pool_submit(parent->pool, count_job, &count,
                                                    NULL, NULL));
        expect_ok(parent, bitnet_job_wait(job));
        bitnet_job_release(job);
        expect_ok(parent, bitnet_thread_pool_wait(parent->pool));
    }
    bitnet_thread_pool_wait(parent->pool); /* its jobs use our stack */
    return NULL;
}

static void *cancel_and_resize(void *arg)
{
    struct parent *parent = arg;
    _Atomic unsigned count = 0;
    for (unsigned n = 0; goes_on(parent, n); n++) {
        bitnet_job *job;
        expect_ok(parent, bitnet_thread_pool_submit(parent->pool, count_job, &count,
                                                    NULL, &job));
        bitnet_job_cancel(job);
        bitnet_job_wait(job);
        bitnet_job_release(job);
        expect_ok(parent, bitnet_thread_pool_resize(parent->pool, 1 + n % 3));
    }
    return NULL;
}

static void *manage(void *arg)
{
    struct parent *parent = arg;
    _Atomic unsigned count = 0;
    for (unsigned n = 0; goes_on(parent, n); n++) {
        expect_ok(parent, bitnet_thread_manager_initialize());
        expect_ok(parent, bitnet_thread_manager_set_num_threads(1 + n % 2));
        expect_ok(parent, bitnet_thread_manager_execute(count_job, &count, NULL, NULL));
        expect_ok(parent, bitnet_thread_manager_wait_for_completion());
        if (n % 8 == 0) expect_ok(parent, bitnet_thread_manager_cleanup());
    }
    return NULL;
}

static void *generate(void *arg)
{
    struct parent *parent = arg;
    const bitnet_generate_options options = short_options();
    for (unsigned n = 0; goes_on(parent, n); n++) {
        bitnet_result result;
        expect_ok(parent,
                  bitnet_generate(parent->engine, &options, test_prompts[0], &result));
        bitnet_result_release(&result);
    }
    return NULL;
}

static void *post_events(void *arg)
{
    struct parent *parent = arg;
    for (unsigned n = 0; goes_on(parent, n); n++) {
        bitnet_event event;
        expect_ok(parent, bitnet_event_queue_post(parent->events, BITNET_OK, n));
        expect_ok(parent, bitnet_event_queue_next_until(parent->events,
                                                        BITNET_NO_DEADLINE, &event));
    }
    return NULL;
}

static void ignore_log(void *user, bitnet_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
}

static void *set_log_and_count(void *arg)
{
    struct parent *parent = arg;
    int object = 0;
    for (unsigned n = 0; goes_on(parent, n); n++) {
        bitnet_ref *ref;
        bitnet_set_log(n % 2 == 0 ? ignore_log : NULL, NULL, BITNET_LOG_ERROR);
        expect_ok(parent, bitnet_ref_create(&object, NULL, &ref));
        bitnet_ref_release(ref);
    }
    bitnet_set_log(NULL, NULL, BITNET_LOG_ERROR);
    return NULL;
}

/* ---- the child ---------------------------------------------------------------------------- */

static void expect_pool_works(void)
{
    _Atomic unsigned count = 0;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    bitnet_thread_pool *pool;
    options.num_threads = 2;
    EXPECT(bitnet_thread_pool_create(&options, &pool) == BITNET_OK);
    for (int i = 0; i < N_CHILD_JOBS; i++)
        EXPECT(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL) ==
               BITNET_OK);
    EXPECT(bitnet_thread_pool_wait(pool) == BITNET_OK);
    EXPECT(atomic_load(&count) == N_CHILD_JOBS);
    EXPECT(bitnet_thread_pool_destroy(pool) == BITNET_OK);
}

static void expect_manager_works(void)
{
    _Atomic unsigned count = 0;
    EXPECT(bitnet_thread_manager_initialize() == BITNET_OK);
    EXPECT(bitnet_thread_manager_execute(count_job, &count, NULL, NULL) == BITNET_OK);
    EXPECT(bitnet_thread_manager_wait_for_completion() == BITNET_OK);
    EXPECT(atomic_load(&count) == 1);
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

static void refuse_then_serve(void *arg)
{
    struct parent *parent = arg;
    _Atomic unsigned count = 0;
    bitnet_result result;
    EXPECT(bitnet_thread_pool_submit(parent->pool, count_job, &count, NULL, NULL) ==
           BITNET_ERROR_THREAD_SAFETY);
    EXPECT(bitnet_thread_pool_wait(parent->pool) == BITNET_ERROR_THREAD_SAFETY);
    EXPECT(bitnet_job_wait(parent->job) == BITNET_ERROR_THREAD_SAFETY);
    EXPECT(bitnet_generate(parent->engine, NULL, "A", &result) ==
           BITNET_ERROR_THREAD_SAFETY);
    EXPECT(bitnet_event_queue_post(parent->events, BITNET_OK, 1) ==
           BITNET_ERROR_THREAD_SAFETY);

    bitnet_set_log(ignore_log, NULL, BITNET_LOG_ERROR);
    if (CHILD_CAN_HAVE_THREADS) {
        expect_pool_works();
        expect_manager_works();
        expect_engine_agrees(parent);
    }
    EXPECT(bitnet_thread_manager_cleanup() == BITNET_OK);

    bitnet_job_release(parent->job);
    bitnet_event_queue_destroy(parent->events);
    EXPECT(bitnet_thread_pool_destroy(parent->pool) == BITNET_OK);
    EXPECT(bitnet_engine_destroy(parent->engine) == BITNET_OK);
    bitnet_model_release(parent->model);
}

/* ---- the test ------------------------------------------------------------------------------ */

static void *(*const activities[])(void *) = {submit_and_wait,  submit_and_wait,
                                              submit_and_wait,  cancel_and_resize,
                                              manage,           generate,
                                              generate,         post_events,
                                              set_log_and_count};
enum { N_ACTIVITIES = sizeof(activities) / sizeof(*activities) };

static void children_of_a_busy_parent_refuse_and_serve(void **state)
{
    (void)state;
    if (!CHILD_CAN_ALLOCATE) skip();
    struct watchdog dog;
    struct parent parent = {.all_busy = LATCH(N_ACTIVITIES)};
    pthread_t threads[N_ACTIVITIES];
    _Atomic unsigned count = 0;
    const bitnet_generate_options options = short_options();
    watchdog_start(&dog, "forks of a busy parent", WATCHDOG_S);
    parent.model = load_model();
    parent.engine = create_engine(parent.model, NULL);
    parent.expected = generate_well(parent.engine, &options, test_prompts[0]);
    parent.pool = make_pool(2, 1);
    assert_int_equal(bitnet_thread_pool_submit(parent.pool, count_job, &count, NULL,
                                               &parent.job),
                     BITNET_OK);
    assert_int_equal(bitnet_event_queue_create(2, &parent.events), BITNET_OK);
    for (int i = 0; i < N_ACTIVITIES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, activities[i], &parent), 0);
    latch_wait(&parent.all_busy);

    for (unsigned i = 0; i < n_forks; i++)
        assert_int_equal(in_child(refuse_then_serve, &parent), 0);

    atomic_store(&parent.is_over, true);
    for (int i = 0; i < N_ACTIVITIES; i++) pthread_join(threads[i], NULL);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(atomic_load(&parent.n_wrong), 0);
    bitnet_job_release(parent.job);
    bitnet_event_queue_destroy(parent.events);
    assert_int_equal(bitnet_thread_pool_destroy(parent.pool), BITNET_OK);
    destroy_engine(parent.engine);
    bitnet_result_release(&parent.expected);
    bitnet_model_release(parent.model);
    watchdog_stop(&dog);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments > 1) n_forks = (unsigned)strtoul(arguments[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(children_of_a_busy_parent_refuse_and_serve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
