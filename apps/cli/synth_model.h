/* SPDX-License-Identifier: MIT */
/*
 * synth_model.h - a whole GGUF file of a shape, with random weights.
 */
#ifndef CLI_SYNTH_MODEL_H
#define CLI_SYNTH_MODEL_H

#include <stdint.h>

#include "synth_shape.h"
#include "synth_sink.h"

struct synth_sizes {
    uint64_t n_values; /* of metadata */
    uint64_t n_parameters;
    uint64_t header_bytes;
    uint64_t ternary_bytes;
    uint64_t dense_bytes; /* embedding and head */
    uint64_t norm_bytes;
    uint64_t file_bytes;
};

/* Tells how large the file will be. `sink` is one that only counts, fresh. */
struct synth_sizes synth_measure(const struct synth_shape *shape, uint64_t seed,
                                 struct synth_sink *sink);

/* Writes it; returns whether all has gone well. Equal arguments give equal bytes. */
bool synth_write(const struct synth_shape *shape, uint64_t seed,
                 const struct synth_sizes *sizes, struct synth_sink *sink);

#endif
