/* SPDX-License-Identifier: MIT */
/*
 * test_thread_manager.c - the process-wide pool through its life, from many threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/topology.h"
#include "support/jobs.h"

enum { N_THREADS = 8 };

static int set_up(void **state)
{
    start_watchdog(state);
    return bitnet_thread_manager_configure(NULL) == BITNET_OK ? 0 : 1;
}

static int clean_up(void **state)
{
    const bitnet_status status = bitnet_thread_manager_cleanup();
    stop_watchdog(state);
    return status == BITNET_OK && bni_alloc_in_use() == 0 ? 0 : 1;
}

static bitnet_thread_pool_stats manager_stats(void)
{
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(bitnet_thread_manager_get_stats(&stats), BITNET_OK);
    return stats;
}

static void it_runs_jobs_between_initialize_and_cleanup(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    assert_int_equal(bitnet_thread_manager_execute(count_job, &count, NULL, NULL),
                     BITNET_ERROR_SHUT_DOWN);
    assert_non_null(strstr(bitnet_last_error(), "not initialized"));
    for (unsigned round = 1; round <= 3; round++) {
        assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
        assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
        for (int i = 0; i < 20; i++)
            assert_int_equal(bitnet_thread_manager_execute(count_job, &count, NULL,
                                                           NULL),
                             BITNET_OK);
        assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
        assert_int_equal(atomic_load(&count), round * 20);
        const bitnet_thread_pool_stats stats = manager_stats();
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_completed, 20);
        assert_int_equal(stats.n_threads, bni_topology_n_usable());
        assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
        assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    }
    assert_int_equal(manager_stats().n_threads, 0);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
}

static bitnet_status note_name(void *arg)
{
    pthread_getname_np(pthread_self(), arg, 16);
    return BITNET_OK;
}

static void configuring_is_for_before_it_runs(void **state)
{
    (void)state;
    char prefix[] = "mine";
    char name[16] = "";
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 3;
    options.thread_name_prefix = prefix;
    options.compute_threads = 2;
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    prefix[0] = 'X'; /* it was copied */
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 3);
    assert_int_equal(bitnet_thread_manager_get_compute_threads(), 2);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    assert_int_equal(manager_stats().n_threads, 3);
    assert_int_equal(bitnet_thread_manager_execute(note_name, name, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_memory_equal(name, "mine-", 5);

    assert_int_equal(bitnet_thread_manager_configure(&options),
                     BITNET_ERROR_UNSUPPORTED_OPERATION);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);

    options.max_queue_size = 0;
    assert_int_equal(bitnet_thread_manager_configure(&options),
                     BITNET_ERROR_INVALID_ARGUMENT);
    options = bitnet_thread_manager_options_default();
    options.compute_threads = BITNET_MAX_COMPUTE_THREADS + 1;
    assert_int_equal(bitnet_thread_manager_configure(&options),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 3); /* nothing changed */
}

static void compute_threads_are_limited_and_may_be_automatic(void **state)
{
    (void)state;
    assert_int_equal(bitnet_thread_manager_set_compute_threads(3), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_get_compute_threads(), 3);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(257),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_thread_manager_get_compute_threads(), 3);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_get_compute_threads(),
                     bni_topology_n_compute());
}

static bitnet_status resize_and_execute(void *arg)
{
    const bitnet_status status = bitnet_thread_manager_set_num_threads(3);
    if (status != BITNET_OK) return status;
    return bitnet_thread_manager_execute(count_job, arg, NULL, NULL);
}

static void the_number_of_threads_changes_live_even_from_a_job(void **state)
{
    (void)state;
    _Atomic unsigned count = 0;
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_manager_set_num_threads(1), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 1);

    struct blocker blocker = BLOCKER(1);
    assert_int_equal(bitnet_thread_manager_execute(block_job, &blocker, NULL, NULL),
                     BITNET_OK);
    latch_wait(&blocker.entered);
    for (int i = 0; i < 50; i++)
        assert_int_equal(bitnet_thread_manager_execute(count_job, &count, NULL, NULL),
                         BITNET_OK);
    /* The only worker is busy: a second one takes the jobs now. */
    assert_int_equal(bitnet_thread_manager_set_num_threads(2), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_execute(resize_and_execute, &count, NULL,
                                                   &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(atomic_load(&count), 51);
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 3);
    assert_int_equal(bitnet_thread_manager_set_num_threads(1000000),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_thread_manager_set_num_threads(0), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_get_num_threads(), bni_topology_n_usable());
}

static bitnet_status clean_up_from_inside(void *arg)
{
    *(bitnet_status *)arg = bitnet_thread_manager_cleanup();
    return BITNET_OK;
}

