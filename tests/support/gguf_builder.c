/* SPDX-License-Identifier: MIT */
/*
 * gguf_builder.c - see gguf_builder.h. Running out of memory ends the test.
 */
#include "support/gguf_builder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };
enum {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q8_0 = 8,
    TENSOR_Q6_K = 14,
    TENSOR_I2_S = 36
};

static void append(struct gguf_bytes *to, const void *bytes, size_t n_bytes)
{
    while (to->max_bytes - to->n_bytes < n_bytes) {
        to->max_bytes = 2 * to->max_bytes + 256;
        to->bytes = realloc(to->bytes, to->max_bytes);
        if (to->bytes == NULL) abort();
    }
    if (n_bytes == 0) return;
    if (bytes != NULL)
        memcpy(to->bytes + to->n_bytes, bytes, n_bytes);
    else
        memset(to->bytes + to->n_bytes, 0, n_bytes);
    to->n_bytes += n_bytes;
}

static void append_u32(struct gguf_bytes *to, uint32_t value)
{
    append(to, &value, sizeof(value));
}

static void append_u64(struct gguf_bytes *to, uint64_t value)
{
    append(to, &value, sizeof(value));
}

static void append_string(struct gguf_bytes *to, const char *string)
{
    append_u64(to, strlen(string));
    append(to, string, strlen(string));
}

static void pad(struct gguf_bytes *to, size_t alignment)
{
    append(to, NULL, (alignment - to->n_bytes % alignment) % alignment);
}

static bool is_skipped(const struct gguf_builder *builder, const char *name)
{
    return builder->skipped != NULL && strcmp(builder->skipped, name) == 0;
}

void gguf_begin(struct gguf_builder *builder)
{
    *builder = (struct gguf_builder){.version = 3, .alignment = 32};
}

void gguf_value(struct gguf_builder *builder, const char *key, uint32_t type,
                const void *payload, size_t n_bytes)
{
    if (is_skipped(builder, key)) return;
    append_string(&builder->values, key);
    append_u32(&builder->values, type);
    append(&builder->values, payload, n_bytes);
    builder->n_values++;
}

void gguf_u32(struct gguf_builder *builder, const char *key, uint32_t value)
{
    gguf_value(builder, key, U32, &value, sizeof(value));
}

void gguf_f32(struct gguf_builder *builder, const char *key, float value)
{
    gguf_value(builder, key, F32, &value, sizeof(value));
}

void gguf_bool(struct gguf_builder *builder, const char *key, bool value)
{
    gguf_value(builder, key, BOOL, &value, 1);
}

void gguf_string(struct gguf_builder *builder, const char *key, const char *value)
{
    struct gguf_bytes payload = {0};
    append_string(&payload, value);
    gguf_value(builder, key, STRING, payload.bytes, payload.n_bytes);
    free(payload.bytes);
}

void gguf_strings(struct gguf_builder *builder, const char *key,
                  const char *const *strings, size_t n)
{
    struct gguf_bytes payload = {0};
    append_u32(&payload, STRING);
    append_u64(&payload, n);
    for (size_t i = 0; i < n; i++) append_string(&payload, strings[i]);
    gguf_value(builder, key, ARRAY, payload.bytes, payload.n_bytes);
    free(payload.bytes);
}

void gguf_i32s(struct gguf_builder *builder, const char *key, const int32_t *values,
               size_t n)
{
    struct gguf_bytes payload = {0};
    append_u32(&payload, I32);
    append_u64(&payload, n);
    append(&payload, values, n * sizeof(*values));
    gguf_value(builder, key, ARRAY, payload.bytes, payload.n_bytes);
    free(payload.bytes);
}

void gguf_record(struct gguf_builder *builder, const char *name, uint32_t n_dims,
                 const uint64_t *dims, uint32_t type, uint64_t offset)
{
    if (is_skipped(builder, name)) return;
    append_string(&builder->records, name);
    append_u32(&builder->records, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) append_u64(&builder->records, dims[i]);
    append_u32(&builder->records, type);
    append_u64(&builder->records, offset);
    builder->n_tensors++;
}

