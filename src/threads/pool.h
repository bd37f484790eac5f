/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the inside of a thread pool, shared by the files that make it up:
 *
 *   pool.c          options, create, resize, destroy, statistics
 *   pool_staff.c    the worker threads: start, serve, leave, be replaced
 *   pool_run.c      running one job, and counting it, however it ends
 *   pool_hand.c     very short jobs, taken several at a time
 *   pool_submit.c   accepting jobs: at once, waiting for room, or refusing
 *   pool_wait.c     waiting for jobs, and shutdown
 *   pool_standing.c jobs that run again and again (standing.h)
 *   job.c           handles
 *
 * One lock, pool->lock, guards everything mutable. It is never held across a job, a
 * drop function or a join; under it only the allocator and the wait graph's lock are
 * taken, and threads are started. Workers, submitters and jobs have a condition each,
 * so an event wakes exactly the threads it concerns.
 *
 *   accepted = queued + running + ended
 *
 * holds whenever the lock is free. A job counts as accepted in the same breath as it
 * enters the queue or begins to run, and as ended after its function, or its drop
 * function, has returned or called pthread_exit().
 *
 * References keep the pool's struct, though not its threads and its queue, alive
 * after destroy: the owner has one, every handle, and every thread that sleeps in a
 * call on the pool.
 *
 * In a forked child the pool is the parent's (fork.h): calls refuse without a look at
 * the lock, destroy frees what it can without waiting, and handles are forgotten, with
 * the little memory they have. A job or drop function may fork, and the child return
 * from it: what is above it on that thread's stack finds the lock renewed, and leaves.
 */
#ifndef BNI_THREADS_POOL_H
#define BNI_THREADS_POOL_H

#include <bitnet/thread_pool.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/ticks.h"
#include "threads/fork.h"
#include "threads/pool_tally.h"
#include "threads/queue.h"
#include "threads/sync.h"
#include "threads/thread.h"
#include "threads/wait_graph.h"

/* How deep a thread may be in jobs that it runs inside of jobs. */
enum { BNI_MAX_JOB_DEPTH = 32 };

/* How many short jobs a worker takes at a time, besides the one it begins. */
enum { BNI_MAX_HAND = 16 };

enum bni_pool_state {
    BNI_POOL_OPEN,
    BNI_POOL_DRAINING, /* no jobs from outside; what is queued runs */
    BNI_POOL_STOPPING, /* no jobs at all; what was queued is dropped */
    BNI_POOL_CLOSED,   /* nothing is queued or running; workers leave */
};

enum bni_worker_state {
    BNI_WORKER_ABSENT, /* no thread, or one that was joined */
    BNI_WORKER_ALIVE,
    BNI_WORKER_GONE, /* its thread is ending, and has to be joined */
};

/* Jobs that a worker has taken and not begun: see pool_hand.c. */
struct bni_hand {
    struct bni_mutex lock;

    /* Guarded by the lock; the first two are written under the pool's too. */
    uint32_t slots[BNI_MAX_HAND]; /* on loan from the queue */
    unsigned n_next;              /* the first of them that is still to be run */
    unsigned n_slots;
    struct bni_tally tally;
};

/* A place for a thread; thread after thread may fill it. */
struct bni_worker {
    bitnet_thread_pool *pool; /* fixed, as is `index` */
    unsigned index;
    char name[BNI_THREAD_NAME_BYTES]; /* fixed */

    /* Guarded by pool->lock. */
    enum bni_worker_state state;
    struct bni_thread thread;
    pthread_t predecessor; /* ended by pthread_exit(); the next thread joins it */
    bool has_predecessor;
    bool is_asleep;
    struct bni_worker *next_idle; /* on the stack of the idle */
    struct bni_cond wake;

    /* Written under pool->lock. Read without it by the spinner only, which takes the
     * lock when it has turned false. */
    _Atomic bool is_idle;

    struct bni_wait_worker wait; /* guarded by the wait graph */

    struct bni_hand hand;
};

/* One job being brought to its end, on the stack of the thread that does it, and of
 * no concern to others. The messages of the records are only there with an error. */
struct bni_run {
    bitnet_thread_pool *pool;
    struct bni_task task;
    struct bni_worker *worker; /* whose thread this is; NULL: no pool's */
    struct bni_run *outer;     /* what the thread was in before; or NULL */
    unsigned depth;
    struct bni_wait_inside inside; /* set before a wait: see bni_current_inside() */
    enum bni_ending ending;
    bool is_run_here; /* inside of its own submit, and never queued */
    uint64_t start_ticks;
    struct bni_error_record outcome;
    struct bni_error_record outer_error; /* the thread's before, to be put back */
};

/* A thread that waits for room, with the job it brings. On its stack. Or a standing
 * job's place in line, behind which nobody sleeps; then `waiter` and the rest is unused. */
struct bni_submitter {
    struct bni_task task;
    bool is_standing;
    struct bni_wait_worker *waiter; /* its place in the wait graph, or NULL */
    struct bni_cond answered;
    bool has_answer;
    bool is_accepted;
    struct bni_submitter *next;
};

