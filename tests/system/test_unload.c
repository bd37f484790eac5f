/* SPDX-License-Identifier: MIT */
/*
 * test_unload.c - the shared library, loaded, used, and closed with its threads alive:
 * it stays where it is, so the threads do not lose the code under their feet, and
 * opening it again finds it as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <string.h>

#include <bitnet/thread_pool.h>

#include "support/latch.h"

enum { WATCHDOG_S = 120 };

/* The functions that the test calls, by the names of the shared library. */
struct library {
    void *handle;
    bitnet_status (*create)(const bitnet_thread_pool_options *, bitnet_thread_pool **);
    bitnet_status (*submit)(bitnet_thread_pool *, bitnet_job_fn, void *,
                            bitnet_job_drop_fn, bitnet_job **);
    bitnet_status (*wait)(bitnet_thread_pool *);
    bitnet_status (*destroy)(bitnet_thread_pool *);
};

/* ISO C has no cast from an object pointer to a function pointer; the bytes are fine. */
static void find(void *handle, const char *name, void *function, size_t n_bytes)
{
    void *symbol = dlsym(handle, name);
    assert_non_null(symbol);
    assert_int_equal(n_bytes, sizeof(symbol));
    memcpy(function, &symbol, sizeof(symbol));
}

static struct library load(void)
{
    struct library library = {.handle = dlopen(BITNET_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
    if (library.handle == NULL) fail_msg("%s", dlerror());
    find(library.handle, "bitnet_thread_pool_create", &library.create,
         sizeof(library.create));
    find(library.handle, "bitnet_thread_pool_submit", &library.submit,
         sizeof(library.submit));
    find(library.handle, "bitnet_thread_pool_wait", &library.wait,
         sizeof(library.wait));
    find(library.handle, "bitnet_thread_pool_destroy", &library.destroy,
         sizeof(library.destroy));
    return library;
}

struct blocker {
    struct latch entered;
    struct latch leave;
    bool has_ended;
};

static bitnet_status block_job(void *arg)
{
    struct blocker *blocker = arg;
    latch_count_down(&blocker->entered);
    latch_wait(&blocker->leave);
    blocker->has_ended = true;
    return BITNET_OK;
}

static void it_stays_while_its_threads_are_alive(void **state)
{
    (void)state;
    struct watchdog dog;
    struct blocker blocker = {.entered = LATCH(1), .leave = LATCH(1)};
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    bitnet_thread_pool *pool;
    watchdog_start(&dog, "unloading the library", WATCHDOG_S);

    const struct library first = load();
    options.num_threads = 2; /* one inside a job of ours, one asleep in the library */
    assert_int_equal(first.create(&options, &pool), BITNET_OK);
    assert_int_equal(first.submit(pool, block_job, &blocker, NULL, NULL), BITNET_OK);
    latch_wait(&blocker.entered);
    assert_int_equal(dlclose(first.handle), 0);

    latch_count_down(&blocker.leave); /* the job returns into the closed library */
    const struct library second = load();
    assert_true(second.wait == first.wait);
    assert_int_equal(second.wait(pool), BITNET_OK);
    assert_true(blocker.has_ended);
    assert_int_equal(second.destroy(pool), BITNET_OK);
    assert_int_equal(dlclose(second.handle), 0);
    watchdog_stop(&dog);
}

static void it_can_be_opened_and_used_again_and_again(void **state)
{
    (void)state;
    struct watchdog dog;
    watchdog_start(&dog, "loading the library again", WATCHDOG_S);
    for (int i = 0; i < 5; i++) {
        struct blocker blocker = {.entered = LATCH(1), .leave = LATCH(0)};
        const struct library library = load();
        bitnet_thread_pool *pool;
        assert_int_equal(library.create(NULL, &pool), BITNET_OK);
        assert_int_equal(library.submit(pool, block_job, &blocker, NULL, NULL),
                         BITNET_OK);
        assert_int_equal(library.destroy(pool), BITNET_OK);
        assert_true(blocker.has_ended);
        assert_int_equal(dlclose(library.handle), 0);
        void *still = dlopen(BITNET_LIBRARY, RTLD_NOW | RTLD_NOLOAD);
        assert_non_null(still);
        dlclose(still);
    }
    watchdog_stop(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stays_while_its_threads_are_alive),
        cmocka_unit_test(it_can_be_opened_and_used_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
