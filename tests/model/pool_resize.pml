/* SPDX-License-Identifier: MIT */
/*
 * pool_resize.pml - two workers of which one is wanted no more, just when jobs come and
 * wake it. The others that sleep must learn of them all the same.
 */
#define N_WORKERS 2
#define N_JOBS 3
#define N_STEPS 1
#define CAPACITY 3
#define MAX_DEPTH 1
#define N_THREADS 4
#define MAX_THREAD_FAILURES 0
#include "pool.pml"

init
{
    atomic {
        start_pool();
        run producer(2, 0, 2);
        run resizer(3, 1)
    }
}
