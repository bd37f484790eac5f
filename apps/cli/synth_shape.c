/* SPDX-License-Identifier: MIT */
/*
 * synth_shape.c - see synth_shape.h.
 *
 * The named shapes are those of published models, but for the vocabulary, which is one
 * of bytes and made-up words for all.
 */
#include "synth_shape.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* I2_S packs BLOCK values of a matrix together, and the library reads rows of whole
 * GROUPs. */
enum { BLOCK = 128, GROUP = 32 };
enum { MAX_HEAD_DIM = 1024, N_OUTSIDE_LAYERS = 2 };

static const struct {
    const char *name;
    bool has_sub_norms;
    bool is_tied;
} architectures[] = {
    {"bitnet-b1.58", true, true},
    {"bitnet", true, true},
    {"llama", false, false},
};

static const struct {
    const char *name;
    const char *architecture;
    uint64_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, n_vocab, n_ctx;
    float rope_base, epsilon;
} shapes[] = {
    {"2b4t", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128256, 4096, 500000.0f, 1e-5f},
    {"large", "bitnet", 24, 1536, 4096, 16, 16, 32002, 2048, 10000.0f, 1e-5f},
    {"3b", "bitnet", 26, 3200, 8640, 32, 32, 32002, 2048, 10000.0f, 1e-5f},
    {"8b", "llama", 32, 4096, 14336, 32, 8, 128256, 8192, 500000.0f, 1e-5f},
    {"falcon3-1b", "llama", 18, 2048, 8192, 8, 4, 131072, 8192, 1000042.0f, 1e-6f},
    {"falcon3-3b", "llama", 22, 3072, 9216, 12, 4, 131072, 32768, 1000042.0f, 1e-6f},
    {"falcon3-7b", "llama", 28, 3072, 23040, 12, 4, 131072, 32768, 1000042.0f, 1e-6f},
    {"falcon3-10b", "llama", 40, 3072, 23040, 12, 4, 131072, 32768, 1000042.0f, 1e-6f},
};

enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

bool synth_shape_find(const char *name, struct synth_shape *shape)
{
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (strcmp(shapes[i].name, name) != 0) continue;
        *shape = (struct synth_shape){
            .name = shapes[i].name,
            .n_layers = shapes[i].n_layers,
            .n_embd = shapes[i].n_embd,
            .n_ff = shapes[i].n_ff,
            .n_heads = shapes[i].n_heads,
            .n_kv_heads = shapes[i].n_kv_heads,
            .n_vocab = shapes[i].n_vocab,
            .n_ctx = shapes[i].n_ctx,
            .rope_base = shapes[i].rope_base,
            .epsilon = shapes[i].epsilon,
            .dense = SYNTH_F16,
        };
        return synth_shape_set_architecture(shape, shapes[i].architecture);
    }
    return false;
}

void synth_shape_names(char *names, size_t max_bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < N_SHAPES && n < max_bytes; i++)
        n += (size_t)snprintf(names + n, max_bytes - n, "%s%s", i > 0 ? ", " : "",
                              shapes[i].name);
}

bool synth_shape_set_architecture(struct synth_shape *shape, const char *name)
{
    for (size_t i = 0; i < sizeof(architectures) / sizeof(architectures[0]); i++) {
        if (strcmp(architectures[i].name, name) != 0) continue;
        shape->architecture = architectures[i].name;
        shape->has_sub_norms = architectures[i].has_sub_norms;
        shape->is_tied = architectures[i].is_tied;
        return true;
    }
    return false;
}

static uint64_t head_dim(const struct synth_shape *shape)
{
    return shape->n_embd / shape->n_heads;
}

static bool is_wrong(char *why, size_t max_bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, max_bytes, format, arguments);
    va_end(arguments);
    return false;
}

bool synth_shape_check(const struct synth_shape *shape, char *why, size_t max_bytes)
{
    if (shape->n_embd % GROUP != 0)
        return is_wrong(why, max_bytes,
                        "--embd is %" PRIu64 ", expected a multiple of %d",
                        shape->n_embd, GROUP);
    if (shape->n_embd % synth_block_values(shape->dense) != 0)
        return is_wrong(why, max_bytes,
                        "--embd is %" PRIu64 ", expected a multiple of %" PRIu64
                        ", the values in a block of --head",
                        shape->n_embd, synth_block_values(shape->dense));
    if (shape->n_ff % GROUP != 0)
        return is_wrong(why, max_bytes,
                        "--ffn is %" PRIu64 ", expected a multiple of %d", shape->n_ff,
                        GROUP);
    if (shape->n_embd % shape->n_heads != 0 || head_dim(shape) % 2 != 0 ||
        head_dim(shape) > MAX_HEAD_DIM)
        return is_wrong(why, max_bytes,
                        "--heads is %" PRIu64 ", expected a divisor of --embd %" PRIu64
                        " that makes each an even width up to %d",
                        shape->n_heads, shape->n_embd, MAX_HEAD_DIM);
    if (shape->n_heads % shape->n_kv_heads != 0)
        return is_wrong(why, max_bytes,
                        "--kv-heads is %" PRIu64 ", expected a divisor of --heads "
                        "%" PRIu64,
                        shape->n_kv_heads, shape->n_heads);
    const uint64_t n_keys = shape->n_kv_heads * head_dim(shape);
    if (n_keys * shape->n_embd % BLOCK != 0)
        return is_wrong(why, max_bytes,
                        "--kv-heads is %" PRIu64 ", which makes matrices of %" PRIu64
                        " x %" PRIu64 " weights, expected a multiple of %d",
                        shape->n_kv_heads, n_keys, shape->n_embd, BLOCK);
    if (!shape->is_tied && strcmp(shape->architecture, "bitnet") == 0)
        return is_wrong(why, max_bytes,
                        "--head is untied, but models of --arch bitnet have no head "
                        "but the embedding");
    return true;
}