static void a_job_may_not_clean_up_around_itself(void **state)
{
    (void)state;
    bitnet_status status = BITNET_OK;
    _Atomic unsigned count = 0;
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_execute(clean_up_from_inside, &status, NULL,
                                                   NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(status, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(bitnet_thread_manager_execute(count_job, &count, NULL, NULL),
                     BITNET_OK); /* and nothing has happened */
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
}

struct crowd {
    struct latch start;
    _Atomic unsigned n_accepted;
    _Atomic unsigned n_ran;
    _Atomic unsigned n_bad;
};

static void *initialize_and_execute(void *arg)
{
    struct crowd *crowd = arg;
    latch_meet(&crowd->start);
    if (bitnet_thread_manager_initialize() != BITNET_OK)
        atomic_fetch_add(&crowd->n_bad, 1);
    for (int i = 0; i < 50; i++) {
        if (bitnet_thread_manager_execute(count_job, &crowd->n_ran, NULL, NULL) !=
            BITNET_OK)
            atomic_fetch_add(&crowd->n_bad, 1);
    }
    return NULL;
}

static void many_threads_may_initialize_at_once(void **state)
{
    (void)state;
    struct crowd crowd = {.start = LATCH(N_THREADS)};
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, initialize_and_execute,
                                        &crowd),
                         0);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(atomic_load(&crowd.n_bad), 0);
    assert_int_equal(atomic_load(&crowd.n_ran), N_THREADS * 50);
    assert_int_equal(manager_stats().n_threads, bni_topology_n_usable());
}

static void *do_everything(void *arg)
{
    struct crowd *crowd = arg;
    bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
    latch_meet(&crowd->start);
    for (unsigned i = 0; i < 60; i++) {
        bitnet_status status = bitnet_thread_manager_initialize();
        if (status != BITNET_OK && status != BITNET_ERROR_SHUT_DOWN)
            atomic_fetch_add(&crowd->n_bad, 1);
        status = bitnet_thread_manager_execute(count_job, &crowd->n_ran, NULL, NULL);
        if (status == BITNET_OK) atomic_fetch_add(&crowd->n_accepted, 1);
        if (status != BITNET_OK && status != BITNET_ERROR_SHUT_DOWN)
            atomic_fetch_add(&crowd->n_bad, 1);
        bitnet_thread_manager_get_stats(&stats);
        if (!accounting_holds(&stats)) atomic_fetch_add(&crowd->n_bad, 1);
        if (i % 5 == 0) bitnet_thread_manager_set_num_threads(1 + i % 3);
        if (i % 7 == 0) bitnet_thread_manager_wait_for_completion();
        if (i % 11 == 0 && bitnet_thread_manager_cleanup() != BITNET_OK)
            atomic_fetch_add(&crowd->n_bad, 1);
    }
    return NULL;
}

static void everything_at_once_loses_no_accepted_job(void **state)
{
    (void)state;
    struct crowd crowd = {.start = LATCH(4)};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, do_everything, &crowd), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(atomic_load(&crowd.n_bad), 0);
    assert_int_equal(atomic_load(&crowd.n_ran), atomic_load(&crowd.n_accepted));
}

static void initializing_that_fails_can_be_tried_again(void **state)
{
    (void)state;
    assert_int_equal(bitnet_thread_manager_set_num_threads(2), BITNET_OK);
    for (uint64_t n = 1;; n++) {
        bni_fault_arm(n);
        const bitnet_status status = bitnet_thread_manager_initialize();
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (status != BITNET_OK) {
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_int_equal(bni_alloc_in_use(), 0);
        }
        assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
        assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
        if (!was_asked) break;
        assert_true(n < 100);
    }
}

