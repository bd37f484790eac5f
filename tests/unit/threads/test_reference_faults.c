/* SPDX-License-Identifier: MIT */
/*
 * test_reference_faults.c - what goes wrong in the thread pool we were asked to
 * surpass does not here. docs/reference-map.md lists those faults; the ones that no
 * other test is about are made here, in the way they happen there. Each would hang,
 * so each has a watchdog.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/jobs.h"

enum { WATCHDOG_S = 120 };

static struct watchdog dog;

static int set_up(void **state)
{
    (void)state;
    watchdog_start(&dog, "a fault of the reference", WATCHDOG_S);
    return bitnet_thread_manager_configure(NULL) == BITNET_OK ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    const bitnet_status status = bitnet_thread_manager_cleanup();
    watchdog_stop(&dog);
    return status == BITNET_OK && bni_alloc_in_use() == 0 ? 0 : 1;
}

/* Starts the process's pool with so many threads and places. */
static void start_manager(uint32_t num_threads, uint32_t max_queue_size)
{
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = num_threads;
    options.max_queue_size = max_queue_size;
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
}

static void execute(bitnet_job_fn fn, void *arg)
{
    assert_int_equal(bitnet_thread_manager_execute(fn, arg, NULL, NULL), BITNET_OK);
}

static bitnet_thread_pool_stats manager_stats(void)
{
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(bitnet_thread_manager_get_stats(&stats), BITNET_OK);
    return stats;
}

/* A job that lets the test go on, and submits jobs of its own when it is told to. */
struct nest {
    struct blocker blocker;
    unsigned n_jobs;
    _Atomic unsigned n_accepted;
    _Atomic unsigned n_ran;
};

static bitnet_status submit_from_inside(void *arg)
{
    struct nest *nest = arg;
    latch_count_down(&nest->blocker.entered);
    latch_wait(&nest->blocker.leave);
    for (unsigned i = 0; i < nest->n_jobs; i++) {
        const bitnet_status status =
            bitnet_thread_manager_execute(count_job, &nest->n_ran, NULL, NULL);
        if (status == BITNET_OK) atomic_fetch_add(&nest->n_accepted, 1);
    }
    return BITNET_OK;
}

static void a_job_may_submit_more_than_its_full_queue_holds(void **state)
{
    (void)state;
    start_manager(1, 1);
    struct nest nest = {.blocker = BLOCKER(1), .n_jobs = 10};
    latch_count_down(&nest.blocker.leave);
    execute(submit_from_inside, &nest);
    /* Unlike a wait, it includes the jobs that jobs submit. */
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(atomic_load(&nest.n_accepted), 10);
    assert_int_equal(atomic_load(&nest.n_ran), 10);
}

static void *clean_up_elsewhere(void *arg)
{
    *(bitnet_status *)arg = bitnet_thread_manager_cleanup();
    return NULL;
}

static bool is_shutting_down(void)
{
    _Atomic unsigned ignored = 0;
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_REFUSE;
    return bitnet_thread_manager_execute_with(count_job, &ignored, &options, NULL) ==
           BITNET_ERROR_SHUT_DOWN;
}

static void cleaning_up_while_a_job_submits_ends_with_all_jobs_run(void **state)
{
    (void)state;
    start_manager(1, 1);
    struct nest nest = {.blocker = BLOCKER(1), .n_jobs = 10};
    execute(submit_from_inside, &nest);
    latch_wait(&nest.blocker.entered);
    _Atomic unsigned count = 0;
    execute(count_job, &count); /* so that the queue is full, and probes are refused */
    bitnet_status status = BITNET_ERROR_INTERNAL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, clean_up_elsewhere, &status), 0);
    while (!is_shutting_down()) sched_yield();
    latch_count_down(&nest.blocker.leave); /* now the job submits, into the cleanup */
    pthread_join(thread, NULL);
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(atomic_load(&nest.n_accepted), 10);
    assert_int_equal(atomic_load(&nest.n_ran), 10);
    assert_int_equal(atomic_load(&count), 1);
}

