/* SPDX-License-Identifier: MIT */
/*
 * test_delivery.c - text as jobs on a thread pool: in order, one at a time, the end
 * once, and nobody else held up, whatever the consumer or the pool does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "support/engine/engines.h"
#include "support/jobs.h"
#include "threads/compute.h"

enum { WATCHDOG_S = 300, MAX_TEXT = 4096 };

static bitnet_model *model;
static bitnet_engine *engine;
static struct watchdog dog;

static int load(void **state)
{
    (void)state;
    watchdog_start(&dog, "the tests of delivery", WATCHDOG_S);
    model = load_model();
    engine = create_engine(model, NULL);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    destroy_engine(engine);
    bitnet_model_release(model);
    watchdog_stop(&dog);
    return 0;
}

/* What one request's callbacks saw. Only the latches and atomics are shared. */
struct consumer {
    atomic_int n_inside;
    atomic_bool has_overlapped;
    atomic_bool is_on_forbidden_thread;
    atomic_int n_ends;
    unsigned n_pieces;
    char text[MAX_TEXT];
    size_t text_len;
    bitnet_status status;
    char message[BITNET_MAX_ERROR_BYTES];
    bitnet_result result;
    bitnet_status waited;
    pthread_t end_thread;
    struct latch ended;

    /* What they do. */
    struct latch *entered; /* counted down by the first piece */
    struct latch *leave;   /* and then waited for */
    bool stops;            /* at the first piece */
    bool exits_thread;     /* likewise */
    bool releases;         /* the handle, at the end */
    void (*calls)(bitnet_request *handle);
    bitnet_request *handle;
};

static void enter(struct consumer *consumer)
{
    if (atomic_fetch_add(&consumer->n_inside, 1) != 0)
        atomic_store(&consumer->has_overlapped, true);
    if (bni_context_check("a callback") != BITNET_OK)
        atomic_store(&consumer->is_on_forbidden_thread, true);
}

static bool take_piece(void *user, const char *text, size_t text_len)
{
    struct consumer *consumer = user;
    enter(consumer);
    const bool is_first = consumer->n_pieces++ == 0;
    if (consumer->text_len + text_len < MAX_TEXT) {
        memcpy(consumer->text + consumer->text_len, text, text_len);
        consumer->text_len += text_len;
    }
    if (is_first && consumer->entered != NULL) latch_count_down(consumer->entered);
    if (is_first && consumer->leave != NULL) latch_wait(consumer->leave);
    if (is_first && consumer->calls != NULL) consumer->calls(consumer->handle);
    atomic_fetch_sub(&consumer->n_inside, 1);
    if (consumer->exits_thread) pthread_exit(NULL);
    return !consumer->stops;
}

static void take_end(void *user, bitnet_status status, bitnet_request *request)
{
    struct consumer *consumer = user;
    enter(consumer);
    snprintf(consumer->message, sizeof(consumer->message), "%s", bitnet_last_error());
    consumer->status = status;
    consumer->end_thread = pthread_self();
    consumer->waited = bitnet_request_wait(request, &consumer->result);
    atomic_fetch_add(&consumer->n_ends, 1);
    atomic_fetch_sub(&consumer->n_inside, 1);
    if (consumer->releases) bitnet_request_release(request);
    latch_count_down(&consumer->ended);
}

static struct consumer *new_consumer(void)
{
    struct consumer *consumer = calloc(1, sizeof(*consumer));
    assert_non_null(consumer);
    consumer->ended = (struct latch)LATCH(1);
    return consumer;
}

static void free_consumer(struct consumer *consumer)
{
    bitnet_result_release(&consumer->result);
    free(consumer);
}

static bitnet_generate_options delivered(struct consumer *consumer,
                                         bitnet_thread_pool *pool, uint32_t max_tokens)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.temperature = 0.0f;
    options.ignores_eos = true;
    options.max_tokens = max_tokens;
    options.delivery_pool = pool;
    options.on_text = take_piece;
    options.on_end = take_end;
    options.user = consumer;
    return options;
}

