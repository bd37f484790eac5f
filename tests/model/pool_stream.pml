/* SPDX-License-Identifier: MIT */
/*
 * pool_stream.pml - two jobs that submit each other for ever. A wait for the jobs
 * before it ends all the same, and so does an immediate shutdown, on every fair path.
 */
#define N_WORKERS 1
#define N_JOBS 2
#define N_STEPS 2
#define CAPACITY 1
#define MAX_DEPTH 1
#define N_THREADS 4
#define MAX_THREAD_FAILURES 0
#define RECYCLE
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, SUBMIT, 1);
        does(1, 0, SUBMIT, 0);
        run submitter(1, 0, WAIT_FOR_ROOM);
        run waiter(2);
#ifdef WITH_SHUTDOWN
        run shutter(3, STOPPING)
#endif
    }
}

#ifdef WITH_SHUTDOWN
ltl shutdown_ends { <> is_shut_down }
#else
ltl wait_ends { <> has_waited }
#endif
