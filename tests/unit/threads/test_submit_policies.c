/* SPDX-License-Identifier: MIT */
/*
 * Submitting with options: what happens while the queue is full, and jobs that must
 * not begin too late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet.h>

#include "support/jobs.h"

enum { LIMIT_S = 30 };

static bitnet_status note_thread(void *arg)
{
    *(pthread_t *)arg = pthread_self();
    return BITNET_OK;
}

static bitnet_submit_options with_policy(bitnet_submit_policy policy)
{
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = policy;
    return options;
}

/* A pool of one worker, which is blocked, and a queue of `n_queue`, which is filled
 * with jobs that count. */
struct full_pool {
    struct watchdog dog;
    struct blocker blocker;
    _Atomic unsigned n_run;
    _Atomic unsigned n_dropped;
    bitnet_thread_pool *pool;
};

static void fill(struct full_pool *full, const char *what, unsigned n_queue)
{
    watchdog_start(&full->dog, what, LIMIT_S);
    full->pool = make_pool(1, n_queue);
    block_workers(full->pool, &full->blocker, 1);
    for (unsigned i = 0; i < n_queue; i++)
        assert_int_equal(bitnet_thread_pool_submit(full->pool, count_job, &full->n_run,
                                                   NULL, NULL),
                         BITNET_OK);
}

static void finish(struct full_pool *full)
{
    latch_count_down(&full->blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(full->pool), BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(full->pool);
    assert_true(accounting_holds(&stats));
    assert_int_equal(bitnet_thread_pool_destroy(full->pool), BITNET_OK);
    watchdog_stop(&full->dog);
}

#define FULL_POOL \
    { \
        .blocker = BLOCKER(1) \
    }

static void the_defaults_wait_for_room(void **state)
{
    (void)state;
    const bitnet_submit_options options = bitnet_submit_options_default();
    assert_int_equal(options.when_full, BITNET_SUBMIT_WAIT);
    assert_true(options.room_deadline_ns == BITNET_NO_DEADLINE);
    assert_true(options.start_deadline_ns == BITNET_NO_DEADLINE);
}

static void refuse_is_an_error_that_names_the_size(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "refuse", 3);
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_REFUSE);
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, NULL),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), "all 3 places"));
    finish(&full);
    assert_int_equal(full.n_run, 3);
}

static void wait_gives_up_at_its_deadline(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "wait until", 1);
    bitnet_submit_options options = with_policy(BITNET_SUBMIT_WAIT);
    options.room_deadline_ns = bitnet_deadline_after_ms(5);
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, NULL),
                     BITNET_ERROR_TIMED_OUT);
    finish(&full);
    assert_int_equal(full.n_run, 1);
}

static void run_here_uses_the_queue_while_there_is_room(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    pthread_t ran_on = pthread_self();
    assert_int_equal(bitnet_thread_pool_submit_with(pool, note_thread, &ran_on,
                                                    &options, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_false(pthread_equal(ran_on, pthread_self()));
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void run_here_runs_on_the_submitter_when_full(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "run here", 2);
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    pthread_t ran_on;
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, note_thread, &ran_on,
                                                    &options, &job),
                     BITNET_OK);
    assert_true(pthread_equal(ran_on, pthread_self()));
    assert_int_equal(bitnet_job_get_state(job), BITNET_JOB_ENDED);
    assert_int_equal(stats_of(full.pool).n_completed, 1);
    bitnet_job_release(job);
    finish(&full);
}

struct nest {
    bitnet_thread_pool *pool;
    unsigned depth;
    bitnet_status innermost;
};

static bitnet_status nest_job(void *arg)
{
    struct nest *nest = (struct nest *)arg;
    nest->depth++;
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    const bitnet_status status =
        bitnet_thread_pool_submit_with(nest->pool, nest_job, nest, &options, NULL);
    if (status != BITNET_OK) nest->innermost = status;
    return BITNET_OK;
}

