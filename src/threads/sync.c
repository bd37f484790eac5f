/* SPDX-License-Identifier: MIT */
/*
 * sync.c - pthread mutexes and condition variables on the monotonic clock.
 *
 * The lock functions return nothing: on a mutex that was initialised and is not
 * misused they cannot fail, and misuse is our own mistake, which assert() is for.
 */
#include "threads/sync.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/fault.h"

static bitnet_status init_error(const char *what, int error)
{
    return bni_error(error == ENOMEM || error == EAGAIN ? BITNET_ERROR_OUT_OF_MEMORY
                                                        : BITNET_ERROR_INTERNAL,
                     "cannot create a %s: error %d", what, error);
}

bitnet_status bni_mutex_init(struct bni_mutex *mutex)
{
    const int error =
        bni_fault_is_due() ? ENOMEM : pthread_mutex_init(&mutex->native, NULL);
    return error == 0 ? BITNET_OK : init_error("mutex", error);
}

bitnet_status bni_cond_init(struct bni_cond *cond)
{
    pthread_condattr_t attributes;
    int error = bni_fault_is_due() ? ENOMEM : pthread_condattr_init(&attributes);
    if (error != 0) return init_error("condition variable", error);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    error = pthread_cond_init(&cond->native, &attributes);
    pthread_condattr_destroy(&attributes);
    return error == 0 ? BITNET_OK : init_error("condition variable", error);
}

void bni_mutex_destroy(struct bni_mutex *mutex)
{
    const int error = pthread_mutex_destroy(&mutex->native);
    assert(error == 0);
    (void)error;
}

void bni_cond_destroy(struct bni_cond *cond)
{
    const int error = pthread_cond_destroy(&cond->native);
    assert(error == 0);
    (void)error;
}

void bni_mutex_lock(struct bni_mutex *mutex) BNI_NO_ANALYSIS
{
    const int error = pthread_mutex_lock(&mutex->native);
    assert(error == 0);
    (void)error;
}

void bni_mutex_unlock(struct bni_mutex *mutex) BNI_NO_ANALYSIS
{
    const int error = pthread_mutex_unlock(&mutex->native);
    assert(error == 0);
    (void)error;
}

void bni_cond_wait(struct bni_cond *cond, struct bni_mutex *mutex)
{
    pthread_cond_wait(&cond->native, &mutex->native);
}

bool bni_cond_wait_until(struct bni_cond *cond, struct bni_mutex *mutex,
                         uint64_t deadline_ns)
{
    if (deadline_ns == BITNET_NO_DEADLINE) {
        bni_cond_wait(cond, mutex);
        return true;
    }
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};
    return pthread_cond_timedwait(&cond->native, &mutex->native, &deadline) !=
           ETIMEDOUT;
}

void bni_cond_signal(struct bni_cond *cond)
{
    pthread_cond_signal(&cond->native);
}

void bni_cond_broadcast(struct bni_cond *cond)
{
    pthread_cond_broadcast(&cond->native);
}