/* A thread that waits for jobs to end. On its stack. */
struct bni_idle_waiter {
    uint64_t end_sequence; /* jobs before it; UINT64_MAX: also those yet to come */
    uint64_t n_left;
    struct bni_wait_worker *waiter; /* its place in the wait graph, or NULL */
    struct bni_idle_waiter *next;
};

struct bitnet_thread_pool {
    /* Fixed after creation. */
    unsigned generation; /* see fork.h */
    size_t stack_bytes;
    char name_prefix[BNI_THREAD_NAME_BYTES];
    unsigned n_cpus; /* that this process may use */
    bitnet_trace trace;

    /*
     * All below is guarded by the lock. A thread that takes the lock on another core
     * than the last one waits for every cache line that was written there. So they are
     * few: the lock's, one for what each submit writes, and one that submits read and
     * hardly anybody writes. What only workers write comes after these.
     */
    _Alignas(BNI_ALIGNMENT) struct bni_mutex lock;
    uint32_t n_running;

    _Alignas(BNI_ALIGNMENT) struct bni_queue queue;
    uint64_t next_sequence; /* = jobs accepted */
    uint32_t n_dealt;  /* slots that are lent to hands, whatever became of the jobs */
    bool is_waking;    /* a worker was woken, and has not looked around yet */
    bool is_admitting; /* a submitter got room, and has not woken up yet */

    _Alignas(BNI_ALIGNMENT) enum bni_pool_state state;
    unsigned n_workers; /* places, of which n_wanted are to be filled */
    unsigned n_wanted;
    unsigned n_alive;
    uint32_t max_queued;
    struct bni_worker **workers;
    struct bni_worker *spinner;            /* the idle worker that is awake, or NULL */
    struct bni_worker *idle;               /* a stack: who worked last is woken first */
    struct bni_submitter *first_submitter; /* they wait for room */
    struct bni_submitter *last_submitter;
    struct bni_idle_waiter *idle_waiters;

    _Alignas(BNI_ALIGNMENT) struct bni_tally tally; /* without what is in the hands' */
    uint64_t usual_run_ticks; /* an estimate of how long the next job takes */
    uint64_t n_refused;

    size_t n_refs;
    struct bni_standing *first_standing; /* all that are open */
    uint32_t n_standing;
    bool is_joining;
    struct bni_cond staff_left;   /* a worker has gone, or all have been joined */
    struct bni_cond nothing_left; /* for an idle waiter */

    struct bni_wait_pool wait_pool; /* guarded by the wait graph */
};

struct bitnet_job {
    bitnet_thread_pool *pool; /* fixed; one reference */

    /* Guarded by pool->lock. */
    unsigned n_refs;   /* the holders', and the task's until the job has ended */
    uint64_t sequence; /* its task's */
    bitnet_job_state state;
    uint32_t slot;    /* while queued; else BNI_NO_SLOT */
    bool should_stop; /* cancelled while it ran */
    struct bni_error_record outcome;
    struct bni_cond ended;

    struct bni_wait_job place; /* guarded by the wait graph */
};

/* pool.c */

/* Gives back a reference, which frees the pool if it was the last, and the lock. */
void bni_pool_leave(bitnet_thread_pool *pool) BNI_RELEASE(pool->lock);

/* Jobs that are queued or run. Exact after bni_hand_gather(). */
static inline uint64_t bni_pool_n_active(const bitnet_thread_pool *pool)
    BNI_REQUIRES(pool->lock)
{
    return pool->queue.n_queued + pool->n_running;
}

/* Whether this process was forked from the pool's. */
static inline bool bni_pool_is_parents(const bitnet_thread_pool *pool)
{
    return bni_fork_is_older(pool->generation);
}

/* pool_staff.c */

/* Adds places until there are `n_workers`; what it could add stays if it fails. */
bitnet_status bni_pool_add_places(bitnet_thread_pool *pool, unsigned n_workers)
    BNI_REQUIRES(pool->lock);