static void changing_the_number_of_threads_while_a_job_submits_waits_for_no_job(
    void **state)
{
    (void)state;
    start_manager(1, 1);
    struct nest nest = {.blocker = BLOCKER(1), .n_jobs = 10};
    execute(submit_from_inside, &nest);
    latch_wait(&nest.blocker.entered);
    assert_int_equal(bitnet_thread_manager_set_num_threads(2), BITNET_OK);
    latch_count_down(&nest.blocker.leave);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(bitnet_thread_manager_set_num_threads(1 + i % 3), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(atomic_load(&nest.n_ran), 10);
}

static void *execute_elsewhere(void *arg)
{
    struct nest *nest = arg;
    latch_count_down(&nest->blocker.entered);
    if (bitnet_thread_manager_execute(count_job, &nest->n_ran, NULL, NULL) == BITNET_OK)
        atomic_fetch_add(&nest->n_accepted, 1);
    return NULL;
}

static void a_submitter_that_waits_for_room_holds_up_no_other_call(void **state)
{
    (void)state;
    start_manager(1, 1);
    struct blocker blocker = BLOCKER(1);
    struct nest waiting = {.blocker = BLOCKER(1)};
    _Atomic unsigned count = 0;
    execute(block_job, &blocker);
    latch_wait(&blocker.entered);
    execute(count_job, &count);
    pthread_t submitter;
    assert_int_equal(pthread_create(&submitter, NULL, execute_elsewhere, &waiting), 0);
    latch_wait(&waiting.blocker.entered); /* it is asleep, or soon will be */

    for (int i = 0; i < 100; i++) {
        const bitnet_thread_pool_stats stats = manager_stats();
        assert_int_equal(stats.n_running, 1);
        assert_int_equal(stats.n_queued, 1);
    }
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 1);
    bitnet_status status = BITNET_ERROR_INTERNAL;
    pthread_t cleaner;
    assert_int_equal(pthread_create(&cleaner, NULL, clean_up_elsewhere, &status), 0);
    pthread_join(submitter, NULL); /* let go by the cleanup, or never let in */
    assert_int_equal(atomic_load(&waiting.n_accepted), 0);
    latch_count_down(&blocker.leave);
    pthread_join(cleaner, NULL);
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(atomic_load(&count), 1);
}

struct traffic {
    struct latch is_flowing;
    _Atomic bool is_over;
    _Atomic unsigned n_ran;
};

static void *keep_submitting(void *arg)
{
    struct traffic *traffic = arg;
    while (!atomic_load(&traffic->is_over)) {
        bitnet_thread_manager_execute(count_job, &traffic->n_ran, NULL, NULL);
        latch_count_down(&traffic->is_flowing);
    }
    return NULL;
}

static void waiting_ends_under_steady_traffic(void **state)
{
    (void)state;
    start_manager(2, 4);
    struct traffic traffic = {.is_flowing = LATCH(20)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_submitting, &traffic),
                         0);
    latch_wait(&traffic.is_flowing);
    /* The traffic does not stop before these have returned. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    atomic_store(&traffic.is_over, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    /* What is still queued counts on this function's stack. */
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
}

static bitnet_status yield_and_count(void *arg)
{
    for (int i = 0; i < 20; i++) sched_yield(); /* so that the waiter is asleep */
    return count_job(arg);
}

static void waiting_ends_with_the_last_job_and_not_at_the_next_look(void **state)
{
    (void)state;
    /* Waits that look every 10 ms would take four minutes, and meet the watchdog. */
    enum { N_WAITS = 24000 };
    start_manager(1, 1);
    _Atomic unsigned count = 0;
    for (unsigned i = 1; i <= N_WAITS; i++) {
        execute(yield_and_count, &count);
        assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
        assert_int_equal(atomic_load(&count), i);
    }
}

/* Counts the process's threads whose names begin so; some may be ending. */
static unsigned count_threads_named(const char *prefix)
{
    unsigned n_threads = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        char name[16] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL) continue;
        if (fgets(name, sizeof(name), file) != NULL &&
            strncmp(name, prefix, strlen(prefix)) == 0)
            n_threads++;
        fclose(file);
    }
    closedir(folder);
    return n_threads;
}

