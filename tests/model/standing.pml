/* SPDX-License-Identifier: MIT */
/*
 * standing.pml - a standing job (src/threads/pool_standing.c) that delivers a request's
 * text (src/engine/delivery.c), for the Spin model checker.
 *
 * An engine makes N_TOKENS pieces, then the end, and asks for a run after each. A run
 * hands out up to N_PIECES and comes again, or finds none and rests. Meanwhile the delivery is only being opened, a
 * thread takes the oldest job's place in the queue of one, another waits in line for
 * room, a callback ends its thread, and the pool is shut down: WITH_DRAIN gracefully,
 * WITH_STOP immediately, at any time.
 *
 * As in pool.pml what is done under the pool's lock is one atomic step. Workers are
 * never asleep while there is a job: that they are woken is pool.pml's business. The
 * request's lock keeps who tells the end and who asks apart, in an atomic step as well;
 * making a token and asking for its run are two, though in C that lock is held over both.
 *
 * Asserted: one place and one run at a time, nothing is called after the end, nobody
 * touches what was closed, nothing open is left behind by a shutdown; and when nothing
 * can move any more, the end was told once, after all pieces unless the pool was
 * stopped, and closed once.
 *
 * Each BREAK_ macro takes one rule out; README.md has the table.
 */
#ifndef N_TOKENS
#define N_TOKENS 2
#endif
#define N_PIECES 1
#define CAPACITY 1

#define OPEN 0
#define DRAINING 1
#define STOPPING 2
#define CLOSED 3

/* What is in the queue or in line: a number of an ordinary job, or the standing one. */
#define DISPLACER 0
#define WAITER 1
#define STANDING 2

#define NOT_OPEN 0
#define IDLE 1
#define WAITING 2 /* in line or in the queue */
#define RUNNING 3

/* What a run wants. */
#define REST 0
#define AGAIN 1
#define OVER 2

#define NEW 0
#define LET_IN 1
#define REFUSED 2

byte pool_state = OPEN;
chan queue = [CAPACITY] of { byte };
chan line = [3] of { byte };
bool is_admitting;
byte waiter_answer = NEW;
byte n_running;  /* functions, drop functions among them */
byte n_standing; /* open */
bool has_stopped;
bool is_refused; /* the delivery, since the pool was shut down before it */

byte state = NOT_OPEN;
bool is_asked;
byte n_inside; /* runs of the standing job's function */
byte n_closed;

/* The request. */
bool is_open; /* may be asked */
bool has_ended;
bool is_told;
byte n_told;
byte n_produced;
byte n_delivered;
bool has_exited; /* a callback has ended its thread; that is tried once */

/* Only used inside of one atomic step. */
hidden byte moved;
hidden byte n_kept;

#define CAN_RUN (pool_state < STOPPING)

/* --- The pool --- */

inline refill()
{
    do
    :: len(line) > 0 && !is_admitting && len(queue) < CAPACITY ->
        line ? moved;
        queue ! moved;
        if
        :: moved == STANDING ->
#ifdef BREAK_ADMITS_STANDING
            is_admitting = true
#else
            skip
#endif
        :: else -> waiter_answer = LET_IN; is_admitting = true
        fi
    :: else -> break
    od;
    moved = 0
}

inline get_in_line()
{
    assert(!(queue ?? [STANDING]) && !(line ?? [STANDING]));
    state = WAITING;
    line ! STANDING;
    refill()
}

inline ask()
{
    assert(n_closed == 0);
    if
#ifdef BREAK_ASKS_IN_ANY_STATE
    :: CAN_RUN -> get_in_line()
#else
    :: state == RUNNING -> is_asked = true
    :: state == IDLE && CAN_RUN -> get_in_line()
#endif
    :: else
    fi
}

/* The end of the standing job; its caller still counts as running. */
inline end()
{
    atomic { assert(n_standing == 1 && state != NOT_OPEN); state = NOT_OPEN; n_standing-- };
    n_closed++
}