/* Starts a thread for every wanted place that has none. */
bitnet_status bni_pool_fill_places(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* Wakes the worker that became idle last, or all of them. */
void bni_pool_wake_one(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);
void bni_pool_wake_all(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* Makes all workers leave, and joins them. Nothing is queued or running. */
void bni_pool_dismiss(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

void bni_pool_free_places(bitnet_thread_pool *pool);

/* pool_hand.c */

/* Learns from a job that took `run_ticks`. */
void bni_hand_estimate(bitnet_thread_pool *pool, uint64_t run_ticks)
    BNI_REQUIRES(pool->lock);

/* Fills the worker's hand, which is empty, if that is worth it and allowed, with what
 * is to be run after `task`. */
void bni_hand_deal(bitnet_thread_pool *pool, struct bni_worker *worker,
                   const struct bni_task *task) BNI_REQUIRES(pool->lock);

/* Counts `run`, a plain job that has ended, and puts the next one of the hand in its
 * place; false, and nothing is done, if there is none. Takes the hand's lock only. */
bool bni_hand_next(struct bni_worker *worker, struct bni_run *run, uint64_t now);

/* Puts what is in all hands back into the queue: now all numbers are exact, and no
 * job begins or ends while the lock is held. */
void bni_hand_gather(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* Adds what was counted in the hands. After gathering. */
void bni_hand_add_tally(const bitnet_thread_pool *pool, struct bni_tally *sum)
    BNI_REQUIRES(pool->lock);

/* pool_run.c */

/* The innermost job or drop function that this thread is in, or NULL. */
struct bni_run *bni_current_run(void);

/* The pool worker whose thread this is, or NULL; and only if it is `pool`'s. */
struct bni_worker *bni_current_worker(void);
struct bni_worker *bni_current_worker_of(const bitnet_thread_pool *pool);

/* The current worker's place in the wait graph, or NULL; and what it is inside of. */
struct bni_wait_worker *bni_current_waiter(void);
const struct bni_wait_inside *bni_current_inside(void);

/* Refuses with THREAD_SAFETY inside of a job or drop function of `pool`. */
bitnet_status bni_pool_check_outside(const bitnet_thread_pool *pool, const char *what);

/* Refuses with QUEUE_FULL where this thread is too deep in jobs to enter another. */
bitnet_status bni_pool_check_depth(void);

/*
 * Runs the task on this thread, `worker`'s, or drops it if its start deadline is over,
 * and then what else is in the worker's hand. `now` is the time in ticks. Lets go of
 * the lock meanwhile. Returns the time when the last one had ended.
 */
uint64_t bni_pool_run(bitnet_thread_pool *pool, struct bni_worker *worker,
                      const struct bni_task *task, uint64_t now)
    BNI_REQUIRES(pool->lock);

/* The same for a task that is run inside of its own submit. */
void bni_pool_run_here(bitnet_thread_pool *pool, struct bni_worker *worker,
                       const struct bni_task *task) BNI_REQUIRES(pool->lock);

/* Ends the task as one that never ran, calling its drop function, likewise. */
void bni_pool_drop(bitnet_thread_pool *pool, const struct bni_task *task,
                   enum bni_ending ending, const struct bni_error_record *outcome)
    BNI_REQUIRES(pool->lock);

/* The same for a task whose start deadline is over. */
void bni_pool_expire(bitnet_thread_pool *pool, const struct bni_task *task)
    BNI_REQUIRES(pool->lock);

/* Takes one ended job off what every waiter it concerns still waits for. */
void bni_pool_tell_idle_waiters(bitnet_thread_pool *pool, uint64_t sequence)
    BNI_REQUIRES(pool->lock);

/* For the end of a standing job, which concerns those only who wait for everything. */
#define BNI_SEQUENCE_OF_STANDING (UINT64_MAX - 1)

/* Drops all that is queued. */
void bni_pool_drop_queued(bitnet_thread_pool *pool,
                          const struct bni_error_record *outcome)
    BNI_REQUIRES(pool->lock);

/* pool_submit.c */

/* Lets the next waiting submitter in if there is room: after each taking of a slot. */
void bni_pool_refill(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* Refuses all waiting submitters. Standing jobs stay in line, unless the pool stops. */
void bni_pool_refuse_submitters(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* Puts a standing job's place at the end of the line, or into the queue. */
void bni_pool_stand_in_line(bitnet_thread_pool *pool, struct bni_submitter *place)
    BNI_REQUIRES(pool->lock);

/* Accepts the task, and drops it at once. Lets go of the lock. */
void bni_pool_drop_new(bitnet_thread_pool *pool, struct bni_task *task,
                       const struct bni_error_record *outcome) BNI_REQUIRES(pool->lock);

/* pool_standing.c */

/* Drops the standing jobs that neither run nor wait. */
void bni_pool_drop_standing(bitnet_thread_pool *pool,
                            const struct bni_error_record *outcome)
    BNI_REQUIRES(pool->lock);

/* A standing job's place was taken out of the line, with the pool's lock held. */
void bni_pool_leave_line(struct bni_submitter *place);

/* pool_wait.c */

/* Tells the wait graph which queued job is the oldest. */
void bni_pool_show_queue(bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* job.c */

/* Makes a handle that belongs to no pool yet; NULL, with the error, if it cannot. */
bitnet_job *bni_job_create(void);
void bni_job_discard(bitnet_job *job);

/* Ties the handle to its pool, with a reference for the holder and one for the task. */
void bni_job_attach(bitnet_job *job, bitnet_thread_pool *pool) BNI_REQUIRES(pool->lock);

/* The task's side of a handle; NULL does nothing. The last gives its reference back. */
void bni_job_is_queued(bitnet_job *job, uint32_t slot);
void bni_job_is_running(bitnet_job *job, struct bni_worker *worker);
void bni_job_has_ended(bitnet_job *job, const struct bni_error_record *outcome);

#endif
