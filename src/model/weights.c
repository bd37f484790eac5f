/* SPDX-License-Identifier: MIT */
/*
 * weights.c - every tensor of the graph, by name, type and shape.
 *
 * Ternary and dense matrices stay where they are, in the mapped file; but a ternary one
 * whose rows share blocks is copied, with rows padded (padded_rows.h). Norms are
 * small and come as F32, F16 or BF16: they are converted to F32 in one block. Its
 * size is known only after every norm has been found with the shape that the
 * hyper-parameters ask for, so they are visited twice: to measure, then to copy.
 * That way no memory is taken on the word of the metadata alone.
 *
 * Values are checked here once, so that the kernels need not: no code 3 in a
 * ternary matrix, no scale or norm that is not finite.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/float16.h"
#include "base/float_env.h"
#include "base/log.h"
#include "base/quote.h"
#include "base/size.h"
#include "model/head_copy.h"
#include "model/model.h"
#include "model/padded_rows.h"
#include "model/progress.h"

enum {
    MAX_NAME_BYTES = 64,
    MAX_REPORTED = 8, /* extra tensors that are named in the log */
};

struct binder {
    struct bitnet_model *model;
    const struct bni_gguf *gguf;
    const char *label;
    bool *is_used;        /* for each tensor of the file */
    size_t n_norm_floats; /* measured, or copied so far */
    struct bni_progress *progress;
    bitnet_head_copy head_copy;
    /* What takes time: bytes of codes in the file, values of the head to copy. */
    uint64_t n_work; /* at least 1 */
    uint64_t n_done;
    fenv_t callers;
    char name[MAX_NAME_BYTES]; /* of the tensor being bound */
};

/* Sets the name "blk.<layer>.<rest><suffix>". */
static void name_in_layer(struct binder *binder, uint32_t layer, const char *rest,
                          const char *suffix)
{
    snprintf(binder->name, sizeof(binder->name), "blk.%" PRIu32 ".%s%s", layer, rest,
             suffix);
}

static void name_outside(struct binder *binder, const char *name)
{
    snprintf(binder->name, sizeof(binder->name), "%s", name);
}

/* Returns the tensor of the current name and marks it as used, or NULL. */
static const struct bni_gguf_tensor *find(struct binder *binder)
{
    const struct bni_gguf_tensor *tensor =
        bni_gguf_find_tensor(binder->gguf, binder->name);
    if (tensor != NULL)
        binder->is_used[tensor - bni_gguf_tensor_at(binder->gguf, 0)] = true;
    return tensor;
}

static bitnet_status missing(const struct binder *binder)
{
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED, "%s: tensor %s: is missing",
                     binder->label, binder->name);
}

/* Requires the shape {n_cols, n_rows}, or {n_cols} if `n_rows` is 1. */
static bitnet_status check_shape(const struct binder *binder,
                                 const struct bni_gguf_tensor *tensor, uint64_t n_cols,
                                 uint64_t n_rows)
{
    if (tensor->dims[0] == n_cols && tensor->dims[1] == n_rows &&
        tensor->dims[2] == 1 && tensor->dims[3] == 1)
        return BITNET_OK;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                     "%s: tensor %s: has dimensions {%" PRIu64 ", %" PRIu64 ", %" PRIu64
                     ", %" PRIu64 "}, expected {%" PRIu64 ", %" PRIu64 ", 1, 1}",
                     binder->label, binder->name, tensor->dims[0], tensor->dims[1],
                     tensor->dims[2], tensor->dims[3], n_cols, n_rows);
}

static bitnet_status wrong_type(const struct binder *binder,
                                const struct bni_gguf_tensor *tensor,
                                const char *expected)
{
    return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                     "%s: tensor %s: is of type %s, expected %s", binder->label,
                     binder->name, bni_gguf_tensor_type_name(tensor->type), expected);
}

static bool is_plain(const struct bni_gguf_tensor *tensor)
{
    return tensor->type == BNI_TENSOR_F32 || tensor->type == BNI_TENSOR_F16 ||
           tensor->type == BNI_TENSOR_BF16;
}