/* Threads name themselves when they begin, and are listed a moment after their join. */
static void wait_for_threads_named(const char *prefix, unsigned n_threads)
{
    while (count_threads_named(prefix) != n_threads) sched_yield();
}

static void a_resize_never_has_more_threads_than_the_larger_number(void **state)
{
    (void)state;
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 3;
    options.thread_name_prefix = "double";
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    struct blocker blocker = BLOCKER(3);
    for (int i = 0; i < 3; i++) execute(block_job, &blocker);
    latch_wait(&blocker.entered);
    /* All three are busy, and stay: one is to be added, and no second pool made. */
    assert_int_equal(bitnet_thread_manager_set_num_threads(4), BITNET_OK);
    assert_true(count_threads_named("double") <= 4);
    assert_int_equal(manager_stats().n_threads, 4);
    wait_for_threads_named("double", 4);
    assert_int_equal(bitnet_thread_manager_set_num_threads(1), BITNET_OK);
    wait_for_threads_named("double", 3); /* those that run a job leave after it */
    latch_count_down(&blocker.leave);
    wait_for_threads_named("double", 1);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
}

struct again {
    bitnet_thread_pool *pool;
    struct latch went_round;
    _Atomic unsigned n_dropped;
};

static void note_drop(void *arg)
{
    struct again *again = arg;
    atomic_fetch_add(&again->n_dropped, 1);
}

static bitnet_status submit_itself(void *arg)
{
    struct again *again = arg;
    latch_count_down(&again->went_round);
    return bitnet_thread_pool_submit(again->pool, submit_itself, again, note_drop,
                                     NULL);
}

static void a_job_that_submits_itself_cannot_make_a_shutdown_endless(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct again again = {.pool = pool, .went_round = LATCH(3)};
    assert_int_equal(bitnet_thread_pool_submit(pool, submit_itself, &again, note_drop,
                                               NULL),
                     BITNET_OK);
    latch_wait(&again.went_round);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 bitnet_deadline_after_ms(5)),
                     BITNET_ERROR_TIMED_OUT);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_int_equal(stats.n_active, 0);
    assert_int_equal(stats.n_dropped, atomic_load(&again.n_dropped));
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void as_many_threads_work_as_were_set(void **state)
{
    (void)state;
    struct blocker blocker = BLOCKER(5);
    start_manager(2, 8);
    assert_int_equal(bitnet_thread_manager_set_num_threads(5), BITNET_OK);
    for (int i = 0; i < 5; i++) execute(block_job, &blocker);
    latch_wait(&blocker.entered); /* all five are inside their job at once */
    assert_int_equal(manager_stats().n_running, 5);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
}

struct nature {
    char name[16];
    size_t stack_bytes;
    struct blocker blocker;
};

static bitnet_status note_nature(void *arg)
{
    struct nature *nature = arg;
    pthread_attr_t attributes;
    pthread_getname_np(pthread_self(), nature->name, sizeof(nature->name));
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return BITNET_ERROR_INTERNAL;
    pthread_attr_getstacksize(&attributes, &nature->stack_bytes);
    pthread_attr_destroy(&attributes);
    return block_job(&nature->blocker);
}

static void queue_stack_and_names_of_the_process_pool_can_be_set(void **state)
{
    (void)state;
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 1;
    options.max_queue_size = 3;
    options.stack_size = (size_t)12 << 20; /* the C library keeps used ones of 8 */
    options.thread_name_prefix = "mine";
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    struct nature nature = {.blocker = BLOCKER(1)};
    _Atomic unsigned count = 0;
    execute(note_nature, &nature);
    latch_wait(&nature.blocker.entered);
    bitnet_submit_options refuse = bitnet_submit_options_default();
    refuse.when_full = BITNET_SUBMIT_REFUSE;
    unsigned n_accepted = 0;
    while (bitnet_thread_manager_execute_with(count_job, &count, &refuse, NULL) ==
           BITNET_OK)
        n_accepted++;
    latch_count_down(&nature.blocker.leave);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(n_accepted, 3);
    assert_string_equal(nature.name, "mine-0");
    /* More or less: the system rounds, and keeps things of its own there. */
    assert_in_range(nature.stack_bytes, options.stack_size - 65536,
                    options.stack_size + 65536);
}

