/* SPDX-License-Identifier: MIT */
/*
 * test_job_events.c - every accepted job posts one event, however it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/jobs.h"

enum { WATCHDOG_S = 120, N_PLACES = 8 };

static struct watchdog dog;
static uint64_t in_use_before;
static bitnet_event_queue *queue;

static int set_up(void **state)
{
    (void)state;
    watchdog_start(&dog, "a test of the events of jobs", WATCHDOG_S);
    in_use_before = bni_alloc_in_use();
    return bitnet_event_queue_create(N_PLACES, &queue) == BITNET_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_event_queue_destroy(queue);
    queue = NULL;
    watchdog_stop(&dog);
    return bni_alloc_in_use() == in_use_before ? 0 : -1;
}

static bitnet_submit_options with_event(uint64_t tag)
{
    bitnet_submit_options options = bitnet_submit_options_default();
    options.events = queue;
    options.event_tag = tag;
    return options;
}

static void submit(bitnet_thread_pool *pool, bitnet_job_fn fn, void *arg, uint64_t tag,
                   bitnet_job **job)
{
    const bitnet_submit_options options = with_event(tag);
    assert_int_equal(bitnet_thread_pool_submit_with(pool, fn, arg, &options, job),
                     BITNET_OK);
}

/* Waits for the next event, which is the end of the job with `tag`. */
static void check_end(uint64_t tag, bitnet_status status)
{
    bitnet_event event = {0};
    assert_int_equal(bitnet_event_queue_next_until(queue, BITNET_NO_DEADLINE, &event),
                     BITNET_OK);
    assert_int_equal(event.kind, BITNET_EVENT_JOB_ENDED);
    assert_int_equal(event.tag, tag);
    assert_int_equal(event.status, status);
}

static void check_no_event(void)
{
    bitnet_event event;
    assert_false(bitnet_event_queue_next(queue, &event));
}

/* All places are free, as nothing is under way. */
static void check_all_places_free(void)
{
    bitnet_event event;
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, i), BITNET_OK);
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_true(bitnet_event_queue_next(queue, &event));
    check_no_event();
}

static bitnet_status return_arg(void *arg)
{
    return (bitnet_status)(intptr_t)arg;
}

static bitnet_status leave_by_pthread_exit(void *arg)
{
    pthread_exit(arg);
}

static void a_job_that_ended_posts_its_result(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    submit(pool, return_arg, (void *)(intptr_t)BITNET_OK, 1, NULL);
    submit(pool, return_arg, (void *)(intptr_t)BITNET_ERROR_UNSUPPORTED_OPERATION, 2,
           NULL);
    submit(pool, leave_by_pthread_exit, NULL, 3, NULL);
    submit(pool, return_arg, (void *)(intptr_t)BITNET_ERROR_CANCELLED, UINT64_MAX,
           NULL);
    check_end(1, BITNET_OK);
    check_end(2, BITNET_ERROR_UNSUPPORTED_OPERATION);
    check_end(3, BITNET_ERROR_INTERNAL);
    check_end(UINT64_MAX, BITNET_ERROR_CANCELLED);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_all_places_free();
}

static void at_its_event_a_job_s_handle_need_not_wait(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    bitnet_job *job = NULL;
    submit(pool, return_arg, (void *)(intptr_t)BITNET_ERROR_CANCELLED, 1, &job);
    struct pollfd polled = {.fd = bitnet_event_queue_fd(queue), .events = POLLIN};
    assert_int_equal(poll(&polled, 1, -1), 1);
    check_end(1, BITNET_ERROR_CANCELLED);
    assert_int_equal(bitnet_job_get_state(job), BITNET_JOB_ENDED);
    assert_int_equal(bitnet_job_wait_until(job, 0), BITNET_ERROR_CANCELLED);
    bitnet_job_release(job);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void a_job_that_never_ran_posts_why(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 2);
    struct blocker blocker = BLOCKER(1);
    bitnet_job *job = NULL;
    submit(pool, block_job, &blocker, 1, NULL);
    latch_wait(&blocker.entered); /* the only worker is inside */

    submit(pool, return_arg, NULL, 2, &job);
    check_no_event();
    assert_true(bitnet_job_cancel(job));
    check_end(2, BITNET_ERROR_CANCELLED);
    bitnet_job_release(job);

    submit(pool, return_arg, NULL, 3, NULL);
    submit(pool, return_arg, NULL, 4, NULL);
    bitnet_submit_options options = with_event(5);
    options.when_full = BITNET_SUBMIT_DROP_OLDEST;
    assert_int_equal(bitnet_thread_pool_submit_with(pool, return_arg, NULL, &options,
                                                    NULL),
                     BITNET_OK);
    check_end(3, BITNET_ERROR_CANCELLED);

    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                 bitnet_clock_ns()),
                     BITNET_ERROR_TIMED_OUT);
    check_end(4, BITNET_ERROR_CANCELLED);
    check_end(5, BITNET_ERROR_CANCELLED);
    latch_count_down(&blocker.leave);
    check_end(1, BITNET_OK);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_all_places_free();
}

static void a_job_that_came_too_late_posts_timed_out(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 2);
    bitnet_submit_options options = with_event(1);
    options.start_deadline_ns = 1; /* long ago */
    assert_int_equal(bitnet_thread_pool_submit_with(pool, return_arg, NULL, &options,
                                                    NULL),
                     BITNET_OK);
    check_end(1, BITNET_ERROR_TIMED_OUT);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_all_places_free();
}

