/* SPDX-License-Identifier: MIT */
/*
 * test_loading.c - loads that tell how far they are, are cancelled anywhere, fail
 * anywhere, and run on a thread pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fenv.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bitnet/model.h>
#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/gguf_builder.h"
#include "support/jobs.h"
#include "support/models.h"

enum { WATCHDOG_S = 300 };

static char path[32]; /* of the tiny model */
static bitnet_thread_pool *pool;
static struct watchdog dog;

static int write_tiny(void **state)
{
    (void)state;
    struct gguf_builder builder;
    struct gguf_tiny_options options = gguf_tiny_options_default();
    size_t n_bytes;
    options.n_ff = 160; /* so that a matrix is copied, which also may fail or end */
    gguf_begin(&builder);
    gguf_tiny_model(&builder, &options);
    uint8_t *bytes = gguf_end(&builder, &n_bytes);
    watchdog_start(&dog, "the tests of loading", WATCHDOG_S);
    strcpy(path, "bitnet-test-XXXXXX");
    const int descriptor = mkstemp(path);
    if (descriptor < 0) return -1;
    close(descriptor);
    const bool is_written = gguf_write_file(path, bytes, n_bytes);
    free(bytes);
    pool = make_pool(2, 8);
    return is_written ? 0 : -1;
}

static int remove_tiny(void **state)
{
    (void)state;
    bitnet_thread_pool_destroy(pool);
    remove(path);
    watchdog_stop(&dog);
    return 0;
}

/* What a load told, and what it is answered. */
struct listener {
    unsigned n_calls;
    unsigned stops_at; /* the call that says no; 0: none */
    double last;
    bool went_back;
    int rounding;
    bitnet_loading *cancels; /* at the call `stops_at`, instead of saying no */
    struct latch *entered;   /* counted down by the first call */
    struct latch *leave;     /* and then waited for */
};

static bool listen_to(void *user, double fraction)
{
    struct listener *listener = user;
    listener->n_calls++;
    listener->went_back |= fraction < listener->last;
    listener->last = fraction;
    listener->rounding = fegetround();
    if (listener->n_calls == 1 && listener->entered != NULL) {
        latch_count_down(listener->entered);
        latch_wait(listener->leave);
    }
    if (listener->n_calls != listener->stops_at) return true;
    bitnet_loading_cancel(listener->cancels);
    return listener->cancels != NULL;
}

static bitnet_model_options listened(struct listener *listener)
{
    bitnet_model_options options = bitnet_model_options_default();
    options.on_progress = listen_to;
    options.user = listener;
    return options;
}