static void the_limits_are_those_of_the_system(void **state)
{
    (void)state;
    bitnet_cpu_limits limits = {.struct_size = sizeof(limits)};
    assert_int_equal(bitnet_thread_manager_get_cpu_limits(&limits), BITNET_OK);
    assert_int_equal(limits.n_affinity, bni_topology_n_cpus());
    assert_int_equal(limits.n_usable, bni_topology_n_usable());
    assert_int_equal(limits.n_compute, bni_topology_n_compute());
    assert_true(limits.n_cores >= 1 && limits.n_cores <= limits.n_affinity);
    assert_int_equal(limits.quota == 0, limits.quota_milli == 0);
    assert_true(limits.n_throttled <= limits.n_periods);

    assert_int_equal(bitnet_thread_manager_get_cpu_limits(NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    limits.struct_size = 0;
    assert_int_equal(bitnet_thread_manager_get_cpu_limits(&limits),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static bitnet_thread_refresh refresh(void)
{
    bitnet_thread_refresh changes = {.struct_size = sizeof(changes)};
    assert_int_equal(bitnet_thread_manager_refresh(&changes), BITNET_OK);
    return changes;
}

/* Lets this thread, and those it starts, use the first CPU only. */
static cpu_set_t narrow_affinity(void)
{
    cpu_set_t before;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    return before;
}

static void a_refresh_follows_what_was_left_to_the_library(void **state)
{
    (void)state;
    const uint32_t n_usable = bni_topology_n_usable();
    const uint32_t n_compute = bni_topology_n_compute();
    assert_int_equal(refresh().num_threads, 0); /* there is no pool yet */
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    bitnet_thread_refresh changes = refresh();
    assert_int_equal(changes.num_threads_before, n_usable);
    assert_int_equal(changes.num_threads, n_usable);
    assert_int_equal(changes.compute_threads_before, n_compute);
    assert_int_equal(changes.compute_threads, n_compute);

    const cpu_set_t before = narrow_affinity();
    changes = refresh();
    assert_int_equal(changes.num_threads_before, n_usable);
    assert_int_equal(changes.num_threads, 1);
    assert_int_equal(changes.compute_threads_before, n_compute);
    assert_int_equal(changes.compute_threads, 1);
    assert_int_equal(bitnet_thread_manager_get_num_threads(), 1);
    assert_int_equal(bitnet_thread_manager_get_compute_threads(), 1);

    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    changes = refresh();
    assert_int_equal(changes.num_threads, n_usable);
    assert_int_equal(changes.compute_threads, n_compute);
    assert_int_equal(bitnet_thread_manager_refresh(NULL), BITNET_OK);

    _Atomic unsigned count = 0;
    for (int i = 0; i < 20; i++)
        assert_int_equal(bitnet_thread_manager_execute(count_job, &count, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    assert_int_equal(atomic_load(&count), 20);
}

static void a_refresh_leaves_what_the_program_has_set(void **state)
{
    (void)state;
    assert_int_equal(bitnet_thread_manager_set_num_threads(3), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(2), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    const cpu_set_t before = narrow_affinity();
    bitnet_thread_refresh changes = refresh();
    assert_int_equal(changes.num_threads_before, 3);
    assert_int_equal(changes.num_threads, 3);
    assert_int_equal(changes.compute_threads, 2);
    /* Given back to the library, they follow again. */
    assert_int_equal(bitnet_thread_manager_set_compute_threads(0), BITNET_OK);
    assert_int_equal(refresh().compute_threads, 1);
    assert_int_equal(bitnet_thread_manager_set_num_threads(0), BITNET_OK);
    assert_int_equal(refresh().num_threads, 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(refresh().num_threads, bni_topology_n_usable());
}

static void *refresh_all_the_while(void *arg)
{
    struct crowd *crowd = arg;
    latch_meet(&crowd->start);
    for (int i = 0; i < 20; i++) {
        const bitnet_status status = bitnet_thread_manager_refresh(NULL);
        if (status != BITNET_OK && status != BITNET_ERROR_SHUT_DOWN)
            atomic_fetch_add(&crowd->n_bad, 1);
    }
    return NULL;
}

static void refreshing_is_for_any_thread_at_any_time(void **state)
{
    (void)state;
    struct crowd crowd = {.start = LATCH(3)};
    pthread_t threads[3];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, refresh_all_the_while,
                                        &crowd),
                         0);
    assert_int_equal(pthread_create(&threads[2], NULL, do_everything, &crowd), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    /* What is still queued counts on this function's stack. */
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(atomic_load(&crowd.n_bad), 0);
    assert_int_equal(atomic_load(&crowd.n_ran), atomic_load(&crowd.n_accepted));
}

#define MANAGER_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANAGER_TEST(it_runs_jobs_between_initialize_and_cleanup),
        MANAGER_TEST(configuring_is_for_before_it_runs),
        MANAGER_TEST(compute_threads_are_limited_and_may_be_automatic),
        MANAGER_TEST(the_number_of_threads_changes_live_even_from_a_job),
        MANAGER_TEST(a_job_may_not_clean_up_around_itself),
        MANAGER_TEST(many_threads_may_initialize_at_once),
        MANAGER_TEST(everything_at_once_loses_no_accepted_job),
        MANAGER_TEST(initializing_that_fails_can_be_tried_again),
        MANAGER_TEST(the_limits_are_those_of_the_system),
        MANAGER_TEST(a_refresh_follows_what_was_left_to_the_library),
        MANAGER_TEST(a_refresh_leaves_what_the_program_has_set),
        MANAGER_TEST(refreshing_is_for_any_thread_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
