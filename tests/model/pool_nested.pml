/* SPDX-License-Identifier: MIT */
/*
 * pool_nested.pml - one worker, whose job submits two others to a queue of one place
 * and waits for them. It is the only thread that could make room, or run them.
 */
#define N_WORKERS 1
#define N_JOBS 4
#define N_STEPS 5
#define CAPACITY 1
#define MAX_DEPTH 3
#define N_THREADS 4
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        does(0, 0, SUBMIT, 1);
        does(0, 1, SUBMIT, 2);
        does(0, 2, WAIT, 2);
        does(0, 3, WAIT, 1);
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 3, WAIT_FOR_ROOM);
        run start_deadline(1);
        run shutter(3, DRAINING)
    }
}