static void a_refused_job_posts_nothing_and_leaves_its_place_free(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    bitnet_submit_options options = with_event(9);
    submit(pool, block_job, &blocker, 1, NULL);
    latch_wait(&blocker.entered);
    submit(pool, return_arg, NULL, 2, NULL);

    options.when_full = BITNET_SUBMIT_REFUSE;
    bitnet_job *job = NULL;
    for (unsigned i = 0; i < 2 * N_PLACES; i++)
        assert_int_equal(bitnet_thread_pool_submit_with(pool, return_arg, NULL,
                                                        &options,
                                                        i % 2 == 0 ? NULL : &job),
                         BITNET_ERROR_QUEUE_FULL);
    options.when_full = BITNET_SUBMIT_WAIT;
    options.room_deadline_ns = 1;
    assert_int_equal(bitnet_thread_pool_submit_with(pool, return_arg, NULL, &options,
                                                    NULL),
                     BITNET_ERROR_TIMED_OUT);
    assert_null(job);
    check_no_event();

    latch_count_down(&blocker.leave);
    check_end(1, BITNET_OK);
    check_end(2, BITNET_OK);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit_with(pool, return_arg, NULL, &options,
                                                    NULL),
                     BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_all_places_free();
}

static void without_a_place_in_the_event_queue_a_job_is_refused(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    _Atomic unsigned n_run = 0;
    const bitnet_submit_options options = with_event(9);
    for (unsigned i = 0; i < N_PLACES; i++)
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, i), BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &n_run, &options,
                                                    NULL),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "event queue has 8 places"));

    bitnet_event event;
    assert_true(bitnet_event_queue_next(queue, &event));
    submit(pool, count_job, &n_run, 10, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    assert_int_equal(n_run, 1);
    for (unsigned i = 1; i < N_PLACES; i++)
        assert_true(bitnet_event_queue_next(queue, &event));
    check_end(10, BITNET_OK);
}

static void jobs_go_on_without_a_queue_that_was_destroyed(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned n_run = 0;
    submit(pool, block_job, &blocker, 1, NULL);
    submit(pool, count_job, &n_run, 2, NULL);
    latch_wait(&blocker.entered);
    bitnet_event_queue_destroy(queue);
    queue = NULL;
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    assert_int_equal(n_run, 1);
}

/* Whatever a submit fails on, its place is free again and it has posted nothing. */
static void a_submit_that_fails_gives_its_place_back(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    const bitnet_submit_options options = with_event(7);
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_job *job = NULL;
        bni_fault_arm(n);
        const bitnet_status status =
            bitnet_thread_pool_submit_with(pool, return_arg, NULL, &options, &job);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (status == BITNET_OK) {
            check_end(7, BITNET_OK);
            bitnet_job_release(job);
        } else {
            n_failed++;
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_null(job);
        }
        check_all_places_free();
        if (!was_asked) break;
    }
    assert_true(n_failed >= 2); /* the handle, and its condition variable */
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

enum { N_SUBMITTERS = 3, N_JOBS_EACH = 400 };

struct submitter {
    bitnet_thread_pool *pool;
    uint64_t first_tag;
    _Atomic unsigned *n_run;
};

static void *submit_many(void *arg)
{
    struct submitter *submitter = arg;
    for (uint64_t i = 0; i < N_JOBS_EACH; i++) {
        const bitnet_submit_options options = with_event(submitter->first_tag + i);
        while (bitnet_thread_pool_submit_with(submitter->pool, count_job,
                                              submitter->n_run, &options,
                                              NULL) == BITNET_ERROR_QUEUE_FULL)
            sched_yield(); /* until the loop has collected something */
    }
    return NULL;
}

static void a_loop_sees_the_end_of_every_job_of_many_threads_once(void **state)
{
    (void)state;
    enum { N_JOBS = N_SUBMITTERS * N_JOBS_EACH };
    static unsigned n_ended[N_JOBS];
    struct submitter submitters[N_SUBMITTERS];
    pthread_t threads[N_SUBMITTERS];
    _Atomic unsigned n_run = 0;
    bitnet_thread_pool *pool = make_pool(2, 4);
    for (unsigned i = 0; i < N_SUBMITTERS; i++) {
        submitters[i] = (struct submitter){pool, (uint64_t)i * N_JOBS_EACH, &n_run};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]),
                         0);
    }
    struct pollfd polled = {.fd = bitnet_event_queue_fd(queue), .events = POLLIN};
    for (unsigned n_collected = 0; n_collected < N_JOBS;) {
        bitnet_event event;
        assert_int_equal(poll(&polled, 1, -1), 1);
        while (bitnet_event_queue_next(queue, &event)) {
            assert_int_equal(event.kind, BITNET_EVENT_JOB_ENDED);
            assert_int_equal(event.status, BITNET_OK);
            assert_in_range(event.tag, 0, N_JOBS - 1);
            n_ended[event.tag]++;
            n_collected++;
        }
    }
    for (unsigned i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < N_JOBS; i++) assert_int_equal(n_ended[i], 1);
    assert_int_equal(n_run, N_JOBS);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_all_places_free();
}

#define EVENT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVENT_TEST(a_job_that_ended_posts_its_result),
        EVENT_TEST(at_its_event_a_job_s_handle_need_not_wait),
        EVENT_TEST(a_job_that_never_ran_posts_why),
        EVENT_TEST(a_job_that_came_too_late_posts_timed_out),
        EVENT_TEST(a_refused_job_posts_nothing_and_leaves_its_place_free),
        EVENT_TEST(without_a_place_in_the_event_queue_a_job_is_refused),
        EVENT_TEST(jobs_go_on_without_a_queue_that_was_destroyed),
        EVENT_TEST(a_submit_that_fails_gives_its_place_back),
        EVENT_TEST(a_loop_sees_the_end_of_every_job_of_many_threads_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
