/* SPDX-License-Identifier: MIT */
/*
 * synth_sink.c - see synth_sink.h.
 */
#include "synth_sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are written as they lie in memory");

struct synth_sink *synth_sink_create(int fd)
{
    struct synth_sink *sink = malloc(sizeof(*sink));
    if (sink == NULL) return NULL;
    sink->fd = fd;
    sink->n_bytes = 0;
    sink->error = 0;
    sink->on_written = NULL;
    sink->user = NULL;
    sink->n_buffered = 0;
    return sink;
}

bool synth_flush(struct synth_sink *sink)
{
    size_t n_written = 0;
    while (sink->fd >= 0 && sink->error == 0 && n_written < sink->n_buffered) {
        const ssize_t n =
            write(sink->fd, sink->buffer + n_written, sink->n_buffered - n_written);
        if (n >= 0)
            n_written += (size_t)n;
        else if (errno != EINTR)
            sink->error = errno;
    }
    sink->n_buffered = 0;
    if (sink->error == 0 && sink->on_written != NULL &&
        !sink->on_written(sink->user, sink->n_bytes))
        sink->error = ECANCELED;
    return sink->error == 0;
}

void synth_put(struct synth_sink *sink, const void *bytes, size_t n_bytes)
{
    const uint8_t *next = bytes;
    sink->n_bytes += n_bytes;
    if (sink->fd < 0) return;
    while (n_bytes > 0 && sink->error == 0) {
        const size_t n_free = SYNTH_BUFFER_BYTES - sink->n_buffered;
        const size_t n = n_bytes < n_free ? n_bytes : n_free;
        memcpy(sink->buffer + sink->n_buffered, next, n);
        sink->n_buffered += n;
        next += n;
        n_bytes -= n;
        if (sink->n_buffered == SYNTH_BUFFER_BYTES) synth_flush(sink);
    }
}

void synth_put_u32(struct synth_sink *sink, uint32_t value)
{
    synth_put(sink, &value, sizeof(value));
}

void synth_put_u64(struct synth_sink *sink, uint64_t value)
{
    synth_put(sink, &value, sizeof(value));
}

void synth_put_text(struct synth_sink *sink, const char *text)
{
    const size_t n_bytes = strlen(text);
    synth_put_u64(sink, n_bytes);
    synth_put(sink, text, n_bytes);
}

void synth_pad(struct synth_sink *sink, size_t alignment)
{
    static const uint8_t zeros[64];
    const size_t n = (size_t)((alignment - sink->n_bytes % alignment) % alignment);
    synth_put(sink, zeros, n);
}
