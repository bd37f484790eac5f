/* SPDX-License-Identifier: MIT */
/*
 * pool_exit.pml - a job ends its thread from inside of another; the system has a
 * thread to replace it, or not until somebody submits again.
 */
#define N_WORKERS 1
#define N_JOBS 4
#define N_STEPS 3
#define CAPACITY 1
#define MAX_DEPTH 2
#define N_THREADS 5
#define MAX_THREAD_FAILURES 1
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, SUBMIT, 1);
        does(0, 1, WAIT, 1);
        does(1, 0, EXIT, 0);
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 2, WAIT_FOR_ROOM);
        run submitter(3, 3, WAIT_FOR_ROOM);
        run job_waiter(4, 0)
    }
}
