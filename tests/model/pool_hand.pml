/* SPDX-License-Identifier: MIT */
/*
 * pool_hand.pml - two workers that take short jobs by the handful, while one thread
 * submits more than there is room for and another reads the statistics. With macros a
 * job has a handle and is cancelled, or ends its thread, or a third thread waits for
 * all jobs, or the pool is shut down instead.
 */
#define N_WORKERS 2
#define N_JOBS 4
#define N_STEPS 2
#ifndef CAPACITY
#define CAPACITY 2
#endif
#define MAX_DEPTH 1
#define N_THREADS (N_WORKERS + 3)
#define MAX_THREAD_FAILURES 0
#define HAND 2
#ifdef WITH_HANDLE
#define HANDLES 4
#endif
#include "pool.pml"

init
{
    atomic {
        start_pool();
#ifdef WITH_EXIT
        does(0, 0, EXIT, 0);
#endif
        run producer(N_WORKERS, 0, 3);
#ifdef WITH_HANDLE
        run canceller(N_WORKERS + 1, 2);
#endif
#ifdef WITH_WAITER
        run waiter(N_WORKERS + 1);
#endif
#ifdef WITH_SHUTDOWN
        run shutter(N_WORKERS + 2, STOPPING)
#else
        run observer(N_WORKERS + 2)
#endif
    }
}