void gguf_data(struct gguf_builder *builder, const void *data, size_t n_bytes)
{
    append(&builder->data, data, n_bytes);
}

void gguf_tensor(struct gguf_builder *builder, const char *name, uint32_t type,
                 uint32_t n_dims, const uint64_t *dims, const void *data,
                 size_t n_bytes)
{
    if (is_skipped(builder, name)) return;
    pad(&builder->data, builder->alignment);
    gguf_record(builder, name, n_dims, dims, type, builder->data.n_bytes);
    append(&builder->data, data, n_bytes);
}

uint8_t *gguf_end(struct gguf_builder *builder, size_t *n_bytes)
{
    struct gguf_bytes file = {0};
    append(&file, "GGUF", 4);
    append_u32(&file, builder->version);
    append_u64(&file, builder->n_tensors);
    append_u64(&file, builder->n_values);
    append(&file, builder->values.bytes, builder->values.n_bytes);
    append(&file, builder->records.bytes, builder->records.n_bytes);
    if (builder->n_tensors > 0) {
        pad(&file, builder->alignment);
        append(&file, builder->data.bytes, builder->data.n_bytes);
    }
    free(builder->values.bytes);
    free(builder->records.bytes);
    free(builder->data.bytes);
    *n_bytes = file.n_bytes;
    return file.bytes;
}

bool gguf_write_file(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) return false;
    const bool is_written = fwrite(bytes, 1, n_bytes, file) == n_bytes;
    return fclose(file) == 0 && is_written;
}

void gguf_pack_i2_s(const int8_t *values, size_t n, float scale, uint8_t *out)
{
    memset(out, 0, n / 4 + 32);
    for (size_t i = 0; i < n; i++) {
        const size_t j = i % 128;
        const unsigned code = (unsigned)(values[i] + 1);
        out[i / 128 * 32 + j % 32] |= (uint8_t)(code << (6 - 2 * (j / 32)));
    }
    memcpy(out + n / 4, &scale, sizeof(scale));
}

/* A plain generator: equal seeds give equal models on every machine. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Writes `value`, which f16 holds as a normal number or zero, in a dense type. */
static size_t store_dense(uint32_t type, float value, uint8_t *out)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if (type == TENSOR_F32) {
        memcpy(out, &bits, sizeof(bits));
        return sizeof(bits);
    }
    uint16_t half = (uint16_t)(bits >> 16); /* BF16 */
    if (type == TENSOR_F16) {
        half = (uint16_t)(bits >> 16 & 0x8000u);
        if (value != 0.0f)
            half |=
                (uint16_t)((bits >> 13 & 0x3FFu) | ((bits >> 23 & 0xFFu) - 112u) << 10);
    }
    memcpy(out, &half, sizeof(half));
    return sizeof(half);
}

/* Weights of a matrix in blocks of 32 and 34 bytes: the same ones as in a plain type. */
static size_t fill_q8_0(uint8_t *data, uint64_t n, uint32_t *state)
{
    uint8_t *begin = data;
    for (uint64_t i = 0; i < n; i++) {
        if (i % 32 == 0) { /* 1/64 */
            *data++ = 0x00;
            *data++ = 0x24;
        }
        *data++ = (uint8_t)(next_random(state) % 127 - 63);
    }
    return (size_t)(data - begin);
}

/* In blocks of 256 and 210 bytes: any codes, scales from -8 to 8, a factor of 1/256. */
static size_t fill_q6_k(uint8_t *data, uint64_t n, uint32_t *state)
{
    uint8_t *begin = data;
    for (uint64_t block = 0; block < n / 256; block++) {
        for (int i = 0; i < 192; i++) *data++ = (uint8_t)next_random(state);
        for (int i = 0; i < 16; i++) *data++ = (uint8_t)(next_random(state) % 17 - 8);
        *data++ = 0x00;
        *data++ = 0x1C;
    }
    return (size_t)(data - begin);
}