/* One step, under the request's lock. */
inline tell()
{
    is_open = false;
    is_told = true;
    n_told++
}

inline drop()
{
    atomic {
        if
        :: !is_told -> tell()
        :: else
        fi
    };
    end()
}

/* What takes a run out of the queue without running it calls this. */
inline drop_standing()
{
    atomic {
        if
#ifdef BREAK_DISPLACED_IS_LOST
        :: CAN_RUN -> goes_on = true
#else
        :: CAN_RUN -> get_in_line(); goes_on = true
#endif
        :: else -> goes_on = false
        fi
    };
    if
    :: !goes_on -> drop()
    :: else
    fi
}

inline rest(wanted)
{
    atomic {
        n_inside--;
        goes_on = CAN_RUN;
        if
#ifdef BREAK_ASKED_IS_FORGOTTEN
        :: goes_on && wanted == AGAIN -> get_in_line()
#else
        :: goes_on && (wanted == AGAIN || is_asked) -> get_in_line()
#endif
        :: else ->
            if
            :: goes_on -> state = IDLE
            :: else
            fi
        fi
    };
    if
    :: !goes_on -> drop()
    :: else
    fi
}

/* --- A run --- */

/* The user's function ends this thread, or does not; a successor goes on. */
inline call()
{
    if
    :: !has_exited -> has_exited = true; exits = true
    :: true
    fi
}

inline deliver()
{
    atomic { next = AGAIN; n_left = N_PIECES };
    if
#ifndef BREAK_TELLS_TWICE
    :: is_told -> next = OVER
#endif
    :: else ->
        do
        :: n_left == 0 || exits || next != AGAIN -> break
        :: else ->
            if
            :: atomic {
                   n_delivered < n_produced -> n_delivered++;
                   assert(n_told == 0);
                   n_left--;
                   call()
               }
            :: atomic {
                   n_delivered == n_produced && has_ended -> next = OVER;
                   tell();
                   call()
               }
            :: atomic { n_delivered == n_produced && !has_ended -> next = REST }
            fi
        od
    fi
}

inline run_standing()
{
    atomic {
        assert(state == WAITING && n_inside == 0);
        n_inside++;
        state = RUNNING;
        is_asked = false
    };
    deliver();
    if
    :: exits ->
        exits = false;
#ifndef BREAK_EXIT_ENDS_IT
        rest(AGAIN)
#endif
    :: !exits && next == OVER -> n_inside--; end()
    :: !exits && next != OVER -> rest(next)
    fi
}

proctype worker()
{
    byte job;
    byte next;
    byte n_left;
    bool exits;
    bool goes_on;

end_idle:
    do
    :: atomic {
           len(queue) > 0 && CAN_RUN -> queue ? job;
           n_running++;
           refill()
       };
        if
        :: job == STANDING -> run_standing()
        :: else
        fi;
        atomic { n_running--; job = 0; next = 0; n_left = 0; goes_on = false }
    :: pool_state == CLOSED -> break
    od
}

/* --- Other threads --- */

/* Submits, dropping the oldest job if the queue is full. */
proctype displacer()
{
    byte oldest = DISPLACER;
    bool goes_on;

    atomic {
        if
        :: pool_state == OPEN && len(queue) == CAPACITY ->
            queue ? oldest;
            queue ! DISPLACER;
            n_running++
        :: pool_state == OPEN && len(queue) < CAPACITY -> queue ! DISPLACER
        :: pool_state != OPEN
        fi
    };
    if
    :: oldest == STANDING ->
        drop_standing();
        atomic { n_running--; oldest = DISPLACER; goes_on = false }
    :: oldest == WAITER -> atomic { n_running--; oldest = DISPLACER }
    :: else
    fi
}

