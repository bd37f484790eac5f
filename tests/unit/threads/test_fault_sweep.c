/* SPDX-License-Identifier: MIT */
/*
 * Whatever the system may refuse - memory, a lock, a thread, a descriptor, to be told
 * of forks - is refused in turn, at every point of a few lives from creation to end.
 * Each time the call that needed it says so, the rest goes on working or comes to its
 * end, nothing is left over, and the same life succeeds right afterwards.
 */
#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "support/jobs.h"
#include "threads/compute.h"
#include "threads/compute_control.h"

enum { WATCHDOG_S = 120, MAX_POINTS = 1000, N_GRAVES = 256 };

static unsigned n_refused; /* calls of the life under way that said no */

/* Checks that a call which failed says why, and passes its status on. */
static bool succeeds(bitnet_status status)
{
    if (status == BITNET_OK) return true;
    n_refused++;
    assert_true(status == BITNET_ERROR_OUT_OF_MEMORY ||
                status == BITNET_ERROR_INTERNAL);
    assert_int_equal(bitnet_last_status(), status);
    assert_true(strlen(bitnet_last_error()) > 20);
    bitnet_clear_error();
    return false;
}

/* What a process holds, apart from its memory's contents. */
struct held {
    uint64_t n_bytes;
    unsigned n_threads;
    unsigned n_descriptors;
};

static unsigned entries_of(const char *path)
{
    DIR *directory = opendir(path);
    assert_non_null(directory);
    unsigned n = 0;
    while (readdir(directory) != NULL) n++;
    closedir(directory);
    return n;
}

static struct held what_is_held(void)
{
    return (struct held){bni_alloc_in_use(), entries_of("/proc/self/task"),
                         entries_of("/proc/self/fd")};
}

static void check_nothing_more_is_held(const struct held *before)
{
    /* A thread that was joined may take a moment to leave the system's list; one may also
     * have been in it still when `before` was taken. */
    while (entries_of("/proc/self/task") > before->n_threads) sched_yield();
    assert_int_equal(bni_alloc_in_use(), before->n_bytes);
    assert_int_equal(entries_of("/proc/self/fd"), before->n_descriptors);
}

static void lives_without_refusal(void (*live)(void))
{
    n_refused = 0;
    live();
    assert_int_equal(n_refused, 0);
}

/* Refuses the n-th thing that `live` asks for, for every n. At least `n_expected`
 * times that must have been noticed. */
static void sweep(const char *name, void (*live)(void), unsigned n_expected)
{
    struct watchdog dog;
    watchdog_start(&dog, name, WATCHDOG_S);
    lives_without_refusal(live);
    const struct held before = what_is_held();
    unsigned n_noticed = 0;
    uint64_t n = 0;
    bool was_reached = true;
    while (was_reached) {
        n_refused = 0;
        bni_fault_arm(++n);
        live();
        was_reached = bni_fault_count() >= n;
        bni_fault_arm(0);
        check_nothing_more_is_held(&before);
        n_noticed += n_refused > 0;
        assert_true(was_reached || n_refused == 0);
        lives_without_refusal(live);
        check_nothing_more_is_held(&before);
        assert_true(n < MAX_POINTS);
    }
    print_message("%s: %" PRIu64 " points, %u refusals noticed\n", name, n - 1,
                  n_noticed);
    assert_true(n_noticed >= n_expected);
    watchdog_stop(&dog);
}

/* The first in this process: from then on the library has registered. */
static void what_cannot_watch_for_forks_is_not_created(void **state)
{
    (void)state;
    struct watchdog dog; /* the first thread: with it a sanitizer starts its own */
    watchdog_start(&dog, __func__, WATCHDOG_S);
    const struct held before = what_is_held();
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 4;
    bitnet_thread_pool *pool = NULL;
    bitnet_event_queue *events = NULL;
    bitnet_guarded *guarded = NULL;
    n_refused = 0;
    bni_fault_arm(1);
    assert_false(succeeds(bitnet_thread_pool_create(&options, &pool)));
    bni_fault_arm(1);
    assert_false(succeeds(bitnet_event_queue_create(4, &events)));
    bni_fault_arm(1);
    assert_int_equal(bitnet_guarded_create(NULL, NULL, &guarded),
                     BITNET_ERROR_OUT_OF_MEMORY);
    assert_non_null(strstr(bitnet_last_error(), "when the process forks"));
    bni_fault_arm(0);
    check_nothing_more_is_held(&before);

    assert_int_equal(bitnet_thread_pool_create(&options, &pool), BITNET_OK);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    check_nothing_more_is_held(&before);
    watchdog_stop(&dog);
}

