/* SPDX-License-Identifier: MIT */
/*
 * fuzz_gguf.c - any bytes as a model file.
 *
 * Opens them, touches every byte that the index says is in the file, asks every key
 * for every kind, then makes a vocabulary and a whole model of them. There is nothing
 * to check but that it comes back, having given back all memory.
 */
#include <stdlib.h>
#include <string.h>

#include <bitnet/model.h>

#include "base/alloc.h"
#include "formats/gguf.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Keeps the reads below from being optimised away. */
static volatile uint64_t sink;

static void touch(const uint8_t *bytes, size_t n_bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_bytes; i++) sum += bytes[i];
    sink = sum;
}

static void ask(const struct bni_gguf *gguf, const struct bni_gguf_value *value)
{
    char key[256];
    bool is_found;
    uint64_t integer;
    float number;
    bool truth;
    struct bni_string string;
    const struct bni_gguf_value *array;
    if (value->key.n_bytes >= sizeof(key)) return;
    memcpy(key, value->key.bytes, value->key.n_bytes);
    key[value->key.n_bytes] = '\0';

    if (bni_gguf_find(gguf, key) != value) abort();
    bni_gguf_get_u64(gguf, key, 0, UINT64_MAX, &is_found, &integer);
    bni_gguf_get_f32(gguf, key, &is_found, &number);
    bni_gguf_get_bool(gguf, key, &is_found, &truth);
    bni_gguf_get_string(gguf, key, &is_found, &string);
    bni_gguf_get_array(gguf, key, BNI_GGUF_STRING, &is_found, &array);
    size_t cursor = 0;
    while (value->type == BNI_GGUF_ARRAY && value->element_type == BNI_GGUF_STRING &&
           bni_gguf_next_string(value, &cursor, &string))
        touch((const uint8_t *)string.bytes, string.n_bytes);
}

static void walk(const struct bni_gguf *gguf)
{
    for (size_t i = 0; i < bni_gguf_n_values(gguf); i++) {
        const struct bni_gguf_value *value = bni_gguf_value_at(gguf, i);
        touch(value->bytes, value->n_bytes);
        ask(gguf, value);
    }
    for (size_t i = 0; i < bni_gguf_n_tensors(gguf); i++) {
        const struct bni_gguf_tensor *tensor = bni_gguf_tensor_at(gguf, i);
        touch(tensor->bytes, tensor->n_bytes);
    }
}

/* Tokenises and detokenises a little with whatever vocabulary this is. */
static void use(const bitnet_model *model)
{
    bitnet_token tokens[64];
    char text[4096];
    size_t n_tokens;
    size_t n_bytes;
    if (bitnet_tokenize(model, "ab a\xFF", 5, NULL, tokens, 64, &n_tokens) != BITNET_OK)
        return;
    bitnet_detokenize(model, tokens, n_tokens, true, text, sizeof(text), &n_bytes);
}

static void make_model(const uint8_t *bytes, size_t n_bytes, bool is_vocabulary_only)
{
    struct bni_gguf *gguf;
    bitnet_model *model;
    if (bni_gguf_open_memory(bytes, n_bytes, "fuzz", &gguf) != BITNET_OK) return;
    if (bni_model_create(gguf, is_vocabulary_only, &model) != BITNET_OK) return;
    use(model);
    bitnet_model_release(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const uint64_t in_use_before = bni_alloc_in_use();
    struct bni_gguf *gguf;
    uint8_t *bytes =
        malloc(n_bytes > 0 ? n_bytes : 1); /* aligned, and of this very size */
    if (bytes == NULL) return 0;
    if (n_bytes > 0) memcpy(bytes, data, n_bytes);

    if (bni_gguf_open_memory(bytes, n_bytes, "fuzz", &gguf) == BITNET_OK) {
        walk(gguf);
        bni_gguf_close(gguf);
        make_model(bytes, n_bytes, true);
        make_model(bytes, n_bytes, false);
    }
    free(bytes);
    if (bni_alloc_in_use() != in_use_before) abort();
    return 0;
}
