/* SPDX-License-Identifier: MIT */
/*
 * test_foreign_pools.c - calls that wait, made on the threads of other runtimes: GLib's
 * thread pool, its main loop, libuv's work queue and its loop, and our own workers and
 * drop functions. Each either gets on or is refused; none hangs.
 *
 * The other side of the same coin: our pool runs what those runtimes wait for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib-unix.h>
#include <glib.h>
#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include <bitnet/event_queue.h>
#include <bitnet/ref.h>
#include <bitnet/thread_manager.h>

#include "support/jobs.h"
#include "support/sanitizers.h"

enum { WATCHDOG_S = 120, N_CALLERS = 8, N_FOREIGN_THREADS = 4, N_ROUNDS = 10 };

/* These libraries are not built for ThreadSanitizer, which would take what it does not
 * see them do for races. */
TSAN_OPTIONS_ARE("ignore_noninstrumented_modules=1");

static struct watchdog dog;

static int set_up(void **state)
{
    (void)state;
    watchdog_start(&dog, "waiting on another runtime's thread", WATCHDOG_S);
    return bitnet_thread_manager_initialize() == BITNET_OK ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    const bitnet_status status = bitnet_thread_manager_cleanup();
    watchdog_stop(&dog);
    return status == BITNET_OK ? 0 : 1;
}

/* ---- what every caller does: all calls that may wait ----------------------------------- */

struct calls {
    bitnet_thread_pool *pool; /* with a queue so short that submitting waits */
    bitnet_event_queue *events;
    bitnet_guarded *guarded;
    struct latch begin;
    struct latch done; /* one for each caller */
    atomic_uint n_jobs;
    atomic_uint n_failed;
};

static bitnet_status add_one(void *object, void *user)
{
    (void)user;
    ++*(unsigned *)object;
    return BITNET_OK;
}

static void expect_ok(struct calls *calls, bitnet_status status)
{
    if (status == BITNET_OK) return;
    print_error("%s\n", bitnet_last_error());
    atomic_fetch_add(&calls->n_failed, 1);
}

static void wait_in_every_way(struct calls *calls)
{
    latch_wait(&calls->begin);
    for (int i = 0; i < N_ROUNDS; i++) {
        bitnet_job *job;
        bitnet_event event;
        bitnet_submit_options options = bitnet_submit_options_default();
        options.events = calls->events;
        expect_ok(calls, bitnet_thread_pool_submit(calls->pool, count_job,
                                                   &calls->n_jobs, NULL, &job));
        expect_ok(calls, bitnet_job_wait(job));
        bitnet_job_release(job);
        expect_ok(calls,
                  bitnet_thread_pool_submit_with(calls->pool, count_job, &calls->n_jobs,
                                                 &options, NULL));
        expect_ok(calls, bitnet_event_queue_next_until(calls->events,
                                                       BITNET_NO_DEADLINE, &event));
        expect_ok(calls,
                  bitnet_thread_manager_execute(count_job, &calls->n_jobs, NULL, &job));
        expect_ok(calls, bitnet_job_wait(job));
        bitnet_job_release(job);
        expect_ok(calls, bitnet_guarded_write(calls->guarded, add_one, NULL));
    }
    expect_ok(calls, bitnet_thread_pool_wait(calls->pool));
    expect_ok(calls, bitnet_thread_manager_wait_for_completion());
    latch_count_down(&calls->done);
}

enum { JOBS_PER_CALLER = 3 * N_ROUNDS };

static unsigned n_written;

static struct calls make_calls(unsigned n_callers)
{
    struct calls calls = {.begin = LATCH(1), .done = LATCH(0)};
    calls.done.n_left = n_callers;
    calls.pool = make_pool(2, 1);
    n_written = 0;
    assert_int_equal(bitnet_event_queue_create(n_callers, &calls.events), BITNET_OK);
    assert_int_equal(bitnet_guarded_create(&n_written, NULL, &calls.guarded),
                     BITNET_OK);
    return calls;
}

static void free_calls(struct calls *calls)
{
    assert_int_equal(bitnet_thread_pool_destroy(calls->pool), BITNET_OK);
    bitnet_event_queue_destroy(calls->events);
    assert_true(bitnet_guarded_release(calls->guarded));
}