static void add_dense(struct gguf_builder *builder, const char *name, uint32_t type,
                      uint64_t n_cols, uint64_t n_rows, bool is_norm, uint32_t *state)
{
    const uint64_t dims[2] = {n_cols, n_rows};
    uint8_t *data = malloc(n_cols * n_rows * 4);
    size_t n_bytes = 0;
    if (data == NULL) abort();
    const bool has_blocks = type == TENSOR_Q8_0 || type == TENSOR_Q6_K;
    if (type == TENSOR_Q8_0) n_bytes = fill_q8_0(data, n_cols * n_rows, state);
    if (type == TENSOR_Q6_K) n_bytes = fill_q6_k(data, n_cols * n_rows, state);
    for (uint64_t i = 0; !has_blocks && i < n_cols * n_rows; i++) {
        /* Multiples of 1/64: exact in every type. Norms are around 1. */
        const float step = (float)((int)(next_random(state) % 127) - 63) / 64.0f;
        n_bytes +=
            store_dense(type, is_norm ? 1.0f + step / 4.0f : step, data + n_bytes);
    }
    gguf_tensor(builder, name, type, is_norm ? 1 : 2, dims, data, n_bytes);
    free(data);
}

static void add_norm(struct gguf_builder *builder, const char *name, uint32_t type,
                     uint64_t n, uint32_t *state)
{
    add_dense(builder, name, type, n, 1, true, state);
}

static void add_ternary(struct gguf_builder *builder, const char *name, uint64_t n_cols,
                        uint64_t n_rows, uint32_t *state)
{
    const uint64_t dims[2] = {n_cols, n_rows};
    const size_t n = (size_t)(n_cols * n_rows);
    int8_t *values = malloc(n);
    uint8_t *packed = malloc(n / 4 + 32);
    if (values == NULL || packed == NULL) abort();
    for (size_t i = 0; i < n; i++)
        values[i] = (int8_t)((int)(next_random(state) % 3) - 1);
    gguf_pack_i2_s(values, n, 1.0f / sqrtf((float)n_cols), packed);
    gguf_tensor(builder, name, TENSOR_I2_S, 2, dims, packed, n / 4 + 32);
    free(packed);
    free(values);
}

/* The character that stands for a byte in a byte-level vocabulary, as UTF-8. */
static void byte_character(unsigned byte, char out[3])
{
    unsigned n_moved = 0;
    unsigned code = byte;
    for (unsigned b = 0; b <= byte; b++) {
        const bool is_itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
        if (b == byte && !is_itself) code = 0x100 + n_moved;
        if (!is_itself) n_moved++;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = '\0';
        return;
    }
    out[0] = (char)(0xC0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3F));
    out[2] = '\0';
}

/* Adds the vocabulary and returns how many tokens it has. */
static uint32_t add_vocabulary(struct gguf_builder *builder, bool has_all_bytes)
{
    static char characters[256][3];
    const char *tokens[300];
    int32_t types[300];
    static const char *const MERGES[] = {"a b", "b a"};
    uint32_t n = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!has_all_bytes && byte != 'a' && byte != 'b') continue;
        byte_character(byte, characters[byte]);
        tokens[n++] = characters[byte];
    }
    tokens[n++] = "ab";
    tokens[n++] = "ba";
    for (uint32_t i = 0; i < n; i++) types[i] = 1; /* normal */
    types[n] = 3;                                  /* control */
    tokens[n++] = "<|end|>";

    gguf_string(builder, "tokenizer.ggml.model", "gpt2");
    gguf_string(builder, "tokenizer.ggml.pre", "gpt-2");
    gguf_strings(builder, "tokenizer.ggml.tokens", tokens, n);
    gguf_i32s(builder, "tokenizer.ggml.token_type", types, n);
    gguf_strings(builder, "tokenizer.ggml.merges", MERGES, 2);
    gguf_u32(builder, "tokenizer.ggml.eos_token_id", n - 1);
    return n;
}

