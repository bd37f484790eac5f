/* SPDX-License-Identifier: MIT */
/*
 * test_thread_safe_ref_counter.c - counted references: one end, whoever brings it
 * about, and readers and writers that keep out of each other's way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <bitnet/log.h>
#include <bitnet/ref.h>

#include "base/fault.h"
#include "support/latch.h"
#include "threads/compute.h"

enum { N_THREADS = 8, N_ROUNDS = 2000, WATCHDOG_S = 120 };

struct object {
    unsigned n_destroyed;
    unsigned value; /* plain on purpose: what guards it is under test */
    unsigned copy;
    _Atomic unsigned n_inside;
};

static void count_end(void *arg)
{
    struct object *object = arg;
    object->n_destroyed++;
}

static void the_last_release_ends_the_object(void **state)
{
    (void)state;
    struct object object = {.n_destroyed = 0};
    bitnet_ref *ref = NULL;
    assert_int_equal(bitnet_ref_create(&object, count_end, &ref), BITNET_OK);
    assert_ptr_equal(bitnet_ref_get(ref), &object);
    assert_ptr_equal(bitnet_ref_retain(ref), ref);
    assert_int_equal(bitnet_ref_count(ref), 2);
    assert_false(bitnet_ref_release(ref));
    assert_int_equal(object.n_destroyed, 0);
    assert_true(bitnet_ref_release(ref));
    assert_int_equal(object.n_destroyed, 1);

    assert_null(bitnet_ref_retain(NULL));
    assert_false(bitnet_ref_release(NULL));
    assert_null(bitnet_ref_get(NULL));
    assert_int_equal(bitnet_ref_count(NULL), 0);
    assert_int_equal(bitnet_ref_create(&object, NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
}

static void *retain_and_release(void *arg)
{
    bitnet_ref *ref = arg;
    for (int i = 0; i < N_ROUNDS; i++) {
        bitnet_ref_retain(ref);
        bitnet_ref_release(ref);
    }
    struct object *object = bitnet_ref_get(ref);
    atomic_fetch_add(&object->n_inside, 1);
    bitnet_ref_release(ref);
    return NULL;
}

static void many_holders_end_it_once(void **state)
{
    (void)state;
    struct object object = {.n_destroyed = 0};
    bitnet_ref *ref = NULL;
    pthread_t threads[N_THREADS];
    assert_int_equal(bitnet_ref_create(&object, count_end, &ref), BITNET_OK);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, retain_and_release,
                                        bitnet_ref_retain(ref)),
                         0);
    bitnet_ref_release(ref);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(object.n_destroyed, 1);
    assert_int_equal(atomic_load(&object.n_inside), N_THREADS);
}

#ifdef BNI_DEBUG

static void count_log(void *user, bitnet_log_level level, const char *message)
{
    unsigned *n_errors = user;
    if (level == BITNET_LOG_ERROR && strstr(message, "after its last release") != NULL)
        (*n_errors)++;
}

static void a_use_after_the_end_is_reported_and_ignored(void **state)
{
    (void)state;
    struct object object = {.n_destroyed = 0};
    unsigned n_errors = 0;
    bitnet_ref *ref = NULL;
    bitnet_set_log(count_log, &n_errors, BITNET_LOG_ERROR);
    assert_int_equal(bitnet_ref_create(&object, count_end, &ref), BITNET_OK);
    assert_true(bitnet_ref_release(ref));

    assert_false(bitnet_ref_release(ref));
    assert_int_equal(n_errors, 1);
    assert_int_equal(bitnet_last_status(), BITNET_ERROR_THREAD_SAFETY);
    assert_null(bitnet_ref_retain(ref));
    assert_null(bitnet_ref_get(ref));
    assert_int_equal(n_errors, 3);
    assert_int_equal(object.n_destroyed, 1);
    bitnet_set_log(NULL, NULL, BITNET_LOG_ERROR);
}

#endif

static bitnet_status change(void *arg, void *user)
{
    struct object *object = arg;
    _Atomic bool *has_failed = user;
    if (atomic_fetch_add(&object->n_inside, 1) != 0) atomic_store(has_failed, true);
    object->value++;
    object->copy = object->value;
    atomic_fetch_sub(&object->n_inside, 1);
    return BITNET_OK;
}

static bitnet_status look(const void *arg, void *user)
{
    const struct object *object = arg;
    _Atomic bool *has_failed = user;
    if (object->copy != object->value) atomic_store(has_failed, true);
    return BITNET_OK;
}

struct visitor {
    bitnet_guarded *guarded;
    _Atomic bool *has_failed;
    bool writes;
};

static void *visit(void *arg)
{
    struct visitor *visitor = arg;
    for (int i = 0; i < N_ROUNDS; i++) {
        const bitnet_status status =
            visitor->writes
                ? bitnet_guarded_write(visitor->guarded, change, visitor->has_failed)
                : bitnet_guarded_read(visitor->guarded, look, visitor->has_failed);
        if (status != BITNET_OK) atomic_store(visitor->has_failed, true);
    }
    bitnet_guarded_release(visitor->guarded);
    return NULL;
}