/* Value `index` of a plain tensor. */
static float dense_at(const struct bni_gguf_tensor *tensor, size_t index)
{
    uint16_t half;
    float value;
    if (tensor->type == BNI_TENSOR_F32) {
        memcpy(&value, tensor->bytes + index * sizeof(value), sizeof(value));
        return value;
    }
    memcpy(&half, tensor->bytes + index * sizeof(half), sizeof(half));
    return tensor->type == BNI_TENSOR_F16 ? bni_widen_f16(half) : bni_widen_bf16(half);
}

/*
 * Binds the current name to a vector of `n` floats: while measuring it is checked and
 * counted, afterwards copied into the block and `*out` set.
 */
static bitnet_status bind_norm(struct binder *binder, size_t n, const float **out)
{
    const struct bni_gguf_tensor *tensor = find(binder);
    float *norms = binder->model->norms;
    if (tensor == NULL) return missing(binder);
    if (norms == NULL) {
        const bitnet_status status = check_shape(binder, tensor, n, 1);
        if (status != BITNET_OK) return status;
        if (!is_plain(tensor)) return wrong_type(binder, tensor, "F32, F16 or BF16");
        binder->n_norm_floats += n;
        return BITNET_OK;
    }

    float *copy = norms + binder->n_norm_floats;
    binder->n_norm_floats += n;
    for (size_t i = 0; i < n; i++) {
        copy[i] = dense_at(tensor, i);
        if (!isfinite(copy[i]))
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: tensor %s: value %zu is not finite", binder->label,
                             binder->name, i);
    }
    *out = copy;
    return BITNET_OK;
}

static bitnet_status bind_layer_norms(struct binder *binder, uint32_t layer)
{
    const struct bni_hparams *hparams = &binder->model->hparams;
    struct bni_layer *out = &binder->model->layers[layer];
    name_in_layer(binder, layer, "attn_norm", ".weight");
    bitnet_status status = bind_norm(binder, hparams->n_embd, &out->attn_norm);
    if (status != BITNET_OK) return status;
    name_in_layer(binder, layer, "ffn_norm", ".weight");
    status = bind_norm(binder, hparams->n_embd, &out->ffn_norm);
    if (status != BITNET_OK || !binder->model->architecture->has_sub_norms)
        return status;

    name_in_layer(binder, layer, "attn_sub_norm", ".weight");
    status = bind_norm(binder, (size_t)hparams->n_heads * hparams->head_dim,
                       &out->attn_sub_norm);
    if (status != BITNET_OK) return status;
    name_in_layer(binder, layer, "ffn_sub_norm", ".weight");
    return bind_norm(binder, hparams->n_ff, &out->ffn_sub_norm);
}

/* The divisors of RoPE's frequencies that some files of "llama" have. */
static bitnet_status bind_rope_factors(struct binder *binder)
{
    const size_t n = binder->model->hparams.head_dim / 2;
    if (binder->model->architecture->rope_style != BNI_ROPE_ADJACENT) return BITNET_OK;
    name_outside(binder, "rope_freqs.weight");
    if (find(binder) == NULL) return BITNET_OK;
    const bitnet_status status = bind_norm(binder, n, &binder->model->rope_factors);
    if (status != BITNET_OK || binder->model->rope_factors == NULL) return status;
    for (size_t i = 0; i < n; i++) {
        const float factor = binder->model->rope_factors[i];
        if (!(factor > 0.0f))
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: tensor %s: value %zu is %g, expected more than 0",
                             binder->label, binder->name, i, (double)factor);
    }
    return BITNET_OK;
}

static bitnet_status bind_norms(struct binder *binder)
{
    binder->n_norm_floats = 0;
    name_outside(binder, "output_norm.weight");
    bitnet_status status =
        bind_norm(binder, binder->model->hparams.n_embd, &binder->model->output_norm);
    if (status == BITNET_OK) status = bind_rope_factors(binder);
    for (uint32_t i = 0; i < binder->model->hparams.n_layers && status == BITNET_OK;
         i++)
        status = bind_layer_norms(binder, i);
    return status;
}

