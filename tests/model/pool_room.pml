/* SPDX-License-Identifier: MIT */
/*
 * pool_room.pml - three threads wait for the one place in a queue, one of them with a
 * deadline, while a graceful and an immediate shutdown go on at once.
 */
#define N_WORKERS 1
#define N_JOBS 3
#define N_STEPS 1
#define CAPACITY 1
#define MAX_DEPTH 1
#define N_THREADS 6
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        run submitter(1, 0, WAIT_FOR_ROOM);
        run submitter(2, 1, WAIT_FOR_ROOM);
        run submitter(3, 2, WAIT_FOR_ROOM);
        run room_deadline(3);
        run shutter(4, DRAINING);
        run shutter(5, STOPPING)
    }
}