static bitnet_loading *begin(const char *of, const bitnet_model_options *options)
{
    bitnet_loading *loading = NULL;
    if (bitnet_model_load_async(of, options, pool, NULL, &loading) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return loading;
}

/* ---- in the calling thread --------------------------------------------------------------- */

static void progress_goes_from_0_to_1_and_never_back(void **state)
{
    (void)state;
    static const bool of_vocabulary[] = {false, true};
    const char *const paths[] = {path, SHIPPED_MODEL};
    for (unsigned i = 0; i < 4; i++) {
        struct listener listener = {.last = 0.0};
        bitnet_model_options options = listened(&listener);
        options.is_vocabulary_only = of_vocabulary[i % 2];
        bitnet_model *model;
        if (bitnet_model_load(paths[i / 2], &options, &model) != BITNET_OK)
            fail_msg("%s", bitnet_last_error());
        assert_true(listener.last == 1.0);
        assert_false(listener.went_back);
        assert_true(listener.n_calls >= (options.is_vocabulary_only ? 4 : 11));
        bitnet_model_release(model);
    }
}

static void a_load_stopped_at_any_call_leaves_nothing_behind(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    unsigned n_stopped = 0;
    for (unsigned n = 1;; n++) {
        struct listener listener = {.stops_at = n};
        const bitnet_model_options options = listened(&listener);
        bitnet_model *model = NULL;
        const bitnet_status status = bitnet_model_load(path, &options, &model);
        if (listener.n_calls < n) {
            assert_int_equal(status, BITNET_OK);
            bitnet_model_release(model);
            break;
        }
        n_stopped++;
        assert_int_equal(status, BITNET_ERROR_CANCELLED);
        assert_non_null(strstr(bitnet_last_error(), "on_progress"));
        assert_null(model);
        assert_int_equal(listener.n_calls, n); /* nothing is told after that */
        assert_int_equal(bni_alloc_in_use(), before);
    }
    assert_in_range(n_stopped, 11, 1000);
}

static void on_progress_finds_its_own_floating_point_mode(void **state)
{
    (void)state;
    struct listener listener = {.last = 0.0};
    const bitnet_model_options options = listened(&listener);
    bitnet_model *model;
    assert_int_equal(fesetround(FE_UPWARD), 0);
    const bitnet_status status = bitnet_model_load(path, &options, &model);
    const int rounding = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(status, BITNET_OK);
    assert_int_equal(rounding, FE_UPWARD);
    assert_int_equal(listener.rounding, FE_UPWARD);
    bitnet_model_release(model);
}

/* ---- on a pool ----------------------------------------------------------------------------- */

static void a_load_on_a_pool_gives_the_model_to_whoever_waits(void **state)
{
    (void)state;
    bitnet_loading *loading = begin(SHIPPED_MODEL, NULL);
    bitnet_model *first = NULL;
    bitnet_model *second = NULL;
    assert_int_equal(bitnet_loading_wait(loading, BITNET_NO_DEADLINE, NULL), BITNET_OK);
    assert_int_equal(bitnet_loading_wait(loading, BITNET_NO_DEADLINE, &first),
                     BITNET_OK);
    assert_int_equal(bitnet_loading_wait(loading, 0, &second), BITNET_OK);
    assert_ptr_equal(first, second);
    assert_true(bitnet_loading_get_progress(loading) == 1.0);
    assert_int_equal(bitnet_job_get_state(bitnet_loading_get_job(loading)),
                     BITNET_JOB_ENDED);
    bitnet_loading_release(loading);
    bitnet_model_release(first);
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(second, &info), BITNET_OK);
    assert_string_equal(info.path, SHIPPED_MODEL);
    bitnet_model_release(second);
}

static void what_is_wrong_with_the_file_reaches_whoever_waits(void **state)
{
    (void)state;
    bitnet_loading *loading = begin("no-such-file.gguf", NULL);
    bitnet_model *model = NULL;
    assert_int_equal(bitnet_loading_wait(loading, BITNET_NO_DEADLINE, &model),
                     BITNET_ERROR_MODEL_NOT_FOUND);
    assert_non_null(strstr(bitnet_last_error(), "no-such-file.gguf"));
    assert_null(model);
    bitnet_loading_release(loading);
}

static void a_loop_polls_and_learns_of_the_end(void **state)
{
    (void)state;
    bitnet_event_queue *queue;
    bitnet_loading *loading;
    bitnet_event event = {0};
    bitnet_submit_options submit = bitnet_submit_options_default();
    assert_int_equal(bitnet_event_queue_create(1, &queue), BITNET_OK);
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct listener listener = {.entered = &entered, .leave = &leave};
    const bitnet_model_options options = listened(&listener);
    submit.events = queue;
    submit.event_tag = 5;
    assert_int_equal(bitnet_model_load_async(path, &options, pool, &submit, &loading),
                     BITNET_OK);
    latch_wait(&entered);
    assert_int_equal(bitnet_loading_wait(loading, 0, NULL), BITNET_ERROR_TIMED_OUT);
    assert_false(bitnet_event_queue_next(queue, &event));
    assert_int_equal(bitnet_job_get_state(bitnet_loading_get_job(loading)),
                     BITNET_JOB_RUNNING);
    latch_count_down(&leave);
    struct pollfd polled = {.fd = bitnet_event_queue_fd(queue), .events = POLLIN};
    assert_int_equal(poll(&polled, 1, -1), 1);
    assert_true(bitnet_event_queue_next(queue, &event));
    assert_int_equal(event.kind, BITNET_EVENT_JOB_ENDED);
    assert_int_equal(event.tag, 5);
    assert_int_equal(event.status, BITNET_OK);
    bitnet_model *model;
    assert_int_equal(bitnet_loading_wait(loading, 0, &model), BITNET_OK);
    bitnet_model_release(model);
    bitnet_loading_release(loading);
    bitnet_event_queue_destroy(queue);
}