static void check_calls(struct calls *calls, unsigned n_callers)
{
    assert_int_equal(atomic_load(&calls->n_failed), 0);
    assert_int_equal(atomic_load(&calls->n_jobs), n_callers * JOBS_PER_CALLER);
    assert_int_equal(n_written, n_callers * N_ROUNDS);
    free_calls(calls);
}

/* ---- GLib ------------------------------------------------------------------------------------ */

static void wait_on_glib_thread(gpointer data, gpointer user)
{
    (void)user;
    wait_in_every_way(data);
}

static void calls_get_on_in_a_glib_thread_pool(void **state)
{
    (void)state;
    struct calls calls = make_calls(N_CALLERS);
    GThreadPool *threads =
        g_thread_pool_new(wait_on_glib_thread, NULL, N_FOREIGN_THREADS, FALSE, NULL);
    for (int i = 0; i < N_CALLERS; i++)
        assert_true(g_thread_pool_push(threads, &calls, NULL));
    latch_count_down(&calls.begin);
    latch_wait(&calls.done);
    g_thread_pool_free(threads, FALSE, TRUE);
    check_calls(&calls, N_CALLERS);
}

struct in_main_loop {
    GMainLoop *loop;
    struct calls *calls;
};

static gboolean wait_in_main_loop(gpointer data)
{
    struct in_main_loop *in = data;
    wait_in_every_way(in->calls);
    g_main_loop_quit(in->loop);
    return G_SOURCE_REMOVE;
}

static void calls_get_on_in_a_glib_main_loop(void **state)
{
    (void)state;
    struct calls calls = make_calls(1);
    struct in_main_loop in = {g_main_loop_new(NULL, FALSE), &calls};
    latch_count_down(&calls.begin);
    g_idle_add(wait_in_main_loop, &in);
    g_main_loop_run(in.loop);
    g_main_loop_unref(in.loop);
    check_calls(&calls, 1);
}

/* A loop that never waits in us: the event queue's descriptor wakes it. */
struct polled {
    GMainLoop *loop;
    bitnet_event_queue *events;
    unsigned n_left;
};

static gboolean collect(gint fd, GIOCondition condition, gpointer data)
{
    struct polled *polled = data;
    bitnet_event event;
    (void)fd;
    (void)condition;
    while (bitnet_event_queue_next(polled->events, &event)) polled->n_left--;
    if (polled->n_left == 0) g_main_loop_quit(polled->loop);
    return G_SOURCE_CONTINUE;
}

static void a_glib_main_loop_is_woken_by_jobs(void **state)
{
    (void)state;
    struct polled polled = {.n_left = N_CALLERS};
    _Atomic unsigned count = 0;
    bitnet_thread_pool *pool = make_pool(2, N_CALLERS);
    assert_int_equal(bitnet_event_queue_create(N_CALLERS, &polled.events), BITNET_OK);
    polled.loop = g_main_loop_new(NULL, FALSE);

    GSource *source =
        g_unix_fd_source_new(bitnet_event_queue_fd(polled.events), G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(collect), &polled, NULL);
    g_source_attach(source, NULL);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.events = polled.events;
    for (int i = 0; i < N_CALLERS; i++)
        assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &count,
                                                        &options, NULL),
                         BITNET_OK);
    g_main_loop_run(polled.loop);
    assert_int_equal(atomic_load(&count), N_CALLERS);

    g_source_destroy(source);
    g_source_unref(source);
    g_main_loop_unref(polled.loop);
    bitnet_event_queue_destroy(polled.events);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

/* ---- libuv --------------------------------------------------------------------------------- */

static void wait_on_uv_thread(uv_work_t *work)
{
    wait_in_every_way(work->data);
}

static void ignore_end(uv_work_t *work, int status)
{
    (void)work;
    (void)status;
}

static void calls_get_on_in_uv_queue_work(void **state)
{
    (void)state;
    struct calls calls = make_calls(N_CALLERS);
    uv_loop_t loop;
    uv_work_t works[N_CALLERS];
    assert_int_equal(uv_loop_init(&loop), 0);
    for (int i = 0; i < N_CALLERS; i++) {
        works[i].data = &calls;
        assert_int_equal(uv_queue_work(&loop, &works[i], wait_on_uv_thread, ignore_end),
                         0);
    }
    latch_count_down(&calls.begin);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    check_calls(&calls, N_CALLERS);
}

