/* SPDX-License-Identifier: MIT */
/*
 * pool_wake.pml - two workers that fall asleep while three jobs come, a wait for one
 * of them and one for all. Nobody shuts the pool down, so nothing else wakes anybody.
 */
#define N_WORKERS 2
#define N_JOBS 3
#define N_STEPS 1
#define CAPACITY 2
#define MAX_DEPTH 1
#define N_THREADS 7
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        run submitter(2, 0, WAIT_FOR_ROOM);
        run submitter(3, 1, REFUSE);
        run submitter(4, 2, WAIT_FOR_ROOM);
        run waiter(5);
        run job_waiter(6, 2)
    }
}
