/* SPDX-License-Identifier: MIT */
/*
 * thread.c - see thread.h.
 *
 * Signals are blocked in the creating thread around pthread_create(), because a
 * new thread inherits the mask: blocked in the new thread itself, there would be a
 * moment in which a signal gets through.
 */
#include "threads/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"
#include "base/float_env.h"
#include "threads/sync.h"

void bni_thread_name(char name[BNI_THREAD_NAME_BYTES], const char *prefix,
                     unsigned index)
{
    char suffix[BNI_THREAD_NAME_BYTES];
    const size_t n_suffix = (size_t)snprintf(suffix, sizeof(suffix), "-%u", index);
    const size_t n_prefix = strnlen(prefix, BNI_THREAD_NAME_BYTES - 1 - n_suffix);
    memcpy(name, prefix, n_prefix);
    memcpy(name + n_prefix, suffix, n_suffix + 1);
}

static void *thread_main(void *arg)
{
    const struct bni_thread *thread = arg;
    /* A name is a convenience: without one the thread works as well. */
    pthread_setname_np(pthread_self(), thread->name);
    bni_float_env_set_default(); /* not the creator's, which may be anything */
    thread->main(thread->arg);
    return NULL;
}

static int create_with_signals_blocked(struct bni_thread *thread,
                                       const pthread_attr_t *attributes)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = bni_fault_is_due() ? EAGAIN
                                         : pthread_create(&thread->native, attributes,
                                                          thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

bitnet_status bni_thread_start(struct bni_thread *thread, const char *name,
                               size_t stack_bytes, void (*main)(void *arg), void *arg)
{
    snprintf(thread->name, sizeof(thread->name), "%s", name);
    thread->main = main;
    thread->arg = arg;

    pthread_attr_t attributes;
    int error = bni_fault_is_due() ? ENOMEM : pthread_attr_init(&attributes);
    if (error != 0)
        return bni_error(BITNET_ERROR_OUT_OF_MEMORY,
                         "cannot create thread %s: no memory for its attributes",
                         thread->name);
    if (stack_bytes != 0 && pthread_attr_setstacksize(&attributes, stack_bytes) != 0) {
        pthread_attr_destroy(&attributes);
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot create thread %s: the system does not take a stack of "
                         "%zu bytes",
                         thread->name, stack_bytes);
    }
    error = create_with_signals_blocked(thread, &attributes);
    pthread_attr_destroy(&attributes);
    if (error == 0) return BITNET_OK;
    return bni_error(error == EAGAIN || error == ENOMEM ? BITNET_ERROR_OUT_OF_MEMORY
                                                        : BITNET_ERROR_INTERNAL,
                     "cannot create thread %s: the system refused it (error %d)",
                     thread->name, error);
}

void bni_thread_join(struct bni_thread *thread)
{
    const int cancel_state = bni_cancel_disable();
    const int error = pthread_join(thread->native, NULL);
    bni_cancel_restore(cancel_state);
    assert(error == 0);
    (void)error;
}