static void zeros_are_the_defaults_or_refused_and_never_a_pool_that_cannot_work(
    void **state)
{
    (void)state;
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.max_queue_size = 0;
    assert_int_equal(bitnet_thread_manager_configure(&options),
                     BITNET_ERROR_INVALID_ARGUMENT);
    options = bitnet_thread_manager_options_default();
    options.stack_size = 1;
    assert_int_equal(bitnet_thread_manager_configure(&options),
                     BITNET_ERROR_INVALID_ARGUMENT);
    start_manager(0, 1); /* as many as there are CPUs */
    assert_true(bitnet_thread_manager_get_num_threads() >= 1);
    assert_int_equal(bitnet_thread_manager_set_num_threads(0), BITNET_OK);
    _Atomic unsigned count = 0;
    execute(count_job, &count);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(atomic_load(&count), 1);
}

static void a_number_of_threads_that_cannot_be_had_is_not_kept(void **state)
{
    (void)state;
    start_manager(2, 4);
    bool has_failed = false;
    for (uint64_t n = 1; n < 100; n++) {
        bni_fault_arm(n);
        const bitnet_status status = bitnet_thread_manager_set_num_threads(6);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        const uint32_t n_expected = status == BITNET_OK ? 6 : 2;
        has_failed |= status != BITNET_OK;
        assert_int_equal(bitnet_thread_manager_get_num_threads(), n_expected);
        assert_int_equal(bitnet_thread_manager_set_num_threads(2), BITNET_OK);
        _Atomic unsigned count = 0;
        execute(count_job, &count);
        assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
        assert_int_equal(atomic_load(&count), 1);
        if (!was_asked) break;
    }
    assert_true(has_failed);
}

static void statistics_are_counted_and_measured(void **state)
{
    (void)state;
    start_manager(1, 8);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned count = 0;
    const uint64_t begin_ns = bitnet_clock_ns();
    execute(block_job, &blocker);
    latch_wait(&blocker.entered);
    for (int i = 0; i < 3; i++) execute(count_job, &count);
    const bitnet_thread_pool_stats during = manager_stats();
    assert_int_equal(during.n_running, 1);
    assert_int_equal(during.n_queued, 3);
    assert_int_equal(during.queue_wait.n, 1);
    assert_int_equal(during.run_time.n, 0);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    const bitnet_thread_pool_stats after = manager_stats();
    const uint64_t passed_ns = bitnet_clock_ns() - begin_ns;
    assert_int_equal(after.n_completed, 4);
    assert_int_equal(after.max_queued, 3);
    assert_int_equal(after.queue_wait.n, 4);
    assert_int_equal(after.run_time.n, 4);
    assert_true(after.run_time.total_ns > 0 && after.run_time.total_ns <= passed_ns);
    assert_true(after.run_time.max_ns <= passed_ns);
    assert_true(after.queue_wait.max_ns > 0 && after.queue_wait.max_ns <= passed_ns);
}

#define FAULT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULT_TEST(a_job_may_submit_more_than_its_full_queue_holds),
        FAULT_TEST(cleaning_up_while_a_job_submits_ends_with_all_jobs_run),
        FAULT_TEST(changing_the_number_of_threads_while_a_job_submits_waits_for_no_job),
        FAULT_TEST(a_submitter_that_waits_for_room_holds_up_no_other_call),
        FAULT_TEST(waiting_ends_under_steady_traffic),
        FAULT_TEST(waiting_ends_with_the_last_job_and_not_at_the_next_look),
        FAULT_TEST(a_resize_never_has_more_threads_than_the_larger_number),
        FAULT_TEST(a_job_that_submits_itself_cannot_make_a_shutdown_endless),
        FAULT_TEST(as_many_threads_work_as_were_set),
        FAULT_TEST(queue_stack_and_names_of_the_process_pool_can_be_set),
        FAULT_TEST(zeros_are_the_defaults_or_refused_and_never_a_pool_that_cannot_work),
        FAULT_TEST(a_number_of_threads_that_cannot_be_had_is_not_kept),
        FAULT_TEST(statistics_are_counted_and_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