/* Submits, waiting for room. */
proctype room_waiter()
{
    atomic {
        if
        :: pool_state == OPEN && len(queue) < CAPACITY ->
            queue ! WAITER;
            waiter_answer = REFUSED /* there is nothing to answer */
        :: pool_state == OPEN && len(queue) == CAPACITY -> line ! WAITER
        :: pool_state != OPEN -> waiter_answer = REFUSED
        fi
    };
    if
    :: atomic { waiter_answer == LET_IN -> is_admitting = false; refill() }
    :: waiter_answer == REFUSED
    fi
}

/* The thread that has asked for the delivery; the engine may have begun already. */
proctype opener()
{
    atomic {
        if
        :: pool_state == OPEN ->
            state = IDLE;
            n_standing++;
            is_open = true;
            if
            :: n_produced > 0 || has_ended -> ask()
            :: else
            fi
        :: else -> is_refused = true
        fi
    };
    if
    :: is_refused -> atomic { tell(); n_closed++ }
    :: else
    fi
}

inline ask_if_open()
{
    atomic {
        if
#ifdef BREAK_ASKS_THE_CLOSED
        :: n_standing + n_closed > 0 -> ask()
#else
        :: is_open -> ask()
#endif
        :: else
        fi
    }
}

proctype engine()
{
    do
    :: atomic { n_produced < N_TOKENS -> n_produced++ }; ask_if_open()
    :: atomic { n_produced == N_TOKENS -> has_ended = true }; break
    od;
    ask_if_open()
}

inline refuse_submitters()
{
    n_kept = len(line);
    do
    :: n_kept > 0 ->
        n_kept--;
        line ? moved;
        if
        :: moved != STANDING -> waiter_answer = REFUSED
#ifndef BREAK_REFUSES_STANDING
        :: moved == STANDING && CAN_RUN -> line ! STANDING
#endif
        :: else ->
#ifdef BREAK_LEAVES_LINE_WAITING
            skip
#else
            state = IDLE
#endif
        fi
    :: else -> break
    od;
    moved = 0
}

/* Drops what is queued, then the standing job if it neither runs nor waits. */
inline stop_jobs()
{
    do
    :: atomic { len(queue) > 0 -> queue ? job; n_running++; refill() };
        if
        :: job == STANDING -> drop_standing()
        :: else
        fi;
        n_running--
#ifndef BREAK_STOP_FORGETS_THE_IDLE
    :: atomic { len(queue) == 0 && state == IDLE -> state = RUNNING; n_running++ };
        drop_standing();
        n_running--
    :: len(queue) == 0 && state != IDLE -> break
#else
    :: len(queue) == 0 -> break
#endif
    od
}

#ifdef BREAK_SHUTDOWN_COUNTS_JOBS
#define N_OPEN 0
#else
#define N_OPEN n_standing
#endif

proctype shutter(byte mode)
{
    byte job;
    bool goes_on;

    atomic {
        if
        :: pool_state < mode -> pool_state = mode
        :: else
        fi;
        has_stopped = has_stopped || pool_state == STOPPING;
        refuse_submitters()
    };
    if
    :: pool_state == STOPPING -> stop_jobs()
    :: else
    fi;
    atomic {
        len(queue) == 0 && n_running == 0 && N_OPEN == 0;
        assert(n_standing == 0);
        pool_state = CLOSED
    }
}

/* When nothing can move any more. */
proctype judge()
{
    atomic {
        timeout;
        assert(n_told == 1 && n_closed == 1 && n_standing == 0 && state == NOT_OPEN);
        assert(len(queue) == 0 && len(line) == 0 && n_running == 0 && !is_admitting);
        assert(n_delivered == N_TOKENS || has_stopped || is_refused)
    }
}

init
{
    atomic {
        run worker();
        run worker();
        run opener();
        run engine();
        run displacer();
        run room_waiter();
#ifdef WITH_DRAIN
        run shutter(DRAINING);
#endif
#ifdef WITH_STOP
        run shutter(STOPPING);
#endif
        run judge()
    }
}
