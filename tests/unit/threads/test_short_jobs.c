/* SPDX-License-Identifier: MIT */
/*
 * Very short jobs, which workers take several at a time: nobody may notice but by the
 * speed. See src/threads/pool_hand.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bitnet.h>

#include "support/jobs.h"

enum { LIMIT_S = 120, N_WARM = 2000, N_PRODUCERS = 4, N_EACH = 20000 };

/* Lets the pool learn that jobs are short. */
static void warm_up(bitnet_thread_pool *pool)
{
    _Atomic unsigned n_run = 0;
    for (unsigned i = 0; i < N_WARM; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_run, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(n_run, N_WARM);
}

struct counted {
    struct latch all;
    _Atomic unsigned n;
};

static bitnet_status count_down_job(void *arg)
{
    struct counted *counted = (struct counted *)arg;
    atomic_fetch_add(&counted->n, 1);
    latch_count_down(&counted->all);
    return BITNET_OK;
}

static void a_long_job_among_short_ones_holds_up_none_of_them(void **state)
{
    (void)state;
    enum { N_SHORT = 60, N_ROUNDS = 50 };
    struct watchdog dog;
    watchdog_start(&dog, "a long job among short ones", LIMIT_S);
    bitnet_thread_pool *pool = make_pool(2, 1000);
    warm_up(pool);
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        struct blocker gate = BLOCKER(2);
        struct blocker longest = BLOCKER(1);
        struct counted counted = {.all = LATCH(N_SHORT)};
        block_workers(pool, &gate, 2);
        for (unsigned i = 0; i < N_SHORT; i++) {
            assert_int_equal(bitnet_thread_pool_submit(pool, count_down_job, &counted,
                                                       NULL, NULL),
                             BITNET_OK);
            if (i != round % N_SHORT) continue;
            assert_int_equal(bitnet_thread_pool_submit(pool, block_job, &longest, NULL,
                                                       NULL),
                             BITNET_OK);
        }
        latch_count_down(&gate.leave);
        latch_wait(&counted.all); /* while the long one still runs */
        latch_wait(&longest.entered);
        assert_int_equal(stats_of(pool).n_queued, 0);
        latch_count_down(&longest.leave);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    }
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    watchdog_stop(&dog);
}

struct order {
    unsigned next; /* the only worker's, and the test's after a wait */
    bool is_kept;
};

struct numbered {
    struct order *order;
    unsigned number;
};

static bitnet_status check_number(void *arg)
{
    const struct numbered *job = (const struct numbered *)arg;
    if (job->order->next != job->number) job->order->is_kept = false;
    job->order->next++;
    return BITNET_OK;
}

