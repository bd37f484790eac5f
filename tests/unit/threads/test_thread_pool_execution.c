/* SPDX-License-Identifier: MIT */
/*
 * test_thread_pool_execution.c - jobs run once, in order, within bounds; what waits,
 * wakes; and the accounting is exact at every instant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "support/jobs.h"

static void every_job_runs_exactly_once(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(3, 7);
    _Atomic unsigned count = 0;
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&count), 500);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_completed, 500);
    assert_int_equal(stats.n_active, 0);
    assert_true(stats.max_queued >= 1 && stats.max_queued <= 7);
    destroy_pool(pool);
}

struct order {
    unsigned numbers[64];
    _Atomic unsigned n_noted;
};

struct numbered {
    struct order *order;
    unsigned number;
};

static bitnet_status note_number(void *arg)
{
    const struct numbered *numbered = arg;
    struct order *order = numbered->order;
    order->numbers[atomic_fetch_add(&order->n_noted, 1)] = numbered->number;
    return BITNET_OK;
}

static void one_worker_keeps_the_order_of_submission(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 64);
    struct order order = {.n_noted = 0};
    struct numbered jobs[64];
    for (unsigned i = 0; i < 64; i++) {
        jobs[i] = (struct numbered){&order, i};
        assert_int_equal(bitnet_thread_pool_submit(pool, note_number, &jobs[i], NULL,
                                                   NULL),
                         BITNET_OK);
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    for (unsigned i = 0; i < 64; i++) assert_int_equal(order.numbers[i], i);
    destroy_pool(pool);
}

static void a_full_queue_refuses_at_once_or_at_the_deadline(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 2);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned count = 0;
    _Atomic unsigned n_dropped = 0;
    block_workers(pool, &blocker, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(bitnet_thread_pool_try_submit(pool, count_job, &count, NULL,
                                                       NULL),
                         BITNET_OK);

    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_try_submit(pool, count_job, &count, count_drop,
                                                   &job),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "all 2 places"));
    assert_int_equal(bitnet_thread_pool_submit_until(pool, bitnet_deadline_after_ms(1),
                                                     count_job, &count, count_drop,
                                                     &job),
                     BITNET_ERROR_TIMED_OUT);
    assert_null(job);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_refused, 2);
    assert_int_equal(stats.n_active, 3);
    assert_int_equal(stats.max_queued, 2);

    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&count), 2);
    assert_int_equal(atomic_load(&n_dropped), 0);
    destroy_pool(pool);
}

struct late_submit {
    bitnet_thread_pool *pool;
    struct numbered job;
    struct latch *go;
    bitnet_status status;
};

static void *submit_late(void *arg)
{
    struct late_submit *late = arg;
    latch_wait(late->go);
    late->status =
        bitnet_thread_pool_submit(late->pool, note_number, &late->job, NULL, NULL);
    return NULL;
}

static void a_submitter_sleeps_until_there_is_room(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    struct order order = {.n_noted = 0};
    struct latch go = LATCH(1);
    block_workers(pool, &blocker, 1);
    struct late_submit late[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        late[i] = (struct late_submit){pool, {&order, i}, &go, BITNET_ERROR_INTERNAL};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_late, &late[i]), 0);
    }
    latch_count_down(&go);
    latch_count_down(&blocker.leave);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(late[i].status, BITNET_OK);
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&order.n_noted), 4);
    destroy_pool(pool);
}

static void a_handle_tells_what_becomes_of_its_job(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned count = 0;
    bitnet_job *first = NULL;
    bitnet_job *second = NULL;
    assert_int_equal(bitnet_thread_pool_submit(pool, block_job, &blocker, NULL, &first),
                     BITNET_OK);
    latch_wait(&blocker.entered);
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, &second),
                     BITNET_OK);
    assert_int_equal(bitnet_job_get_state(first), BITNET_JOB_RUNNING);
    assert_int_equal(bitnet_job_get_state(second), BITNET_JOB_QUEUED);
    assert_int_equal(bitnet_job_wait_until(first, bitnet_deadline_after_ms(1)),
                     BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "running"));
    assert_int_equal(bitnet_job_wait_until(second, 0), BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "queued"));

    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_job_wait(second), BITNET_OK);
    assert_int_equal(bitnet_job_wait(first), BITNET_OK);
    assert_int_equal(bitnet_job_get_state(first), BITNET_JOB_ENDED);
    assert_int_equal(atomic_load(&count), 1);
    bitnet_job_release(first);
    /* The other handle outlives the pool. */
    bitnet_job *same = bitnet_job_retain(second);
    bitnet_job_release(second);
    destroy_pool(pool);
    assert_int_equal(bitnet_job_wait(same), BITNET_OK);
    assert_false(bitnet_job_cancel(same));
    bitnet_job_release(same);
}

