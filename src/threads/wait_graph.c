/* SPDX-License-Identifier: MIT */
/*
 * wait_graph.c - deciding whether a wait can end.
 *
 * A worker that is not waiting can go on. A waiting one can go on if
 *
 *     for a running job    its runner can go on
 *     for a queued job     any worker of its pool can go on, to run it; always, if the
 *                          job has a start deadline, as who waits then ends it
 *     for room in a queue  any worker of that pool can go on, to make some
 *     for a pool's jobs    whoever is inside of one of them can go on, and if one is
 *                          queued, any worker of that pool
 *
 * These rules have alternatives, so following single edges until they close a
 * circle is not enough: two pools of one worker each can starve each other without
 * one. So assume all waiting workers stuck, free those that a rule frees, and repeat
 * until nothing changes; whoever is left can never go on. The last worker to close a
 * circle is the one that is refused, and the others then go on. A wait with a
 * deadline is treated alike: a refusal at once beats one at the deadline.
 *
 * A wait for a pool's jobs is for those that were accepted before it: jobs that came
 * later may be as stuck as they like. A thread may be inside of jobs of several pools,
 * for it may run a job, or a drop function, of a pool that it is no worker of.
 *
 * The lock and the list of waiting workers are process-wide, because waits cross
 * pools. The lock is the innermost: pools take it with their own held, nothing is
 * taken under it, and a check costs (sleeping workers)^2 steps, for waits for a pool's
 * jobs ^3, at worst, paid only by a worker about to sleep. Everything in the structs but
 * their fixed fields is guarded by it.
 */
#include "threads/wait_graph.h"

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "threads/fork.h"
#include "threads/sync.h"

static struct bni_mutex lock = {PTHREAD_MUTEX_INITIALIZER};
static struct bni_wait_worker *waiting BNI_GUARDED_BY(lock);

