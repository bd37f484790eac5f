/* SPDX-License-Identifier: MIT */
/*
 * pool_ends.pml - all the ways a job can end, in competition: it runs, is cancelled,
 * is too late, makes room for another, or is dropped by a shutdown.
 */
#define N_WORKERS 1
#define N_JOBS 3
#define N_STEPS 2
#define CAPACITY 1
#define MAX_DEPTH 1
#define N_THREADS 7
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, POLL, 0); /* ends because it is cancelled, or the pool stops */
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 1, WAIT_FOR_ROOM);
        run submitter(3, 2, DROP_OLDEST);
        run start_deadline(1);
        run job_waiter(4, 1);
        run canceller(5, 0);
        run shutter(6, STOPPING)
    }
}