static void a_writer_is_alone_and_readers_see_whole_changes(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct object object = {.n_destroyed = 0};
    _Atomic bool has_failed = false;
    bitnet_guarded *guarded = NULL;
    struct visitor visitors[N_THREADS];
    pthread_t threads[N_THREADS];
    assert_int_equal(bitnet_guarded_create(&object, count_end, &guarded), BITNET_OK);
    for (int i = 0; i < N_THREADS; i++) {
        visitors[i] =
            (struct visitor){bitnet_guarded_retain(guarded), &has_failed, i < 2};
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &visitors[i]), 0);
    }
    bitnet_guarded_release(guarded);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_false(atomic_load(&has_failed));
    assert_int_equal(object.value, 2 * N_ROUNDS);
    assert_int_equal(object.n_destroyed, 1);
    watchdog_stop(&dog);
}

/* Two readers meet inside: they could not, if one kept the other out. */
static bitnet_status meet(const void *object, void *user)
{
    (void)object;
    latch_meet(user);
    return BITNET_OK;
}

struct meeting {
    bitnet_guarded *guarded;
    struct latch *latch;
};

static void *read_and_meet(void *arg)
{
    struct meeting *meeting = arg;
    bitnet_guarded_read(meeting->guarded, meet, meeting->latch);
    return NULL;
}

static void readers_are_inside_together(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct latch latch = LATCH(2);
    struct meeting meeting = {.latch = &latch};
    pthread_t thread;
    int object = 0;
    assert_int_equal(bitnet_guarded_create(&object, NULL, &meeting.guarded), BITNET_OK);
    assert_int_equal(pthread_create(&thread, NULL, read_and_meet, &meeting), 0);
    assert_int_equal(bitnet_guarded_read(meeting.guarded, meet, &latch), BITNET_OK);
    pthread_join(thread, NULL);
    assert_true(bitnet_guarded_release(meeting.guarded));
    watchdog_stop(&dog);
}

static bitnet_status enter_again(void *object, void *user)
{
    (void)object;
    return bitnet_guarded_write(user, enter_again, user);
}

static bitnet_status exit_inside(void *object, void *user)
{
    (void)object;
    (void)user;
    pthread_exit(NULL);
}

static void *write_and_exit(void *arg)
{
    bitnet_guarded_write(arg, exit_inside, NULL);
    return arg;
}

static void entering_twice_is_refused_and_leaving_by_exit_is_leaving(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, __func__, WATCHDOG_S);
    struct object object = {.n_destroyed = 0};
    _Atomic bool has_failed = false;
    bitnet_guarded *guarded = NULL;
    pthread_t thread;
    assert_int_equal(bitnet_guarded_create(&object, NULL, &guarded), BITNET_OK);
    assert_int_equal(bitnet_guarded_write(guarded, enter_again, guarded),
                     BITNET_ERROR_THREAD_SAFETY);
    assert_non_null(strstr(bitnet_last_error(), "inside a guarded object"));
    assert_int_equal(bni_context_check("waiting"), BITNET_OK);

    assert_int_equal(pthread_create(&thread, NULL, write_and_exit, guarded), 0);
    void *result;
    pthread_join(thread, &result);
    assert_null(result);
    assert_int_equal(bitnet_guarded_write(guarded, change, &has_failed), BITNET_OK);
    assert_int_equal(bitnet_guarded_read(guarded, NULL, NULL),
                     BITNET_ERROR_INVALID_ARGUMENT);
    assert_int_equal(bitnet_guarded_read(NULL, look, &has_failed),
                     BITNET_ERROR_INVALID_ARGUMENT);
    bitnet_guarded_release(guarded);
    assert_false(bitnet_guarded_release(NULL));
    watchdog_stop(&dog);
}

static void creation_that_fails_leaves_the_object_to_its_owner(void **state)
{
    (void)state;
    struct object object = {.n_destroyed = 0};
    for (uint64_t n = 1; n <= 4; n++) {
        bitnet_guarded *guarded = NULL;
        bni_fault_arm(n);
        assert_int_equal(bitnet_guarded_create(&object, count_end, &guarded),
                         BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        assert_null(guarded);
    }
    bitnet_ref *ref = NULL;
    bni_fault_arm(1);
    assert_int_equal(bitnet_ref_create(&object, count_end, &ref),
                     BITNET_ERROR_OUT_OF_MEMORY);
    bni_fault_arm(0);
    assert_int_equal(object.n_destroyed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_release_ends_the_object),
        cmocka_unit_test(many_holders_end_it_once),
#ifdef BNI_DEBUG
        cmocka_unit_test(a_use_after_the_end_is_reported_and_ignored),
#endif
        cmocka_unit_test(a_writer_is_alone_and_readers_see_whole_changes),
        cmocka_unit_test(readers_are_inside_together),
        cmocka_unit_test(entering_twice_is_refused_and_leaving_by_exit_is_leaving),
        cmocka_unit_test(creation_that_fails_leaves_the_object_to_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