static void add_hparams(struct gguf_builder *builder,
                        const struct gguf_tiny_options *options)
{
    const struct {
        const char *name;
        uint32_t value;
    } counts[] = {
        {"block_count", options->n_layers},
        {"context_length", options->n_ctx},
        {"embedding_length", options->n_embd},
        {"feed_forward_length", options->n_ff},
        {"attention.head_count", options->n_heads},
        {"attention.head_count_kv", options->n_kv_heads},
    };
    char key[128];
    gguf_string(builder, "general.architecture", options->architecture);
    gguf_string(builder, "general.name", "tiny");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        snprintf(key, sizeof(key), "%s.%s", options->architecture, counts[i].name);
        gguf_u32(builder, key, counts[i].value);
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon",
             options->architecture);
    gguf_f32(builder, key, 1e-5f);
    snprintf(key, sizeof(key), "%s.rope.freq_base", options->architecture);
    gguf_f32(builder, key, 10000.0f);
}

static void add_layer(struct gguf_builder *builder,
                      const struct gguf_tiny_options *options, uint32_t layer,
                      uint32_t *state)
{
    const uint64_t n_embd = options->n_embd;
    const uint64_t n_ff = options->n_ff;
    const uint64_t n_key = n_embd / options->n_heads * options->n_kv_heads;
    const struct {
        const char *name;
        uint64_t n_cols;
        uint64_t n_rows;
    } projections[] = {
        {"attn_q", n_embd, n_embd}, {"attn_k", n_embd, n_key},
        {"attn_v", n_embd, n_key},  {"attn_output", n_embd, n_embd},
        {"ffn_gate", n_embd, n_ff}, {"ffn_up", n_embd, n_ff},
        {"ffn_down", n_ff, n_embd},
    };
    char name[64];
    for (size_t i = 0; i < sizeof(projections) / sizeof(projections[0]); i++) {
        snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, projections[i].name);
        add_ternary(builder, name, projections[i].n_cols, projections[i].n_rows, state);
    }
    snprintf(name, sizeof(name), "blk.%u.attn_norm.weight", layer);
    add_norm(builder, name, options->norm_type, n_embd, state);
    snprintf(name, sizeof(name), "blk.%u.ffn_norm.weight", layer);
    add_norm(builder, name, options->norm_type, n_embd, state);
    if (strcmp(options->architecture, "llama") == 0) return;
    snprintf(name, sizeof(name), "blk.%u.attn_sub_norm.weight", layer);
    add_norm(builder, name, options->norm_type, n_embd, state);
    snprintf(name, sizeof(name), "blk.%u.ffn_sub_norm.weight", layer);
    add_norm(builder, name, options->norm_type, n_ff, state);
}

struct gguf_tiny_options gguf_tiny_options_default(void)
{
    return (struct gguf_tiny_options){
        .architecture = "bitnet-b1.58",
        .n_layers = 1,
        .n_embd = 128,
        .n_ff = 128,
        .n_heads = 2,
        .n_kv_heads = 1,
        .n_ctx = 64,
        .dense_type = TENSOR_F16,
        .norm_type = TENSOR_F32,
        .seed = 1,
    };
}

void gguf_tiny_model(struct gguf_builder *builder,
                     const struct gguf_tiny_options *options)
{
    const struct gguf_tiny_options defaults = gguf_tiny_options_default();
    if (options == NULL) options = &defaults;
    uint32_t state = options->seed;
    add_hparams(builder, options);
    const uint32_t n_vocab = add_vocabulary(builder, options->has_all_bytes);
    add_dense(builder, "token_embd.weight", options->dense_type, options->n_embd,
              n_vocab, false, &state);
    add_norm(builder, "output_norm.weight", options->norm_type, options->n_embd,
             &state);
    for (uint32_t i = 0; i < options->n_layers; i++)
        add_layer(builder, options, i, &state);
    if (options->has_output)
        add_dense(builder, "output.weight", options->dense_type, options->n_embd,
                  n_vocab, false, &state);
}
