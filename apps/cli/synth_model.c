/* SPDX-License-Identifier: MIT */
/*
 * synth_model.c - see synth_model.h.
 *
 * The weights are random, yet a model of them behaves like one that was trained where
 * that matters for measuring. A ternary weight is -1, 0 or 1 with the chances 1/4, 1/2,
 * 1/4, as in the published 2B model, and the scale of its matrix is such that inputs of
 * size 1 give outputs of size 1. So every block of a layer adds about as much to the
 * residual stream as every other, the embedding of the last token does not drown the
 * rest, and the logits have a standard deviation of LOGIT_SIZE: some tokens are
 * likelier than others, and none is certain.
 *
 * Every tensor has a stream of random numbers of its own, from the seed and its place
 * in the file. The arithmetic is whole numbers, and floating-point operations that
 * IEEE 754 rounds correctly, so a seed names the same bytes on every machine.
 */
#include "synth_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "synth_metadata.h"
#include "synth_types.h"
#include "synth_vocabulary.h"

enum { ALIGNMENT = 32, CHUNK_VALUES = 4096, CODES_PER_WORD = 32, I2_S_TAIL = 32 };

_Static_assert(CHUNK_VALUES % SYNTH_MAX_BLOCK == 0, "a chunk is whole blocks");

#define LOGIT_SIZE 2.0f

/* The sum of four 16-bit numbers: this in the middle, that far from it on average. */
enum { SUM_MIDDLE = 131070, SUM_DEVIATION = 37837 };

/* A tensor's bytes and the zeros behind them: the next one begins aligned. */
static uint64_t room_of(const struct synth_tensor *tensor)
{
    return (tensor->n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    word = (word ^ word >> 27) * UINT64_C(0x94D049BB133111EB);
    return word ^ word >> 31;
}

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    return mix(*state);
}

static uint64_t put_metadata(struct synth_sink *sink, const struct synth_shape *shape,
                             uint64_t seed)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"block_count", shape->n_layers},
        {"context_length", shape->n_ctx},
        {"embedding_length", shape->n_embd},
        {"feed_forward_length", shape->n_ff},
        {"attention.head_count", shape->n_heads},
        {"attention.head_count_kv", shape->n_kv_heads},
        {"rope.dimension_count", shape->n_embd / shape->n_heads},
        {"vocab_size", shape->n_vocab},
    };
    char text[96];
    uint64_t n_values = 0;
    n_values += synth_meta_text(sink, "general.architecture", shape->architecture);
    snprintf(text, sizeof(text), "synthetic %s, seed %" PRIu64, shape->name, seed);
    n_values += synth_meta_text(sink, "general.name", text);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        snprintf(text, sizeof(text), "%s.%s", shape->architecture, numbers[i].name);
        n_values += synth_meta_u32(sink, text, (uint32_t)numbers[i].value);
    }
    snprintf(text, sizeof(text), "%s.attention.layer_norm_rms_epsilon",
             shape->architecture);
    n_values += synth_meta_f32(sink, text, shape->epsilon);
    snprintf(text, sizeof(text), "%s.rope.freq_base", shape->architecture);
    n_values += synth_meta_f32(sink, text, shape->rope_base);
    return n_values + synth_put_vocabulary(sink, shape->n_vocab);
}

/* Everything before the data. The count of values comes before the values. */
static uint64_t put_header(struct synth_sink *sink, const struct synth_shape *shape,
                           uint64_t seed, uint64_t n_values)
{
    const size_t n_tensors = synth_n_tensors(shape);
    synth_put(sink, "GGUF", 4);
    synth_put_u32(sink, 3); /* the format's version */
    synth_put_u64(sink, n_tensors);
    synth_put_u64(sink, n_values);
    const uint64_t n_put = put_metadata(sink, shape, seed);
    uint64_t offset = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        struct synth_tensor tensor;
        synth_tensor_at(shape, i, &tensor);
        synth_put_text(sink, tensor.name);
        synth_put_u32(sink, tensor.n_rows == 1 ? 1 : 2);
        synth_put_u64(sink, tensor.n_cols);
        if (tensor.n_rows > 1) synth_put_u64(sink, tensor.n_rows);
        synth_put_u32(sink, tensor.type);
        synth_put_u64(sink, offset);
        offset += room_of(&tensor);
    }
    synth_pad(sink, ALIGNMENT);
    return n_put;
}

