/* SPDX-License-Identifier: MIT */
/*
 * pool.pml - the steps of the thread pool (src/threads/), for the Spin model checker.
 *
 * A scenario (pool_*.pml) fixes the constants, includes this file and starts threads;
 * README.md says which C function each inline stands for. Spin then visits every
 * state that any order of steps can lead to.
 *
 * One lock guards everything, so what a thread does between taking the lock and
 * letting it go is one atomic step, in which nothing blocks. The lock is a variable
 * all the same: user functions and joins assert that their thread does not hold it.
 * A condition variable is the pair of "sleeps on" and "is signalled", and a signal
 * that finds nobody asleep is lost, as it is in pthreads.
 *
 * A place for a worker is one process; thread after thread fills it. A job is a
 * number below N_JOBS, submitted once, with up to N_STEPS user actions.
 *
 * What is asserted, where the lock becomes free: the count of pool.h, that nobody waits
 * for room, and no idle worker sleeps, for want of a wake-up, that no hand holds a job
 * while a worker is idle, and for each waiter whether it is still right to wait. At the
 * start of a job or drop function: it is the first of this job, and allowed. When
 * nothing can move any more: every job has ended or was refused (judge), and Spin
 * itself reports each thread that is not at its end.
 *
 * Each BREAK_ macro takes one rule out; README.md has the table.
 */

/* Kinds of submission: what a full queue means. */
#define WAIT_FOR_ROOM 0
#define REFUSE 1
#define RUN_HERE 2
#define DROP_OLDEST 3

/* Modes of shutdown, also states of the pool. */
#define OPEN 0
#define DRAINING 1 /* graceful */
#define STOPPING 2 /* immediate */
#define CLOSED 3

/* What a job's function does, step by step. */
#define RETURN 0
#define SUBMIT 1  /* another job, waiting for room where that may wait */
#define WAIT 2    /* for another job */
#define EXIT 3    /* pthread_exit() */
#define TAKE 4    /* a lock of the user's own */
#define GIVE 5
#define POLL 6 /* until it is asked to stop */
#define DISPLACE 7 /* submit another job, dropping the oldest for it */

/* Where a job is. */
#define NEW 0
#define QUEUED 1
#define RUNNING 2 /* its function, or its drop function */
#define ENDED 3
#define REFUSED 4

/* How it ends. */
#define NOT_YET 0
#define RAN 1
#define CANCELLED 2
#define DROPPED 3
#define EXPIRED 4

/* What a thread sleeps on. */
#define AWAKE 0
#define ON_WAKE 1         /* a worker's own condition */
#define ON_ANSWERED 2     /* a submitter's own */
#define ON_STAFF_LEFT 3   /* the pool's */
#define ON_NOTHING_LEFT 4 /* the pool's */
#define ON_ENDED 5        /* a job's: plus its number */

/* Places for threads. */
#define ABSENT 0
#define ALIVE 1
#define GONE 2

#define NOBODY 255

/* Scenarios without these have nothing of the kind. */
#ifndef HAND
#define HAND 0 /* how many jobs a worker takes besides the one it begins */
#endif
#ifndef HANDLES
#define HANDLES 0 /* bit j: job j has a handle, and must not be in a hand */
#endif

byte lock = NOBODY; /* or who holds it */
byte asleep[N_THREADS];

byte pool_state = OPEN;
chan queue = [CAPACITY] of { byte };
chan room = [N_THREADS] of { byte, byte }; /* submitters that wait, with their jobs */
byte answer[N_THREADS];                    /* NEW, QUEUED or REFUSED */
bool is_admitting; /* one got room, and has not woken up yet */
bool is_over[N_THREADS];                   /* the deadline of this wait for room */
byte n_accepted;
byte n_running;
byte n_ended;

byte job_state[N_JOBS];
byte how[N_JOBS];    /* decided when it leaves the queue, once */
bool is_late[N_JOBS]; /* its start deadline is over */
bool should_stop[N_JOBS];
byte user_lock = NOBODY; /* or the job that holds it */