static void run_here_ends_at_a_depth(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "run here, nested", 1);
    struct nest nest = {full.pool, 0, BITNET_OK};
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, nest_job, &nest,
                                                    &options, NULL),
                     BITNET_OK);
    assert_int_equal(nest.depth, 32);
    assert_int_equal(nest.innermost, BITNET_ERROR_QUEUE_FULL);
    finish(&full);
}

static bitnet_status wait_for_pool(void *arg)
{
    return bitnet_thread_pool_wait((bitnet_thread_pool *)arg);
}

static void a_job_run_here_may_not_wait_for_its_pool(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "run here, waiting", 1);
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, wait_for_pool, full.pool,
                                                    &options, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_THREAD_SAFETY);
    bitnet_job_release(job);
    finish(&full);
}

static void drop_oldest_makes_room_for_the_newest(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    watchdog_start(&full.dog, "drop oldest", LIMIT_S);
    full.pool = make_pool(1, 1);
    block_workers(full.pool, &full.blocker, 1);
    bitnet_submit_options options = with_policy(BITNET_SUBMIT_DROP_OLDEST);
    options.drop = count_drop;
    bitnet_job *oldest = NULL;
    _Atomic unsigned n_oldest = 0;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &n_oldest,
                                                    &options, &oldest),
                     BITNET_OK);
    assert_int_equal(n_oldest, 0);
    options.drop = NULL;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, NULL),
                     BITNET_OK);
    assert_int_equal(n_oldest, 1); /* its drop function */
    assert_int_equal(bitnet_job_wait(oldest), BITNET_ERROR_CANCELLED);
    assert_non_null(strstr(bitnet_last_error(), "made room"));
    bitnet_job_release(oldest);
    assert_int_equal(stats_of(full.pool).n_dropped, 1);
    finish(&full);
    assert_int_equal(n_oldest, 1);
    assert_int_equal(full.n_run, 1);
}

/* A thread that waits for the oldest job, while that is displaced. */
struct waiter {
    struct latch is_there;
    bitnet_job *job;
    bitnet_status status;
};

static void *waiter_main(void *arg)
{
    struct waiter *waiter = (struct waiter *)arg;
    latch_count_down(&waiter->is_there);
    waiter->status = bitnet_job_wait(waiter->job);
    return NULL;
}

static void who_waits_for_a_displaced_job_sees_it_cancelled(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    watchdog_start(&full.dog, "waiting for the oldest", LIMIT_S);
    full.pool = make_pool(1, 1);
    block_workers(full.pool, &full.blocker, 1);
    const bitnet_submit_options options = with_policy(BITNET_SUBMIT_DROP_OLDEST);
    struct waiter waiter = {.is_there = LATCH(1)};
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, &waiter.job),
                     BITNET_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, waiter_main, &waiter), 0);
    latch_wait(&waiter.is_there);
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, NULL),
                     BITNET_OK);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.status, BITNET_ERROR_CANCELLED);
    bitnet_job_release(waiter.job);
    finish(&full);
    assert_int_equal(full.n_run, 1);
}

static void a_job_past_its_start_deadline_never_starts(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "start deadline", 1);
    bitnet_submit_options options = with_policy(BITNET_SUBMIT_RUN_HERE);
    options.start_deadline_ns = 1; /* long ago */
    options.drop = count_drop;
    bitnet_job *job = NULL;
    _Atomic unsigned n_dropped = 0;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &n_dropped,
                                                    &options, &job),
                     BITNET_OK);
    assert_int_equal(n_dropped, 1);
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_TIMED_OUT);
    assert_non_null(strstr(bitnet_last_error(), "start deadline"));
    assert_int_equal(bitnet_job_get_status(job), BITNET_ERROR_TIMED_OUT);
    bitnet_job_release(job);
    assert_int_equal(stats_of(full.pool).n_expired, 1);
    finish(&full);
}