/* Two random bits make a code, their sum: 0, 1 or 2, with the chances 1/4, 1/2, 1/4. */
static void put_projection(struct synth_sink *sink, const struct synth_tensor *tensor,
                           uint64_t *state)
{
    const uint64_t low_bits = UINT64_C(0x5555555555555555);
    uint64_t words[CHUNK_VALUES / CODES_PER_WORD];
    uint64_t n_left = tensor->n_cols * tensor->n_rows; /* a multiple of 128 */
    while (n_left > 0 && sink->error == 0) {
        const uint64_t n = n_left < CHUNK_VALUES ? n_left : CHUNK_VALUES;
        for (size_t i = 0; i < n / CODES_PER_WORD; i++) {
            const uint64_t bits = next_random(state);
            words[i] = (bits & low_bits) + (bits >> 1 & low_bits);
        }
        synth_put(sink, words, (size_t)(n / 4));
        n_left -= n;
    }
    const uint8_t zeros[I2_S_TAIL - sizeof(float)] = {0};
    /* Half of the weights count, so a row adds up n_cols / 2 values of size 1. */
    const float scale = sqrtf(2.0f / (float)tensor->n_cols);
    synth_put(sink, &scale, sizeof(scale));
    synth_put(sink, zeros, sizeof(zeros));
}

/* About normal: the sum of four even numbers. */
static float next_weight(uint64_t *state, float deviation)
{
    const uint64_t bits = next_random(state);
    const int32_t sum = (int32_t)((bits & 0xFFFF) + (bits >> 16 & 0xFFFF) +
                                  (bits >> 32 & 0xFFFF) + (bits >> 48));
    return (float)(sum - SUM_MIDDLE) * (deviation / (float)SUM_DEVIATION);
}

static void put_vocabulary_matrix(struct synth_sink *sink,
                                  const struct synth_tensor *tensor, uint64_t *state)
{
    /* Against a row of inputs of size 1. */
    const float deviation = LOGIT_SIZE / sqrtf((float)tensor->n_cols);
    float values[CHUNK_VALUES];
    uint8_t bytes[CHUNK_VALUES * SYNTH_MAX_VALUE_BYTES];
    uint64_t n_left = tensor->n_cols * tensor->n_rows;
    while (n_left > 0 && sink->error == 0) {
        const size_t n = n_left < CHUNK_VALUES ? (size_t)n_left : CHUNK_VALUES;
        for (size_t i = 0; i < n; i++) values[i] = next_weight(state, deviation);
        synth_encode(tensor->type, values, n, bytes);
        synth_put(sink, bytes, (size_t)synth_type_bytes(tensor->type, n));
        n_left -= n;
    }
}

/* From 3/4 to 5/4. */
static void put_norm(struct synth_sink *sink, const struct synth_tensor *tensor,
                     uint64_t *state)
{
    for (uint64_t i = 0; i < tensor->n_cols && sink->error == 0; i++) {
        const float value = 0.75f + (float)(next_random(state) >> 40) * 0x1p-25f;
        synth_put(sink, &value, sizeof(value));
    }
}

struct synth_sizes synth_measure(const struct synth_shape *shape, uint64_t seed,
                                 struct synth_sink *sink)
{
    struct synth_sizes sizes = {0};
    sizes.n_values = put_header(sink, shape, seed, 0);
    sizes.header_bytes = sink->n_bytes;
    sizes.file_bytes = sink->n_bytes;
    for (size_t i = 0; i < synth_n_tensors(shape); i++) {
        struct synth_tensor tensor;
        synth_tensor_at(shape, i, &tensor);
        sizes.n_parameters += tensor.n_cols * tensor.n_rows;
        sizes.file_bytes += room_of(&tensor);
        if (tensor.role == SYNTH_PROJECTION) sizes.ternary_bytes += tensor.n_bytes;
        if (tensor.role == SYNTH_VOCABULARY) sizes.dense_bytes += tensor.n_bytes;
        if (tensor.role == SYNTH_NORM) sizes.norm_bytes += tensor.n_bytes;
    }
    return sizes;
}

bool synth_write(const struct synth_shape *shape, uint64_t seed,
                 const struct synth_sizes *sizes, struct synth_sink *sink)
{
    put_header(sink, shape, seed, sizes->n_values);
    for (size_t i = 0; i < synth_n_tensors(shape) && sink->error == 0; i++) {
        struct synth_tensor tensor;
        uint64_t state = mix(mix(seed) + i);
        synth_tensor_at(shape, i, &tensor);
        switch (tensor.role) {
        case SYNTH_PROJECTION: put_projection(sink, &tensor, &state); break;
        case SYNTH_VOCABULARY: put_vocabulary_matrix(sink, &tensor, &state); break;
        case SYNTH_NORM: put_norm(sink, &tensor, &state); break;
        }
        synth_pad(sink, ALIGNMENT); /* the data began at a multiple */
    }
    return synth_flush(sink);
}