/* Workers. */
byte place_state[N_WORKERS];
bool thread_has_ended[N_WORKERS]; /* can be joined */
byte n_alive;
bool is_joining;
byte idle[N_WORKERS]; /* a stack */
byte n_idle;
bool is_idle[N_WORKERS];
bool is_waking; /* a worker was woken, and has not looked around yet */
byte n_wanted = N_WORKERS;
bool leaves[N_WORKERS]; /* its thread, having done its last job */
byte spinner = NOBODY; /* the idle worker that is awake */
byte n_thread_failures = MAX_THREAD_FAILURES; /* how often the system may say no */

/* Short jobs that a worker has taken and not begun. Its lock is not a variable: each
 * use of it is a part of one atomic step. */
#if HAND > 0
chan hand[N_WORKERS] = [HAND] of { byte };
byte dealt[N_WORKERS]; /* how many there were, ended since or not */
byte n_dealt;
byte n_in_hands;
#else
#define n_dealt 0
#define n_in_hands 0
#endif

/* The jobs that a worker is in, outermost first, and how far each is. */
byte depth[N_WORKERS];
byte stack[N_WORKERS * MAX_DEPTH];
byte step[N_JOBS];

/* Waiters for all jobs. */
bool is_waiting[N_THREADS];
bool waits_for_later[N_THREADS];
byte n_left[N_THREADS];
byte before[N_THREADS]; /* what n_left should count: bit j stands for job j */

bool is_shut_down; /* a shutdown has returned */
bool has_waited;   /* and so has a wait */

/* Fixed by the scenario. */
byte action[N_JOBS * N_STEPS];
byte object[N_JOBS * N_STEPS];

/* Only used inside of one atomic step, so no part of the state. Long names: in the
 * checker that Spin writes these are global variables among many of its own. */
hidden byte nth;
hidden byte woken;
hidden byte asker;
hidden byte handed_over;
hidden byte picked;
hidden byte other;
hidden byte was_refused;
hidden byte n_before;
hidden byte is_on_its_way;

#define TOP stack[me * MAX_DEPTH + depth[me] - 1]
#define ACTION action[TOP * N_STEPS + step[TOP]]
#define OBJECT object[TOP * N_STEPS + step[TOP]]

/* --- Lock and conditions (sync.c) --- */

inline acquire()
{
    lock == NOBODY;
    lock = me
}

#ifdef BREAK_DEALT_TAKES_NO_ROOM
#define IS_FULL (len(queue) == CAPACITY)
#else
#define IS_FULL (len(queue) + n_dealt == CAPACITY)
#endif
#define IS_ANY_IDLE (n_idle > 0 || spinner != NOBODY)

inline check_invariants()
{
    d_step {
        assert(n_accepted == len(queue) + n_running + n_ended + n_in_hands);
        assert(len(room) == 0 || IS_FULL || is_admitting);
        assert(!IS_ANY_IDLE || n_in_hands == 0);
        is_on_its_way = is_waking || pool_state >= STOPPING;
        for (nth : 0 .. N_WORKERS - 1) {
            is_on_its_way = is_on_its_way || leaves[nth]
        }
        assert(!IS_ANY_IDLE || len(queue) == 0 || is_on_its_way);
        for (nth : 0 .. N_THREADS - 1) {
            assert(!is_waiting[nth] || (n_left[nth] == 0) == (before[nth] == 0))
        }
    }
}

inline release()
{
    assert(lock == me);
    check_invariants();
    lock = NOBODY
}

/* Between two atomic steps: whatever user code, or a join, may not be held up. */
inline unlocked()
{
    assert(lock != me)
}

inline signal(thread, condition)
{
    if
    :: asleep[thread] == condition -> asleep[thread] = AWAKE
    :: else
    fi
}

inline broadcast(condition)
{
    d_step {
        for (nth : 0 .. N_THREADS - 1) {
            signal(nth, condition)
        }
    }
}

/* The thread, `me`, lets go of the lock, and has it again afterwards. */
inline sleep(condition)
{
    asleep[me] = condition;
    release();
    asleep[me] == AWAKE && lock == NOBODY;
    lock = me
}

/* --- Waking workers and starting threads (pool_staff.c) --- */

