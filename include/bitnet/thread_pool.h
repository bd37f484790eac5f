/* SPDX-License-Identifier: MIT */
/*
 * bitnet/thread_pool.h - a bounded pool of worker threads for your own jobs.
 *
 *   bitnet_thread_pool  workers and a first-in, first-out queue. Both have a limit
 *                       that is fixed before the pool exists, and submitting
 *                       without a handle allocates nothing. (Workers may take jobs of
 *                       about a microsecond in handfuls; within one, several workers'
 *                       order is mixed.)
 *   bitnet_job          a handle to one submitted job: wait for it, cancel it, and
 *                       read how it ended, with its error message.
 *
 * Every accepted job ends exactly once: it ran, or it was cancelled or dropped and
 * its drop function was called. At every instant accepted = queued + running +
 * ended.
 *
 * No call waits for itself. What could never end - a job waiting for itself, alone
 * or through a chain of waiting jobs, or a worker destroying its own pool - is
 * refused with BITNET_ERROR_THREAD_SAFETY, and the message names the chain.
 *
 * After fork() the child has no worker of its parent's: there each call on the parent's
 * pools and jobs is refused with BITNET_ERROR_THREAD_SAFETY, or returns false, but for
 * destroy and release, which wait for nothing. New pools work.
 *
 * Functions that can fail return bitnet_status and write their results through
 * their last parameters, only on BITNET_OK; bitnet_last_error() has the sentence.
 */
#ifndef BITNET_THREAD_POOL_H
#define BITNET_THREAD_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/durations.h>
#include <bitnet/event_queue.h>
#include <bitnet/export.h>
#include <bitnet/status.h>
#include <bitnet/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_thread_pool bitnet_thread_pool;
typedef struct bitnet_job bitnet_job;

enum {
    BITNET_MAX_POOL_THREADS = 1024,
    BITNET_MAX_POOL_QUEUE = 1048576,
    BITNET_MIN_POOL_STACK = 65536 /* bytes; or the system's minimum, if larger */
};

typedef struct bitnet_thread_pool_options {
    size_t struct_size;      /* sizeof(bitnet_thread_pool_options) in the caller */
    uint32_t num_threads;    /* 0 = the CPUs this process may use */
    uint32_t max_queue_size; /* jobs that wait for a thread; at least 1 */
    size_t stack_size;       /* bytes for each thread; 0 = the system's default */
    const char *thread_name_prefix; /* copied; names are cut to 15 bytes */
    const bitnet_trace *trace;      /* copied; or NULL */
} bitnet_thread_pool_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_thread_pool_options bitnet_thread_pool_options_default(void)
{
    bitnet_thread_pool_options options = {
        sizeof(bitnet_thread_pool_options), 0, 1000, 0, "bitnet-worker", NULL};
    return options;
}

/* What the jobs are like; see bitnet_thread_pool_options_for(). */
typedef enum bitnet_workload {
    BITNET_WORKLOAD_LOW_LATENCY = 1,        /* a queue of 100 */
    BITNET_WORKLOAD_HIGH_THROUGHPUT = 2,    /* a queue of 10000 */
    BITNET_WORKLOAD_MEMORY_CONSTRAINED = 3, /* a queue of 50, stacks of 512 KiB */
    BITNET_WORKLOAD_CPU_BOUND = 4,          /* a thread for each usable CPU */
    BITNET_WORKLOAD_IO_BOUND = 5,           /* two threads for each usable CPU */
    BITNET_WORKLOAD_LARGE_MODELS = 6        /* stacks of 4 MiB */
} bitnet_workload;

/*
 * Returns the defaults changed to suit `workload`; unchanged for a number that is
 * none of them.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_thread_pool_options
bitnet_thread_pool_options_for(bitnet_workload workload);

/*
 * Tells the most bytes a pool with these options will hold, its threads' stacks
 * included, however many jobs pass through it. Handles are not included: each is
 * its holder's, and less than 1 KiB.
 *
 * Returns as bitnet_thread_pool_create() does for bad options.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_thread_pool_memory_bound(
    const bitnet_thread_pool_options *options, uint64_t *n_bytes);

/*
 * Creates a pool and starts its threads. NULL `options` are the defaults. The
 * threads block all signals and are asleep while there is nothing to do. If one of
 * them cannot be had, those before it are stopped and joined.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  `out` is NULL, or an option is out of range; the
 *                                  message says which, and the range
 *   BITNET_ERROR_OUT_OF_MEMORY     also when the system has no thread to give
 *   BITNET_ERROR_INTERNAL          the system refused a thread for another reason
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_thread_pool_create(
    const bitnet_thread_pool_options *options, bitnet_thread_pool **out);

/*
 * A job. Its result reaches whoever waits for it: BITNET_OK, or an error with the
 * message of this thread's last failed call, or that of bitnet_job_fail().
 *
 * Runs on a worker of the pool without locks, or on a worker that waits for this
 * very job. It may call any function; those that would wait for the job itself
 * refuse. A job whose thread ends, by pthread_exit() or pthread_cancel(), has failed,
 * and its worker is replaced; it must not use longjmp() to leave. Waits of the library
 * are no cancellation points.
 */