/* Tells how far it is, with `n_bytes` of the current tensor seen. The caller's function
 * gets its own floating-point mode meanwhile. */
static bitnet_status tell_progress(struct binder *binder, size_t n_bytes)
{
    const uint64_t n_seen = binder->n_done + n_bytes;
    const double part = (double)n_seen / (double)binder->n_work;
    bni_float_env_leave(&binder->callers);
    const bitnet_status status =
        bni_progress_at(binder->progress,
                        BNI_PROGRESS_TOKENIZED + (1.0 - BNI_PROGRESS_TOKENIZED) * part);
    bni_float_env_enter(&binder->callers);
    return status;
}

/*
 * Looks at all codes, 32 at a time: 3 is both bits of a pair set, and 0 (that is, code
 * 1) everywhere makes `*is_zero`.
 */
static bitnet_status check_codes(struct binder *binder,
                                 const struct bni_gguf_tensor *tensor, bool *is_zero)
{
    const uint64_t low_bits = UINT64_C(0x5555555555555555);
    const size_t n_bytes = (size_t)(tensor->n_elements / 4);
    uint64_t difference = 0;
    for (size_t i = 0; i < n_bytes; i += sizeof(uint64_t)) { /* a multiple of 32 */
        uint64_t codes;
        if (i % BNI_PROGRESS_BYTES == 0) {
            const bitnet_status status = tell_progress(binder, i);
            if (status != BITNET_OK) return status;
        }
        memcpy(&codes, tensor->bytes + i, sizeof(codes));
        difference |= codes ^ low_bits;
        if ((codes & codes >> 1 & low_bits) == 0) continue;
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: a code in the 8 bytes at byte %" PRIu64
                         " is 3, expected 0, 1 or 2",
                         binder->label, binder->name, tensor->file_offset + i);
    }
    binder->n_done += n_bytes;
    *is_zero = difference == 0;
    return BITNET_OK;
}

/* Gives the weight a copy of its codes whose rows begin at whole blocks. */
static bitnet_status pad_rows(struct binder *binder, struct bni_ternary_weight *weight)
{
    const size_t row_bytes = bni_padded_cols(weight->n_cols) / 4;
    const size_t n_rows = weight->n_rows;
    size_t n_bytes;
    if (!bni_size_mul(n_rows, row_bytes, &n_bytes)) n_bytes = SIZE_MAX;
    weight->padded = bni_alloc(n_bytes);
    if (weight->padded == NULL) return BITNET_ERROR_OUT_OF_MEMORY;

    const size_t rows_per_step = BNI_PROGRESS_BYTES / row_bytes;
    for (size_t row = 0; row < n_rows; row += rows_per_step) {
        const bitnet_status status = tell_progress(binder, row * weight->n_cols / 4);
        if (status != BITNET_OK) return status;
        bni_pad_rows(weight->codes, weight->n_cols, row,
                     bni_size_min(row + rows_per_step, n_rows), weight->padded);
    }
    binder->n_done += n_rows * weight->n_cols / 4;
    binder->model->repacked_bytes += n_bytes;
    weight->codes = weight->padded;
    return BITNET_OK;
}

/* Multiplies in the separate scale that some conversions have. */
static bitnet_status apply_extra_scale(struct binder *binder, float *scale)
{
    const struct bni_gguf_tensor *tensor = find(binder);
    if (tensor == NULL) return BITNET_OK;
    const bitnet_status status = check_shape(binder, tensor, 1, 1);
    if (status != BITNET_OK) return status;
    if (tensor->type != BNI_TENSOR_F32) return wrong_type(binder, tensor, "F32");
    *scale *= dense_at(tensor, 0);
    return BITNET_OK;
}

static bitnet_status check_scale(const struct binder *binder, float scale)
{
    if (isfinite(scale) && scale >= 0.0f) return BITNET_OK;
    return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                     "%s: tensor %s: the scale is %g, expected a finite number, not "
                     "negative",
                     binder->label, binder->name, (double)scale);
}