inline wake_one()
{
    if
    :: spinner != NOBODY ->
        is_idle[spinner] = false; /* it is awake and will see this */
        spinner = NOBODY;
        is_waking = true
    :: spinner == NOBODY && n_idle > 0 ->
        n_idle--;
        woken = idle[n_idle];
        idle[n_idle] = 0;
        is_idle[woken] = false;
        is_waking = true;
        signal(woken, ON_WAKE)
    :: else
    fi
}

inline wake_all()
{
    do
    :: spinner != NOBODY || n_idle > 0 -> wake_one()
    :: else -> break
    od
}

/* Starts a thread in every place without one; was_refused: the system gave none. */
inline fill_places()
{
    was_refused = false;
    for (nth : 0 .. N_WORKERS - 1) {
        if
        :: nth < n_wanted && place_state[nth] != ALIVE && !was_refused ->
            if
            :: n_thread_failures > 0 -> n_thread_failures--; was_refused = true
            :: place_state[nth] = ALIVE; n_alive++
            fi
        :: else
        fi
    }
}

/* --- Short jobs (pool_hand.c) --- */

/* Puts what is in all hands back, in front of what is queued. */
inline gather()
{
#if HAND > 0
    d_step {
        n_before = len(queue);
        for (nth : 0 .. N_WORKERS - 1) {
            do
            :: len(hand[nth]) > 0 ->
                assert(len(queue) < CAPACITY);
                hand[nth] ? picked;
                queue ! picked;
                n_in_hands--
            :: else -> break
            od;
            n_dealt = n_dealt - dealt[nth];
            dealt[nth] = 0
        }
        do
        :: n_before > 0 && len(queue) > n_before ->
            n_before--;
            queue ? picked;
            queue ! picked
        :: else -> break
        od;
        n_before = 0;
        picked = 0
    }
#else
    skip
#endif
}

#if HAND > 0
#define HAS_HANDLE(j) ((HANDLES & (1 << j)) != 0)

inline may_deal()
{
    deals = pool_state == OPEN && !IS_ANY_IDLE && !HAS_HANDLE(TOP);
    assert(len(room) == 0 || is_admitting);
    for (nth : 0 .. N_THREADS - 1) {
        deals = deals && !is_waiting[nth]
    }
}

/* After TOP was taken: takes more, or not, as nobody knows how long jobs take. */
inline deal()
{
    may_deal();
    if
    :: deals && len(queue) > 0 ->
        assert(len(hand[me]) == 0);
        n_dealt = n_dealt - dealt[me];
        dealt[me] = 0;
        do
        :: len(queue) > 0 && len(hand[me]) < HAND ->
            queue ? <picked>;
            if
#ifndef BREAK_DEALS_HANDLES
            :: HAS_HANDLE(picked) -> break
#endif
            :: else ->
                queue ? picked;
                hand[me] ! picked;
                dealt[me]++;
                n_in_hands++
            fi
        :: else -> break
        od;
        n_dealt = n_dealt + dealt[me]
    :: true
    fi;
    deals = false;
    picked = 0
}

#define HAS_NEXT                                                                       \
    (depth[me] == 1 && how[TOP] == RAN && ACTION == RETURN && !HAS_HANDLE(TOP) &&      \
     len(hand[me]) > 0)

