/* SPDX-License-Identifier: MIT */
/*
 * pool_user_lock.pml - a job waits for another while it holds a lock of the user's
 * own, which a third job in the queue wants as well.
 */
#define N_WORKERS 1
#define N_JOBS 3
#define N_STEPS 5
#define CAPACITY 2
#define MAX_DEPTH 3
#define N_THREADS 4
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, TAKE, 0);
        does(0, 1, SUBMIT, 1);
        does(0, 2, WAIT, 1);
        does(0, 3, GIVE, 0);
        does(2, 0, TAKE, 0);
        does(2, 1, GIVE, 0);
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 2, WAIT_FOR_ROOM);
        run shutter(3, DRAINING)
    }
}