void bni_wait_graph_add(struct bni_wait_pool *pool, struct bni_wait_worker *worker)
{
    bni_mutex_lock(&lock);
    worker->next_in_pool = pool->workers;
    pool->workers = worker;
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_forget_workers(struct bni_wait_pool *pool)
{
    bni_mutex_lock(&lock);
    pool->workers = NULL;
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_shut(struct bni_wait_pool *pool)
{
    bni_mutex_lock(&lock);
    pool->is_shut = true;
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_set_first(struct bni_wait_pool *pool, uint64_t first_queued)
{
    bni_mutex_lock(&lock);
    pool->first_queued = first_queued;
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_set_present(struct bni_wait_worker *worker, bool is_present)
{
    bni_mutex_lock(&lock);
    worker->is_present = is_present;
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_place(struct bni_wait_job *job, struct bni_wait_pool *queued_in,
                          struct bni_wait_worker *runner)
{
    bni_mutex_lock(&lock);
    job->queued_in = queued_in;
    job->runner = runner;
    bni_mutex_unlock(&lock);
}

static bool can_go_on(const struct bni_wait_worker *worker)
{
    return !worker->is_waiting || !worker->is_stuck;
}

static bool any_can_go_on(const struct bni_wait_pool *pool)
{
    for (const struct bni_wait_worker *w = pool->workers; w != NULL;
         w = w->next_in_pool) {
        if (w->is_present && can_go_on(w)) return true;
    }
    return false;
}

static bool is_inside(const struct bni_wait_worker *worker,
                      const struct bni_wait_target *target)
{
    for (const struct bni_wait_inside *i = worker->inside; i != NULL; i = i->outer) {
        if (i->pool == target->pool && i->sequence < target->end_sequence) return true;
    }
    return false;
}

/* A worker that is stuck inside of one of the jobs that are waited for, or NULL. */
static const struct bni_wait_worker *stuck_inside(const struct bni_wait_target *target)
    BNI_REQUIRES(lock)
{
    for (const struct bni_wait_worker *w = waiting; w != NULL; w = w->next_waiting) {
        if (w->is_stuck && is_inside(w, target)) return w;
    }
    return NULL;
}

static bool is_any_queued(const struct bni_wait_target *target)
{
    return target->pool->first_queued < target->end_sequence;
}

static bool can_come_about(const struct bni_wait_target *target) BNI_REQUIRES(lock)
{
    switch (target->kind) {
    case BNI_WAIT_FOR_ROOM: return target->pool->is_shut || any_can_go_on(target->pool);
    case BNI_WAIT_FOR_JOBS:
        return stuck_inside(target) == NULL &&
               (!is_any_queued(target) || any_can_go_on(target->pool));
    case BNI_WAIT_FOR_JOB: break;
    }
    if (target->job->runner != NULL) return can_go_on(target->job->runner);
    if (target->job->queued_in == NULL || target->job->ends_by_itself) return true;
    return any_can_go_on(target->job->queued_in);
}

/* Leaves is_stuck on exactly those waiting workers that can never go on. */
static void find_the_stuck(void) BNI_REQUIRES(lock)
{
    for (struct bni_wait_worker *w = waiting; w != NULL; w = w->next_waiting)
        w->is_stuck = true;
    for (bool has_changed = true; has_changed;) {
        has_changed = false;
        for (struct bni_wait_worker *w = waiting; w != NULL; w = w->next_waiting) {
            if (!w->is_stuck || !can_come_about(&w->target)) continue;
            w->is_stuck = false;
            has_changed = true;
        }
    }
}

/* One worker that keeps `target` from coming about. */
static const struct bni_wait_worker *culprit(const struct bni_wait_target *target)
    BNI_REQUIRES(lock)
{
    const struct bni_wait_pool *pool = target->pool;
    if (target->kind == BNI_WAIT_FOR_JOBS) {
        const struct bni_wait_worker *worker = stuck_inside(target);
        if (worker != NULL) return worker;
    }
    if (target->kind == BNI_WAIT_FOR_JOB) {
        if (target->job->runner != NULL) return target->job->runner;
        pool = target->job->queued_in;
    }
    for (const struct bni_wait_worker *w = pool->workers; w != NULL;
         w = w->next_in_pool) {
        if (w->is_present && !can_go_on(w)) return w;
    }
    return NULL; /* a pool without threads */
}

static const char *describe(const struct bni_wait_target *target) BNI_REQUIRES(lock)
{
    switch (target->kind) {
    case BNI_WAIT_FOR_ROOM: return "for room in the queue of the pool of";
    case BNI_WAIT_FOR_JOBS:
        return stuck_inside(target) != NULL
                   ? "for a pool's jobs, one of which runs on"
                   : "for a pool's jobs, one of which is queued behind";
    case BNI_WAIT_FOR_JOB: break;
    }
    return target->job->runner != NULL ? "for a job that runs on"
                                       : "for a job that is queued behind";
}

/* Puts the way from `self` back to a worker already named into this thread's error. */
static bitnet_status refuse(const struct bni_wait_worker *self) BNI_REQUIRES(lock)
{
    enum { MAX_LINKS = 8 };
    char chain[BITNET_MAX_ERROR_BYTES];
    size_t n_bytes = 0;
    const struct bni_wait_worker *seen[MAX_LINKS];
    const struct bni_wait_worker *worker = self;
    for (size_t n_links = 0; n_links < MAX_LINKS; n_links++) {
        const struct bni_wait_worker *next = culprit(&worker->target);
        const int n_added =
            snprintf(chain + n_bytes, sizeof(chain) - n_bytes, "%s waits %s %s",
                     n_links == 0 ? worker->name : ", which", describe(&worker->target),
                     next == NULL ? "no thread at all" : next->name);
        if (n_added < 0 || (size_t)n_added >= sizeof(chain) - n_bytes) break;
        n_bytes += (size_t)n_added;
        seen[n_links] = worker;
        bool is_closed = next == NULL;
        for (size_t i = 0; i <= n_links; i++) is_closed = is_closed || seen[i] == next;
        if (is_closed) break;
        worker = next;
    }
    return bni_error(BITNET_ERROR_THREAD_SAFETY, "this wait would never end: %s",
                     chain);
}

static void stop_waiting(struct bni_wait_worker *worker) BNI_REQUIRES(lock)
{
    struct bni_wait_worker **link = &waiting;
    while (*link != worker) link = &(*link)->next_waiting;
    *link = worker->next_waiting;
    worker->is_waiting = false;
}

bitnet_status bni_wait_graph_begin(struct bni_wait_worker *worker,
                                   const struct bni_wait_inside *inside,
                                   struct bni_wait_target target)
{
    if (worker == NULL) return BITNET_OK;
    bitnet_status status = BITNET_OK;
    bni_mutex_lock(&lock);
    worker->target = target;
    worker->inside = inside;
    worker->is_waiting = true;
    worker->next_waiting = waiting;
    waiting = worker;
    find_the_stuck();
    if (worker->is_stuck) {
        status = refuse(worker);
        stop_waiting(worker);
    }
    bni_mutex_unlock(&lock);
    return status;
}

void bni_wait_graph_end(struct bni_wait_worker *worker)
{
    if (worker == NULL) return;
    bni_mutex_lock(&lock);
    stop_waiting(worker);
    bni_mutex_unlock(&lock);
}

void bni_wait_graph_before_fork(void) BNI_NO_ANALYSIS
{
    bni_mutex_lock(&lock);
}

void bni_wait_graph_after_fork(bool is_child) BNI_NO_ANALYSIS
{
    if (is_child) waiting = NULL; /* none of those threads is here */
    bni_mutex_unlock(&lock);
}
