/* SPDX-License-Identifier: MIT */
/*
 * interrupt.c - see interrupt.h.
 *
 * bitnet_engine_cancel_all() leaves later requests alone, so there is a moment to
 * miss: a caller that looked just before the signal and calls just after. The text
 * callback asks interrupt_is_pending() too, and stops such a request at its first
 * piece.
 */
#include "interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "complain.h"

/* One of each in a process, as there is one Ctrl-C. */
static pthread_t watcher;
static atomic_bool is_pending;
static atomic_bool is_ending;
static pthread_mutex_t engine_lock = PTHREAD_MUTEX_INITIALIZER;
static bitnet_engine *engine_to_cancel; /* guarded by engine_lock */

/*
 * Not _exit(), because ThreadSanitizer's flushes standard output first, where another
 * thread may be stuck: that is what the second Ctrl-C is for.
 */
static _Noreturn void end_at_once(void)
{
    for (;;) syscall(SYS_exit_group, EXIT_INTERRUPTED);
}

static void *watcher_main(void *user)
{
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    (void)user;
    for (;;) {
        int signal_number;
        sigwait(&interrupts, &signal_number);
        if (atomic_load(&is_ending)) return NULL;

        pthread_mutex_lock(&engine_lock);
        if (engine_to_cancel == NULL || atomic_load(&is_pending)) end_at_once();
        atomic_store(&is_pending, true);
        bitnet_engine_cancel_all(engine_to_cancel); /* does not block */
        pthread_mutex_unlock(&engine_lock);
    }
}

bool interrupt_begin(void)
{
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupts, NULL);
    const int error = pthread_create(&watcher, NULL, watcher_main, NULL);
    if (error == 0) return true;
    complain("cannot start a thread to wait for Ctrl-C: %s", strerror(error));
    return false;
}

void interrupt_set_engine(bitnet_engine *engine)
{
    pthread_mutex_lock(&engine_lock);
    engine_to_cancel = engine;
    pthread_mutex_unlock(&engine_lock);
}

bool interrupt_is_pending(void)
{
    return atomic_load(&is_pending);
}

void interrupt_end(void)
{
    atomic_store(&is_ending, true);
    pthread_kill(watcher, SIGINT); /* to this thread alone, which is waiting for it */
    pthread_join(watcher, NULL);
}