static void a_cancelled_job_never_runs_and_is_dropped_once(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct blocker blocker = BLOCKER(1);
    _Atomic unsigned n_run = 0;
    bitnet_job *jobs[3];
    block_workers(pool, &blocker, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_run, count_drop,
                                                   &jobs[i]),
                         BITNET_OK);
    assert_true(bitnet_job_cancel(jobs[1]));
    assert_int_equal(atomic_load(&n_run), 1); /* the drop */
    assert_false(bitnet_job_cancel(jobs[1]));
    assert_int_equal(bitnet_job_wait(jobs[1]), BITNET_ERROR_CANCELLED);
    assert_non_null(strstr(bitnet_last_error(), "cancelled"));
    assert_int_equal(stats_of(pool).n_queued, 2);

    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&n_run), 3);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_cancelled, 1);
    assert_int_equal(stats.n_completed, 3);
    for (int i = 0; i < 3; i++) bitnet_job_release(jobs[i]);
    destroy_pool(pool);
}

static bitnet_status run_until_told(void *arg)
{
    latch_count_down(arg);
    while (!bitnet_job_should_stop()) sched_yield();
    return bitnet_job_fail(BITNET_ERROR_CANCELLED, "stopped half way");
}

static void a_running_job_is_asked_to_stop(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct latch entered = LATCH(1);
    bitnet_job *job = NULL;
    assert_false(bitnet_job_should_stop());
    assert_int_equal(bitnet_thread_pool_submit(pool, run_until_told, &entered, NULL,
                                               &job),
                     BITNET_OK);
    latch_wait(&entered);
    assert_false(bitnet_job_cancel(job));
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_CANCELLED);
    assert_string_equal(bitnet_last_error(), "stopped half way");
    assert_int_equal(stats_of(pool).n_cancelled, 1);
    bitnet_job_release(job);
    destroy_pool(pool);
}

/* A job that submits another one of its kind, for as long as it is told to. */
struct chain {
    bitnet_thread_pool *pool;
    _Atomic int n_left;
    struct latch first_ran;
};

static bitnet_status run_link(void *arg)
{
    struct chain *chain = arg;
    latch_count_down(&chain->first_ran);
    if (atomic_fetch_sub(&chain->n_left, 1) <= 0) return BITNET_OK;
    return bitnet_thread_pool_submit(chain->pool, run_link, chain, NULL, NULL);
}

static void a_wait_is_for_the_jobs_before_it_only(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct chain chain = {.pool = pool, .n_left = INT32_MAX, .first_ran = LATCH(1)};
    assert_int_equal(bitnet_thread_pool_submit(pool, run_link, &chain, NULL, NULL),
                     BITNET_OK);
    latch_wait(&chain.first_ran);
    for (int i = 0; i < 20; i++)
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    atomic_store(&chain.n_left, 0);
    destroy_pool(pool);
}

static void waiting_gives_up_at_the_deadline(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    block_workers(pool, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_wait_until(pool, bitnet_deadline_after_ms(1)),
                     BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "1 jobs"));
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    destroy_pool(pool);
}

