/* SPDX-License-Identifier: MIT */
/*
 * pool_here.pml - a full queue of one place, and threads that run their job themselves
 * or drop the oldest for it, while another cancels and a graceful shutdown goes on.
 */
#define N_WORKERS 1
#define N_JOBS 4
#define N_STEPS 2
#define CAPACITY 1
#define MAX_DEPTH 2
#define N_THREADS 6
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, DISPLACE, 3);
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 1, RUN_HERE);
        run submitter(3, 2, DROP_OLDEST);
        run canceller(4, 2);
        run shutter(5, DRAINING)
    }
}
