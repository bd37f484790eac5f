/* SPDX-License-Identifier: MIT */
/*
 * model.h - what a loaded model is, for the engine.
 *
 * Hyper-parameters, weights by role, tokenizer. Everything here is fixed after
 * loading and shared by any number of threads; only the reference count changes.
 */
#ifndef BNI_MODEL_MODEL_H
#define BNI_MODEL_MODEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>

#include "formats/gguf.h"
#include "kernels/kernels.h"
#include "model/head_copy.h"
#include "model/tokenizer.h"

enum bni_activation { BNI_ACTIVATION_SILU, BNI_ACTIVATION_RELU2 };
enum bni_rope_style { BNI_ROPE_NEOX, BNI_ROPE_ADJACENT };

/* Tokens of a model. */
enum { BNI_MAX_VOCABULARY = 1 << 24 };

/* Numbers of a head. */
enum { BNI_MAX_HEAD_DIM = 1024 };

/* What an architecture's name decides (docs/architectures.md). */
struct bni_architecture {
    const char *name;
    enum bni_activation activation;
    enum bni_rope_style rope_style;
    bool has_sub_norms;
    bool may_have_output; /* an untied head is allowed */
};

struct bni_hparams {
    uint32_t n_layers;
    uint32_t n_embd;
    uint32_t n_ff;
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_ctx_train;
    uint32_t n_vocab; /* tokens; rows of embedding and head */
    float rms_norm_epsilon;
    float rope_freq_base;
    float rope_scale; /* positions are divided by it; 1 = none */
};

/* A ternary matrix in I2_S: out = codes * in. */
struct bni_ternary_weight {
    const uint8_t *codes; /* [n_rows][bni_padded_cols(n_cols) / 4 bytes]: in the mapped
                             file, or, where its rows share blocks, `padded` */
    float scale;          /* the tensor's, times the optional `.scale` tensor */
    uint32_t n_cols;      /* inputs */
    uint32_t n_rows;      /* outputs */
    uint8_t *padded;      /* the model's own copy (padded_rows.h), or NULL */
};

struct bni_dense_weight {
    const void *values; /* [n_rows][n_cols], in the mapped file */
    enum bni_dense_type type;
    uint32_t n_cols;
    uint32_t n_rows;
};

struct bni_layer {
    const float *attn_norm;     /* [n_embd] */
    const float *attn_sub_norm; /* [n_heads * head_dim], or NULL */
    const float *ffn_norm;      /* [n_embd] */
    const float *ffn_sub_norm;  /* [n_ff], or NULL */
    struct bni_ternary_weight q, k, v, output, gate, up, down;
};

struct bitnet_model {
    atomic_uint n_references;
    struct bni_gguf *gguf;
    struct bni_tokenizer *tokenizer;
    const struct bni_architecture *architecture; /* NULL: unknown, vocabulary only */
    struct bni_hparams hparams; /* n_vocab alone: unknown, vocabulary only */
    bool has_weights;
    struct bni_dense_weight embedding; /* [n_vocab][n_embd] */
    struct bni_dense_weight head;      /* the same, where tied */
    struct bni_head_copy head_copy;
    const float *output_norm;  /* [n_embd] */
    const float *rope_factors; /* [head_dim / 2] divisors of the frequency, or NULL */
    struct bni_layer *layers;  /* [n_layers] */
    float *norms;              /* one block behind all the norm pointers above */
    uint64_t n_parameters;
    uint64_t allocated_bytes;
    uint64_t repacked_bytes; /* of them, in copies of weights */
    char *architecture_name;
    char *name;
    char *chat_template; /* or NULL */
};

/* Makes a model of an open file, which it owns from then on, also if it fails. */
bitnet_status bni_model_create(struct bni_gguf *gguf, bool is_vocabulary_only,
                               bitnet_model **out);

struct bni_progress;

/* Loads the file, telling `progress`, which may be NULL. CANCELLED if that says so. */
bitnet_status bni_model_load(const char *path, bool is_vocabulary_only,
                             bitnet_head_copy head_copy, struct bni_progress *progress,
                             bitnet_model **out);

/* Reads and validates hyper-parameters (src/model/hparams.c). */
bitnet_status bni_hparams_read(const struct bni_gguf *gguf,
                               const struct bni_architecture **architecture,
                               struct bni_hparams *hparams);

/* Finds and checks every tensor by role and fills the model's weights (weights.c). */
bitnet_status bni_weights_bind(struct bitnet_model *model, bitnet_head_copy head_copy,
                               struct bni_progress *progress);

/* Frees what that has allocated, whether it went well or not. */
void bni_weights_free(struct bitnet_model *model);

#endif