static void a_worker_drops_what_has_expired(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    watchdog_start(&full.dog, "expired in the queue", LIMIT_S);
    full.pool = make_pool(1, 2);
    block_workers(full.pool, &full.blocker, 1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.start_deadline_ns = 1;
    options.drop = count_drop;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(bitnet_thread_pool_submit_with(full.pool, block_job,
                                                        &full.n_dropped, &options,
                                                        NULL),
                         BITNET_OK);
    assert_int_equal(full.n_dropped, 0);
    finish(&full);
    assert_int_equal(full.n_dropped, 2);
}

static void who_waits_for_a_queued_job_learns_of_its_expiry_in_time(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    watchdog_start(&full.dog, "expiry while waiting", LIMIT_S);
    full.pool = make_pool(1, 1);
    block_workers(full.pool, &full.blocker, 1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.start_deadline_ns = bitnet_deadline_after_ms(5);
    options.drop = count_drop;
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job,
                                                    &full.n_dropped, &options, &job),
                     BITNET_OK);
    /* The only worker stays blocked: nobody else would find out. */
    assert_int_equal(bitnet_job_wait(job), BITNET_ERROR_TIMED_OUT);
    assert_int_equal(bitnet_job_get_state(job), BITNET_JOB_ENDED);
    assert_int_equal(full.n_dropped, 1);
    bitnet_job_release(job);
    assert_int_equal(stats_of(full.pool).n_queued, 0);
    finish(&full);
}

static void a_wait_may_end_before_the_start_deadline(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    watchdog_start(&full.dog, "wait before the start deadline", LIMIT_S);
    full.pool = make_pool(1, 1);
    block_workers(full.pool, &full.blocker, 1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.start_deadline_ns = bitnet_deadline_after_ms(3600000);
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit_with(full.pool, count_job, &full.n_run,
                                                    &options, &job),
                     BITNET_OK);
    assert_int_equal(bitnet_job_wait_until(job, bitnet_deadline_after_ms(2)),
                     BITNET_ERROR_TIMED_OUT);
    assert_int_equal(bitnet_job_get_state(job), BITNET_JOB_QUEUED);
    finish(&full);
    assert_int_equal(bitnet_job_wait(job), BITNET_OK);
    bitnet_job_release(job);
    assert_int_equal(full.n_run, 1);
}

static void bad_options_are_named(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = (bitnet_submit_policy)4;
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, NULL, &options,
                                                    NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "when_full is 4"));
    options = bitnet_submit_options_default();
    options.struct_size = 1;
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, NULL, &options,
                                                    NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(stats_of(pool).n_submitted, 0);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void times_are_told(void **state)
{
    (void)state;
    struct full_pool full = FULL_POOL;
    fill(&full, "times", 3);
    latch_count_down(&full.blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(full.pool), BITNET_OK);
    const bitnet_thread_pool_stats stats = stats_of(full.pool);
    assert_int_equal(stats.queue_wait.n, 4);
    assert_int_equal(stats.run_time.n, 4);
    assert_true(stats.run_time.p50_ns <= stats.run_time.p99_ns);
    assert_true(stats.run_time.p99_ns <= stats.run_time.max_ns);
    assert_true(stats.run_time.max_ns <= stats.run_time.total_ns);
    assert_true(stats.queue_wait.max_ns > 0);
    finish(&full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_wait_for_room),
        cmocka_unit_test(refuse_is_an_error_that_names_the_size),
        cmocka_unit_test(wait_gives_up_at_its_deadline),
        cmocka_unit_test(run_here_uses_the_queue_while_there_is_room),
        cmocka_unit_test(run_here_runs_on_the_submitter_when_full),
        cmocka_unit_test(run_here_ends_at_a_depth),
        cmocka_unit_test(a_job_run_here_may_not_wait_for_its_pool),
        cmocka_unit_test(drop_oldest_makes_room_for_the_newest),
        cmocka_unit_test(who_waits_for_a_displaced_job_sees_it_cancelled),
        cmocka_unit_test(a_job_past_its_start_deadline_never_starts),
        cmocka_unit_test(a_worker_drops_what_has_expired),
        cmocka_unit_test(who_waits_for_a_queued_job_learns_of_its_expiry_in_time),
        cmocka_unit_test(a_wait_may_end_before_the_start_deadline),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(times_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
