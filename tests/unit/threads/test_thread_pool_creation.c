/* SPDX-License-Identifier: MIT */
/*
 * test_thread_pool_creation.c - options, their limits, and creation that fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/topology.h"
#include "support/jobs.h"

static void check_refused(const bitnet_thread_pool_options *options, const char *named)
{
    bitnet_thread_pool *pool = NULL;
    const uint64_t in_use = bni_alloc_in_use();
    uint64_t n_bytes;
    assert_int_equal(bitnet_thread_pool_create(options, &pool),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), named));
    assert_null(pool);
    assert_int_equal(bni_alloc_in_use(), in_use);
    assert_int_equal(bitnet_thread_pool_memory_bound(options, &n_bytes),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static void the_defaults_make_a_pool_of_the_usable_cpus(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(NULL, &pool), BITNET_OK);
    assert_int_equal(stats_of(pool).n_threads, bni_topology_n_usable());
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    assert_int_equal(bitnet_thread_pool_destroy(NULL), BITNET_OK);
}

static void presets_change_what_they_say(void **state)
{
    (void)state;
    const unsigned n_cpus = bni_topology_n_usable();
    assert_int_equal(
        bitnet_thread_pool_options_for(BITNET_WORKLOAD_LOW_LATENCY).max_queue_size,
        100);
    assert_int_equal(
        bitnet_thread_pool_options_for(BITNET_WORKLOAD_HIGH_THROUGHPUT).max_queue_size,
        10000);
    const bitnet_thread_pool_options small =
        bitnet_thread_pool_options_for(BITNET_WORKLOAD_MEMORY_CONSTRAINED);
    assert_int_equal(small.max_queue_size, 50);
    assert_int_equal(small.stack_size, 512 * 1024);
    assert_int_equal(
        bitnet_thread_pool_options_for(BITNET_WORKLOAD_CPU_BOUND).num_threads, n_cpus);
    assert_int_equal(
        bitnet_thread_pool_options_for(BITNET_WORKLOAD_IO_BOUND).num_threads,
        2 * n_cpus);
}

static void what_is_out_of_range_is_refused_by_name(void **state)
{
    (void)state;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 1000000;
    check_refused(&options, "num_threads is 1000000");

    options = bitnet_thread_pool_options_default();
    options.max_queue_size = 0;
    check_refused(&options, "max_queue_size is 0");
    options.max_queue_size = UINT32_MAX;
    check_refused(&options, "max_queue_size is 4294967295");

    options = bitnet_thread_pool_options_default();
    options.stack_size = 1;
    check_refused(&options, "stack_size is 1 ");

    options = bitnet_thread_pool_options_default();
    options.thread_name_prefix = NULL;
    check_refused(&options, "thread_name_prefix");
    options.thread_name_prefix = "";
    check_refused(&options, "thread_name_prefix");

    options = bitnet_thread_pool_options_default();
    options.struct_size = 0;
    check_refused(&options, "struct_size is 0");

    assert_int_equal(bitnet_thread_pool_create(NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static void an_older_callers_options_are_the_defaults_beyond_their_end(void **state)
{
    (void)state;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.struct_size = offsetof(bitnet_thread_pool_options, max_queue_size);
    options.num_threads = 3;
    options.max_queue_size = 0; /* beyond the end: not looked at */
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    assert_int_equal(stats_of(pool).n_threads, 3);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void a_pool_holds_no_more_than_its_bound(void **state)
{
    (void)state;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 4;
    options.max_queue_size = 300;
    options.stack_size = 128 * 1024;
    uint64_t bound;
    assert_int_equal(bitnet_thread_pool_memory_bound(&options, &bound), BITNET_OK);
    const uint64_t before = bni_alloc_in_use();
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    const uint64_t held = bni_alloc_in_use() - before;
    assert_true(held + 4 * options.stack_size <= bound);
    /* And the bound is not idle talk: it is near. */
    assert_true(bound < held + 4 * options.stack_size + 64 * 1024);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    assert_int_equal(bni_alloc_in_use(), before);
}

struct seen {
    char name[16];
    size_t stack_bytes;
    int blocks_sigterm;
};

static bitnet_status look_around(void *arg)
{
    struct seen *seen = arg;
    pthread_attr_t attributes;
    sigset_t blocked;
    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    seen->blocks_sigterm = sigismember(&blocked, SIGTERM);
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return BITNET_ERROR_INTERNAL;
    pthread_attr_getstacksize(&attributes, &seen->stack_bytes);
    pthread_attr_destroy(&attributes);
    return BITNET_OK;
}

static void a_worker_has_its_name_its_stack_and_no_signals(void **state)
{
    (void)state;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 1;
    options.stack_size = 1024 * 1024;
    options.thread_name_prefix = "a-very-long-prefix";
    bitnet_thread_pool *pool = NULL;
    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    struct seen seen = {.stack_bytes = 0};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(pool, look_around, &seen, NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    bitnet_job_release(job);
    assert_string_equal(seen.name, "a-very-long-p-0");
    assert_true(seen.stack_bytes >= 1024 * 1024 && seen.stack_bytes < 2048 * 1024);
    assert_int_equal(seen.blocks_sigterm, 1);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

/* Every lock, allocation and thread in turn is refused: the k-1 threads before are
 * stopped and joined, nothing leaks, and the message says what could not be had. */
static void whatever_creation_fails_on_nothing_is_left(void **state)
{
    (void)state;
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 4;
    const uint64_t in_use = bni_alloc_in_use();
    unsigned n_thread_failures = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_thread_pool *pool = NULL;
        bni_fault_arm(n);
        const bitnet_status status = bitnet_thread_pool_create(&options, &pool);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (status == BITNET_OK) {
            assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
            assert_int_equal(bni_alloc_in_use(), in_use);
            if (!was_asked) break;
            continue;
        }
        assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
        assert_int_equal(bitnet_last_status(), status);
        if (strstr(bitnet_last_error(), "cannot create a thread pool of 4 threads: "
                                        "cannot create thread bitnet-worker-") != NULL)
            n_thread_failures++;
        assert_null(pool);
        assert_int_equal(bni_alloc_in_use(), in_use);
        assert_true(n < 1000);
    }
    assert_int_equal(n_thread_failures, 8); /* attributes and thread, for each of 4 */
}

#define POOL_TEST(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog, stop_watchdog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(the_defaults_make_a_pool_of_the_usable_cpus),
        POOL_TEST(presets_change_what_they_say),
        POOL_TEST(what_is_out_of_range_is_refused_by_name),
        POOL_TEST(an_older_callers_options_are_the_defaults_beyond_their_end),
        POOL_TEST(a_pool_holds_no_more_than_its_bound),
        POOL_TEST(a_worker_has_its_name_its_stack_and_no_signals),
        POOL_TEST(whatever_creation_fails_on_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
