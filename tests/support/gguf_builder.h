/* SPDX-License-Identifier: MIT */
/*
 * gguf_builder.h - for tests: GGUF files, sound or not, made in memory.
 *
 *     struct gguf_builder builder;
 *     gguf_begin(&builder);
 *     gguf_string(&builder, "general.architecture", "bitnet-b1.58");
 *     gguf_tensor(&builder, "t", 0, 1, (uint64_t[]){8}, floats, sizeof(floats));
 *     size_t n_bytes;
 *     uint8_t *bytes = gguf_end(&builder, &n_bytes);     // free(bytes)
 *
 * gguf_tiny_model() adds a whole model that loads and runs. To make one that is
 * wrong in one place, set `skipped` to a key or tensor name before, which is then
 * left out, and add another of that name afterwards.
 *
 * Nothing here is the library's: a test must not be judged by what it tests.
 */
#ifndef TESTS_SUPPORT_GGUF_BUILDER_H
#define TESTS_SUPPORT_GGUF_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gguf_bytes {
    uint8_t *bytes;
    size_t n_bytes;
    size_t max_bytes;
};

struct gguf_builder {
    struct gguf_bytes values;
    struct gguf_bytes records;
    struct gguf_bytes data;
    uint64_t n_values;
    uint64_t n_tensors;
    /* To be edited after gguf_begin(). */
    uint32_t version;    /* 3 */
    uint32_t alignment;  /* 32; the key general.alignment is the caller's to add */
    const char *skipped; /* key or tensor that is not written, or NULL */
};

void gguf_begin(struct gguf_builder *builder);

/* Metadata. gguf_value() writes any type and payload as they are. */
void gguf_value(struct gguf_builder *builder, const char *key, uint32_t type,
                const void *payload, size_t n_bytes);
void gguf_u32(struct gguf_builder *builder, const char *key, uint32_t value);
void gguf_f32(struct gguf_builder *builder, const char *key, float value);
void gguf_bool(struct gguf_builder *builder, const char *key, bool value);
void gguf_string(struct gguf_builder *builder, const char *key, const char *value);
void gguf_strings(struct gguf_builder *builder, const char *key,
                  const char *const *strings, size_t n);
void gguf_i32s(struct gguf_builder *builder, const char *key, const int32_t *values,
               size_t n);

/* A tensor whose data follows that of the one before; NULL `data` is zeros. */
void gguf_tensor(struct gguf_builder *builder, const char *name, uint32_t type,
                 uint32_t n_dims, const uint64_t *dims, const void *data,
                 size_t n_bytes);

/* Only a record, which may lie about its data; `offset` is from the data's start. */
void gguf_record(struct gguf_builder *builder, const char *name, uint32_t n_dims,
                 const uint64_t *dims, uint32_t type, uint64_t offset);

/* Adds bytes to the data section, for records. */
void gguf_data(struct gguf_builder *builder, const void *data, size_t n_bytes);

/* Puts the file together and frees what the builder holds; free() the result. */
uint8_t *gguf_end(struct gguf_builder *builder, size_t *n_bytes);

/* Writes a file and returns whether that went well. */
bool gguf_write_file(const char *path, const uint8_t *bytes, size_t n_bytes);

/* Packs ternary values (-1, 0, 1) as I2_S: n / 4 bytes, the scale, 28 zeros. */
void gguf_pack_i2_s(const int8_t *values, size_t n, float scale, uint8_t *out);

struct gguf_tiny_options {
    const char *architecture; /* "bitnet-b1.58" */
    uint32_t n_layers;        /* 1 */
    uint32_t n_embd;          /* 128; a multiple of 32, as n_ff, and such that */
    uint32_t n_ff;            /* 128; every matrix has a multiple of 128 weights */
    uint32_t n_heads;         /* 2 */
    uint32_t n_kv_heads;      /* 1 */
    uint32_t n_ctx;           /* 64 */
    uint32_t
        dense_type;     /* 0 F32, 1 F16, 30 BF16, 8 Q8_0, 14 Q6_K of the embedding: 1 */
    uint32_t norm_type; /* the same of norms: 0 */
    bool has_output;    /* an untied head: false */
    bool has_all_bytes; /* a token for every byte, else for 'a' and 'b': false */
    uint32_t seed;      /* of the weights: 1 */
};

struct gguf_tiny_options gguf_tiny_options_default(void);

/* NULL `options` are the defaults. */
void gguf_tiny_model(struct gguf_builder *builder,
                     const struct gguf_tiny_options *options);

#endif