/* A layer's tensors. Widths are named, since they depend on the shape. */
enum width { ONE, EMBD, KEYS, FF };

static const struct {
    const char *name;
    enum synth_role role;
    enum width cols, rows;
    bool is_sub_norm;
} layer_tensors[] = {
    {"attn_norm", SYNTH_NORM, EMBD, ONE, false},
    {"attn_q", SYNTH_PROJECTION, EMBD, EMBD, false},
    {"attn_k", SYNTH_PROJECTION, EMBD, KEYS, false},
    {"attn_v", SYNTH_PROJECTION, EMBD, KEYS, false},
    {"attn_sub_norm", SYNTH_NORM, EMBD, ONE, true},
    {"attn_output", SYNTH_PROJECTION, EMBD, EMBD, false},
    {"ffn_norm", SYNTH_NORM, EMBD, ONE, false},
    {"ffn_gate", SYNTH_PROJECTION, EMBD, FF, false},
    {"ffn_up", SYNTH_PROJECTION, EMBD, FF, false},
    {"ffn_sub_norm", SYNTH_NORM, FF, ONE, true},
    {"ffn_down", SYNTH_PROJECTION, FF, EMBD, false},
};

enum { N_LAYER_TENSORS = sizeof(layer_tensors) / sizeof(layer_tensors[0]) };
enum { N_SUB_NORMS = 2 };

static uint64_t width_of(const struct synth_shape *shape, enum width width)
{
    switch (width) {
    case EMBD: return shape->n_embd;
    case KEYS: return shape->n_kv_heads * head_dim(shape);
    case FF: return shape->n_ff;
    case ONE: break;
    }
    return 1;
}

static size_t n_per_layer(const struct synth_shape *shape)
{
    return N_LAYER_TENSORS - (shape->has_sub_norms ? 0 : N_SUB_NORMS);
}

static size_t n_outside_layers(const struct synth_shape *shape)
{
    return N_OUTSIDE_LAYERS + (shape->is_tied ? 0 : 1);
}

size_t synth_n_tensors(const struct synth_shape *shape)
{
    return n_outside_layers(shape) + (size_t)shape->n_layers * n_per_layer(shape);
}

void synth_tensor_at(const struct synth_shape *shape, size_t index,
                     struct synth_tensor *tensor)
{
    static const char *const outside[] = {"token_embd", "output_norm", "output"};
    *tensor = (struct synth_tensor){0};
    if (index < n_outside_layers(shape)) {
        const bool is_norm = index == 1;
        snprintf(tensor->name, sizeof(tensor->name), "%s.weight", outside[index]);
        tensor->role = is_norm ? SYNTH_NORM : SYNTH_VOCABULARY;
        tensor->type = is_norm ? SYNTH_F32 : shape->dense;
        tensor->n_cols = shape->n_embd;
        tensor->n_rows = is_norm ? 1 : shape->n_vocab;
    } else {
        index -= n_outside_layers(shape);
        size_t left = index % n_per_layer(shape);
        size_t row = 0;
        for (;; row++) {
            if (layer_tensors[row].is_sub_norm && !shape->has_sub_norms) continue;
            if (left-- == 0) break;
        }
        snprintf(tensor->name, sizeof(tensor->name), "blk.%zu.%s.weight",
                 index / n_per_layer(shape), layer_tensors[row].name);
        tensor->role = layer_tensors[row].role;
        tensor->type = tensor->role == SYNTH_NORM ? SYNTH_F32 : SYNTH_I2_S;
        tensor->n_cols = width_of(shape, layer_tensors[row].cols);
        tensor->n_rows = width_of(shape, layer_tensors[row].rows);
    }
    tensor->n_bytes = synth_type_bytes(tensor->type, tensor->n_cols * tensor->n_rows);
}