static void one_worker_keeps_the_order(void **state)
{
    (void)state;
    enum { N_JOBS = 5000 };
    static struct numbered jobs[N_JOBS];
    struct order order = {.is_kept = true};
    bitnet_thread_pool *pool = make_pool(1, 100);
    for (unsigned i = 0; i < N_JOBS; i++) {
        jobs[i] = (struct numbered){&order, i};
        assert_int_equal(bitnet_thread_pool_submit(pool, check_number, &jobs[i], NULL,
                                                   NULL),
                         BITNET_OK);
        if (i % 512 == 0) stats_of(pool); /* gathers: the order must survive that */
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(order.next, N_JOBS);
    assert_true(order.is_kept);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static bitnet_status exit_job(void *arg)
{
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
    pthread_exit(NULL);
}

static void a_job_that_ends_its_thread_takes_no_other_with_it(void **state)
{
    (void)state;
    enum { N_JOBS = 2000, EXIT_EVERY = 100 };
    struct watchdog dog;
    watchdog_start(&dog, "ended threads", LIMIT_S);
    bitnet_thread_pool *pool = make_pool(2, 1000);
    warm_up(pool);
    _Atomic unsigned n_run = 0;
    for (unsigned i = 0; i < N_JOBS; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool,
                                                   i % EXIT_EVERY == 0 ? exit_job
                                                                       : count_job,
                                                   &n_run, NULL, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(n_run, N_JOBS);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_failed, N_JOBS / EXIT_EVERY);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    watchdog_stop(&dog);
}

/* What is in a hand when a job follows that has a handle, and so is never in one. */
static void jobs_with_handles_between_them_lose_none(void **state)
{
    (void)state;
    enum { N_JOBS = 2000 };
    static bitnet_job *handles[N_JOBS];
    bitnet_thread_pool *pool = make_pool(1, N_JOBS);
    struct blocker gate = BLOCKER(1);
    warm_up(pool);
    block_workers(pool, &gate, 1);
    _Atomic unsigned n_run = 0;
    for (unsigned i = 0; i < N_JOBS; i++)
        assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_run, NULL,
                                                   i % 3 == 0 ? &handles[i] : NULL),
                         BITNET_OK);
    latch_count_down(&gate.leave);
    for (unsigned i = 0; i < N_JOBS; i += 3) {
        assert_int_equal(bitnet_job_wait(handles[i]), BITNET_OK);
        bitnet_job_release(handles[i]);
    }
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(n_run, N_JOBS);
    const bitnet_thread_pool_stats stats = stats_of(pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(stats.n_completed, N_WARM + 1 + N_JOBS);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void an_immediate_shutdown_finds_what_is_in_hands(void **state)
{
    (void)state;
    enum { N_JOBS = 900, N_ROUNDS = 50 };
    for (unsigned round = 0; round < N_ROUNDS; round++) {
        bitnet_thread_pool *pool = make_pool(2, 1000);
        warm_up(pool);
        _Atomic unsigned n_run = 0;
        _Atomic unsigned n_ended = 0;
        for (unsigned i = 0; i < N_JOBS; i++)
            assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_ended,
                                                       count_drop, NULL),
                             BITNET_OK);
        assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                     BITNET_NO_DEADLINE),
                         BITNET_OK);
        assert_int_equal(n_ended, N_JOBS); /* ran or dropped, once */
        const bitnet_thread_pool_stats stats = stats_of(pool);
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_completed + stats.n_dropped, N_WARM + N_JOBS);
        assert_int_equal(n_run, 0);
        assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    }
}

struct producer {
    bitnet_thread_pool *pool;
    struct latch *start;
    _Atomic unsigned *n_run;
};

static void *producer_main(void *arg)
{
    const struct producer *producer = (const struct producer *)arg;
    latch_wait(producer->start);
    for (unsigned i = 0; i < N_EACH; i++) {
        if (bitnet_thread_pool_submit(producer->pool, count_job, producer->n_run, NULL,
                                      NULL) != BITNET_OK)
            return arg;
    }
    return NULL;
}

static void the_accounts_are_exact_at_every_look(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, "an observer of short jobs", LIMIT_S);
    bitnet_thread_pool *pool = make_pool(2, 100);
    struct latch start = LATCH(1);
    _Atomic unsigned n_run = 0;
    struct producer producer = {pool, &start, &n_run};
    pthread_t threads[N_PRODUCERS];
    for (unsigned i = 0; i < N_PRODUCERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, producer_main, &producer),
                         0);
    latch_count_down(&start);
    uint64_t n_ended = 0;
    while (n_ended < (uint64_t)N_PRODUCERS * N_EACH) {
        const bitnet_thread_pool_stats stats = stats_of(pool);
        assert_true(accounting_holds(&stats));
        assert_true(stats.n_queued <= 100);
        assert_true(stats.n_running <= 2);
        assert_true(stats.n_completed >= n_ended);
        assert_int_equal(stats.run_time.n, stats.n_completed);
        assert_int_equal(stats.queue_wait.n, stats.n_completed + stats.n_running);
        n_ended = stats.n_completed;
        sched_yield();
    }
    for (unsigned i = 0; i < N_PRODUCERS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(n_run, N_PRODUCERS * N_EACH);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    watchdog_stop(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_job_among_short_ones_holds_up_none_of_them),
        cmocka_unit_test(one_worker_keeps_the_order),
        cmocka_unit_test(a_job_that_ends_its_thread_takes_no_other_with_it),
        cmocka_unit_test(jobs_with_handles_between_them_lose_none),
        cmocka_unit_test(an_immediate_shutdown_finds_what_is_in_hands),
        cmocka_unit_test(the_accounts_are_exact_at_every_look),
    };
    return cmocka_run_group_tests(tests, prepare_unwinder, NULL);
}