/* One job ends and the next begins, without the pool's lock: nobody is told. */
inline next()
{
#ifdef BREAK_NEXT_UNLOCKED
    atomic { HAS_NEXT -> hand[me] ? <following> };
    atomic {
        if
        :: hand[me] ?? [eval(following)] -> hand[me] ?? eval(following); n_in_hands--
        :: else
        fi;
#else
    atomic {
        HAS_NEXT -> hand[me] ? following;
        n_in_hands--;
#endif
        for (nth : 0 .. N_THREADS - 1) {
            assert(!is_waiting[nth] || !(before[nth] & (1 << TOP)))
        }
        job_state[TOP] = ENDED;
        n_ended++;
        TOP = following;
        begin(following, RAN);
        n_running--; /* was counted before */
        following = 0
    }
}
#else
#define HAS_NEXT false
#endif

/* --- Accepting (pool_submit.c) --- */

inline count_in(j)
{
#ifndef BREAK_COUNT_LATE
    n_accepted++;
#endif
    d_step {
        for (nth : 0 .. N_THREADS - 1) {
            if
            :: is_waiting[nth] && waits_for_later[nth] ->
                n_left[nth]++;
                before[nth] = before[nth] | (1 << j)
            :: else
            fi
        }
    }
}

inline enqueue(j)
{
    assert(job_state[j] == NEW);
    count_in(j);
    queue ! j;
    job_state[j] = QUEUED;
    if
    :: !is_waking -> wake_one()
    :: else
    fi
}

inline gather_if_full()
{
    if
    :: IS_FULL -> gather()
    :: else
    fi
}

#ifdef BREAK_CHAIN_WITHOUT_THREADS
#define NOBODY_IS_LEFT false
#else
#define NOBODY_IS_LEFT (n_alive == 0)
#endif

inline refill()
{
#ifndef BREAK_NO_HANDOVER
    if
    :: len(room) > 0 && (!is_admitting || NOBODY_IS_LEFT) ->
        gather_if_full();
        if
        :: !IS_FULL ->
            assert(pool_state == OPEN);
            room ? asker, handed_over;
            enqueue(handed_over);
            answer[asker] = QUEUED;
            signal(asker, ON_ANSWERED);
            is_admitting = true
        :: else
        fi
    :: else
    fi
#else
    skip
#endif
}

inline refuse(j)
{
    job_state[j] = REFUSED
}

inline refuse_submitters()
{
#ifndef BREAK_SHUTDOWN_KEEPS_SUBMITTERS
    do
    :: len(room) > 0 ->
        room ? asker, handed_over;
        answer[asker] = REFUSED;
        signal(asker, ON_ANSWERED)
    :: else -> break
    od
#else
    skip
#endif
}

/* Sleeps until somebody lets the job in or refuses it, or it gives up. */
inline wait_for_room(j)
{
    room ! me, j;
    answer[me] = NEW;
    asleep[me] = ON_ANSWERED;
    release();
    if
    :: asleep[me] == AWAKE && lock == NOBODY -> lock = me
    :: is_over[me] && lock == NOBODY -> lock = me; asleep[me] = AWAKE
    fi;
    if
    :: answer[me] == NEW ->
#ifndef BREAK_GIVE_UP_STAYS
        room ?? eval(me), eval(j);
#endif
        refuse(j)
    :: answer[me] == REFUSED -> refuse(j)
    :: answer[me] == QUEUED ->
        is_admitting = false;
#ifndef BREAK_NEXT_NOT_ADMITTED
        refill()
#endif
    fi;
    answer[me] = NEW
}

/* --- One run of a job's function, or of its drop function (pool_run.c) --- */

/* How a job that was just taken to be run will end. */
inline begin_run(j)
{
    if
#ifndef BREAK_EXPIRED_STARTS
    :: is_late[j] -> begin(j, EXPIRED)
#endif
    :: else -> begin(j, RAN)
    fi
}

inline begin(j, ending)
{
    assert(how[j] == NOT_YET);
    assert(ending != RAN || (!is_late[j] && !is_shut_down && pool_state < STOPPING));
    how[j] = ending;
    job_state[j] = RUNNING;
    n_running++
}

inline end_run(j)
{
    assert(job_state[j] == RUNNING && how[j] != NOT_YET);
    job_state[j] = ENDED;
    n_running--;
#ifdef BREAK_COUNT_LATE
    n_accepted++;
#endif
    n_ended++;
    broadcast(ON_ENDED + j);
    d_step {
        for (nth : 0 .. N_THREADS - 1) {
            if
            :: is_waiting[nth] && (before[nth] & (1 << j)) ->
                before[nth] = before[nth] & ~(1 << j);
                n_left[nth]--;
                if
                :: n_left[nth] == 0 -> signal(nth, ON_NOTHING_LEFT)
                :: else
                fi
            :: else
            fi
        }
    }
}

/* The second half of a run that does nothing but return. */
inline finish(j)
{
    unlocked();
    atomic { acquire(); end_run(j); release() }
}

/* Takes the oldest job out of the queue, to be dropped; NOBODY if there is none. */
inline take_to_drop(j)
{
    if
    :: len(queue) > 0 -> queue ? j; refill(); begin(j, DROPPED)
    :: else -> j = NOBODY
    fi
}

/* The callers have gathered since they let nobody begin any more. */
inline drop_queued()
{
    do
    :: atomic { acquire(); take_to_drop(mine); release() };
        if
        :: mine == NOBODY -> break
        :: else -> finish(mine)
        fi
    od
}

/* --- A worker --- */

/* Puts the job on top of the worker's stack; it goes on in the worker's loop. */
inline enter(j)
{
    stack[me * MAX_DEPTH + depth[me]] = j;
    depth[me]++
}

inline leave_top()
{
    depth[me]--;
    stack[me * MAX_DEPTH + depth[me]] = 0
}

#ifdef RECYCLE
/* Makes a job that has ended as new, so that jobs can come for ever. */
inline forget(j)
{
    if
    :: job_state[j] == ENDED ->
        job_state[j] = NEW;
        how[j] = NOT_YET;
        step[j] = 0;
        n_accepted--;
        n_ended--
    :: else
    fi
}
#endif

inline submit_as_worker()
{
    atomic {
        acquire();
        other = OBJECT;
        step[TOP]++;
#ifdef RECYCLE
        forget(other);
#endif
        if
        :: pool_state >= STOPPING -> refuse(other)
        :: else ->
            if
            :: n_alive < n_wanted -> fill_places()
            :: else
            fi;
            gather_if_full();
            if
            :: !IS_FULL -> enqueue(other)
            :: else ->
#ifdef BREAK_WORKER_WAITS
                step[TOP]--;
                wait_for_room(OBJECT);
                step[TOP]++
#else
                if
                :: depth[me] < MAX_DEPTH -> count_in(other); begin_run(other); enter(other)
                :: else -> refuse(other)
                fi
#endif
            fi
        fi;
        release()
    }
}

/* Takes the place of the oldest job, which is then dropped here. */
inline displace_as_worker()
{
    atomic {
        acquire();
        other = OBJECT;
        step[TOP]++;
        if
        :: pool_state >= STOPPING -> refuse(other)
        :: pool_state < STOPPING && !IS_FULL -> enqueue(other)
        :: else ->
            queue ? picked;
            begin(picked, DROPPED);
            enqueue(other);
            enter(picked)
        fi;
        release()
    }
}

/* Whether the worker may run the queued job that it waits for. */
#define CAN_CLAIM(j)                                                                   \
    (job_state[j] == QUEUED && pool_state < STOPPING && depth[me] < MAX_DEPTH)

inline wait_as_worker(j)
{
    atomic {
        acquire();
        if
#ifndef BREAK_NO_HELP
        :: CAN_CLAIM(j) ->
#ifdef BREAK_HELPS_ANY
            queue ? picked;
#else
            picked = j;
            queue ?? eval(picked);
#endif
            refill();
            begin_run(picked);
            enter(picked)
#endif
        :: else ->
            do
            :: job_state[j] != ENDED -> sleep(ON_ENDED + j)
            :: else -> break
            od;
            step[TOP]++
        fi;
        release()
    }
}


/* Sleeps until somebody took it off the stack of the idle. */
inline sleep_while_idle()
{
    idle[n_idle] = me;
    n_idle++;
    do
    :: is_idle[me] ->
        asleep[me] = ON_WAKE;
        release();
end_idle:
        asleep[me] == AWAKE && lock == NOBODY;
        lock = me
    :: else -> break
    od
}

/* What follows a moment of being awake, whether it was long enough or not. */
inline end_spinning()
{
    spins = false;
#ifdef BREAK_SPINNER_MISSES
    spinner = NOBODY;
    is_idle[me] = true;
    sleep_while_idle()
#else
    if
    :: is_idle[me] -> spinner = NOBODY; sleep_while_idle()
    :: else
    fi
#endif
}

#define IS_WANTED (me < n_wanted && pool_state != CLOSED)

/* The worker was woken. Of many jobs that came at once only the first has woken one. */
inline look_around()
{
#ifdef BREAK_UNWANTED_KEEPS_FLAG
    if
    :: IS_WANTED -> is_waking = false
    :: else
    fi;
#else
#ifndef BREAK_WAKING_STAYS
    is_waking = false;
#endif
#endif
#ifndef BREAK_WAKES_NO_NEXT
    if
    :: len(queue) > 1 && pool_state < STOPPING -> wake_one()
    :: else
    fi
#endif
}

#ifdef BREAK_STOPPING_STARTS
#define MAY_START (pool_state < CLOSED)
#else
#define MAY_START (pool_state < STOPPING) /* what is queued is dropped then */
#endif

/* Runs until depth[me] is above 0, or the thread is to leave: `leaves`. */
inline serve_one()
{
#ifdef BREAK_LOST_WAKEUP
    atomic { acquire(); found_nothing = !spins && len(queue) == 0; release() };
#endif
    atomic {
        acquire();
        if
        :: spins -> end_spinning(); look_around()
        :: else
        fi;
look_again:
#ifndef BREAK_NO_GATHER_IDLE
        if
        :: IS_WANTED && len(queue) == 0 -> gather()
        :: else
        fi;
#endif
        if
        :: !IS_WANTED -> leaves[me] = true
#ifdef BREAK_LOST_WAKEUP
        :: IS_WANTED && MAY_START && !found_nothing && len(queue) > 0 ->
#else
        :: IS_WANTED && MAY_START && len(queue) > 0 ->
#endif
            queue ? picked;
            refill();
            begin_run(picked);
            enter(picked);
#if HAND > 0
            deal()
#endif
        :: else ->
#ifdef BREAK_LOST_WAKEUP
            found_nothing = false;
#endif
            is_idle[me] = true;
            if
            :: spinner == NOBODY -> spinner = me; spins = true
            :: else -> sleep_while_idle(); look_around(); goto look_again
            fi
        fi;
#ifdef BREAK_LOCK_HELD
        if
        :: depth[me] == 0 -> release()
        :: else
        fi
#else
        release()
#endif
    }
}

/* The last thing that a thread does with the pool. */
inline leave()
{
    atomic {
        acquire();
        place_state[me] = GONE;
        n_alive--;
#ifndef BREAK_LEAVES_WITH_HAND
        gather();
#endif
        gives_up = false;
        if
        :: pool_state != CLOSED ->
#ifndef BREAK_NO_REPLACEMENT
            fill_places();
#endif
#ifndef BREAK_NO_GIVING_UP
            gives_up = was_refused && n_alive == 0;
#endif
            was_refused = false
        :: else
        fi;
        if
        :: gives_up -> refill()
        :: else
        fi;
        release()
    };
    if
    :: gives_up -> drop_queued()
    :: else
    fi;
    atomic {
        gives_up = false;
        mine = 0;
        acquire();
        if
#ifndef BREAK_LEAVES_JOBS
        :: len(queue) > 0 -> wake_one()
#endif
        :: else
        fi;
        broadcast(ON_STAFF_LEFT);
        leaves[me] = false;
        release();
        thread_has_ended[me] = true
    }
}

proctype worker(byte me)
{
    byte mine;
    bool spins;
    bool gives_up;
#if HAND > 0
    bool deals;
    byte following;
#endif
#ifdef BREAK_LOST_WAKEUP
    bool found_nothing;
#endif

end_without_a_thread:
    do
    :: atomic { place_state[me] == ALIVE -> thread_has_ended[me] = false };
        do
        :: depth[me] == 0 && !leaves[me] -> serve_one()
        :: depth[me] == 0 && leaves[me] -> break
        :: depth[me] > 0 ->
            unlocked();
            if
#if HAND > 0
            :: next()
#endif
            :: (how[TOP] != RAN || ACTION == RETURN) && !HAS_NEXT ->
                atomic { acquire(); end_run(TOP); leave_top(); release() }
            :: how[TOP] == RAN && ACTION == SUBMIT -> submit_as_worker()
            :: how[TOP] == RAN && ACTION == DISPLACE -> displace_as_worker()
            :: how[TOP] == RAN && ACTION == WAIT ->
                if
                :: job_state[OBJECT] == REFUSED -> step[TOP]++ /* there is no handle */
                :: else -> wait_as_worker(OBJECT)
                fi
            :: how[TOP] == RAN && ACTION == TAKE ->
                atomic { user_lock == NOBODY -> user_lock = TOP; step[TOP]++ }
            :: how[TOP] == RAN && ACTION == GIVE ->
                atomic { assert(user_lock == TOP); user_lock = NOBODY; step[TOP]++ }
            :: how[TOP] == RAN && ACTION == POLL ->
                atomic {
                    should_stop[TOP] || pool_state == STOPPING -> step[TOP]++
                }
            :: how[TOP] == RAN && ACTION == EXIT ->
                do /* the scope guards, the innermost first */
                :: depth[me] > 0 ->
                    atomic {
                        acquire();
#ifndef BREAK_EXIT_LOSES_COUNT
                        end_run(TOP);
#endif
                        leave_top();
                        release()
                    }
                :: else -> break
                od;
                leaves[me] = true
            fi
        od;
        leave()
    od
}

/* --- Threads of the program --- */

inline submit(job, when_full)
{
    atomic {
        acquire();
        if
        :: pool_state != OPEN -> refuse(job)
        :: else ->
            if
            :: n_alive < n_wanted -> fill_places()
            :: else
            fi;
            gather_if_full();
            if
            :: n_alive == 0 -> refuse(job)
            :: n_alive > 0 && !IS_FULL -> enqueue(job)
            :: n_alive > 0 && IS_FULL && when_full == WAIT_FOR_ROOM -> wait_for_room(job)
            :: n_alive > 0 && IS_FULL && when_full == REFUSE -> refuse(job)
            :: n_alive > 0 && IS_FULL && when_full == RUN_HERE ->
                mine = job;
                count_in(job);
                begin_run(job)
            :: n_alive > 0 && IS_FULL && when_full == DROP_OLDEST ->
                queue ? mine;
                begin(mine, DROPPED);
                enqueue(job)
            fi
        fi;
        release()
    };
    if
    :: mine != NOBODY -> finish(mine)
    :: else
    fi
}

proctype submitter(byte me; byte job; byte when_full)
{
    byte mine = NOBODY; /* what this thread has to run or to drop */

    submit(job, when_full)
}

/* Submits jobs one after the other, waiting for room. */
proctype producer(byte me; byte job; byte last)
{
    byte mine = NOBODY;

    do
    :: job <= last -> submit(job, WAIT_FOR_ROOM); mine = NOBODY; job++
    :: else -> break
    od
}

/* Has the handle once the job was accepted; waits for its end, or expires it. */
proctype job_waiter(byte me; byte job)
{
    job_state[job] != NEW;
    if
    :: job_state[job] != REFUSED ->
        atomic {
            acquire();
            do
            :: job_state[job] == QUEUED && is_late[job] ->
                queue ?? eval(job);
                refill();
                begin(job, EXPIRED);
                release();
                break
            :: job_state[job] == ENDED -> release(); break
            :: else ->
                asleep[me] = ON_ENDED + job;
                release();
                if
                :: asleep[me] == AWAKE && lock == NOBODY
                :: is_late[job] && job_state[job] == QUEUED && lock == NOBODY
                fi;
                lock = me;
                asleep[me] = AWAKE
            od
        };
        if
        :: how[job] == EXPIRED && job_state[job] == RUNNING -> finish(job)
        :: else
        fi
    :: else
    fi
}

proctype canceller(byte me; byte job)
{
    bool takes = false;

    job_state[job] != NEW;
#ifdef BREAK_DOUBLE_CLAIM
    atomic { acquire(); takes = job_state[job] == QUEUED; release() };
    if
    :: takes ->
        atomic {
            acquire();
            if
            :: queue ?? [eval(job)] -> queue ?? eval(job)
            :: else
            fi;
            refill();
            begin(job, CANCELLED);
            release()
        }
    :: else
    fi;
#else
    atomic {
        acquire();
        if
        :: job_state[job] == QUEUED ->
            takes = true;
            queue ?? eval(job);
            refill();
            begin(job, CANCELLED)
        :: job_state[job] == RUNNING -> should_stop[job] = true
        :: else
        fi;
        release()
    };
#endif
    if
    :: takes -> finish(job)
    :: else
    fi
}

/* The start deadline of a job passes, at any time or never. */
proctype start_deadline(byte job)
{
    if
    :: is_late[job] = true
    :: true
    fi
}

/* The same for the time that a thread waits for room. */
proctype room_deadline(byte thread)
{
    if
    :: is_over[thread] = true
    :: true
    fi
}

/* Waits for what is active now; with `later`, for whatever comes. Holds the lock. */
inline wait_for_jobs(later)
{
#ifndef BREAK_NO_GATHER_IN_WAIT
    gather();
#endif
    n_left[me] = len(queue) + n_running;
    before[me] = 0;
    d_step {
        for (nth : 0 .. N_JOBS - 1) {
            if
            :: job_state[nth] == QUEUED || job_state[nth] == RUNNING ->
                before[me] = before[me] | (1 << nth)
            :: else
            fi
        }
    };
#ifdef BREAK_WAIT_FOR_WORLD
    waits_for_later[me] = true;
#else
    waits_for_later[me] = later;
#endif
    is_waiting[me] = true;
    do
    :: n_left[me] > 0 -> sleep(ON_NOTHING_LEFT)
    :: else -> break
    od;
    is_waiting[me] = false;
    waits_for_later[me] = false
}

proctype waiter(byte me)
{
    atomic { acquire(); wait_for_jobs(false); release(); has_waited = true }
}

/* Reads the statistics. */
proctype observer(byte me)
{
    atomic {
        acquire();
        gather();
        assert(n_accepted == len(queue) + n_running + n_ended);
        release()
    }
}

proctype resizer(byte me; byte n)
{
    atomic {
        acquire();
        if
        :: pool_state == OPEN ->
            n_wanted = n;
            fill_places();
            was_refused = false
        :: else
        fi;
        wake_all();
        release()
    }
}

inline join_workers()
{
    for (mine : 0 .. N_WORKERS - 1) {
        if
        :: place_state[mine] != ABSENT ->
            place_state[mine] = ABSENT;
            release();
            unlocked();
            thread_has_ended[mine] && lock == NOBODY;
            lock = me
        :: else
        fi
    }
}

inline dismiss()
{
#ifndef BREAK_JOIN_BEFORE_CLOSE
    pool_state = CLOSED;
    wake_all();
    do
    :: n_alive > 0 || is_joining -> sleep(ON_STAFF_LEFT)
    :: else -> break
    od;
#endif
    is_joining = true;
    join_workers();
    is_joining = false;
    pool_state = CLOSED;
    broadcast(ON_STAFF_LEFT)
}

proctype shutter(byte me; byte mode)
{
    byte mine;

    atomic {
        acquire();
        if
        :: pool_state < mode -> pool_state = mode
        :: else
        fi;
        refuse_submitters();
#ifndef BREAK_NO_GATHER_TO_STOP
        gather();
#endif
        release()
    };
    if
    :: pool_state == STOPPING -> drop_queued()
    :: else
    fi;
    atomic {
        acquire();
        wait_for_jobs(true);
        assert(len(queue) == 0 && n_running == 0);
        dismiss();
        is_shut_down = true;
        mine = 0;
        release()
    }
}

/* When nothing can move any more. */
proctype judge()
{
    atomic {
        timeout;
        for (nth : 0 .. N_JOBS - 1) {
            assert(job_state[nth] == NEW || job_state[nth] == REFUSED ||
                   job_state[nth] == ENDED)
        }
        assert(len(room) == 0 && lock == NOBODY && !is_waking && !is_admitting);
        assert(!is_shut_down || (pool_state == CLOSED && n_alive == 0))
    }
}

inline does(j, k, what, which)
{
    action[j * N_STEPS + k] = what;
    object[j * N_STEPS + k] = which
}

/* The workers' first threads, which the system always has. */
inline start_pool()
{
    for (nth : 0 .. N_WORKERS - 1) {
        place_state[nth] = ALIVE;
        n_alive++;
    }
    for (nth : 0 .. N_WORKERS - 1) {
        run worker(nth)
    }
    run judge()
}
