/* SPDX-License-Identifier: MIT */
/*
 * synth_sink.h - where a file's bytes go, through one buffer: to a file, or only to a
 * count of them.
 *
 * An error is kept and what follows is dropped, so that the writers look once, at their
 * end. A file of the format is little-endian, as is every machine this runs on.
 */
#ifndef CLI_SYNTH_SINK_H
#define CLI_SYNTH_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYNTH_BUFFER_BYTES = 1 << 20 };

struct synth_sink {
    int fd; /* -1: only counts */
    uint64_t n_bytes;
    int error; /* errno of the first write that failed, ECANCELED if told to stop */
    bool (*on_written)(void *user, uint64_t n_bytes); /* false: stop; or NULL */
    void *user;
    size_t n_buffered;
    uint8_t buffer[SYNTH_BUFFER_BYTES];
};

/* On the heap, being large; NULL: out of memory. free() it. */
struct synth_sink *synth_sink_create(int fd);

void synth_put(struct synth_sink *sink, const void *bytes, size_t n_bytes);
void synth_put_u32(struct synth_sink *sink, uint32_t value);
void synth_put_u64(struct synth_sink *sink, uint64_t value);

/* A length and the bytes, as the format has strings. */
void synth_put_text(struct synth_sink *sink, const char *text);

/* Zeros up to a multiple of `alignment`. */
void synth_pad(struct synth_sink *sink, size_t alignment);

/* Writes what is buffered; returns whether all has gone well. */
bool synth_flush(struct synth_sink *sink);

#endif