static void submitting_without_a_handle_allocates_nothing(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 16);
    const uint64_t before = bni_alloc_in_use();
    struct blocker blocker = BLOCKER(2);
    _Atomic unsigned count = 0;
    block_workers(pool, &blocker, 2);
    for (int i = 0; i < 16; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bni_alloc_in_use(), before);
    latch_count_down(&blocker.leave);
    destroy_pool(pool);
}

/* A job that submits itself into its own full queue: run at once, down to a limit. */
struct deep {
    bitnet_thread_pool *pool;
    unsigned n_inside;
    unsigned max_inside;
    bitnet_status innermost;
};

static bitnet_status go_deeper(void *arg)
{
    struct deep *deep = arg;
    deep->n_inside++;
    if (deep->n_inside > deep->max_inside) deep->max_inside = deep->n_inside;
    const bitnet_status status =
        bitnet_thread_pool_submit(deep->pool, go_deeper, deep, NULL, NULL);
    if (status != BITNET_OK) deep->innermost = status;
    deep->n_inside--;
    return BITNET_OK;
}

static bitnet_status fill_the_queue_and_go_deeper(void *arg)
{
    struct deep *deep = arg;
    static _Atomic unsigned count;
    const bitnet_status status =
        bitnet_thread_pool_submit(deep->pool, count_job, &count, NULL, NULL);
    return status != BITNET_OK ? status : go_deeper(deep);
}

static void a_worker_runs_what_its_own_full_queue_has_no_room_for(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct deep deep = {.pool = pool};
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(pool, fill_the_queue_and_go_deeper,
                                               &deep, NULL, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    bitnet_job_release(job);
    assert_int_equal(deep.max_inside, 32);
    assert_int_equal(deep.innermost, BITNET_ERROR_QUEUE_FULL);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_completed,
                     33); /* the first, 31 inside of it, the filler */
    assert_int_equal(stats.n_refused, 1);
    destroy_pool(pool);
}

static void resizing_loses_no_job(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 64);
    _Atomic unsigned count = 0;
    static const uint32_t sizes[] = {4, 2, 8, 1, 3, 16, 1};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        for (int j = 0; j < 100; j++)
            assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &count, NULL,
                                                       NULL),
                             BITNET_OK);
        assert_int_equal(bitnet_thread_pool_resize(pool, sizes[i]), BITNET_OK);
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(atomic_load(&count), 700);
    assert_int_equal(bitnet_thread_pool_resize(pool, 100000),
                     BITNET_ERROR_INVALID_ARGUMENT);
    destroy_pool(pool);
}

/* --- Stress: submitters, cancellers, and an observer who checks the books. --- */

struct stress {
    bitnet_thread_pool *pool;
    _Atomic unsigned n_ended; /* ran or dropped */
    _Atomic bool is_over;
    _Atomic bool has_failed;
    unsigned n_jobs_each;
    unsigned seed;
};

static void stress_drop(void *arg)
{
    struct stress *stress = arg;
    atomic_fetch_add(&stress->n_ended, 1);
}

static bitnet_status stress_job(void *arg)
{
    struct stress *stress = arg;
    const unsigned n = atomic_fetch_add(&stress->n_ended, 1);
    if (n % 7 == 0) return bitnet_job_fail(BITNET_ERROR_INTERNAL, "every seventh");
    if (n % 11 == 0) {
        /* Refused while the pool shuts down, or run here and ended with this thread. */
        bitnet_thread_pool_submit(stress->pool, stress_job, stress, stress_drop, NULL);
    }
    if (n % 97 == 0) pthread_exit(NULL);
    return BITNET_OK;
}

