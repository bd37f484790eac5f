/* SPDX-License-Identifier: MIT */
/*
 * wait_graph.pml - the refusal of waits that cannot end (src/threads/wait_graph.c).
 *
 * Workers of two pools run jobs that do what they like: wait for any job, wait for
 * the other pool, submit to its full queue. Nobody else is there to help. Spin tries
 * all of it and must find every worker at its end, idle: no wait that was granted
 * lasts for ever.
 *
 * With REFUSED_SLEEP the workers that are refused go to sleep all the same. Then none
 * of them may ever be woken: no wait that could end is refused.
 *
 *   N_WORKERS    pool 0 has the even ones, pool 1 the odd ones
 *   N_ACTIONS    what each job does before it returns
 *
 * Steps that C takes under a pool's lock are one step here, the check of the graph
 * included. A job that never ran is not told apart from one that did.
 */
#ifndef N_WORKERS
#define N_WORKERS 2
#endif
#ifndef N_ACTIONS
#define N_ACTIONS 2
#endif
#define N_POOLS 2
#define N_JOBS 4 /* of which one is queued in each pool at first */

#define POOL_OF(worker) ((worker) % N_POOLS)
#define MY_POOL POOL_OF(me)
#define OTHER_POOL (1 - MY_POOL)

/* Where a job is; on which worker or in which pool's queue says `at`. */
#define NEW 0
#define QUEUED 1
#define RUNNING 2
#define ENDED 3
#define BROUGHT 4 /* by a worker that waits for room */

/* What a worker waits for. */
#define NOTHING 0
#define END_OF_JOB 1
#define ROOM 2
#define IDLE_POOL 3

chan queue[N_POOLS] = [1] of { byte };
chan room[N_POOLS] = [N_WORKERS] of { byte, byte }; /* workers, with their jobs */
byte state[N_JOBS];
byte at[N_JOBS];
byte n_done[N_JOBS]; /* actions */

/* The stack of jobs that a worker is in: each waits for the one above it. */
byte depth[N_WORKERS];
byte stack[N_WORKERS * N_JOBS];

/* The wait graph. */
byte waits_for[N_WORKERS];
byte target[N_WORKERS];
bool is_fulfilled[N_WORKERS];
byte jobs_left[N_WORKERS]; /* of a wait for a pool: bit j stands for job j */

hidden byte nth;
hidden byte sleeper;
/* Only used inside of one atomic step, so no part of the state. */
hidden byte aim;
hidden byte runner;
hidden byte waited_for;
hidden byte is_stuck[N_WORKERS];
hidden byte comes_about;
hidden byte has_changed;
hidden byte asker;
hidden byte handed_over;
hidden byte ended;

#define TOP stack[me * N_JOBS + depth[me] - 1]

#define CAN_GO_ON(worker) (waits_for[worker] == NOTHING || !is_stuck[worker])

inline any_can_go_on(pool)
{
    comes_about = false;
    for (nth : 0 .. N_WORKERS - 1) {
        comes_about = comes_about || (POOL_OF(nth) == pool && CAN_GO_ON(nth))
    }
}

#ifdef BREAK_ANY_STUCK_WORKER /* of the pool, even one that is in a later job */
inline all_can_go_on(who, pool)
{
    comes_about = true;
    for (nth : 0 .. N_WORKERS - 1) {
        comes_about = comes_about && (POOL_OF(nth) != pool || CAN_GO_ON(nth))
    }
}
#else
/* Those that are inside of a job that is waited for, and if one is queued, anybody. */
inline all_can_go_on(who, pool)
{
    comes_about = true;
    for (waited_for : 0 .. N_JOBS - 1) {
        if
        :: comes_about && (jobs_left[who] & (1 << waited_for)) ->
            if
            :: state[waited_for] == RUNNING ->
                runner = at[waited_for];
                comes_about = CAN_GO_ON(runner)
            :: else -> any_can_go_on(pool)
            fi
        :: else
        fi
    }
}
#endif

/* Whether what worker `who` waits for can come about. */
inline can_come_about(who)
{
    aim = target[who];
    if
    :: waits_for[who] == ROOM -> any_can_go_on(aim)
    :: waits_for[who] == IDLE_POOL -> all_can_go_on(who, aim)
    :: waits_for[who] == END_OF_JOB && state[aim] == RUNNING ->
        runner = at[aim];
        comes_about = CAN_GO_ON(runner)
    :: waits_for[who] == END_OF_JOB && state[aim] == QUEUED ->
#ifdef BREAK_SINGLE_EDGES /* only circles of workers that wait for one another */
        comes_about = true
#else
        runner = at[aim]; /* its pool */
        any_can_go_on(runner)
#endif
    :: waits_for[who] == END_OF_JOB && state[aim] == ENDED -> comes_about = true
    fi
}

