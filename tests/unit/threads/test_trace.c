/* SPDX-License-Identifier: MIT */
/*
 * test_trace.c - a pool tells every station of every job, however the job ends.
 *
 * What is told is looked at when the pool has been destroyed: a job's end is told
 * after whoever waited for the job may have gone on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include <bitnet/thread_pool.h>

#include "base/alloc.h"
#include "support/jobs.h"

enum { WATCHDOG_S = 120, MAX_EVENTS = 8192 };

enum station { SUBMIT, START, CANCEL, END, N_STATIONS };

struct event {
    enum station station;
    uint64_t job_id;
    uint64_t time_ns;
    bitnet_status status; /* of an end */
    pthread_t thread;
};

/* All that was told, in the order in which it was. */
struct recorder {
    pthread_mutex_t lock;
    bitnet_thread_pool *pool; /* asked for its numbers meanwhile; or NULL */
    size_t n_events;
    struct event events[MAX_EVENTS];
};

static struct recorder recorder;
static struct watchdog dog;

static int set_up(void **state)
{
    (void)state;
    pthread_mutex_init(&recorder.lock, NULL);
    recorder.pool = NULL;
    recorder.n_events = 0;
    watchdog_start(&dog, "a test of tracing", WATCHDOG_S);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    watchdog_stop(&dog);
    pthread_mutex_destroy(&recorder.lock);
    return bni_alloc_in_use() == 0 ? 0 : 1;
}

static void record(void *user, enum station station, uint64_t time_ns, uint64_t job_id,
                   bitnet_status status)
{
    struct recorder *to = user;
    if (to->pool != NULL) { /* possible only where no lock of the pool is held */
        bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
        bitnet_thread_pool_get_stats(to->pool, &stats);
    }
    pthread_mutex_lock(&to->lock);
    if (to->n_events < MAX_EVENTS)
        to->events[to->n_events] =
            (struct event){station, job_id, time_ns, status, pthread_self()};
    to->n_events++;
    pthread_mutex_unlock(&to->lock);
}

static void on_submit(void *user, uint64_t time_ns, uint64_t job_id)
{
    record(user, SUBMIT, time_ns, job_id, BITNET_OK);
}

static void on_start(void *user, uint64_t time_ns, uint64_t job_id)
{
    record(user, START, time_ns, job_id, BITNET_OK);
}

static void on_cancel(void *user, uint64_t time_ns, uint64_t job_id)
{
    record(user, CANCEL, time_ns, job_id, BITNET_OK);
}

static void on_end(void *user, uint64_t time_ns, uint64_t job_id, bitnet_status status)
{
    record(user, END, time_ns, job_id, status);
}

static bitnet_thread_pool *make_traced_pool_with(const bitnet_trace *trace,
                                                 uint32_t n_threads, uint32_t n_queue)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = n_threads;
    options.max_queue_size = n_queue;
    options.trace = trace;
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    return pool;
}

static bitnet_thread_pool *make_traced_pool(uint32_t n_threads, uint32_t n_queue)
{
    const bitnet_trace trace = {sizeof(trace), &recorder, on_submit,
                                on_start,      on_end,    on_cancel};
    return make_traced_pool_with(&trace, n_threads, n_queue); /* which copies it */
}

/* Returns where the job's station is among the events; fails unless it is there once. */
static size_t find_event(uint64_t job_id, enum station station)
{
    size_t n_found = 0;
    size_t found = 0;
    for (size_t i = 0; i < recorder.n_events; i++) {
        if (recorder.events[i].job_id != job_id ||
            recorder.events[i].station != station)
            continue;
        n_found++;
        found = i;
    }
    if (n_found != 1)
        fail_msg("job %llu: station %d was told %zu times", (unsigned long long)job_id,
                 (int)station, n_found);
    return found;
}

static size_t count_events(uint64_t job_id, enum station station)
{
    size_t n_found = 0;
    for (size_t i = 0; i < recorder.n_events; i++) {
        if (recorder.events[i].job_id == job_id &&
            recorder.events[i].station == station)
            n_found++;
    }
    return n_found;
}