typedef bitnet_status (*bitnet_job_fn)(void *arg);

/*
 * Called exactly once with an accepted job's `arg` if the job will never run, in
 * place of it. Runs without locks on the thread that cancelled the job or shut the
 * pool down. Waiting for the job or its pool is refused.
 */
typedef void (*bitnet_job_drop_fn)(void *arg);

/*
 * Puts a job in the queue, and waits for room while it is full. `drop` may be NULL.
 * With `job` not NULL, `*job` becomes a handle, to be released; without one nothing
 * is allocated. A job that was not accepted is as if never submitted: `arg` is
 * still the caller's and `drop` is not called.
 *
 * On one of the pool's own workers it never waits: with the queue full it runs the
 * job at once, on this thread; 32 jobs deep, it is BITNET_ERROR_QUEUE_FULL.
 *
 * Returns
 *   BITNET_OK                      the job was accepted
 *   BITNET_ERROR_INVALID_ARGUMENT  `pool` or `fn` is NULL
 *   BITNET_ERROR_SHUT_DOWN         the pool takes no more jobs
 *   BITNET_ERROR_QUEUE_FULL        on the pool's own worker only, see above
 *   BITNET_ERROR_THREAD_SAFETY     waiting for room would never end, or this is a
 *                                  compute or scheduler thread
 *   BITNET_ERROR_OUT_OF_MEMORY     no memory for the handle, or the pool lost all
 *                                  its threads to pthread_exit() and can get none
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_pool_submit(bitnet_thread_pool *pool,
                                                   bitnet_job_fn fn, void *arg,
                                                   bitnet_job_drop_fn drop,
                                                   bitnet_job **job);

/*
 * As bitnet_thread_pool_submit(), but a full queue is BITNET_ERROR_QUEUE_FULL at
 * once, on every thread.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bitnet_status bitnet_thread_pool_try_submit(bitnet_thread_pool *pool,
                                                       bitnet_job_fn fn, void *arg,
                                                       bitnet_job_drop_fn drop,
                                                       bitnet_job **job);

/*
 * As bitnet_thread_pool_submit(), but waits for room until `deadline_ns` only, which
 * is then BITNET_ERROR_TIMED_OUT. See bitnet/clock.h.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_pool_submit_until(bitnet_thread_pool *pool,
                                                         uint64_t deadline_ns,
                                                         bitnet_job_fn fn, void *arg,
                                                         bitnet_job_drop_fn drop,
                                                         bitnet_job **job);

/* What a submit does while the queue is full. */
typedef enum bitnet_submit_policy {
    BITNET_SUBMIT_WAIT = 0,       /* waits for room, as bitnet_thread_pool_submit() */
    BITNET_SUBMIT_REFUSE = 1,     /* is BITNET_ERROR_QUEUE_FULL */
    BITNET_SUBMIT_RUN_HERE = 2,   /* runs the job at once, on the submitting thread;
                                     32 jobs deep it is BITNET_ERROR_QUEUE_FULL */
    BITNET_SUBMIT_DROP_OLDEST = 3 /* makes room: the job that is queued longest ends as
                                     BITNET_ERROR_CANCELLED, before this returns */
} bitnet_submit_policy;

typedef struct bitnet_submit_options {
    size_t struct_size; /* sizeof(bitnet_submit_options) in the caller */
    bitnet_submit_policy when_full;
    uint64_t room_deadline_ns;  /* of BITNET_SUBMIT_WAIT */
    uint64_t start_deadline_ns; /* a job that has not begun by then never does: it ends
                                   as BITNET_ERROR_TIMED_OUT. A thread that waits for
                                   it learns that in time; its place in the queue is
                                   free once a worker comes to it */
    bitnet_job_drop_fn drop;    /* or NULL */
    bitnet_event_queue *events; /* gets BITNET_EVENT_JOB_ENDED; or NULL */
    uint64_t event_tag;
} bitnet_submit_options;

