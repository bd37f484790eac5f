/* SPDX-License-Identifier: MIT */
/*
 * synth_metadata.h - keys and values, as a GGUF file has them. Each function writes one
 * value and returns 1, so that who writes several can add up how many.
 */
#ifndef CLI_SYNTH_METADATA_H
#define CLI_SYNTH_METADATA_H

#include <stdint.h>

#include "synth_sink.h"

enum synth_meta_type {
    SYNTH_META_U32 = 4,
    SYNTH_META_I32 = 5,
    SYNTH_META_F32 = 6,
    SYNTH_META_TEXT = 8,
    SYNTH_META_ARRAY = 9
};

static inline uint64_t synth_meta_text(struct synth_sink *sink, const char *key,
                                       const char *value)
{
    synth_put_text(sink, key);
    synth_put_u32(sink, SYNTH_META_TEXT);
    synth_put_text(sink, value);
    return 1;
}

static inline uint64_t synth_meta_u32(struct synth_sink *sink, const char *key,
                                      uint32_t value)
{
    synth_put_text(sink, key);
    synth_put_u32(sink, SYNTH_META_U32);
    synth_put_u32(sink, value);
    return 1;
}

static inline uint64_t synth_meta_f32(struct synth_sink *sink, const char *key,
                                      float value)
{
    synth_put_text(sink, key);
    synth_put_u32(sink, SYNTH_META_F32);
    synth_put(sink, &value, sizeof(value));
    return 1;
}

/* The `n` elements are to be written next. */
static inline uint64_t synth_meta_array(struct synth_sink *sink, const char *key,
                                        enum synth_meta_type type, uint64_t n)
{
    synth_put_text(sink, key);
    synth_put_u32(sink, SYNTH_META_ARRAY);
    synth_put_u32(sink, type);
    synth_put_u64(sink, n);
    return 1;
}

#endif