static bitnet_request *begin_on(bitnet_engine *on, struct consumer *consumer,
                                bitnet_thread_pool *pool, uint32_t max_tokens)
{
    const bitnet_generate_options options = delivered(consumer, pool, max_tokens);
    bitnet_request *request = NULL;
    if (bitnet_generate_async(on, &options, test_prompts[0], &request) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return request;
}

static bitnet_request *begin(struct consumer *consumer, bitnet_thread_pool *pool,
                             uint32_t max_tokens)
{
    return begin_on(engine, consumer, pool, max_tokens);
}

/* The end came once and says what the result says. */
static void check_end(struct consumer *consumer, bitnet_status status)
{
    latch_wait(&consumer->ended);
    assert_int_equal(atomic_load(&consumer->n_ends), 1);
    if (consumer->status != status)
        fail_msg("ended as %d: %s", consumer->status, consumer->message);
    assert_int_equal(consumer->waited, status);
    assert_int_equal(consumer->message[0] == '\0', status == BITNET_OK);
    assert_int_equal(consumer->text_len, consumer->result.text_len);
    assert_memory_equal(consumer->text, consumer->result.text, consumer->text_len);
    assert_false(atomic_load(&consumer->has_overlapped));
    assert_false(atomic_load(&consumer->is_on_forbidden_thread));
}

static void check_text(struct consumer *consumer, uint32_t max_tokens)
{
    bitnet_generate_options options = delivered(consumer, NULL, max_tokens);
    options.on_text = NULL;
    options.on_end = NULL;
    bitnet_result alone = generate_well(engine, &options, test_prompts[0]);
    assert_int_equal(consumer->text_len, alone.text_len);
    assert_memory_equal(consumer->text, alone.text, alone.text_len);
    bitnet_result_release(&alone);
}

/* ---- what is delivered ------------------------------------------------------------------ */

static void pieces_come_in_order_and_one_at_a_time_and_the_end_once(void **state)
{
    (void)state;
    enum { N = 8 };
    bitnet_thread_pool *pool = make_pool(3, 2); /* fewer places than requests */
    struct consumer *consumers[N];
    for (unsigned i = 0; i < N; i++) {
        consumers[i] = new_consumer();
        consumers[i]->releases = true;
        bitnet_generate_options options = mixed_options(i);
        options.delivery_pool = pool;
        options.on_text = take_piece;
        options.on_end = take_end;
        options.user = consumers[i];
        bitnet_request *request;
        if (bitnet_generate_async(engine, &options, test_prompts[i], &request) !=
            BITNET_OK)
            fail_msg("%s", bitnet_last_error());
    }
    for (unsigned i = 0; i < N; i++) {
        check_end(consumers[i], BITNET_OK);
        bitnet_generate_options options = mixed_options(i);
        bitnet_result alone = generate_well(engine, &options, test_prompts[i]);
        assert_same_result(&alone, &consumers[i]->result, 0);
        bitnet_result_release(&alone);
        free_consumer(consumers[i]);
    }
    destroy_pool(pool);
}

static void without_a_handle_a_request_goes_on(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct consumer *consumer = new_consumer();
    const bitnet_generate_options options = delivered(consumer, pool, 12);
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], NULL),
                     BITNET_OK);
    check_end(consumer, BITNET_OK);
    check_text(consumer, 12);
    assert_false(pthread_equal(consumer->end_thread, pthread_self()));
    destroy_pool(pool);
    free_consumer(consumer);
}

static void one_without_callbacks_ends_too(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct consumer *consumer = new_consumer();
    bitnet_generate_options options = delivered(consumer, pool, 6);
    options.on_text = NULL;
    options.on_end = NULL;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], NULL),
                     BITNET_OK);
    destroy_pool(pool); /* waits for it */
    free_consumer(consumer);
}

/* ---- consumers that are slow -------------------------------------------------------------- */

static void a_stuck_consumer_holds_up_nobody_else(void **state)
{
    (void)state;
    enum { N = 4 };
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct consumer *stuck = new_consumer();
    stuck->entered = &entered;
    stuck->leave = &leave;
    bitnet_request *request = begin(stuck, pool, 24);
    latch_wait(&entered);

    struct consumer *others[N];
    bitnet_request *requests[N];
    for (unsigned i = 0; i < N; i++)
        requests[i] = begin(others[i] = new_consumer(), pool, 24);
    for (unsigned i = 0; i < N; i++) {
        check_end(others[i], BITNET_OK);
        bitnet_request_release(requests[i]);
    }
    check_text(others[0], 24);
    while (bitnet_request_finish(request) == BITNET_FINISH_NONE) { /* not held up */
    }
    assert_int_equal(atomic_load(&stuck->n_ends), 0);
    assert_int_equal(stuck->n_pieces, 1);

    latch_count_down(&leave);
    check_end(stuck, BITNET_OK);
    assert_int_equal(stuck->text_len, others[0]->text_len);
    assert_memory_equal(stuck->text, others[0]->text, stuck->text_len);
    bitnet_request_release(request);
    for (unsigned i = 0; i < N; i++) free_consumer(others[i]);
    free_consumer(stuck);
    destroy_pool(pool);
}

