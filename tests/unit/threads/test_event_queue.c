/* SPDX-License-Identifier: MIT */
/*
 * test_event_queue.c - events wait in order, never in excess, and the descriptor tells.
 *
 * Every test runs twice: on the system's own kind of descriptor and on a pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/latch.h"
#include "threads/compute.h"
#include "threads/event_queue.h"

enum { WATCHDOG_S = 120 };

struct fixture {
    enum bni_event_fd_kind kind;
    struct watchdog dog;
    uint64_t in_use;
};

static struct fixture native = {.kind = BNI_EVENT_FD_NATIVE};
static struct fixture on_a_pipe = {.kind = BNI_EVENT_FD_PIPE};

static int set_up(void **state)
{
    struct fixture *fixture = *state;
    watchdog_start(&fixture->dog, "a test of the event queue", WATCHDOG_S);
    fixture->in_use = bni_alloc_in_use();
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    watchdog_stop(&fixture->dog);
    return bni_alloc_in_use() == fixture->in_use ? 0 : -1;
}

static bitnet_event_queue *make_queue(void **state, uint32_t n_places)
{
    const struct fixture *fixture = *state;
    bitnet_event_queue *queue = NULL;
    assert_int_equal(bni_event_queue_create(n_places, fixture->kind, &queue),
                     BITNET_OK);
    return queue;
}

static bool is_readable(const bitnet_event_queue *queue)
{
    struct pollfd polled = {.fd = bitnet_event_queue_fd(queue), .events = POLLIN};
    const int n_ready = poll(&polled, 1, 0);
    assert_true(n_ready == 0 || (n_ready == 1 && polled.revents == POLLIN));
    return n_ready == 1;
}

static struct bni_event_place *reserve(bitnet_event_queue *queue, uint64_t tag)
{
    struct bni_event_place *place = NULL;
    assert_int_equal(bni_event_reserve(queue, tag, &place), BITNET_OK);
    assert_non_null(place);
    return place;
}

static void check_next(bitnet_event_queue *queue, bitnet_event_kind kind,
                       bitnet_status status, uint64_t tag)
{
    bitnet_event event;
    assert_true(bitnet_event_queue_next(queue, &event));
    assert_int_equal(event.kind, kind);
    assert_int_equal(event.status, status);
    assert_int_equal(event.tag, tag);
}

static void check_empty(bitnet_event_queue *queue)
{
    bitnet_event event;
    assert_false(is_readable(queue));
    assert_false(bitnet_event_queue_next(queue, &event));
}

static void the_descriptor_is_readable_exactly_while_an_event_waits(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 3);
    for (unsigned round = 0; round < 3; round++) {
        check_empty(queue);
        struct bni_event_place *place = reserve(queue, 1);
        assert_false(is_readable(queue)); /* a place alone is nothing to collect */
        bni_event_post(place, BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
        assert_true(is_readable(queue));
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, 2), BITNET_OK);
        assert_true(is_readable(queue));
        check_next(queue, BITNET_EVENT_JOB_ENDED, BITNET_OK, 1);
        assert_true(is_readable(queue));
        check_next(queue, BITNET_EVENT_POSTED, BITNET_OK, 2);
    }
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void events_come_out_in_the_order_they_went_in(void **state)
{
    enum { N_PLACES = 7 };
    bitnet_event_queue *queue = make_queue(state, N_PLACES);
    uint64_t n_in = 0;
    uint64_t n_out = 0;
    for (unsigned round = 0; round < 30; round++) {
        while (n_in - n_out < N_PLACES) {
            assert_int_equal(bitnet_event_queue_post(queue, BITNET_ERROR_CANCELLED,
                                                     n_in),
                             BITNET_OK);
            n_in++;
        }
        for (unsigned i = 0; i <= round % N_PLACES; i++)
            check_next(queue, BITNET_EVENT_POSTED, BITNET_ERROR_CANCELLED, n_out++);
    }
    while (n_out < n_in)
        check_next(queue, BITNET_EVENT_POSTED, BITNET_ERROR_CANCELLED, n_out++);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void a_second_event_of_a_place_replaces_one_that_waits(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 2);
    struct bni_event_place *first = reserve(queue, 1);
    struct bni_event_place *second = reserve(queue, 2);
    bni_event_post(first, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(second, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(first, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    check_next(queue, BITNET_EVENT_REQUEST_READY, BITNET_OK, 1);

    /* Collected: the next is an event of its own, at the end. */
    bni_event_post(first, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(second, BITNET_EVENT_REQUEST_ENDED, BITNET_ERROR_TIMED_OUT, true);
    check_next(queue, BITNET_EVENT_REQUEST_ENDED, BITNET_ERROR_TIMED_OUT, 2);
    check_next(queue, BITNET_EVENT_REQUEST_READY, BITNET_OK, 1);
    check_empty(queue);

    bni_event_post(first, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    check_next(queue, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, 1);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void check_full(bitnet_event_queue *queue, const char *named)
{
    struct bni_event_place *none = NULL;
    assert_int_equal(bni_event_reserve(queue, 9, &none), BITNET_ERROR_QUEUE_FULL);
    assert_null(none);
    assert_non_null(strstr(bitnet_last_error(), named));
    assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, 9),
                     BITNET_ERROR_QUEUE_FULL);
    assert_non_null(strstr(bitnet_last_error(), named));
}

static void a_place_is_taken_until_its_last_event_was_collected(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 2);
    struct bni_event_place *place = reserve(queue, 1);
    assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, 2), BITNET_OK);
    check_full(queue, "2 places");
    check_next(queue, BITNET_EVENT_POSTED, BITNET_OK, 2);
    struct bni_event_place *other = reserve(queue, 3);

    bni_event_post(place, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    check_next(queue, BITNET_EVENT_REQUEST_READY, BITNET_OK, 1);
    check_full(queue, "2 places"); /* that was not its last */
    bni_event_post(place, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    check_full(queue, "2 places");
    check_next(queue, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, 1);

    struct bni_event_place *third = reserve(queue, 4);
    check_full(queue, "2 places");
    bni_event_give_back(other);
    bni_event_give_back(third);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void a_place_given_back_takes_its_event_out_of_the_queue(void **state)
{
    enum { N_PLACES = 4 };
    for (unsigned given_back = 0; given_back < N_PLACES; given_back++) {
        bitnet_event_queue *queue = make_queue(state, N_PLACES);
        struct bni_event_place *places[N_PLACES];
        for (unsigned i = 0; i < N_PLACES; i++) {
            places[i] = reserve(queue, i);
            bni_event_post(places[i], BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
        }
        bni_event_give_back(places[given_back]);
        places[given_back] = reserve(queue, N_PLACES); /* it is free again */
        for (unsigned i = 0; i < N_PLACES; i++) {
            if (i == given_back) continue;
            assert_true(is_readable(queue));
            check_next(queue, BITNET_EVENT_REQUEST_READY, BITNET_OK, i);
        }
        check_empty(queue);
        for (unsigned i = 0; i < N_PLACES; i++) bni_event_give_back(places[i]);
        bitnet_event_queue_destroy(queue);
    }
}

static void the_last_event_given_back_makes_the_descriptor_unreadable(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 1);
    struct bni_event_place *place = reserve(queue, 1);
    bni_event_post(place, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    assert_true(is_readable(queue));
    bni_event_give_back(place);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void without_a_queue_there_is_no_place_and_nothing_happens(void **state)
{
    (void)state;
    bitnet_event event;
    struct bni_event_place *place = (struct bni_event_place *)&event;
    assert_int_equal(bni_event_reserve(NULL, 1, &place), BITNET_OK);
    assert_null(place);
    bni_event_post(NULL, BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
    bni_event_give_back(NULL);
    bitnet_event_queue_destroy(NULL);
    assert_int_equal(bitnet_event_queue_fd(NULL), -1);
    assert_false(bitnet_event_queue_next(NULL, &event));
    assert_int_equal(bitnet_event_queue_next_until(NULL, 0, &event),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_event_queue_post(NULL, BITNET_OK, 0),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static void bad_arguments_are_refused(void **state)
{
    bitnet_event_queue *queue = NULL;
    assert_int_equal(bitnet_event_queue_create(1, NULL), BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_event_queue_create(0, &queue),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "n_places is 0"));
    assert_int_equal(bitnet_event_queue_create(BITNET_MAX_EVENT_QUEUE + 1, &queue),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(bitnet_last_error(), "from 1 to 1048576"));
    assert_null(queue);

    queue = make_queue(state, 1);
    assert_false(bitnet_event_queue_next(queue, NULL));
    assert_int_equal(bitnet_event_queue_next_until(queue, 0, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_event_queue_destroy(queue);
}

static void posting_and_collecting_acquire_nothing(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 2);
    const uint64_t in_use = bni_alloc_in_use();
    bni_fault_arm(1);
    for (unsigned i = 0; i < 100; i++) {
        struct bni_event_place *place = reserve(queue, i);
        bni_event_post(place, BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
        check_next(queue, BITNET_EVENT_JOB_ENDED, BITNET_OK, i);
    }
    assert_int_equal(bni_fault_count(), 0);
    bni_fault_arm(0);
    assert_int_equal(bni_alloc_in_use(), in_use);
    bitnet_event_queue_destroy(queue);
}

/* ---- waiting ------------------------------------------------------------------------ */

struct sleeper {
    bitnet_event_queue *queue;
    uint64_t deadline_ns;
    bitnet_event event;
    bitnet_status status;
    pthread_t thread;
};

static void *sleep_for_an_event(void *arg)
{
    struct sleeper *sleeper = arg;
    sleeper->status =
        bitnet_event_queue_next_until(sleeper->queue, sleeper->deadline_ns,
                                      &sleeper->event);
    return NULL;
}

static void start(struct sleeper *sleeper, bitnet_event_queue *queue)
{
    *sleeper = (struct sleeper){.queue = queue, .deadline_ns = BITNET_NO_DEADLINE};
    assert_int_equal(pthread_create(&sleeper->thread, NULL, sleep_for_an_event,
                                    sleeper),
                     0);
}

static void until_asleep(bitnet_event_queue *queue, size_t n_threads)
{
    while (bni_event_queue_n_asleep(queue) < n_threads) sched_yield();
}

static void waiting_ends_at_the_deadline(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 1);
    bitnet_event event;
    const uint64_t deadlines[] = {0, bitnet_clock_ns(), bitnet_deadline_after_ms(20)};
    for (size_t i = 0; i < sizeof(deadlines) / sizeof(deadlines[0]); i++) {
        assert_int_equal(bitnet_event_queue_next_until(queue, deadlines[i], &event),
                         BITNET_ERROR_TIMED_OUT);
        assert_true(bitnet_clock_ns() >= deadlines[i]);
    }
    bitnet_event_queue_destroy(queue);
}

static void an_event_that_is_there_is_collected_even_after_the_deadline(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 1);
    bitnet_event event = {0};
    assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, 5), BITNET_OK);
    assert_int_equal(bitnet_event_queue_next_until(queue, 0, &event), BITNET_OK);
    assert_int_equal(event.tag, 5);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void each_event_wakes_a_sleeping_thread(void **state)
{
    enum { N_SLEEPERS = 3 };
    bitnet_event_queue *queue = make_queue(state, N_SLEEPERS);
    struct sleeper sleepers[N_SLEEPERS];
    unsigned n_seen[N_SLEEPERS] = {0};
    for (unsigned i = 0; i < N_SLEEPERS; i++) start(&sleepers[i], queue);
    until_asleep(queue, N_SLEEPERS);
    for (unsigned i = 0; i < N_SLEEPERS; i++)
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, i), BITNET_OK);
    for (unsigned i = 0; i < N_SLEEPERS; i++) {
        pthread_join(sleepers[i].thread, NULL);
        assert_int_equal(sleepers[i].status, BITNET_OK);
        assert_in_range(sleepers[i].event.tag, 0, N_SLEEPERS - 1);
        n_seen[sleepers[i].event.tag]++;
    }
    for (unsigned i = 0; i < N_SLEEPERS; i++) assert_int_equal(n_seen[i], 1);
    check_empty(queue);
    bitnet_event_queue_destroy(queue);
}

static void destroying_a_queue_wakes_those_who_wait(void **state)
{
    enum { N_SLEEPERS = 3 };
    bitnet_event_queue *queue = make_queue(state, 1);
    struct sleeper sleepers[N_SLEEPERS];
    for (unsigned i = 0; i < N_SLEEPERS; i++) start(&sleepers[i], queue);
    until_asleep(queue, N_SLEEPERS);
    bitnet_event_queue_destroy(queue);
    for (unsigned i = 0; i < N_SLEEPERS; i++) {
        pthread_join(sleepers[i].thread, NULL);
        assert_int_equal(sleepers[i].status, BITNET_ERROR_SHUT_DOWN);
    }
}

static void *be_a_scheduler(void *arg)
{
    bitnet_event_queue *queue = arg;
    bitnet_event event;
    bni_context_forbid_blocking("scheduler thread");
    const bitnet_status posted = bitnet_event_queue_post(queue, BITNET_OK, 1);
    const bitnet_status waited = bitnet_event_queue_next_until(queue, 0, &event);
    const bool is_good = posted == BITNET_OK && waited == BITNET_ERROR_THREAD_SAFETY;
    return is_good ? arg : NULL;
}

static void a_scheduler_thread_may_post_and_must_not_wait(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 1);
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, be_a_scheduler, queue), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, queue);
    check_next(queue, BITNET_EVENT_POSTED, BITNET_OK, 1);
    bitnet_event_queue_destroy(queue);
}

/* ---- ends ---------------------------------------------------------------------------- */

static void places_outlive_their_queue(void **state)
{
    enum { N_PLACES = 6 };
    bitnet_event_queue *queue = make_queue(state, N_PLACES);
    struct bni_event_place *places[N_PLACES];
    for (unsigned i = 0; i < N_PLACES; i++) places[i] = reserve(queue, i);
    bni_event_post(places[0], BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(places[1], BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(places[2], BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
    bitnet_event_queue_destroy(queue);

    bni_event_post(places[0], BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(places[0], BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    bni_event_give_back(places[1]);
    bni_event_post(places[3], BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
    bni_event_give_back(places[4]);
    bni_event_post(places[5], BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    assert_true(bni_alloc_in_use() > ((const struct fixture *)*state)->in_use);
    bni_event_post(places[5], BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    assert_int_equal(bni_alloc_in_use(), ((const struct fixture *)*state)->in_use);
}

static void destroying_a_queue_closes_its_descriptor(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 1);
    const int fd = bitnet_event_queue_fd(queue);
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    bitnet_event_queue_destroy(queue);
    assert_int_equal(poll(&polled, 1, 0), 1);
    assert_int_equal(polled.revents, POLLNVAL);
}

/* By then its number may be that of somebody's file. */
static void what_comes_after_destroy_is_not_written_to_the_descriptor(void **state)
{
    bitnet_event_queue *queue = make_queue(state, 2);
    struct bni_event_place *first = reserve(queue, 1);
    struct bni_event_place *second = reserve(queue, 2);
    const int fd = bitnet_event_queue_fd(queue);
    bitnet_event_queue_destroy(queue);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(ends[0], fd); /* the lowest that is free */
    bni_event_post(first, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_post(second, BITNET_EVENT_JOB_ENDED, BITNET_OK, true);
    struct pollfd polled[] = {{.fd = ends[0], .events = POLLIN},
                              {.fd = ends[1], .events = POLLIN}};
    assert_int_equal(poll(polled, 2, 0), 0);
    bni_event_give_back(first);
    close(ends[0]);
    close(ends[1]);
}

static void whatever_creation_fails_on_nothing_is_left(void **state)
{
    const struct fixture *fixture = *state;
    unsigned n_refused_descriptors = 0;
    for (uint64_t n = 1;; n++) {
        bitnet_event_queue *queue = NULL;
        bni_fault_arm(n);
        const bitnet_status status = bni_event_queue_create(5, fixture->kind, &queue);
        const bool was_asked = bni_fault_count() >= n;
        bni_fault_arm(0);
        if (!was_asked) {
            assert_int_equal(status, BITNET_OK);
            bitnet_event_queue_destroy(queue);
            assert_in_range(n, 6, 7); /* two blocks, a lock, a condition, a descriptor;
                                         and watching for forks, once a process */
            break;
        }
        assert_true(status == BITNET_ERROR_OUT_OF_MEMORY ||
                    status == BITNET_ERROR_INTERNAL);
        if (status == BITNET_ERROR_INTERNAL) n_refused_descriptors++;
        assert_int_equal(bitnet_last_status(), status);
        assert_non_null(strstr(bitnet_last_error(), "event queue of 5 places: "));
        assert_null(queue);
        assert_int_equal(bni_alloc_in_use(), fixture->in_use);
    }
    assert_int_equal(n_refused_descriptors, 1);
}

static void a_process_without_descriptors_to_give_is_an_error(void **state)
{
    const struct fixture *fixture = *state;
    bitnet_event_queue *queue = NULL;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const bitnet_status status = bni_event_queue_create(1, fixture->kind, &queue);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, BITNET_ERROR_INTERNAL);
    assert_null(queue);
}

/* What goes wrong in a child of fork(), as bits. */
static int misbehaviour_in_child(bitnet_event_queue *queue, struct bni_event_place *old,
                                 uint64_t in_use)
{
    bitnet_event event;
    struct bni_event_place *place = NULL;
    int bits = 0;
    if (bitnet_event_queue_next(queue, &event)) bits |= 1;
    if (bitnet_event_queue_next_until(queue, 0, &event) != BITNET_ERROR_THREAD_SAFETY)
        bits |= 2;
    if (bitnet_event_queue_post(queue, BITNET_OK, 1) != BITNET_ERROR_THREAD_SAFETY)
        bits |= 4;
    if (bni_event_reserve(queue, 1, &place) != BITNET_ERROR_THREAD_SAFETY ||
        place != NULL)
        bits |= 8;
    bni_event_post(old, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
    bni_event_give_back(old);
    if (bni_alloc_in_use() == in_use) bits |= 16; /* it must still be there */
    bitnet_event_queue_destroy(queue);
    if (old == NULL && bni_alloc_in_use() != in_use) bits |= 32;
    bni_event_post(old, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    return bits;
}

/* With somebody holding a place of the queue, and without. */
static void a_forked_child_is_refused_and_takes_nothing(void **state)
{
    const struct fixture *fixture = *state;
    for (int has_place = 0; has_place < 2; has_place++) {
        bitnet_event_queue *queue = make_queue(state, 2);
        struct bni_event_place *place = has_place ? reserve(queue, 2) : NULL;
        assert_int_equal(bitnet_event_queue_post(queue, BITNET_OK, 1), BITNET_OK);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) _exit(misbehaviour_in_child(queue, place, fixture->in_use));
        int outcome = 0;
        assert_int_equal(waitpid(child, &outcome, 0), child);
        assert_true(WIFEXITED(outcome));
        assert_int_equal(WEXITSTATUS(outcome), 0);
        assert_true(is_readable(queue));
        check_next(queue, BITNET_EVENT_POSTED, BITNET_OK, 1);
        check_empty(queue);
        bni_event_give_back(place);
        bitnet_event_queue_destroy(queue);
    }
}

/* ---- many at once ---------------------------------------------------------------------- */

enum { N_POSTERS = 4, N_COLLECTORS = 6, N_PER_POSTER = 2000, N_CROWD_PLACES = 16 };

/* Each poster plays jobs, and requests with a few tokens, one after the other. */
struct crowd {
    bitnet_event_queue *queue;
    struct latch begin;
    atomic_uint next_poster;
    atomic_uint n_ended[N_POSTERS * N_PER_POSTER];
    atomic_uint n_ready;
    atomic_uint n_posted;
    atomic_uint n_collected_ends;
};

static struct bni_event_place *reserve_patiently(struct crowd *crowd, uint64_t tag)
{
    struct bni_event_place *place = NULL;
    while (bni_event_reserve(crowd->queue, tag, &place) != BITNET_OK) sched_yield();
    return place;
}

static void *post_many(void *arg)
{
    struct crowd *crowd = arg;
    const unsigned poster = atomic_fetch_add(&crowd->next_poster, 1);
    latch_meet(&crowd->begin);
    for (unsigned i = 0; i < N_PER_POSTER; i++) {
        const uint64_t tag = (uint64_t)poster * N_PER_POSTER + i;
        struct bni_event_place *place = reserve_patiently(crowd, tag);
        for (unsigned token = 0; token < i % 4; token++)
            bni_event_post(place, BITNET_EVENT_REQUEST_READY, BITNET_OK, false);
        if (i % 7 == 0) { /* begun again */
            bni_event_give_back(place);
            place = reserve_patiently(crowd, tag);
        }
        bni_event_post(place, BITNET_EVENT_REQUEST_ENDED, BITNET_OK, true);
    }
    return NULL;
}

static void count(struct crowd *crowd, const bitnet_event *event)
{
    if (event->kind == BITNET_EVENT_REQUEST_ENDED) {
        atomic_fetch_add(&crowd->n_ended[event->tag], 1);
        atomic_fetch_add(&crowd->n_collected_ends, 1);
    } else if (event->kind == BITNET_EVENT_REQUEST_READY) {
        atomic_fetch_add(&crowd->n_ready, 1);
    } else {
        atomic_fetch_add(&crowd->n_posted, 1);
    }
}

/* Half of them sleep in the queue, the others in poll(). A posted event ends each. */
static void *collect_many(void *arg)
{
    struct crowd *crowd = arg;
    bitnet_event event = {.kind = BITNET_EVENT_REQUEST_READY};
    latch_meet(&crowd->begin);
    while (event.kind != BITNET_EVENT_POSTED) {
        if (bitnet_event_queue_next_until(crowd->queue, BITNET_NO_DEADLINE, &event) !=
            BITNET_OK)
            return NULL;
        count(crowd, &event);
    }
    return arg;
}

static void *poll_for_many(void *arg)
{
    struct crowd *crowd = arg;
    struct pollfd polled = {.fd = bitnet_event_queue_fd(crowd->queue),
                            .events = POLLIN};
    bitnet_event event = {.kind = BITNET_EVENT_REQUEST_READY};
    latch_meet(&crowd->begin);
    while (event.kind != BITNET_EVENT_POSTED) {
        if (poll(&polled, 1, -1) != 1) return NULL;
        /* Another collector may have been faster. */
        if (bitnet_event_queue_next(crowd->queue, &event)) count(crowd, &event);
    }
    return arg;
}

static void many_post_and_many_collect_and_nothing_is_lost_or_doubled(void **state)
{
    static struct crowd crowd; /* too large for a stack */
    pthread_t posters[N_POSTERS];
    pthread_t collectors[N_COLLECTORS];
    memset(&crowd, 0, sizeof(crowd));
    crowd.queue = make_queue(state, N_CROWD_PLACES);
    crowd.begin = (struct latch)LATCH(N_POSTERS + N_COLLECTORS);
    for (unsigned i = 0; i < N_COLLECTORS; i++)
        assert_int_equal(pthread_create(&collectors[i], NULL,
                                        i % 2 == 0 ? collect_many : poll_for_many,
                                        &crowd),
                         0);
    for (unsigned i = 0; i < N_POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i], NULL, post_many, &crowd), 0);
    for (unsigned i = 0; i < N_POSTERS; i++) pthread_join(posters[i], NULL);
    for (unsigned n = 0; n < N_COLLECTORS; n++) {
        while (bitnet_event_queue_post(crowd.queue, BITNET_OK, 0) != BITNET_OK)
            sched_yield();
    }
    for (unsigned i = 0; i < N_COLLECTORS; i++) {
        void *result = NULL;
        pthread_join(collectors[i], &result);
        assert_ptr_equal(result, &crowd);
    }
    assert_int_equal(crowd.n_collected_ends, N_POSTERS * N_PER_POSTER);
    for (unsigned i = 0; i < N_POSTERS * N_PER_POSTER; i++)
        assert_int_equal(crowd.n_ended[i], 1);
    assert_int_equal(crowd.n_posted, N_COLLECTORS);
    /* At most one for each post that was not the last of its place. */
    assert_in_range(crowd.n_ready, 0, N_POSTERS * N_PER_POSTER / 4 * (0 + 1 + 2 + 3));
    check_empty(crowd.queue);
    bitnet_event_queue_destroy(crowd.queue);
}

#define ON(fixture, test) \
    { \
#test " (" #fixture ")", test, set_up, tear_down, &(fixture) \
    }
#define BOTH(test) ON(native, test), ON(on_a_pipe, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(the_descriptor_is_readable_exactly_while_an_event_waits),
        BOTH(events_come_out_in_the_order_they_went_in),
        BOTH(a_second_event_of_a_place_replaces_one_that_waits),
        BOTH(a_place_is_taken_until_its_last_event_was_collected),
        BOTH(a_place_given_back_takes_its_event_out_of_the_queue),
        BOTH(the_last_event_given_back_makes_the_descriptor_unreadable),
        ON(native, without_a_queue_there_is_no_place_and_nothing_happens),
        ON(native, bad_arguments_are_refused),
        BOTH(posting_and_collecting_acquire_nothing),
        ON(native, waiting_ends_at_the_deadline),
        ON(native, an_event_that_is_there_is_collected_even_after_the_deadline),
        BOTH(each_event_wakes_a_sleeping_thread),
        BOTH(destroying_a_queue_wakes_those_who_wait),
        ON(native, a_scheduler_thread_may_post_and_must_not_wait),
        BOTH(places_outlive_their_queue),
        BOTH(destroying_a_queue_closes_its_descriptor),
        BOTH(what_comes_after_destroy_is_not_written_to_the_descriptor),
        BOTH(whatever_creation_fails_on_nothing_is_left),
        BOTH(a_process_without_descriptors_to_give_is_an_error),
        BOTH(a_forked_child_is_refused_and_takes_nothing),
        BOTH(many_post_and_many_collect_and_nothing_is_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
