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
#include "threads/perturb.h"

static bitnet_status init_error(const char *what, int error)
{
    return bni_error(error == ENOMEM || error == EAGAIN ? BITNET_ERROR_OUT_OF_MEMORY
                                                        : BITNET_ERROR_INTERNAL,
                     "cannot create a %s: error %d", what, error);
}

bitnet_status bni_mutex_init(struct bni_mutex *mutex)
{
    pthread_mutexattr_t attributes;
    int error = bni_fault_is_due() ? ENOMEM : pthread_mutexattr_init(&attributes);
    if (error != 0) return init_error("mutex", error);
#if defined(__GLIBC__)
    /* Who finds it taken looks again for a moment before sleeping: our critical
     * sections are shorter than a trip through the kernel. */
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    error = pthread_mutex_init(&mutex->native, &attributes);
    pthread_mutexattr_destroy(&attributes);
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
    bni_perturb();
    const int error = pthread_mutex_lock(&mutex->native);
    assert(error == 0);
    (void)error;
    bni_perturb();
}

void bni_mutex_unlock(struct bni_mutex *mutex) BNI_NO_ANALYSIS
{
    bni_perturb();
    const int error = pthread_mutex_unlock(&mutex->native);
    assert(error == 0);
    (void)error;
    bni_perturb();
}

bool bni_mutex_try_lock(struct bni_mutex *mutex) BNI_NO_ANALYSIS
{
    return pthread_mutex_trylock(&mutex->native) == 0;
}

void bni_mutex_renew(struct bni_mutex *mutex)
{
    *mutex = (struct bni_mutex){PTHREAD_MUTEX_INITIALIZER};
}

int bni_cancel_disable(void)
{
    int before = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void bni_cancel_restore(int state)
{
    pthread_setcancelstate(state, NULL);
}

/* A wait that ends at once for no reason, as any wait may. */
static void wake_for_no_reason(struct bni_mutex *mutex) BNI_REQUIRES(*mutex)
{
    bni_mutex_unlock(mutex);
    bni_mutex_lock(mutex);
}

void bni_cond_wait(struct bni_cond *cond, struct bni_mutex *mutex)
{
    bni_perturb();
    if (bni_perturb_wakes()) {
        wake_for_no_reason(mutex);
        return;
    }
    const int cancel_state = bni_cancel_disable();
    pthread_cond_wait(&cond->native, &mutex->native);
    bni_cancel_restore(cancel_state);
    bni_perturb();
}

bool bni_cond_wait_until(struct bni_cond *cond, struct bni_mutex *mutex,
                         uint64_t deadline_ns)
{
    if (deadline_ns == BITNET_NO_DEADLINE) {
        bni_cond_wait(cond, mutex);
        return true;
    }
    bni_perturb();
    if (bni_perturb_wakes()) {
        wake_for_no_reason(mutex);
        return true;
    }
    const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(deadline_ns % 1000000000u)};
    const int cancel_state = bni_cancel_disable();
    const int error = pthread_cond_timedwait(&cond->native, &mutex->native, &deadline);
    bni_cancel_restore(cancel_state);
    bni_perturb();
    return error != ETIMEDOUT;
}

void bni_cond_signal(struct bni_cond *cond)
{
    bni_perturb();
    pthread_cond_signal(&cond->native);
    bni_perturb();
}

void bni_cond_broadcast(struct bni_cond *cond)
{
    bni_perturb();
    pthread_cond_broadcast(&cond->native);
    bni_perturb();
}
