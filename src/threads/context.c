/* SPDX-License-Identifier: MIT */
/*
 * context.c - which threads must never wait for users.
 *
 * A thread-local role, set once when such a thread starts. It is the thread's own,
 * so it needs no lock; NULL is every other thread of the process.
 */
#include <stddef.h>

#include "base/error.h"
#include "threads/compute.h"
#include "threads/fork.h"

static _Thread_local const char *forbidding_role;

void bni_context_forbid_blocking(const char *thread_role)
{
    forbidding_role = thread_role;
}

bitnet_status bni_context_check(const char *what)
{
    if (forbidding_role == NULL) return BITNET_OK;
    return bni_error(BITNET_ERROR_THREAD_SAFETY,
                     "%s: refused on a %s, which everybody's work waits for and which "
                     "must therefore never block",
                     what, forbidding_role);
}

bitnet_status bni_context_check_wait(unsigned generation, const char *what)
{
    const bitnet_status status = bni_context_check(what);
    return status == BITNET_OK ? bni_fork_check(generation, what) : status;
}
