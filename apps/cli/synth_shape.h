/* SPDX-License-Identifier: MIT */
/*
 * synth_shape.h - the sizes of a model that `bitnet synth` makes, and the tensors that
 * follow from them.
 */
#ifndef CLI_SYNTH_SHAPE_H
#define CLI_SYNTH_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "synth_types.h"

/* Numbers are 64 bits wide because options are read into them. */
struct synth_shape {
    const char *name;
    const char *architecture;
    uint64_t n_layers;
    uint64_t n_embd;
    uint64_t n_ff;
    uint64_t n_heads;
    uint64_t n_kv_heads;
    uint64_t n_vocab;
    uint64_t n_ctx;
    float rope_base;
    float epsilon;
    bool has_sub_norms;
    bool is_tied;          /* the head is the embedding */
    enum synth_type dense; /* of embedding and head */
};

/* What a tensor is for, which decides what its values are. */
enum synth_role { SYNTH_PROJECTION, SYNTH_VOCABULARY, SYNTH_NORM };

struct synth_tensor {
    char name[48];
    enum synth_role role;
    enum synth_type type;
    uint64_t n_cols;
    uint64_t n_rows; /* 1: a vector */
    uint64_t n_bytes;
};

/* The smallest vocabulary: the bytes, a beginning and an end. */
enum { SYNTH_MIN_VOCAB = 258 };

/* Copies the shape of that name; false if there is none. */
bool synth_shape_find(const char *name, struct synth_shape *shape);

/* Writes the names with commas between them. */
void synth_shape_names(char *names, size_t max_bytes);

/*
 * Makes it a model of that architecture; false if there is none of that name. Whether
 * the head is tied becomes what is usual there.
 */
bool synth_shape_set_architecture(struct synth_shape *shape, const char *name);

/*
 * Whether the library can run such a model; otherwise `why` has the sentence. Each
 * number alone has been checked to be in the range of its option.
 */
bool synth_shape_check(const struct synth_shape *shape, char *why, size_t max_bytes);

size_t synth_n_tensors(const struct synth_shape *shape);

/* Describes tensor `index`, in the order of the file. */
void synth_tensor_at(const struct synth_shape *shape, size_t index,
                     struct synth_tensor *tensor);

#endif
