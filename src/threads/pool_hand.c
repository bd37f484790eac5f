/* SPDX-License-Identifier: MIT */
/*
 * pool_hand.c - very short jobs, taken several at a time.
 *
 * For a job that takes less than the lock it is guarded by takes to travel between
 * two cores, one lock per job is all the cost there is. So while jobs are that short
 * and many, a worker that has the pool's lock anyway takes some more into its hand,
 * and goes from one to the next under a lock that nobody else wants.
 *
 *     queue  --deal, under both locks-->  hand  --next, under the hand's lock-->  runs
 *       ^                                  |
 *       '--gather, under both locks--------'   and what ended meanwhile is counted
 *
 * The jobs stay where they are: a hand has the numbers of slots that the queue lends, so
 * dealing is short, and the tasks are read under the hand's lock alone. What is in a hand
 * is still queued, and whoever looks must find it so:
 *
 *   - Whoever needs to know exactly (waits, shutdown, statistics, a full queue)
 *     gathers first. A worker with an empty hand can neither begin nor end a
 *     job without the pool's lock, so from then on all is as if there were no hands.
 *   - A worker that finds the queue empty gathers before it goes to sleep, and hands
 *     are dealt only while no worker is idle. So no job waits in the hand of a worker
 *     that is held up while another one has nothing to do.
 *   - Only plain jobs go into a hand: with a handle, an event or a deadline, a job
 *     stays where others can get at it.
 *   - A slot that is lent counts against the queue's size until the hand is dealt again or
 *     gathered, which whoever finds the queue full does first. Nothing is dealt while
 *     a submitter waits for the very next job that is taken.
 *
 * With one worker jobs start in the order they were accepted in. With several, that
 * holds but for a handful of jobs of a microsecond.
 *
 * Lock order: the pool's, then a hand's.
 */
#include "threads/pool.h"

#include <assert.h>

#include "threads/perturb.h"

/* Jobs that take longer than this are not worth it. */
enum { SHORT_JOB_TICKS = BNI_PERTURB_SLOWDOWN * BNI_TICKS_PER_US_ABOUT };

/* How much the last job weighs in the estimate of the next one's time: 1/8. One that
 * the system held up counts no more than these many short ones. */
enum { ESTIMATE_SHIFT = 3, LONGEST_IN_ESTIMATE = 8 * SHORT_JOB_TICKS };

void bni_hand_estimate(bitnet_thread_pool *pool, uint64_t run_ticks)
{
    if (run_ticks > LONGEST_IN_ESTIMATE) run_ticks = LONGEST_IN_ESTIMATE;
    pool->usual_run_ticks -= pool->usual_run_ticks >> ESTIMATE_SHIFT;
    pool->usual_run_ticks += run_ticks >> ESTIMATE_SHIFT;
}

static bool may_deal(const bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock)
{
    return pool->usual_run_ticks < SHORT_JOB_TICKS && pool->state == BNI_POOL_OPEN &&
           pool->spinner == NULL && pool->idle == NULL &&
           (pool->first_submitter == NULL || pool->is_admitting) &&
           pool->idle_waiters == NULL;
}

/* Ends the loan of the slots that are no longer needed: the hand is empty then. */
static void give_back(bitnet_thread_pool *pool, struct bni_hand *hand)
    BNI_REQUIRES(pool->lock)
{
    for (unsigned i = 0; i < hand->n_next; i++)
        bni_queue_release(&pool->queue, hand->slots[i]);
    for (unsigned i = hand->n_next; i < hand->n_slots; i++)
        bni_queue_put_back(&pool->queue, hand->slots[i]);
    pool->n_dealt -= hand->n_slots;
    hand->n_next = 0;
    hand->n_slots = 0;
}

void bni_hand_deal(bitnet_thread_pool *pool, struct bni_worker *worker,
                   const struct bni_task *task)
{
    /* After a job that is not plain the worker comes back to the queue, not to its
     * hand. So whenever it comes back its hand is empty. */
    if (!bni_task_is_plain(task) || !may_deal(pool)) return;
    uint32_t n_fair = pool->queue.n_queued / (2 * pool->n_alive);
    if (n_fair < 2) return;
    if (n_fair > BNI_MAX_HAND) n_fair = BNI_MAX_HAND;

    struct bni_hand *hand = &worker->hand;
    bni_mutex_lock(&hand->lock);
    assert(hand->n_next == hand->n_slots);
    give_back(pool, hand); /* of last time */
    hand->n_slots = bni_queue_lend(&pool->queue, hand->slots, n_fair);
    pool->n_dealt += hand->n_slots;
    bni_mutex_unlock(&hand->lock);
}

bool bni_hand_next(struct bni_worker *worker, struct bni_run *run, uint64_t now)
{
    struct bni_hand *hand = &worker->hand;
    bni_mutex_lock(&hand->lock);
    const bool has_next = hand->n_next < hand->n_slots;
    if (has_next) {
        bni_tally_end(&hand->tally, run->ending, run->outcome.status,
                      bni_ticks_between(run->start_ticks, now));
        run->task = worker->pool->queue.tasks[hand->slots[hand->n_next++]];
        run->start_ticks = now;
        bni_histogram_add(&hand->tally.queue_wait,
                          bni_ticks_between(run->task.submitted_ticks, now));
    }
    bni_mutex_unlock(&hand->lock);
    return has_next;
}

void bni_hand_gather(bitnet_thread_pool *pool)
{
    for (unsigned i = 0; i < pool->n_workers && pool->n_dealt > 0; i++) {
        struct bni_hand *hand = &pool->workers[i]->hand;
        bni_mutex_lock(&hand->lock);
        give_back(pool, hand);
        bni_mutex_unlock(&hand->lock);
    }
}

void bni_hand_add_tally(const bitnet_thread_pool *pool, struct bni_tally *sum)
{
    for (unsigned i = 0; i < pool->n_workers; i++) {
        struct bni_hand *hand = &pool->workers[i]->hand;
        bni_mutex_lock(&hand->lock);
        bni_tally_add(sum, &hand->tally);
        bni_mutex_unlock(&hand->lock);
    }
}