static void wait_in_uv_loop(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    wait_in_every_way(idle->data);
}

static void calls_get_on_in_a_uv_loop(void **state)
{
    (void)state;
    struct calls calls = make_calls(1);
    uv_loop_t loop;
    uv_idle_t idle;
    latch_count_down(&calls.begin);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_idle_init(&loop, &idle), 0);
    idle.data = &calls;
    assert_int_equal(uv_idle_start(&idle, wait_in_uv_loop), 0);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    uv_close((uv_handle_t *)&idle, NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    check_calls(&calls, 1);
}

/* ---- our own threads --------------------------------------------------------------------------- */

static bitnet_status wait_in_job(void *arg)
{
    wait_in_every_way(arg);
    return BITNET_OK;
}

static void calls_get_on_in_a_worker_of_another_pool(void **state)
{
    (void)state;
    struct calls calls = make_calls(N_CALLERS);
    bitnet_thread_pool *outer = make_pool(N_FOREIGN_THREADS, N_CALLERS);
    for (int i = 0; i < N_CALLERS; i++)
        assert_int_equal(bitnet_thread_pool_submit(outer, wait_in_job, &calls, NULL,
                                                   NULL),
                         BITNET_OK);
    latch_count_down(&calls.begin);
    assert_int_equal(bitnet_thread_pool_destroy(outer), BITNET_OK);
    check_calls(&calls, N_CALLERS);
}

static void wait_in_drop(void *arg)
{
    wait_in_every_way(arg);
}

static void calls_get_on_in_a_drop_function_of_another_pool(void **state)
{
    (void)state;
    struct calls calls = make_calls(1);
    struct blocker blocker = BLOCKER(1);
    bitnet_thread_pool *outer = make_pool(1, 1);
    bitnet_job *job;
    block_workers(outer, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_submit(outer, wait_in_job, &calls, wait_in_drop,
                                               &job),
                     BITNET_OK);
    latch_count_down(&calls.begin);
    assert_true(bitnet_job_cancel(job));
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(outer), BITNET_OK);
    check_calls(&calls, 1);
}

/* Inside a guarded object, where nobody may wait, each call says so at once. */
static bitnet_status be_refused(const void *object, void *user)
{
    struct calls *calls = user;
    bitnet_event event;
    (void)object;
    const bitnet_status statuses[] = {
        bitnet_thread_pool_submit(calls->pool, count_job, &calls->n_jobs, NULL, NULL),
        bitnet_thread_pool_wait(calls->pool),
        bitnet_thread_pool_destroy(calls->pool),
        bitnet_event_queue_next_until(calls->events, BITNET_NO_DEADLINE, &event),
        bitnet_thread_manager_execute(count_job, &calls->n_jobs, NULL, NULL),
        bitnet_thread_manager_wait_for_completion(),
        bitnet_thread_manager_cleanup(),
        bitnet_guarded_write(calls->guarded, add_one, NULL),
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
        if (statuses[i] != BITNET_ERROR_THREAD_SAFETY)
            atomic_fetch_add(&calls->n_failed, 1);
    return BITNET_OK;
}

static void calls_are_refused_inside_a_guarded_object(void **state)
{
    (void)state;
    struct calls calls = make_calls(1);
    assert_int_equal(bitnet_guarded_read(calls.guarded, be_refused, &calls), BITNET_OK);
    assert_int_equal(atomic_load(&calls.n_failed), 0);
    assert_int_equal(atomic_load(&calls.n_jobs), 0);
    free_calls(&calls);
}

#define WATCHED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(calls_get_on_in_a_glib_thread_pool),
        WATCHED(calls_get_on_in_a_glib_main_loop),
        WATCHED(a_glib_main_loop_is_woken_by_jobs),
        WATCHED(calls_get_on_in_uv_queue_work),
        WATCHED(calls_get_on_in_a_uv_loop),
        WATCHED(calls_get_on_in_a_worker_of_another_pool),
        WATCHED(calls_get_on_in_a_drop_function_of_another_pool),
        WATCHED(calls_are_refused_inside_a_guarded_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