static bitnet_status bind_projection(struct binder *binder, uint32_t layer,
                                     const char *projection, uint32_t n_cols,
                                     uint32_t n_rows, struct bni_ternary_weight *out)
{
    float scale;
    bool is_zero = false;
    name_in_layer(binder, layer, projection, ".bias");
    if (find(binder) != NULL)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: tensor %s: projections with a bias are not supported",
                         binder->label, binder->name);

    name_in_layer(binder, layer, projection, ".weight");
    const struct bni_gguf_tensor *tensor = find(binder);
    if (tensor == NULL) return missing(binder);
    bitnet_status status = check_shape(binder, tensor, n_cols, n_rows);
    if (status != BITNET_OK) return status;
    if (tensor->type != BNI_TENSOR_I2_S) return wrong_type(binder, tensor, "I2_S");
    if (n_cols % BNI_TERNARY_GROUP != 0)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: tensor %s: rows of %" PRIu32
                         " values, expected a multiple of %d",
                         binder->label, binder->name, n_cols, BNI_TERNARY_GROUP);
    status = check_codes(binder, tensor, &is_zero);
    if (status != BITNET_OK) return status;
    memcpy(&scale, tensor->bytes + tensor->n_elements / 4, sizeof(scale));
    status = check_scale(binder, scale);
    if (status != BITNET_OK) return status;
    if (is_zero || scale == 0.0f)
        bni_log(BITNET_LOG_WARNING, "%s: tensor %s: all values are zero", binder->label,
                binder->name);

    name_in_layer(binder, layer, projection, ".scale");
    status = apply_extra_scale(binder, &scale);
    if (status == BITNET_OK) status = check_scale(binder, scale);
    *out = (struct bni_ternary_weight){
        .codes = tensor->bytes,
        .scale = scale,
        .n_cols = n_cols,
        .n_rows = n_rows,
    };
    if (status == BITNET_OK && bni_needs_padding(n_cols))
        status = pad_rows(binder, out);
    return status;
}

