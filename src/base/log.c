/* SPDX-License-Identifier: MIT */
/*
 * log.c - who listens, read without a lock.
 *
 * The callback, its argument and the level must change as one, and a message may
 * be sent by any thread at any time: a reader must not wait for a writer. So they
 * are kept under a sequence number, odd while a writer is at work. A reader copies
 * all three and takes the copy only if the number was even and the same before
 * and after; a few tries later it gives up, and the message is lost.
 *
 * A fork waits for a writer, from the first pool, event queue or engine on
 * (threads/fork.h). Before that, in a child whose parent was just setting the
 * callback, messages are lost and the callback cannot be set.
 *
 * These are globals because messages belong to the process: what they are about,
 * a file that is being opened, has no handle yet.
 */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/utf8.h"

enum {
    MAX_MESSAGE_BYTES = 1024,
    MAX_TRIES = 1000, /* a writer is done after three stores */
};

struct sink {
    bitnet_log_fn fn;
    void *user;
    int max_level;
};

static pthread_mutex_t writer_lock =
    PTHREAD_MUTEX_INITIALIZER; /* taken by writers only */
static _Atomic uint64_t sequence;
static _Atomic(bitnet_log_fn) sink_fn;
static _Atomic(void *) sink_user;
static atomic_int sink_max_level;

void bitnet_set_log(bitnet_log_fn fn, void *user, bitnet_log_level max_level)
{
    pthread_mutex_lock(&writer_lock);
    atomic_fetch_add(&sequence, 1);
    atomic_store(&sink_fn, fn);
    atomic_store(&sink_user, user);
    atomic_store(&sink_max_level, fn == NULL ? 0 : (int)max_level);
    atomic_fetch_add(&sequence, 1);
    pthread_mutex_unlock(&writer_lock);
}

void bni_log_before_fork(void)
{
    pthread_mutex_lock(&writer_lock);
}

void bni_log_after_fork(void)
{
    pthread_mutex_unlock(&writer_lock);
}

static bool read_sink(struct sink *sink)
{
    for (int i = 0; i < MAX_TRIES; i++) {
        const uint64_t before = atomic_load(&sequence);
        sink->fn = atomic_load(&sink_fn);
        sink->user = atomic_load(&sink_user);
        sink->max_level = atomic_load(&sink_max_level);
        if (before % 2 == 0 && atomic_load(&sequence) == before) return true;
    }
    return false;
}

void bni_log(bitnet_log_level level, const char *format, ...)
{
    struct sink sink;
    /* Relaxed: a first look that spares the work when nobody listens. */
    if ((int)level > atomic_load_explicit(&sink_max_level, memory_order_relaxed))
        return;
    if (!read_sink(&sink) || sink.fn == NULL || (int)level > sink.max_level) return;

    char message[MAX_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int n_bytes = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (n_bytes < 0) return;
    if ((size_t)n_bytes >= sizeof(message))
        message[bni_utf8_whole_prefix((const uint8_t *)message, sizeof(message) - 1)] =
            '\0';
    sink.fn(sink.user, level, message);
}
