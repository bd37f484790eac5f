/* SPDX-License-Identifier: MIT */
/*
 * synth_types.h - the types of tensors that `bitnet synth` writes, and floats as those
 * of embedding and head store them.
 */
#ifndef CLI_SYNTH_TYPES_H
#define CLI_SYNTH_TYPES_H

#include <stddef.h>
#include <stdint.h>

/* Numbered as in the file. */
enum synth_type {
    SYNTH_F32 = 0,
    SYNTH_F16 = 1,
    SYNTH_Q8_0 = 8,
    SYNTH_Q6_K = 14,
    SYNTH_BF16 = 30,
    SYNTH_I2_S = 36
};

enum {
    SYNTH_MAX_BLOCK = 256, /* values; every block's number divides it */
    SYNTH_MAX_VALUE_BYTES = 4
};

/* How many values of the type are stored together: rows are a multiple of it. */
uint64_t synth_block_values(enum synth_type type);

/* Bytes of `n_values` values, whole blocks. */
uint64_t synth_type_bytes(enum synth_type type, uint64_t n_values);

/* Stores `n` floats, whole blocks, in a type other than I2_S. */
void synth_encode(enum synth_type type, const float *values, size_t n, uint8_t *out);

#endif