static bitnet_status bind_projections(struct binder *binder, uint32_t layer)
{
    const struct bni_hparams *hparams = &binder->model->hparams;
    struct bni_layer *out = &binder->model->layers[layer];
    const uint32_t n_embd = hparams->n_embd;
    const uint32_t n_query = hparams->n_heads * hparams->head_dim;
    const uint32_t n_key = hparams->n_kv_heads * hparams->head_dim;
    const struct {
        const char *name;
        uint32_t n_cols;
        uint32_t n_rows;
        struct bni_ternary_weight *out;
    } projections[] = {
        {"attn_q", n_embd, n_query, &out->q},
        {"attn_k", n_embd, n_key, &out->k},
        {"attn_v", n_embd, n_key, &out->v},
        {"attn_output", n_query, n_embd, &out->output},
        {"ffn_gate", n_embd, hparams->n_ff, &out->gate},
        {"ffn_up", n_embd, hparams->n_ff, &out->up},
        {"ffn_down", hparams->n_ff, n_embd, &out->down},
    };
    for (size_t i = 0; i < sizeof(projections) / sizeof(projections[0]); i++) {
        const bitnet_status status =
            bind_projection(binder, layer, projections[i].name, projections[i].n_cols,
                            projections[i].n_rows, projections[i].out);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

/* Each block has a half-precision factor, which must be finite. */
static bitnet_status check_factors(const struct binder *binder,
                                   const struct bni_gguf_tensor *tensor,
                                   size_t block_bytes, size_t offset)
{
    for (size_t i = 0; i < tensor->n_bytes / block_bytes; i++) {
        uint16_t half;
        memcpy(&half, tensor->bytes + i * block_bytes + offset, sizeof(half));
        if (isfinite(bni_widen_f16(half))) continue;
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: the factor of block %zu is not finite",
                         binder->label, binder->name, i);
    }
    return BITNET_OK;
}

/* Binds the first `n_used` rows of a matrix that has `n_rows`. */
static bitnet_status bind_dense(const struct binder *binder,
                                const struct bni_gguf_tensor *tensor, uint32_t n_cols,
                                uint64_t n_rows, uint32_t n_used,
                                struct bni_dense_weight *out)
{
    const bitnet_status status = check_shape(binder, tensor, n_cols, n_rows);
    if (status != BITNET_OK) return status;
    *out = (struct bni_dense_weight){.values = tensor->bytes,
                                     .n_cols = n_cols,
                                     .n_rows = n_used};
    switch (tensor->type) {
    case BNI_TENSOR_F32: out->type = BNI_DENSE_F32; return BITNET_OK;
    case BNI_TENSOR_F16: out->type = BNI_DENSE_F16; return BITNET_OK;
    case BNI_TENSOR_BF16: out->type = BNI_DENSE_BF16; return BITNET_OK;
    case BNI_TENSOR_Q8_0:
        out->type = BNI_DENSE_Q8_0;
        return check_factors(binder, tensor, BNI_Q8_0_BYTES, 0);
    case BNI_TENSOR_Q6_K:
        out->type = BNI_DENSE_Q6_K;
        return check_factors(binder, tensor, BNI_Q6_K_BYTES, BNI_Q6_K_D);
    case BNI_TENSOR_I2_S: break;
    }
    return wrong_type(binder, tensor, "F32, F16, BF16, Q8_0 or Q6_K");
}

/*
 * The embedding has a row for each token, and maybe more, which are padding: a token
 * that has no text must never be sampled, so the model does not have those rows.
 */
static bitnet_status bind_vocabulary(struct binder *binder)
{
    struct bitnet_model *model = binder->model;
    const uint32_t n_embd = model->hparams.n_embd;
    const uint32_t n_vocab = model->hparams.n_vocab;

    name_outside(binder, "token_embd.weight");
    const struct bni_gguf_tensor *tensor = find(binder);
    if (tensor == NULL) return missing(binder);
    const uint64_t n_rows = tensor->dims[1];
    if (n_rows < n_vocab)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: tensor %s: has %" PRIu64
                         " rows, expected at least the number of tokens, %" PRIu32,
                         binder->label, binder->name, n_rows, n_vocab);
    bitnet_status status =
        bind_dense(binder, tensor, n_embd, n_rows, n_vocab, &model->embedding);
    if (status != BITNET_OK) return status;
    model->head = model->embedding;
    if (!model->architecture->may_have_output) return BITNET_OK;

    name_outside(binder, "output.weight");
    tensor = find(binder);
    if (tensor == NULL) return BITNET_OK;
    return bind_dense(binder, tensor, n_embd, n_rows, n_vocab, &model->head);
}

/*
 * A tensor that has no place in the graph: inside a layer it would be a step that we
 * leave out, and the answers would be wrong; elsewhere it is of no consequence.
 */
static bitnet_status judge_extra_tensors(const struct binder *binder)
{
    static const char inside_layer[] = "blk.";
    size_t n_extra = 0;
    for (size_t i = 0; i < bni_gguf_n_tensors(binder->gguf); i++) {
        const struct bni_string name = bni_gguf_tensor_at(binder->gguf, i)->name;
        struct bni_quote quote;
        if (binder->is_used[i]) continue;
        if (name.n_bytes >= strlen(inside_layer) &&
            memcmp(name.bytes, inside_layer, strlen(inside_layer)) == 0)
            return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                             "%s: tensor %s: a %s model as this library runs it has no "
                             "such tensor, and without it the answers would be wrong",
                             binder->label,
                             bni_quote_bytes(&quote, name.bytes, name.n_bytes),
                             binder->model->architecture->name);
        if (++n_extra > MAX_REPORTED) continue;
        bni_log(BITNET_LOG_WARNING, "%s: tensor %s: is not part of a %s model; ignored",
                binder->label, bni_quote_bytes(&quote, name.bytes, name.n_bytes),
                binder->model->architecture->name);
    }
    if (n_extra > MAX_REPORTED)
        bni_log(BITNET_LOG_WARNING, "%s: %zu tensors more were ignored", binder->label,
                n_extra - MAX_REPORTED);
    return BITNET_OK;
}