/* A pool, handles and events. */

enum { N_JOBS = 6 };

struct submitted {
    bitnet_job *jobs[N_JOBS];
    unsigned n;
    _Atomic unsigned n_run;
};

static void submit_jobs(bitnet_thread_pool *pool, bitnet_event_queue *events,
                        struct submitted *submitted)
{
    for (unsigned i = 0; i < N_JOBS / 2; i++) {
        bitnet_submit_options options = bitnet_submit_options_default();
        options.events = events;
        if (succeeds(bitnet_thread_pool_submit_with(pool, count_job, &submitted->n_run,
                                                    &options,
                                                    &submitted->jobs[submitted->n])))
            submitted->n++;
    }
}

static void end_jobs(bitnet_event_queue *events, struct submitted *submitted)
{
    for (unsigned i = 0; i < submitted->n; i++) {
        assert_int_equal(bitnet_job_wait(submitted->jobs[i]), BITNET_OK);
        bitnet_job_release(submitted->jobs[i]);
    }
    assert_int_equal(submitted->n_run, submitted->n);
    unsigned n_events = 0;
    for (bitnet_event event; bitnet_event_queue_next(events, &event);) n_events++;
    assert_int_equal(n_events, submitted->n);
}

static void live_as_pool(void)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 4;
    bitnet_event_queue *events = NULL;
    bitnet_thread_pool *pool = NULL;
    if (!succeeds(bitnet_event_queue_create(N_JOBS, &events))) return;
    if (succeeds(bitnet_thread_pool_create(&options, &pool))) {
        struct submitted submitted = {.n = 0};
        submit_jobs(pool, events, &submitted);
        succeeds(bitnet_thread_pool_resize(pool, 7));
        submit_jobs(pool, events, &submitted);
        end_jobs(events, &submitted);
        const bitnet_thread_pool_stats stats = stats_of(pool);
        assert_true(accounting_holds(&stats));
        assert_int_equal(stats.n_completed, submitted.n);
        assert_int_equal(bitnet_thread_pool_shutdown(pool, BITNET_SHUTDOWN_GRACEFUL,
                                                     BITNET_NO_DEADLINE),
                         BITNET_OK);
        assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
    }
    bitnet_event_queue_destroy(events);
}

static void a_pool_lives_through_every_refusal(void **state)
{
    (void)state;
    sweep(__func__, live_as_pool, 30);
}

/* A full queue: who waits for room needs something to sleep on. */
static void live_as_full_pool(void)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 1;
    options.max_queue_size = 1;
    bitnet_thread_pool *pool = NULL;
    if (!succeeds(bitnet_thread_pool_create(&options, &pool))) return;
    struct blocker gate = BLOCKER(1);
    _Atomic unsigned n_run = 0;
    block_workers(pool, &gate, 1);
    assert_int_equal(bitnet_thread_pool_submit(pool, count_job, &n_run, NULL, NULL),
                     BITNET_OK);
    bitnet_job *job = NULL;
    const bitnet_status status =
        bitnet_thread_pool_submit_until(pool, 0, count_job, &n_run, NULL, &job);
    assert_int_not_equal(status, BITNET_OK);
    if (status != BITNET_ERROR_TIMED_OUT) succeeds(status);
    assert_null(job);
    latch_count_down(&gate.leave);
    assert_int_equal(bitnet_thread_pool_wait(pool), BITNET_OK);
    assert_int_equal(n_run, 1);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