/*
 * Returns the defaults: wait for room, no deadlines, nothing else. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_submit_options bitnet_submit_options_default(void)
{
    bitnet_submit_options options = {sizeof(bitnet_submit_options),
                                     BITNET_SUBMIT_WAIT,
                                     BITNET_NO_DEADLINE,
                                     BITNET_NO_DEADLINE,
                                     NULL,
                                     NULL,
                                     0};
    return options;
}

/*
 * As bitnet_thread_pool_submit(), with options; NULL are the defaults.
 *
 * Returns as that does, and
 *   BITNET_ERROR_QUEUE_FULL        as the policy says, or the event queue has no place
 *   BITNET_ERROR_TIMED_OUT         no room until room_deadline_ns
 *   BITNET_ERROR_INVALID_ARGUMENT  also for options that are out of range
 *
 * Thread safety: any thread; with RUN_HERE and DROP_OLDEST not a compute or scheduler
 * thread. Blocks as the policy says.
 */
BITNET_API bitnet_status
bitnet_thread_pool_submit_with(bitnet_thread_pool *pool, bitnet_job_fn fn, void *arg,
                               const bitnet_submit_options *options, bitnet_job **job);

/*
 * Changes the number of threads, 0 for the CPUs this process may use, without losing
 * a job. Threads that are too many leave when they have ended the job they run. If a
 * new thread cannot be had, the number stays what it was.
 *
 * Returns BITNET_OK, or as bitnet_thread_pool_create() does; BITNET_ERROR_SHUT_DOWN
 * once shutdown has begun.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bitnet_status bitnet_thread_pool_resize(bitnet_thread_pool *pool,
                                                   uint32_t num_threads);

/*
 * Waits until every job that was accepted before this call has ended; jobs that come
 * later are not waited for.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  `pool` is NULL
 *   BITNET_ERROR_THREAD_SAFETY     from inside a job of this pool, or where it would
 *                                  never end, or on a compute or scheduler thread
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_pool_wait(bitnet_thread_pool *pool);

/*
 * As bitnet_thread_pool_wait(), until `deadline_ns`, which is BITNET_ERROR_TIMED_OUT.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_pool_wait_until(bitnet_thread_pool *pool,
                                                       uint64_t deadline_ns);

typedef enum bitnet_shutdown_mode {
    BITNET_SHUTDOWN_GRACEFUL = 1, /* what is queued runs, and so do the jobs that
                                     running jobs submit */
    BITNET_SHUTDOWN_IMMEDIATE = 2 /* what is queued is dropped, and what runs is asked
                                     to stop: bitnet_job_should_stop() */
} bitnet_shutdown_mode;

/*
 * Stops taking jobs, wakes every thread that waits for room (BITNET_ERROR_SHUT_DOWN),
 * waits until all jobs have ended, and joins the threads. At `deadline_ns` it returns
 * with whatever is left still going; call it again to go on waiting, or to go on from
 * graceful to immediate. Back from immediate to graceful changes nothing. Jobs that
 * never ran end as BITNET_ERROR_CANCELLED.
 *
 * Returns
 *   BITNET_OK                      nothing is left; also if that was so before
 *   BITNET_ERROR_TIMED_OUT         the message says how many jobs are left
 *   BITNET_ERROR_INVALID_ARGUMENT  `pool` is NULL, or `mode` is no mode
 *   BITNET_ERROR_THREAD_SAFETY     as for bitnet_thread_pool_wait(); nothing happened
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_thread_pool_shutdown(bitnet_thread_pool *pool,
                                                     bitnet_shutdown_mode mode,
                                                     uint64_t deadline_ns);

/*
 * Shuts down gracefully, however long that takes, and frees the pool. Calls that are
 * asleep in it return. Handles stay valid until they are released. NULL does
 * nothing.
 *
 * Returns BITNET_OK, or BITNET_ERROR_THREAD_SAFETY as for bitnet_thread_pool_wait();
 * the pool is untouched then.
 *
 * Thread safety: one thread, once, after every other call on the pool has returned, but
 * for those that are asleep in it, waiting for room or for jobs.
 */
BITNET_API bitnet_status bitnet_thread_pool_destroy(bitnet_thread_pool *pool);

/* All from one instant: n_submitted = n_queued + n_running + n_completed + n_failed +
 * n_cancelled + n_dropped + n_expired. */
