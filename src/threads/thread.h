/* SPDX-License-Identifier: MIT */
/*
 * thread.h - how every thread of the library starts and ends.
 *
 * Our threads block all signals, so that a handler of the program never runs on
 * one of them, and have a name of at most 15 bytes that tells role and index.
 * They begin in the default floating-point mode, are joined, never detached or
 * cancelled, and never pinned to a core.
 */
#ifndef BNI_THREADS_THREAD_H
#define BNI_THREADS_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include <bitnet/status.h>

enum { BNI_THREAD_NAME_BYTES = 16 }; /* what the kernel keeps, NUL included */

/* Lives with its owner, at one address, from start to the end of join. */
struct bni_thread {
    pthread_t native;
    char name[BNI_THREAD_NAME_BYTES];
    void (*main)(void *arg);
    void *arg;
};

/* Writes "prefix-index", the prefix cut so that the index always fits. */
void bni_thread_name(char name[BNI_THREAD_NAME_BYTES], const char *prefix,
                     unsigned index);

/*
 * Starts a thread of that name that calls `main(arg)`. A `stack_bytes` of 0 is the
 * system's default.
 *
 * Returns BITNET_OK; INVALID_ARGUMENT for a stack size the system does not take;
 * OUT_OF_MEMORY or INTERNAL if it refuses the thread. Nothing runs then.
 */
bitnet_status bni_thread_start(struct bni_thread *thread, const char *name,
                               size_t stack_bytes, void (*main)(void *arg), void *arg);

/* Waits until the thread has ended. */
void bni_thread_join(struct bni_thread *thread);

#endif