inline find_the_stuck()
{
    for (sleeper : 0 .. N_WORKERS - 1) {
        is_stuck[sleeper] = waits_for[sleeper] != NOTHING
    }
    has_changed = true;
    do
    :: has_changed ->
        has_changed = false;
        for (sleeper : 0 .. N_WORKERS - 1) {
            if
            :: is_stuck[sleeper] ->
                can_come_about(sleeper);
                if
                :: comes_about -> is_stuck[sleeper] = false; has_changed = true
                :: else
                fi
            :: else
            fi
        }
    :: else -> break
    od
}

/* Sleeps, unless that is refused: `is_refused`. */
inline wait(kind, what)
{
    waits_for[me] = kind;
    target[me] = what;
    find_the_stuck();
#ifdef BREAK_NO_CYCLE_CHECK
    is_refused = false;
#else
    is_refused = is_stuck[me];
#endif
    if
#ifndef REFUSED_SLEEP
    :: is_refused
#endif
    :: else ->
        if
        :: kind == ROOM -> room[what] ! me, brought
        :: else
        fi;
        is_fulfilled[me] || (kind == END_OF_JOB && state[what] == ENDED);
        assert(!is_refused)
    fi;
    is_refused = false;
    is_fulfilled[me] = false;
    waits_for[me] = NOTHING;
    target[me] = 0;
    jobs_left[me] = 0
}

/* Called by whoever brings about what `who` waits for. */
inline fulfil(who)
{
    is_fulfilled[who] = true;
#ifndef BREAK_STAYS_IN_GRAPH
    waits_for[who] = NOTHING
#endif
}

/* A job out of the queue of the worker's own pool, `j`, begins to run. */
inline enter(j)
{
    state[j] = RUNNING;
    at[j] = me;
    stack[me * N_JOBS + depth[me]] = j;
    depth[me]++;
    if
    :: len(room[MY_POOL]) > 0 ->
        room[MY_POOL] ? asker, handed_over;
        enqueue(MY_POOL, handed_over);
        fulfil(asker)
    :: else
    fi
}

inline enqueue(pool, j)
{
    queue[pool] ! j;
    state[j] = QUEUED;
    at[j] = pool
}

inline end_top()
{
    ended = TOP;
    state[ended] = ENDED;
    at[ended] = 0;
    n_done[ended] = 0;
    depth[me]--;
    stack[me * N_JOBS + depth[me]] = 0;
    for (nth : 0 .. N_WORKERS - 1) {
        if
        :: jobs_left[nth] & (1 << ended) ->
            jobs_left[nth] = jobs_left[nth] & ~(1 << ended);
            if
            :: jobs_left[nth] == 0 -> fulfil(nth)
            :: else
            fi
        :: else
        fi
    }
}

/* Waits for all jobs that the other pool has now. */
inline wait_for_other_pool()
{
    for (nth : 0 .. N_JOBS - 1) {
        if
        :: (state[nth] == QUEUED && at[nth] == OTHER_POOL) ||
           (state[nth] == RUNNING && POOL_OF(at[nth]) == OTHER_POOL) ->
            jobs_left[me] = jobs_left[me] | (1 << nth)
        :: else
        fi
    }
    if
    :: jobs_left[me] != 0 -> wait(IDLE_POOL, OTHER_POOL)
    :: else
    fi
}

proctype worker(byte me)
{
    byte chosen;
    byte brought;
    bool is_refused;

end_idle:
    do
    :: atomic {
            depth[me] == 0 && len(queue[MY_POOL]) > 0 ->
            queue[MY_POOL] ? chosen;
            enter(chosen);
            chosen = 0
        }
    :: atomic { depth[me] > 0 -> end_top() }
    :: atomic {
            depth[me] > 0 && n_done[TOP] < N_ACTIONS ->
            n_done[TOP]++;
            if
            :: wait_for_other_pool()
            :: select (chosen : 0 .. N_JOBS - 1);
                if
                :: state[chosen] == NEW -> /* submit it */
                    if
                    :: len(queue[OTHER_POOL]) == 0 -> enqueue(OTHER_POOL, chosen)
                    :: else ->
                        brought = chosen;
                        state[chosen] = BROUGHT;
                        wait(ROOM, OTHER_POOL);
                        if
                        :: state[brought] == BROUGHT -> state[brought] = NEW
                        :: else
                        fi;
                        brought = 0
                    fi
                :: state[chosen] == QUEUED && at[chosen] == MY_POOL -> /* claim it */
                    queue[MY_POOL] ? eval(chosen);
                    enter(chosen)
                :: state[chosen] == RUNNING ||
                   (state[chosen] == QUEUED && at[chosen] != MY_POOL) ->
                    wait(END_OF_JOB, chosen)
                :: else
                fi
            fi;
            chosen = 0
        }
    od
}

init
{
    atomic {
        enqueue(0, 0);
        enqueue(1, 1);
        for (nth : 0 .. N_WORKERS - 1) {
            run worker(nth)
        }
    }
}