static void cancelling_at_any_step_ends_the_load(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    unsigned n_cancelled = 0;
    for (unsigned n = 1;; n++) {
        struct latch entered = LATCH(1);
        struct latch leave = LATCH(1);
        struct listener listener = {.stops_at = n,
                                    .entered = &entered,
                                    .leave = &leave};
        const bitnet_model_options options = listened(&listener);
        bitnet_loading *loading = begin(path, &options);
        latch_wait(&entered);
        listener.cancels = loading;
        latch_count_down(&leave);
        const bitnet_status status =
            bitnet_loading_wait(loading, BITNET_NO_DEADLINE, NULL);
        const bool is_last = listener.last == 1.0;
        bitnet_loading_release(loading);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(bni_alloc_in_use(), before);
        if (is_last) {
            assert_int_equal(status, BITNET_OK); /* too late */
            break;
        }
        n_cancelled++;
        assert_int_equal(status, BITNET_ERROR_CANCELLED);
        assert_int_equal(listener.n_calls, n); /* it went no further */
    }
    assert_in_range(n_cancelled, 10, 1000);
}

static void a_queued_load_that_is_cancelled_never_begins(void **state)
{
    (void)state;
    struct blocker blocker = BLOCKER(2);
    struct listener listener = {.last = 0.0};
    const bitnet_model_options options = listened(&listener);
    block_workers(pool, &blocker, 2);
    bitnet_loading *cancelled = begin(path, &options);
    bitnet_loading *released = begin(path, &options);
    bitnet_loading_cancel(cancelled);
    bitnet_loading_cancel(cancelled);
    bitnet_loading_release(released);
    assert_int_equal(bitnet_loading_wait(cancelled, BITNET_NO_DEADLINE, NULL),
                     BITNET_ERROR_CANCELLED);
    assert_true(bitnet_loading_get_progress(cancelled) == 0.0);
    bitnet_loading_release(cancelled);
    latch_count_down(&blocker.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(listener.n_calls, 0);
}

static void a_load_that_nobody_wants_any_more_is_freed(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct listener listener = {.entered = &entered, .leave = &leave};
    const bitnet_model_options options = listened(&listener);
    bitnet_loading *loading = begin(path, &options);
    latch_wait(&entered);
    bitnet_loading_release(loading);
    latch_count_down(&leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(listener.n_calls, 1);
    assert_int_equal(bni_alloc_in_use(), before);
}

static void shutting_the_pool_down_ends_loads(void **state)
{
    (void)state;
    bitnet_thread_pool *own = make_pool(1, 1);
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct listener listener = {.entered = &entered, .leave = &leave};
    const bitnet_model_options options = listened(&listener);
    bitnet_loading *running;
    bitnet_loading *queued;
    assert_int_equal(bitnet_model_load_async(path, &options, own, NULL, &running),
                     BITNET_OK);
    latch_wait(&entered);
    assert_int_equal(bitnet_model_load_async(path, NULL, own, NULL, &queued),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_shutdown(own, BITNET_SHUTDOWN_IMMEDIATE, 0),
                     BITNET_ERROR_TIMED_OUT);
    latch_count_down(&leave);
    assert_int_equal(bitnet_thread_pool_destroy(own), BITNET_OK);
    assert_int_equal(bitnet_loading_wait(running, 0, NULL), BITNET_ERROR_CANCELLED);
    assert_int_equal(bitnet_loading_wait(queued, 0, NULL), BITNET_ERROR_CANCELLED);
    bitnet_loading_release(running);
    bitnet_loading_release(queued);
}

static void without_a_pool_the_thread_managers_is_used(void **state)
{
    (void)state;
    bitnet_loading *loading = NULL;
    assert_int_equal(bitnet_model_load_async(path, NULL, NULL, NULL, &loading),
                     BITNET_ERROR_SHUT_DOWN);
    assert_null(loading);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    assert_int_equal(bitnet_model_load_async(path, NULL, NULL, NULL, &loading),
                     BITNET_OK);
    assert_int_equal(bitnet_loading_wait(loading, BITNET_NO_DEADLINE, NULL), BITNET_OK);
    bitnet_loading_release(loading);
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    bitnet_loading *loading = NULL;
    bitnet_submit_options submit = bitnet_submit_options_default();
    submit.drop = count_drop;
    assert_int_equal(bitnet_model_load_async(NULL, NULL, pool, NULL, &loading),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_load_async(path, NULL, pool, NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_model_load_async(path, NULL, pool, &submit, &loading),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_loading_wait(NULL, 0, NULL), BITNET_ERROR_INVALID_ARGUMENT);
    assert_null(loading);
    assert_null(bitnet_loading_get_job(NULL));
    bitnet_loading_cancel(NULL);
    bitnet_loading_release(NULL);
}

static void whatever_fails_nothing_is_left_behind(void **state)
{
    (void)state;
    const uint64_t before = bni_alloc_in_use();
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_loading *loading = NULL;
        bni_fault_arm(n);
        bitnet_status status =
            bitnet_model_load_async(path, NULL, pool, NULL, &loading);
        if (status == BITNET_OK)
            status = bitnet_loading_wait(loading, BITNET_NO_DEADLINE, NULL);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        bitnet_loading_release(loading);
        assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
        assert_int_equal(bni_alloc_in_use(), before);
        if (!was_asked) {
            assert_int_equal(status, BITNET_OK);
            break;
        }
        assert_int_not_equal(status, BITNET_OK);
        n_failed++;
    }
    assert_true(n_failed >
                19); /* three blocks, the handle, and all that a load needs */
}

static void a_child_keeps_the_model_and_refuses_the_load(void **state)
{
    (void)state;
    bitnet_loading *loading = begin(path, NULL);
    bitnet_model *model;
    assert_int_equal(bitnet_loading_wait(loading, BITNET_NO_DEADLINE, &model),
                     BITNET_OK);
    const pid_t child = fork();
    if (child == 0) {
        bitnet_model_info info = {.struct_size = sizeof(info)};
        bitnet_model *again = NULL;
        int code = 0;
        if (bitnet_loading_wait(loading, 0, &again) != BITNET_ERROR_THREAD_SAFETY)
            code |= 1;
        if (strstr(bitnet_last_error(), "parent process") == NULL) code |= 2;
        if (bitnet_model_get_info(model, &info) != BITNET_OK) code |= 4;
        bitnet_loading_cancel(loading);
        bitnet_loading_release(loading);
        bitnet_model_release(model);
        if (bitnet_model_load(path, NULL, &again) != BITNET_OK) code |= 8;
        _exit(code);
    }
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 0);
    bitnet_model_release(model);
    bitnet_loading_release(loading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_goes_from_0_to_1_and_never_back),
        cmocka_unit_test(a_load_stopped_at_any_call_leaves_nothing_behind),
        cmocka_unit_test(on_progress_finds_its_own_floating_point_mode),
        cmocka_unit_test(a_load_on_a_pool_gives_the_model_to_whoever_waits),
        cmocka_unit_test(what_is_wrong_with_the_file_reaches_whoever_waits),
        cmocka_unit_test(a_loop_polls_and_learns_of_the_end),
        cmocka_unit_test(cancelling_at_any_step_ends_the_load),
        cmocka_unit_test(a_queued_load_that_is_cancelled_never_begins),
        cmocka_unit_test(a_load_that_nobody_wants_any_more_is_freed),
        cmocka_unit_test(shutting_the_pool_down_ends_loads),
        cmocka_unit_test(without_a_pool_the_thread_managers_is_used),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(whatever_fails_nothing_is_left_behind),
        cmocka_unit_test(a_child_keeps_the_model_and_refuses_the_load),
    };
    return cmocka_run_group_tests(tests, write_tiny, remove_tiny);
}