static void a_full_pool_loses_nothing_and_the_engine_goes_on(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    block_workers(pool, &blocker, 1);
    atomic_uint n_counted = 0;
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_counted, NULL, NULL),
                     BITNET_OK);
    assert_int_equal(bitnet_thread_pool_try_submit(pool, count_job, &n_counted, NULL,
                                                   NULL),
                     BITNET_ERROR_QUEUE_FULL);

    struct consumer *first = new_consumer();
    struct consumer *second = new_consumer();
    bitnet_request *requests[] = {begin(first, pool, 16), begin(second, pool, 16)};
    for (unsigned i = 0; i < 2; i++)
        while (bitnet_request_finish(requests[i]) == BITNET_FINISH_NONE) {
        }
    bitnet_generate_options plain = delivered(first, NULL, 4);
    plain.on_end = NULL;
    plain.on_text = NULL;
    bitnet_result result = generate_well(engine, &plain, test_prompts[1]);
    bitnet_result_release(&result);
    assert_int_equal(first->n_pieces + second->n_pieces, 0);

    latch_count_down(&blocker.leave);
    check_end(first, BITNET_OK);
    check_end(second, BITNET_OK);
    check_text(first, 16);
    assert_int_equal(atomic_load(&n_counted), 1);
    for (unsigned i = 0; i < 2; i++) bitnet_request_release(requests[i]);
    free_consumer(first);
    free_consumer(second);
    destroy_pool(pool);
}

static void a_delivery_that_is_displaced_gets_back_in_line(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct blocker blocker = BLOCKER(1);
    block_workers(pool, &blocker, 1);
    struct consumer *consumer = new_consumer();
    bitnet_request *request = begin(consumer, pool, 8);
    while (stats_of(pool).n_queued == 0) { /* until its job has the only place */
    }
    atomic_uint n_counted = 0;
    bitnet_submit_options displacing = bitnet_submit_options_default();
    displacing.when_full = BITNET_SUBMIT_DROP_OLDEST;
    assert_int_equal(bitnet_thread_pool_submit_with(pool, count_job, &n_counted,
                                                    &displacing, NULL),
                     BITNET_OK);
    latch_count_down(&blocker.leave);
    check_end(consumer, BITNET_OK);
    check_text(consumer, 8);
    assert_int_equal(atomic_load(&n_counted), 1);
    bitnet_request_release(request);
    free_consumer(consumer);
    destroy_pool(pool);
}

/* ---- early ends --------------------------------------------------------------------------- */

static void on_text_may_stop_its_request(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct consumer *consumer = new_consumer();
    consumer->stops = true;
    bitnet_request *request = begin(consumer, pool, 0);
    check_end(consumer, BITNET_ERROR_CANCELLED);
    assert_int_equal(consumer->n_pieces, 1);
    assert_non_null(strstr(consumer->message, "on_text"));
    bitnet_request_release(request);
    free_consumer(consumer);
    destroy_pool(pool);
}

static void a_callback_that_ends_its_thread_stops_its_request(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 4);
    struct consumer *consumer = new_consumer();
    consumer->exits_thread = true;
    bitnet_request *request = begin(consumer, pool, 0);
    check_end(consumer, BITNET_ERROR_CANCELLED);
    bitnet_request_release(request);
    free_consumer(consumer);
    destroy_pool(pool);
}

static void cancelling_and_releasing_end_the_delivery(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK); /* nothing is computed */
    struct consumer *cancelled = new_consumer();
    struct consumer *released = new_consumer();
    bitnet_request *request = begin(cancelled, pool, 16);
    bitnet_request_release(begin(released, pool, 16));
    bitnet_request_cancel(request);
    bni_compute_release(team);
    check_end(cancelled, BITNET_ERROR_CANCELLED);
    check_end(released, BITNET_ERROR_CANCELLED);
    bitnet_request_release(request);
    free_consumer(cancelled);
    free_consumer(released);
    destroy_pool(pool);
}