/* Checks what was told of a job; `has_started` and the result are what it should be. */
static void check_job(uint64_t job_id, bool has_started, bitnet_status status)
{
    find_event(job_id, SUBMIT);
    const struct event *end = &recorder.events[find_event(job_id, END)];
    assert_int_equal(end->status, status);
    assert_int_equal(count_events(job_id, START), has_started ? 1 : 0);
    if (!has_started) return;
    const struct event *start = &recorder.events[find_event(job_id, START)];
    assert_true(start < end);
    assert_true(start->time_ns <= end->time_ns);
    assert_true(pthread_equal(start->thread, end->thread));
}

static void check_number_of_events(size_t n_expected)
{
    assert_int_equal(recorder.n_events, n_expected);
    assert_true(n_expected <= MAX_EVENTS);
}

static void submit(bitnet_thread_pool *pool, bitnet_job_fn fn, void *arg,
                   bitnet_job **job)
{
    assert_int_equal(bitnet_thread_pool_submit(pool, fn, arg, NULL, job), BITNET_OK);
}

static bitnet_status fail_job(void *arg)
{
    (void)arg;
    return BITNET_ERROR_INFERENCE_FAILED;
}

static bitnet_status exit_job(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

static void jobs_that_run_are_told_from_submit_to_end(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    bitnet_thread_pool *pool = make_traced_pool(1, 8);
    recorder.pool = pool;
    submit(pool, count_job, &count, NULL);
    submit(pool, fail_job, NULL, NULL);
    submit(pool, exit_job, NULL, NULL);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(12);
    check_job(0, true, BITNET_OK);
    check_job(1, true, BITNET_ERROR_INFERENCE_FAILED);
    check_job(2, true, BITNET_ERROR_INTERNAL);
    check_job(3, true, BITNET_OK);
    for (uint64_t id = 0; id < 4; id++) {
        const struct event *submitted = &recorder.events[find_event(id, SUBMIT)];
        assert_true(pthread_equal(submitted->thread, pthread_self()));
    }
}

static void a_job_cancelled_in_the_queue_has_no_start(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_job *job = NULL;
    bitnet_thread_pool *pool = make_traced_pool(1, 8);
    block_workers(pool, &blocker, 1);
    submit(pool, count_job, &count, &job);
    assert_true(bitnet_job_cancel(job));
    assert_false(bitnet_job_cancel(job)); /* it has ended: nothing to be told */
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(3 + 3);
    check_job(1, false, BITNET_ERROR_CANCELLED);
    find_event(1, CANCEL);
}

static bitnet_status stop_when_asked(void *arg)
{
    struct blocker *blocker = arg;
    latch_count_down(&blocker->entered);
    latch_wait(&blocker->leave);
    return bitnet_job_should_stop() ? BITNET_ERROR_CANCELLED : BITNET_OK;
}

static void cancelling_a_running_job_is_told_before_its_end(void **state)
{
    (void)state;
    struct blocker blocker = BLOCKER(1);
    bitnet_job *job = NULL;
    bitnet_thread_pool *pool = make_traced_pool(1, 8);
    submit(pool, stop_when_asked, &blocker, &job);
    latch_wait(&blocker.entered);
    assert_false(bitnet_job_cancel(job));
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_CANCELLED);
    bitnet_job_release(job);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(4);
    check_job(0, true, BITNET_ERROR_CANCELLED);
    assert_true(find_event(0, CANCEL) < find_event(0, END));
}

static void jobs_that_a_shutdown_drops_have_no_start(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_thread_pool *pool = make_traced_pool(1, 8);
    block_workers(pool, &blocker, 1);
    for (int i = 0; i < 3; i++) submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE, 0),
                     BITNET_ERROR_TIMED_OUT); /* one still runs */
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(3 + 3 * 2);
    for (uint64_t id = 1; id <= 3; id++) check_job(id, false, BITNET_ERROR_CANCELLED);
    assert_int_equal(atomic_load(&count), 0);
}

static void a_job_that_makes_room_has_no_start(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_DROP_OLDEST;
    bitnet_thread_pool *pool = make_traced_pool(1, 1);
    block_workers(pool, &blocker, 1);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &count, &options,
                                                    NULL),
                     BITNET_OK);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(3 + 2 + 3);
    check_job(1, false, BITNET_ERROR_CANCELLED);
    check_job(2, true, BITNET_OK);
    assert_int_equal(atomic_load(&count), 1);
}