static bitnet_status tell_copied(void *user, size_t n_values)
{
    struct binder *binder = user;
    binder->n_done += n_values;
    return tell_progress(binder, 0);
}

static bitnet_status copy_head(struct binder *binder)
{
    struct bitnet_model *model = binder->model;
    if (!bni_head_copy_is_wanted(&model->head, binder->head_copy)) return BITNET_OK;
    const bitnet_status status =
        bni_head_copy_make(&model->head, tell_copied, binder, &model->head_copy);
    if (status == BITNET_OK && model->head_copy.codes == NULL)
        bni_log(BITNET_LOG_WARNING,
                "%s: the output head has values that are not finite, or huge ones: no "
                "copy is made of it",
                binder->label);
    return status;
}

static bitnet_status bind_all(struct binder *binder)
{
    struct bitnet_model *model = binder->model;
    bitnet_status status = bind_vocabulary(binder);
    if (status == BITNET_OK) status = bind_norms(binder);
    if (status != BITNET_OK) return status;
    if (bni_head_copy_is_wanted(&model->head, binder->head_copy))
        binder->n_work += (uint64_t)model->head.n_rows * model->head.n_cols;

    model->norms = bni_calloc(binder->n_norm_floats, sizeof(*model->norms));
    if (model->norms == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    status = bind_norms(binder);
    for (uint32_t i = 0; i < model->hparams.n_layers && status == BITNET_OK; i++)
        status = bind_projections(binder, i);
    if (status == BITNET_OK) status = copy_head(binder);
    return status == BITNET_OK ? judge_extra_tensors(binder) : status;
}

/* All codes are checked, and some are copied as well. */
static uint64_t count_code_bytes(const struct bni_gguf *gguf)
{
    uint64_t n_bytes = 1;
    for (size_t i = 0; i < bni_gguf_n_tensors(gguf); i++) {
        const struct bni_gguf_tensor *tensor = bni_gguf_tensor_at(gguf, i);
        if (tensor->type != BNI_TENSOR_I2_S) continue;
        n_bytes += tensor->n_bytes;
        if (bni_needs_padding(tensor->dims[0])) n_bytes += tensor->n_bytes;
    }
    return n_bytes;
}

bitnet_status bni_weights_bind(struct bitnet_model *model, bitnet_head_copy head_copy,
                               struct bni_progress *progress)
{
    struct binder binder = {
        .model = model,
        .progress = progress,
        .head_copy = head_copy,
        .n_work = count_code_bytes(model->gguf),
        .gguf = model->gguf,
        .label = bni_gguf_label(model->gguf),
    };
    model->layers = bni_calloc(model->hparams.n_layers, sizeof(*model->layers));
    if (model->layers == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    binder.is_used =
        bni_calloc(bni_gguf_n_tensors(model->gguf), sizeof(*binder.is_used));
    if (binder.is_used == NULL) return BITNET_ERROR_OUT_OF_MEMORY;

    bni_float_env_enter(&binder.callers); /* scales are multiplied, norms widened */
    const bitnet_status status = bind_all(&binder);
    bni_float_env_leave(&binder.callers);
    bni_free(binder.is_used);
    model->has_weights = status == BITNET_OK;
    return status;
}

void bni_weights_free(struct bitnet_model *model)
{
    const uint32_t n_layers = model->layers != NULL ? model->hparams.n_layers : 0;
    for (uint32_t i = 0; i < n_layers; i++) {
        struct bni_layer *layer = &model->layers[i];
        struct bni_ternary_weight *const weights[] = {
            &layer->q,    &layer->k,  &layer->v,    &layer->output,
            &layer->gate, &layer->up, &layer->down,
        };
        for (size_t w = 0; w < sizeof(weights) / sizeof(weights[0]); w++)
            bni_free(weights[w]->padded);
    }
    bni_free(model->layers);
    bni_free(model->norms);
}