static void the_engine_may_go_while_a_consumer_is_stuck(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    bitnet_engine *other = create_engine(model, NULL);
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct consumer *stuck = new_consumer();
    struct consumer *waiting = new_consumer();
    stuck->entered = &entered;
    stuck->leave = &leave;
    stuck->releases = true;
    waiting->releases = true;
    begin_on(other, stuck, pool, 0);
    latch_wait(&entered);
    begin_on(other, waiting, pool, 0);
    destroy_engine(other); /* waits for no consumer */
    latch_count_down(&leave);
    latch_wait(&stuck->ended);
    latch_wait(&waiting->ended);
    assert_true(stuck->status == BITNET_ERROR_CANCELLED || stuck->status == BITNET_OK);
    assert_int_equal(stuck->waited, stuck->status);
    destroy_pool(pool);
    free_consumer(stuck);
    free_consumer(waiting);
}

/* ---- the pool's end ------------------------------------------------------------------------ */

static void a_graceful_shutdown_waits_for_deliveries(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(2, 4);
    struct consumer *consumer = new_consumer();
    bitnet_request *request = begin(consumer, pool, 32);
    destroy_pool(pool);
    assert_int_equal(atomic_load(&consumer->n_ends), 1);
    check_end(consumer, BITNET_OK);
    check_text(consumer, 32);
    bitnet_request_release(request);
    free_consumer(consumer);
}

/* One delivery is in its callback, one has its job queued, one stands in line and one
 * has nothing to deliver yet. */
static void an_immediate_shutdown_ends_every_delivery_once(void **state)
{
    (void)state;
    enum { N = 4 };
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct latch entered = LATCH(1);
    struct latch leave = LATCH(1);
    struct consumer *consumers[N];
    bitnet_request *requests[N];
    for (unsigned i = 0; i < N; i++) consumers[i] = new_consumer();
    consumers[0]->entered = &entered;
    consumers[0]->leave = &leave;
    requests[0] = begin(consumers[0], pool, 24); /* more than one run delivers */
    latch_wait(&entered);
    for (unsigned i = 1; i < N - 1; i++) {
        requests[i] = begin(consumers[i], pool, 4);
        while (bitnet_request_finish(requests[i]) == BITNET_FINISH_NONE) {
        }
    }
    struct bni_team *team;
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    requests[N - 1] = begin(consumers[N - 1], pool, 4);

    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE, 0),
                     BITNET_ERROR_TIMED_OUT); /* the first is in its callback */
    for (unsigned i = 1; i < N - 1; i++) {
        assert_int_equal(atomic_load(&consumers[i]->n_ends), 1);
        assert_true(pthread_equal(consumers[i]->end_thread, pthread_self()));
        check_end(consumers[i], BITNET_ERROR_CANCELLED);
    }
    check_end(consumers[N - 1], BITNET_ERROR_CANCELLED);
    assert_non_null(strstr(consumers[1]->message, "delivery pool"));
    bni_compute_release(team);
    latch_count_down(&leave);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_end(consumers[0], BITNET_ERROR_CANCELLED);
    for (unsigned i = 0; i < N; i++) {
        bitnet_request_release(requests[i]);
        free_consumer(consumers[i]);
    }
}

/* Whatever comes first: no end is lost, and none is told twice. */
static void requests_and_a_shutdown_at_once(void **state)
{
    (void)state;
    enum { N = 6 };
    const unsigned n_rounds = 20;
    for (unsigned round = 0; round < n_rounds; round++) {
        bitnet_thread_pool *pool = make_pool(2, 1);
        struct consumer *consumers[N];
        bitnet_request *requests[N];
        for (unsigned i = 0; i < N; i++)
            requests[i] = begin(consumers[i] = new_consumer(), pool, 1 + i);
        for (unsigned i = 0; i < round % (N + 1); i++) latch_wait(&consumers[i]->ended);
        assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_IMMEDIATE,
                                                     BITNET_NO_DEADLINE),
                         BITNET_OK);
        for (unsigned i = 0; i < N; i++) {
            assert_true(latch_is_open(&consumers[i]->ended));
            check_end(consumers[i], consumers[i]->status);
            bitnet_request_release(requests[i]);
            free_consumer(consumers[i]);
        }
        destroy_pool(pool);
    }
}

/* ---- calls from inside, refusals ----------------------------------------------------------- */

static bitnet_thread_pool *inside_pool;
static bitnet_status waited_inside, next_inside, destroyed_inside, pool_inside;
static bitnet_status generated_inside;

