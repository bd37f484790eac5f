/* SPDX-License-Identifier: MIT */
/*
 * test_error_state_management.c - each thread has its own error, and a job's travels
 * to whoever waits for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "support/jobs.h"

static bitnet_status fail_with_message(void *arg)
{
    return bitnet_job_fail(BITNET_ERROR_MODEL_NOT_FOUND, arg);
}

static bitnet_status fail_without_message(void *arg)
{
    (void)arg;
    return BITNET_ERROR_INFERENCE_FAILED;
}

/* A failed call inside a job that succeeds is nobody's business. */
static bitnet_status fail_inside_and_succeed(void *arg)
{
    (void)arg;
    bitnet_job_wait(NULL);
    return BITNET_OK;
}

static bitnet_status result_of(bitnet_thread_pool *pool, bitnet_job_fn fn, void *arg)
{
    bitnet_job *job = NULL;
    assert_int_equal(bitnet_thread_pool_submit(pool, fn, arg, NULL, &job), BITNET_OK);
    const bitnet_status status = bitnet_job_wait(job);
    assert_int_equal(bitnet_job_get_status(job), status);
    bitnet_job_release(job);
    return status;
}

static void a_jobs_message_reaches_the_waiter(void **state)
{
    (void)state;
    char message[] = "blk.3: a tensor is missing";
    bitnet_thread_pool *pool = make_pool(2, 4);
    bitnet_clear_error();
    assert_int_equal(result_of(pool, fail_with_message, message),
                     BITNET_ERROR_MODEL_NOT_FOUND);
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_MODEL_NOT_FOUND);
    assert_string_equal(bitnet_last_error(), message);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void a_job_without_a_message_gets_one_of_its_own(void **state)
{
    (void)state;
    char message[] = "left over";
    bitnet_thread_pool *pool = make_pool(1, 4);
    /* What an earlier job left on the worker is not this one's. */
    result_of(pool, fail_with_message, message);
    assert_int_equal(result_of(pool, fail_without_message, NULL),
                     BITNET_ERROR_INFERENCE_FAILED);
    assert_non_null(strstr(bitnet_last_error(), "INFERENCE_FAILED"));
    assert_null(strstr(bitnet_last_error(), "left over"));
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void a_success_leaves_the_waiters_error_alone(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    bitnet_job_fail(BITNET_ERROR_TIMED_OUT, "mine");
    assert_int_equal(result_of(pool, fail_inside_and_succeed, NULL), BITNET_OK);
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_TIMED_OUT);
    assert_string_equal(bitnet_last_error(), "mine");
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

/* A job run inside another, on the same thread, does not leak its error either. */
struct nested {
    bitnet_thread_pool *pool;
    char before[64];
    char after[64];
};

static bitnet_status run_another_inside(void *arg)
{
    struct nested *nested = arg;
    char message[] = "the inner one's";
    bitnet_job *job = NULL;
    bitnet_job_fail(BITNET_ERROR_TIMED_OUT, "the outer one's");
    bitnet_status status =
        bitnet_thread_pool_submit(nested->pool, fail_with_message, message, NULL, &job);
    if (status != BITNET_OK) return status;
    /* Seen before the wait brings the message here on purpose. */
    snprintf(nested->before, sizeof(nested->before), "%s", bitnet_last_error());
    status = bitnet_job_wait(job);
    snprintf(nested->after, sizeof(nested->after), "%s", bitnet_last_error());
    bitnet_job_release(job);
    return BITNET_OK;
}

static void errors_of_nested_jobs_do_not_mix(void **state)
{
    (void)state;
    struct nested nested = {.pool = make_pool(1, 4)};
    assert_int_equal(result_of(nested.pool, run_another_inside, &nested), BITNET_OK);
    assert_string_equal(nested.before, "the outer one's");
    assert_string_equal(nested.after, "the inner one's");
    assert_int_equal(bitnet_thread_pool_destroy(nested.pool), BITNET_OK);
}

static void drop_and_fail(void *arg)
{
    bitnet_job_fail(BITNET_ERROR_INTERNAL, arg);
}

static void a_drop_function_leaves_the_cancellers_error_alone(void **state)
{
    (void)state;
    char message[] = "from the drop function";
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct blocker blocker = BLOCKER(1);
    bitnet_job *job = NULL;
    block_workers(pool, &blocker, 1);
    assert_int_equal(bitnet_thread_pool_submit(pool, fail_with_message, message,
                                               drop_and_fail, &job),
                     BITNET_OK);
    bitnet_job_fail(BITNET_ERROR_TIMED_OUT, "mine");
    assert_true(bitnet_job_cancel(job));
    assert_string_equal(bitnet_last_error(), "mine");
    bitnet_job_release(job);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

enum { N_THREADS = 8, N_ROUNDS = 300 };

struct speaker {
    bitnet_thread_pool *pool;
    unsigned index;
    bool has_heard_another;
};

static void *speak_and_listen(void *arg)
{
    struct speaker *speaker = arg;
    for (unsigned i = 0; i < N_ROUNDS; i++) {
        char mine[64];
        bitnet_job *job = NULL;
        snprintf(mine, sizeof(mine), "thread %u round %u", speaker->index, i);
        if (bitnet_thread_pool_submit(speaker->pool, fail_with_message, mine, NULL,
                                      &job) != BITNET_OK)
            return arg;
        bitnet_job_wait(job);
        if (strcmp(bitnet_last_error(), mine) != 0) speaker->has_heard_another = true;
        bitnet_job_release(job);
    }
    return NULL;
}

static void nobody_reads_another_threads_error(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(3, 4);
    pthread_t threads[N_THREADS];
    struct speaker speakers[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        speakers[i] = (struct speaker){pool, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, speak_and_listen,
                                        &speakers[i]),
                         0);
    }
    for (unsigned i = 0; i < N_THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_false(speakers[i].has_heard_another);
    }
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jobs_message_reaches_the_waiter),
        cmocka_unit_test(a_job_without_a_message_gets_one_of_its_own),
        cmocka_unit_test(a_success_leaves_the_waiters_error_alone),
        cmocka_unit_test(errors_of_nested_jobs_do_not_mix),
        cmocka_unit_test(a_drop_function_leaves_the_cancellers_error_alone),
        cmocka_unit_test(nobody_reads_another_threads_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