static void a_job_that_expires_has_no_start(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.start_deadline_ns = 1; /* long ago */
    bitnet_job *job = NULL;
    bitnet_thread_pool *pool = make_traced_pool(1, 8);
    block_workers(pool, &blocker, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &count,
                                                        &options, i == 0 ? &job : NULL),
                         BITNET_OK);
    /* The first is ended by whoever waits, the second by the worker. */
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_TIMED_OUT);
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(3 + 2 + 2);
    check_job(1, false, BITNET_ERROR_TIMED_OUT);
    check_job(2, false, BITNET_ERROR_TIMED_OUT);
    assert_int_equal(atomic_load(&count), 0);
}

/* A job that ran inside of a submit or a wait: all on one thread, in order. */
static void check_job_in_place(uint64_t job_id)
{
    check_job(job_id, true, BITNET_OK);
    const size_t submitted = find_event(job_id, SUBMIT);
    const size_t started = find_event(job_id, START);
    assert_true(submitted < started);
    assert_true(pthread_equal(recorder.events[submitted].thread,
                              recorder.events[started].thread));
    assert_true(recorder.events[submitted].time_ns <= recorder.events[started].time_ns);
}

struct inner {
    bitnet_thread_pool *pool;
    _Atomic unsigned count;
    struct blocker blocker;
};

static bitnet_status fill_the_queue_and_one_more(void *arg)
{
    struct inner *inner = arg;
    latch_count_down(&inner->blocker.entered);
    latch_wait(&inner->blocker.leave);
    return bitnet_thread_pool_submit(inner->pool, count_job, &inner->count, NULL, NULL);
}

static void a_worker_that_runs_its_own_job_tells_its_submit_first(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_traced_pool(1, 1);
    struct inner inner = {.pool = pool, .blocker = BLOCKER(1)};
    submit(pool, fill_the_queue_and_one_more, &inner, NULL);
    latch_wait(&inner.blocker.entered);
    submit(pool, count_job, &inner.count, NULL); /* now the queue is full */
    latch_count_down(&inner.blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(9);
    check_job(0, true, BITNET_OK);
    check_job(1, true, BITNET_OK);
    check_job_in_place(2);
    assert_int_equal(atomic_load(&inner.count), 2);
}

static void a_submitter_that_runs_its_job_tells_its_submit_first(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_RUN_HERE;
    bitnet_thread_pool *pool = make_traced_pool(1, 1);
    block_workers(pool, &blocker, 1);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &count, &options,
                                                    NULL),
                     BITNET_OK);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(9);
    check_job_in_place(2);
    assert_true(
        pthread_equal(recorder.events[find_event(2, START)].thread, pthread_self()));
}

static bitnet_status submit_and_wait(void *arg)
{
    struct inner *inner = arg;
    bitnet_job *job = NULL;
    bitnet_status status =
        bitnet_thread_pool_submit(inner->pool, count_job, &inner->count, NULL, &job);
    if (status != BITNET_OK) return status;
    status = bitnet_job_wait(job); /* the only worker: it runs the job itself */
    bitnet_job_release(job);
    return status;
}

static void a_waiting_worker_tells_of_the_job_it_takes(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_traced_pool(1, 4);
    struct inner inner = {.pool = pool};
    submit(pool, submit_and_wait, &inner, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(6);
    check_job(0, true, BITNET_OK);
    check_job_in_place(1);
    assert_true(find_event(1, END) < find_event(0, END));
}

static void *submit_one(void *arg)
{
    struct inner *inner = arg;
    latch_count_down(&inner->blocker.entered);
    bitnet_thread_pool_submit(inner->pool, count_job, &inner->count, NULL, NULL);
    return NULL;
}

static void a_job_that_waited_for_room_is_told_by_its_submitter(void **state)
{
    (void)state;
    struct blocker blocker = BLOCKER(1);
    bitnet_thread_pool *pool = make_traced_pool(1, 1);
    struct inner inner = {.pool = pool, .blocker = BLOCKER(1)};
    block_workers(pool, &blocker, 1);
    submit(pool, count_job, &inner.count, NULL);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, submit_one, &inner), 0);
    latch_wait(&inner.blocker.entered); /* it waits for room, or soon will */
    latch_count_down(&blocker.leave);
    pthread_join(thread, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(9);
    for (uint64_t id = 0; id < 3; id++) check_job(id, true, BITNET_OK);
    assert_false(
        pthread_equal(recorder.events[find_event(2, SUBMIT)].thread, pthread_self()));
}