static void call_from_inside(bitnet_request *handle)
{
    bitnet_result result;
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = 3;
    waited_inside = bitnet_request_wait(handle, &result);
    next_inside = bitnet_request_next(handle, 0, NULL, NULL, NULL);
    destroyed_inside = bitnet_engine_destroy(engine);
    pool_inside = bitnet_thread_pool_wait(inside_pool);
    generated_inside = bitnet_generate(engine, &options, test_prompts[2], &result);
    bitnet_result_release(&result);
}

static void a_callback_may_generate_but_not_wait_for_itself(void **state)
{
    (void)state;
    inside_pool = make_pool(1, 1);
    struct latch leave = LATCH(1);
    struct consumer *consumer = new_consumer();
    consumer->leave = &leave;
    consumer->calls = call_from_inside;
    consumer->handle = begin(consumer, inside_pool, 8);
    latch_count_down(&leave);
    check_end(consumer, BITNET_OK);
    assert_int_equal(waited_inside, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(next_inside, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(destroyed_inside, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(pool_inside, BITNET_ERROR_THREAD_SAFETY);
    assert_int_equal(generated_inside, BITNET_OK);
    bitnet_request_release(consumer->handle);
    free_consumer(consumer);
    destroy_pool(inside_pool);
}

static void what_cannot_be_delivered_is_refused(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    struct consumer *consumer = new_consumer();
    bitnet_generate_options options = delivered(consumer, pool, 4);
    bitnet_result result;
    bitnet_request *request = NULL;
    assert_int_equal(bitnet_generate(engine, &options, test_prompts[0], &result),
                     BITNET_ERROR_INVALID_ARGUMENT);
    options.delivery_pool = NULL;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], &request),
                     BITNET_ERROR_INVALID_ARGUMENT);
    options.on_end = NULL;
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    options = delivered(consumer, pool, 4);
    assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                 BITNET_NO_DEADLINE),
                     BITNET_OK);
    assert_int_equal(bitnet_generate_async(engine, &options, test_prompts[0], &request),
                     BITNET_ERROR_SHUT_DOWN);
    assert_null(request);
    assert_int_equal(atomic_load(&consumer->n_ends), 0);
    free_consumer(consumer);
    destroy_pool(pool);
}

static void whatever_fails_the_end_is_told_of_accepted_requests_only(void **state)
{
    (void)state;
    bitnet_thread_pool *pool = make_pool(1, 1);
    unsigned n_failed = 0;
    for (uint64_t n = 1;; n++) {
        struct bni_team *team;
        struct consumer *consumer = new_consumer();
        const bitnet_generate_options options = delivered(consumer, pool, 3);
        bitnet_request *request = NULL;
        assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
        bni_fault_arm(n);
        const bitnet_status status =
            bitnet_generate_async(engine, &options, test_prompts[0], &request);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        bni_compute_release(team);
        if (status == BITNET_OK) {
            check_end(consumer, BITNET_OK);
            bitnet_request_release(request);
        } else {
            n_failed++;
            assert_int_equal(status, BITNET_ERROR_OUT_OF_MEMORY);
            assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
            assert_int_equal(atomic_load(&consumer->n_ends), 0);
        }
        free_consumer(consumer);
        if (!was_asked) break;
    }
    assert_true(n_failed >= 4); /* tokens, request, lock, standing job at least */
    destroy_pool(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_in_order_and_one_at_a_time_and_the_end_once),
        cmocka_unit_test(without_a_handle_a_request_goes_on),
        cmocka_unit_test(one_without_callbacks_ends_too),
        cmocka_unit_test(a_stuck_consumer_holds_up_nobody_else),
        cmocka_unit_test(a_full_pool_loses_nothing_and_the_engine_goes_on),
        cmocka_unit_test(a_delivery_that_is_displaced_gets_back_in_line),
        cmocka_unit_test(on_text_may_stop_its_request),
        cmocka_unit_test(a_callback_that_ends_its_thread_stops_its_request),
        cmocka_unit_test(cancelling_and_releasing_end_the_delivery),
        cmocka_unit_test(the_engine_may_go_while_a_consumer_is_stuck),
        cmocka_unit_test(a_graceful_shutdown_waits_for_deliveries),
        cmocka_unit_test(an_immediate_shutdown_ends_every_delivery_once),
        cmocka_unit_test(requests_and_a_shutdown_at_once),
        cmocka_unit_test(a_callback_may_generate_but_not_wait_for_itself),
        cmocka_unit_test(what_cannot_be_delivered_is_refused),
        cmocka_unit_test(whatever_fails_the_end_is_told_of_accepted_requests_only),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
