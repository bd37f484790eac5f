/* SPDX-License-Identifier: MIT */
/*
 * child.h - for tests: something done in a forked child, and what became of it.
 *
 * A child has one thread, so it cannot have a watchdog: an alarm ends it if it hangs.
 * It must not use cmocka's assertions, which would go on with the parent's tests, but
 * EXPECT(), and leaves by _exit(). Include cmocka.h first.
 */
#ifndef TESTS_SUPPORT_CHILD_H
#define TESTS_SUPPORT_CHILD_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bitnet/status.h>

#include "support/sanitizers.h"

enum { CHILD_LIMIT_S = 100 };

/* AddressSanitizer's malloc has locks that may be taken at a fork, and stay so. */
#if defined(__SANITIZE_ADDRESS__)
#define CHILD_CAN_ALLOCATE false
#else
#define CHILD_CAN_ALLOCATE true
#endif

/* The system gives a child's threads the stacks of those its parent had, and
 * ThreadSanitizer then takes them for these and ends the process. */
#if defined(__SANITIZE_THREAD__)
#define CHILD_CAN_HAVE_THREADS false
#else
#define CHILD_CAN_HAVE_THREADS true
#endif

static bool is_child;

/* What its parent holds is no leak of a child's. */
TSAN_OPTIONS_ARE("die_after_fork=0:report_thread_leaks=0");
LEAKS_ARE_FINE_IF(is_child);

/* Forks, as fork() does. */
static inline pid_t fork_child(void)
{
    const pid_t child = fork();
    if (child != 0) return child;
    is_child = true;
    alarm(CHILD_LIMIT_S);
    return 0;
}

/* Ends the child, with a message, unless `condition` holds. */
#define EXPECT(condition) \
    do { \
        if (!(condition)) { \
            dprintf(2, "%s:%d: in the child: %s does not hold; last error: %s\n", \
                    __FILE__, __LINE__, #condition, bitnet_last_error()); \
            _exit(1); \
        } \
    } while (0)

/* Forks; the child does `act(arg)` and exits with 0. Returns the child's id. */
static inline pid_t start_child(void (*act)(void *arg), void *arg)
{
    const pid_t child = fork_child();
    if (child != 0) return child;
    act(arg);
    _exit(0);
}

/* Returns the child's exit status, or 1000 and the signal that ended it. */
static inline int end_of_child(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int in_child(void (*act)(void *arg), void *arg)
{
    return end_of_child(start_child(act, arg));
}

#endif