typedef struct bitnet_thread_pool_stats {
    size_t struct_size; /* set by the caller: sizeof(bitnet_thread_pool_stats) */
    uint32_t n_threads; /* that exist now */
    uint32_t n_active;  /* jobs accepted and not ended: queued + running */
    uint32_t n_queued;
    uint32_t max_queued;  /* the most there ever were at a submit */
    uint32_t n_running;   /* jobs that run, or whose drop function does */
    uint64_t n_submitted; /* accepted since creation, as are all below */
    uint64_t n_completed; /* ran and returned BITNET_OK */
    uint64_t n_failed;    /* ran and returned anything else but CANCELLED, or ended its
                              thread */
    uint64_t n_cancelled; /* cancelled in the queue, or returned CANCELLED */
    uint64_t n_dropped;   /* never ran: made room for another, or the pool shut down */
    uint64_t n_refused;   /* never accepted: full, timed out, shut down */
    uint64_t n_expired;   /* never ran: start_deadline_ns passed */
    bitnet_durations queue_wait; /* from the submitting call to the start, waiting for
                                    room included, of the jobs that began */
    bitnet_durations run_time;   /* from start to end, of the jobs that ended */
} bitnet_thread_pool_stats;

/*
 * Fills `stats`, whose struct_size the caller has set.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread. Does not block.
 */
BITNET_API bitnet_status bitnet_thread_pool_get_stats(bitnet_thread_pool *pool,
                                                      bitnet_thread_pool_stats *stats);

/* Where a job is on its way. */
typedef enum bitnet_job_state {
    BITNET_JOB_QUEUED = 0,
    BITNET_JOB_RUNNING = 1, /* or its drop function runs */
    BITNET_JOB_ENDED = 2
} bitnet_job_state;

/*
 * Waits until the job has ended and returns its result; bitnet_last_error() then has
 * the message that the job left in its own thread. A worker of the job's pool that
 * waits for a job nobody has begun runs it itself.
 *
 * Returns
 *   what the job returned          once it has ended
 *   BITNET_ERROR_CANCELLED         it never ran
 *   BITNET_ERROR_TIMED_OUT         it never ran: its start_deadline_ns had passed
 *   BITNET_ERROR_INTERNAL          it called pthread_exit(), or its thread was ended
 *                                  by pthread_cancel()
 *   BITNET_ERROR_THREAD_SAFETY     waiting would never end: the message names the
 *                                  chain; or this is a compute or scheduler thread
 *   BITNET_ERROR_INVALID_ARGUMENT  `job` is NULL
 * bitnet_job_get_state() tells a job's own result from a wait that failed.
 *
 * Thread safety: any thread that has a reference. Blocks.
 */
BITNET_API bitnet_status bitnet_job_wait(bitnet_job *job);

/*
 * As bitnet_job_wait(), until `deadline_ns`, which is BITNET_ERROR_TIMED_OUT.
 *
 * Thread safety: any thread that has a reference. Blocks.
 */
BITNET_API bitnet_status bitnet_job_wait_until(bitnet_job *job, uint64_t deadline_ns);

/*
 * Cancels the job. One that is still queued will never run: its drop function is
 * called here, before this returns true. One that runs is asked to stop, see
 * bitnet_job_should_stop(), and this returns false, as it does for one that has
 * ended or is NULL. Cancelling twice is harmless.
 *
 * Thread safety: any thread that has a reference, also inside a job. Does not block,
 * apart from what the drop function does.
 */
BITNET_API bool bitnet_job_cancel(bitnet_job *job);

/*
 * Returns where the job is now; BITNET_JOB_ENDED for NULL.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_job_state bitnet_job_get_state(bitnet_job *job);

/*
 * Returns the result of a job that has ended, and BITNET_OK for one that has not;
 * leaves this thread's error alone.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_status bitnet_job_get_status(bitnet_job *job);

/*
 * Adds a reference, and returns `job`. NULL returns NULL.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_job *bitnet_job_retain(bitnet_job *job);

/*
 * Gives back a reference. The job itself goes on: release the handle of a job whose
 * result nobody wants. NULL does nothing.
 *
 * Thread safety: any thread, once for each reference.
 */
BITNET_API void bitnet_job_release(bitnet_job *job);

/*
 * Returns whether the job that the calling thread is in should end soon, because it
 * was cancelled or its pool shuts down at once. A long job asks now and then, and
 * returns BITNET_ERROR_CANCELLED. False outside of jobs.
 *
 * Thread safety: any thread. Takes the pool's lock for a moment, about 20 ns: ask
 * every now and then, not in an innermost loop.
 */
BITNET_API bool bitnet_job_should_stop(void);

/*
 * Makes `message` this thread's error, cut to BITNET_MAX_ERROR_BYTES, and returns
 * `status`: `return bitnet_job_fail(BITNET_ERROR_INTERNAL, "no disk");` gives both to
 * whoever waits for the job. NULL is "".
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_job_fail(bitnet_status status, const char *message);

#ifdef __cplusplus
}
#endif

#endif
