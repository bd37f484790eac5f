/* SPDX-License-Identifier: MIT */
/*
 * test_exit.c - a process that ends in the middle of everything ends at once, with its
 * own exit status, and the library does nothing about it.
 *
 * The test runs itself with an argument: that process gets busy and then leaves.
 *
 *     test_exit                  the tests
 *     test_exit exit|return|quick_exit FD    gets busy, leaves that way; a byte on FD is
 *                                a queued job, or its drop function, that was called
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet.h>

#include "support/child.h"
#include "support/engine/engines.h"
#include "support/jobs.h"

enum { WATCHDOG_S = 120, OWN_STATUS = 7, N_WORKERS = 2, N_QUEUE = 2 };

/* ---- the process that gets busy -------------------------------------------------------- */

struct busy {
    bitnet_thread_pool *pool;
    bitnet_engine *engine;
    struct blocker blocker;
    struct latch asleep; /* about to sleep in a submit, a wait, a generation */
    int drops_fd;
};

static void tell_of_drop(void *arg)
{
    const struct busy *busy = arg;
    if (write(busy->drops_fd, "d", 1) != 1) _exit(99);
}

static bitnet_status never_begin(void *arg)
{
    tell_of_drop(arg);
    return BITNET_OK;
}

static void *wait_for_room(void *arg)
{
    struct busy *busy = arg;
    latch_count_down(&busy->asleep);
    bitnet_thread_pool_submit(busy->pool, block_job, &busy->blocker, NULL, NULL);
    return NULL;
}

static void *wait_for_jobs(void *arg)
{
    struct busy *busy = arg;
    latch_count_down(&busy->asleep);
    bitnet_thread_pool_wait(busy->pool);
    return NULL;
}

static bool first_text(void *user, const char *text, size_t text_len)
{
    struct busy *busy = user;
    (void)text;
    (void)text_len;
    latch_count_down(&busy->asleep);
    return true;
}

static void *generate(void *arg)
{
    struct busy *busy = arg;
    bitnet_generate_options options = bitnet_generate_options_default();
    bitnet_result result;
    options.max_tokens = 0;
    options.ignores_eos = true;
    options.on_text = first_text;
    options.user = busy;
    while (bitnet_generate(busy->engine, &options, test_prompts[0], &result) ==
           BITNET_OK)
        bitnet_result_release(&result);
    return NULL;
}

static void get_busy(int drops_fd)
{
    is_child = true; /* in the sense that leaks are fine: its work is cut short */
    static struct busy busy = {.blocker = BLOCKER(N_WORKERS), .asleep = LATCH(3)};
    pthread_t threads[3];
    busy.drops_fd = drops_fd;
    busy.pool = make_pool(N_WORKERS, N_QUEUE);
    busy.engine = create_engine(load_model(), NULL);
    block_workers(busy.pool, &busy.blocker, N_WORKERS);
    for (int i = 0; i < N_QUEUE; i++)
        assert_int_equal(bitnet_thread_pool_submit(busy.pool, never_begin, &busy,
                                                   tell_of_drop, NULL),
                         BITNET_OK);
    assert_int_equal(bitnet_thread_manager_initialize(), BITNET_OK);
    assert_int_equal(pthread_create(&threads[0], NULL, wait_for_room, &busy), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, wait_for_jobs, &busy), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, generate, &busy), 0);
    latch_wait(&busy.asleep);
}

static int leave_busily(const char *way, int drops_fd)
{
    get_busy(drops_fd);
    if (strcmp(way, "exit") == 0) exit(OWN_STATUS);
    if (strcmp(way, "quick_exit") == 0) quick_exit(OWN_STATUS);
    return OWN_STATUS;
}

/* ---- the tests ----------------------------------------------------------------------------- */

static void run_and_check(const char *way)
{
    int ends[2];
    char fd_text[16];
    char dropped;
    struct watchdog dog;
    watchdog_start(&dog, "a busy process's exit", WATCHDOG_S);
    assert_int_equal(pipe(ends), 0);
    snprintf(fd_text, sizeof(fd_text), "%d", ends[1]);
    const pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_exit", way, fd_text, (char *)NULL);
        _exit(98);
    }
    close(ends[1]);
    assert_int_equal(end_of_child(child), OWN_STATUS);
    assert_int_equal(read(ends[0], &dropped, 1), 0);
    close(ends[0]);
    watchdog_stop(&dog);
}

static void exit_with_everything_busy_is_immediate(void **state)
{
    (void)state;
    run_and_check("exit");
}

static void so_is_returning_from_main(void **state)
{
    (void)state;
    run_and_check("return");
}

static void so_is_quick_exit(void **state)
{
    (void)state;
    run_and_check("quick_exit");
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments == 3) return leave_busily(arguments[1], atoi(arguments[2]));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_with_everything_busy_is_immediate),
        cmocka_unit_test(so_is_returning_from_main),
        cmocka_unit_test(so_is_quick_exit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