static void refused_jobs_have_neither_stations_nor_numbers(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    struct blocker blocker = BLOCKER(1);
    bitnet_thread_pool *pool = make_traced_pool(1, 1);
    block_workers(pool, &blocker, 1);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_try_submit(pool, count_job, &count, NULL, NULL),
                     BITNET_ERROR_QUEUE_FULL);
    assert_int_equal(bitnet_thread_pool_submit_until(pool, 0, count_job, &count, NULL,
                                                     NULL),
                     BITNET_ERROR_TIMED_OUT);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                     BITNET_ERROR_SHUT_DOWN);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(9);
    for (uint64_t id = 0; id < 3; id++) check_job(id, true, BITNET_OK);
}

static void functions_that_are_not_there_are_not_called(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    const bitnet_trace ends_only = {.struct_size = sizeof(ends_only),
                                    .user = &recorder,
                                    .job_end = on_end};
    bitnet_thread_pool *pool = make_traced_pool_with(&ends_only, 1, 4);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(1);
    find_event(0, END);

    /* An older program's table ends earlier; what follows it is not ours to read. */
    bitnet_trace shorter = {sizeof(shorter), &recorder, on_submit,
                            on_start,        on_end,    on_cancel};
    shorter.struct_size = offsetof(bitnet_trace, job_start);
    recorder.n_events = 0;
    pool = make_traced_pool_with(&shorter, 1, 4);
    submit(pool, count_job, &count, NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_number_of_events(1);
    find_event(0, SUBMIT);
}

enum { N_SUBMITTERS = 4, JOBS_EACH = 200 };

static void *submit_and_cancel_some(void *arg)
{
    struct inner *inner = arg;
    latch_meet(&inner->blocker.entered);
    for (int i = 0; i < JOBS_EACH; i++) {
        bitnet_job *job = NULL;
        if (bitnet_thread_pool_submit(inner->pool, count_job, &inner->count, NULL,
                                      &job) != BITNET_OK)
            continue;
        if (i % 3 == 0) bitnet_job_cancel(job);
        bitnet_job_release(job);
    }
    return NULL;
}

static void many_threads_tell_of_every_job_once(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_traced_pool(3, 5);
    struct inner inner = {.pool = pool, .blocker = BLOCKER(N_SUBMITTERS)};
    pthread_t threads[N_SUBMITTERS];
    for (int i = 0; i < N_SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_and_cancel_some,
                                        &inner),
                         0);
    for (int i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);

    static unsigned n_told[N_SUBMITTERS * JOBS_EACH][N_STATIONS];
    memset(n_told, 0, sizeof(n_told));
    assert_true(recorder.n_events <= MAX_EVENTS);
    for (size_t i = 0; i < recorder.n_events; i++) {
        assert_true(recorder.events[i].job_id < N_SUBMITTERS * JOBS_EACH);
        n_told[recorder.events[i].job_id][recorder.events[i].station]++;
    }
    unsigned n_started = 0;
    for (size_t id = 0; id < N_SUBMITTERS * JOBS_EACH; id++) {
        assert_int_equal(n_told[id][SUBMIT], 1);
        assert_int_equal(n_told[id][END], 1);
        assert_true(n_told[id][START] == 1 || n_told[id][CANCEL] == 1);
        assert_true(n_told[id][START] <= 1 && n_told[id][CANCEL] <= 1);
        n_started += n_told[id][START];
    }
    assert_int_equal(n_started, atomic_load(&inner.count));
}

#define TRACE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRACE_TEST(jobs_that_run_are_told_from_submit_to_end),
        TRACE_TEST(a_job_cancelled_in_the_queue_has_no_start),
        TRACE_TEST(cancelling_a_running_job_is_told_before_its_end),
        TRACE_TEST(jobs_that_a_shutdown_drops_have_no_start),
        TRACE_TEST(a_job_that_makes_room_has_no_start),
        TRACE_TEST(a_job_that_expires_has_no_start),
        TRACE_TEST(a_worker_that_runs_its_own_job_tells_its_submit_first),
        TRACE_TEST(a_submitter_that_runs_its_job_tells_its_submit_first),
        TRACE_TEST(a_waiting_worker_tells_of_the_job_it_takes),
        TRACE_TEST(a_job_that_waited_for_room_is_told_by_its_submitter),
        TRACE_TEST(refused_jobs_have_neither_stations_nor_numbers),
        TRACE_TEST(functions_that_are_not_there_are_not_called),
        TRACE_TEST(many_threads_tell_of_every_job_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