static void *stress_submitter(void *arg)
{
    struct stress *stress = arg;
    unsigned random = stress->seed;
    for (unsigned i = 0; i < stress->n_jobs_each; i++) {
        random = random * 1664525u + 1013904223u;
        bitnet_job *job = NULL;
        const bool has_handle = (random >> 16) % 2 == 0;
        const bitnet_status status =
            bitnet_thread_pool_submit(stress->pool, stress_job, stress, stress_drop,
                                      has_handle ? &job : NULL);
        if (status != BITNET_OK) {
            atomic_store(&stress->has_failed, true);
            return NULL;
        }
        if (!has_handle) continue;
        if ((random >> 20) % 3 == 0) bitnet_job_cancel(job);
        if ((random >> 24) % 5 == 0) bitnet_job_wait(job);
        if ((random >> 26) % 16 == 0)
            bitnet_thread_pool_resize(stress->pool, 1 + random % 4);
        bitnet_job_release(job);
    }
    return NULL;
}

static void *observe(void *arg)
{
    struct stress *stress = arg;
    while (!atomic_load(&stress->is_over)) {
        bitnet_thread_pool_stats stats = {.struct_size = sizeof(stats)};
        bitnet_thread_pool_get_stats(stress->pool, &stats);
        if (!accounting_holds(&stats)) atomic_store(&stress->has_failed, true);
        bitnet_thread_pool_wait(stress->pool);
    }
    return NULL;
}

static void the_books_balance_at_every_instant(void **state)
{
    (void)state;
    enum { N_SUBMITTERS = 3 };
    const char *given = getenv("BITNET_TEST_SEED");
    const unsigned seed =
        given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20251122u;
    print_message("seed %u\n", seed);
    static const uint32_t sizes[] = {1, 2, 8};
    for (unsigned s = 0; s < 3; s++) {
        struct stress stress = {.pool = make_pool(sizes[s], 5),
                                .n_jobs_each = 600,
                                .seed = seed + s};
        pthread_t threads[N_SUBMITTERS];
        pthread_t observer;
        assert_int_equal(pthread_create(&observer, NULL, observe, &stress), 0);
        for (int i = 0; i < N_SUBMITTERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, stress_submitter,
                                            &stress),
                             0);
        for (int i = 0; i < N_SUBMITTERS; i++) pthread_join(threads[i], NULL);
        assert_int_equal(bitnet_thread_pool_shutdown(stress.pool,
                                                     BITNET_SHUTDOWN_GRACEFUL,
                                                     BITNET_NO_DEADLINE),
                         BITNET_OK);
        atomic_store(&stress.is_over, true);
        pthread_join(observer, NULL);
        assert_false(atomic_load(&stress.has_failed));
        const bitnet_thread_pool_stats stats = stats_of(stress.pool);
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_active, 0);
        assert_int_equal(stats.n_submitted, atomic_load(&stress.n_ended));
        destroy_pool(stress.pool);
    }
}

#define POOL_TEST(test) \
    cmocka_unit_test_setup_teardown(test, start_watchdog, stop_watchdog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POOL_TEST(every_job_runs_exactly_once),
        POOL_TEST(one_worker_keeps_the_order_of_submission),
        POOL_TEST(a_full_queue_refuses_at_once_or_at_the_deadline),
        POOL_TEST(a_submitter_sleeps_until_there_is_room),
        POOL_TEST(a_handle_tells_what_becomes_of_its_job),
        POOL_TEST(a_cancelled_job_never_runs_and_is_dropped_once),
        POOL_TEST(a_running_job_is_asked_to_stop),
        POOL_TEST(a_wait_is_for_the_jobs_before_it_only),
        POOL_TEST(waiting_gives_up_at_the_deadline),
        POOL_TEST(submitting_without_a_handle_allocates_nothing),
        POOL_TEST(a_worker_runs_what_its_own_full_queue_has_no_room_for),
        POOL_TEST(resizing_loses_no_job),
        POOL_TEST(the_books_balance_at_every_instant),
    };
    return cmocka_run_group_tests(tests, prepare_unwinder, NULL);
}