static void a_full_pool_lives_through_every_refusal(void **state)
{
    (void)state;
    sweep(__func__, live_as_full_pool, 10);
}

/* The manager. */
static void live_as_manager(void)
{
    bitnet_thread_manager_options options = bitnet_thread_manager_options_default();
    options.num_threads = 3;
    _Atomic unsigned n_run = 0;
    unsigned n_accepted = 0;
    assert_int_equal(bitnet_thread_manager_configure(&options), BITNET_OK);
    if (succeeds(bitnet_thread_manager_initialize())) {
        bitnet_job *job = NULL;
        n_accepted +=
            succeeds(bitnet_thread_manager_execute(count_job, &n_run, NULL, &job));
        bitnet_job_release(job);
        const bool is_larger = succeeds(bitnet_thread_manager_set_num_threads(5));
        assert_int_equal(bitnet_thread_manager_get_num_threads(), is_larger ? 5 : 3);
        n_accepted +=
            succeeds(bitnet_thread_manager_execute(count_job, &n_run, NULL, NULL));
        succeeds(bitnet_thread_manager_set_num_threads(0));
        succeeds(bitnet_thread_manager_refresh(NULL));
        assert_int_equal(bitnet_thread_manager_wait_for_completion(), BITNET_OK);
    }
    assert_int_equal(bitnet_thread_manager_cleanup(), BITNET_OK);
    assert_int_equal(n_run, n_accepted);
}

static void the_manager_lives_through_every_refusal(void **state)
{
    (void)state;
    sweep(__func__, live_as_manager, 20);
}

/* The compute team. */

static void add_items(void *user, size_t begin, size_t end)
{
    atomic_fetch_add((_Atomic size_t *)user, end - begin);
}

static void live_as_team(void)
{
    for (unsigned n_threads = 2; n_threads <= 5; n_threads += 3) {
        assert_int_equal(bni_compute_set_threads(n_threads), BITNET_OK);
        struct bni_team *team = NULL;
        if (!succeeds(bni_compute_acquire(&team))) continue;
        _Atomic size_t n_items = 0;
        bni_team_run(team, 100, 3, add_items, &n_items);
        assert_int_equal(n_items, 100);
        bni_compute_release(team);
    }
    bni_compute_cleanup();
}

static void the_team_lives_through_every_refusal(void **state)
{
    (void)state;
    sweep(__func__, live_as_team, 15);
}

/* References. */

static void count_destroyed(void *object)
{
    ++*(unsigned *)object;
}

static bitnet_status look(const void *object, void *user)
{
    (void)user;
    return *(const unsigned *)object == 0 ? BITNET_OK : BITNET_ERROR_CANCELLED;
}

static void live_as_references(void)
{
    unsigned n_destroyed = 0;
    unsigned n_created = 0;
    bitnet_ref *ref = NULL;
    bitnet_guarded *guarded = NULL;
    n_created += succeeds(bitnet_ref_create(&n_destroyed, count_destroyed, &ref));
    if (succeeds(bitnet_guarded_create(&n_destroyed, count_destroyed, &guarded))) {
        n_created++;
        assert_int_equal(bitnet_guarded_read(guarded, look, NULL), BITNET_OK);
        assert_true(bitnet_guarded_release(guarded));
    }
    bitnet_ref_release(ref);
    assert_int_equal(n_destroyed, n_created);
}

static void references_live_through_every_refusal(void **state)
{
    (void)state;
    /* Debug builds keep the last counts that ended: as many as they ever will. */
    for (unsigned i = 0; i < N_GRAVES; i++) live_as_references();
    sweep(__func__, live_as_references, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_watch_for_forks_is_not_created),
        cmocka_unit_test(a_pool_lives_through_every_refusal),
        cmocka_unit_test(a_full_pool_lives_through_every_refusal),
        cmocka_unit_test(the_manager_lives_through_every_refusal),
        cmocka_unit_test(the_team_lives_through_every_refusal),
        cmocka_unit_test(references_live_through_every_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
