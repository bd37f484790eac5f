/* SPDX-License-Identifier: MIT */
/*
 * model.c - loading, sharing and asking a model.
 *
 * Loading goes up a ladder: file, hyper-parameters, tokenizer, weights. Whatever step
 * fails, one function takes down what there is, and it is the one that the last
 * release calls; cancelling is one more way to fail. The tokenizer comes before the weights because its tokens are the
 * vocabulary, whatever else the metadata and the embedding's rows say.
 */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "base/utf8.h"
#include "model/architecture.h"
#include "model/progress.h"

/* Copies text from the file to a C string, made valid UTF-8; a NUL in it ends it. */
static char *copy_text(struct bni_string text)
{
    const uint8_t *bytes = (const uint8_t *)text.bytes;
    const size_t n_bytes = bni_utf8_repair(bytes, text.n_bytes, NULL);
    char *copy = bni_alloc(n_bytes + 1);
    if (copy == NULL) return NULL;
    bni_utf8_repair(bytes, text.n_bytes, (uint8_t *)copy);
    copy[n_bytes] = '\0';
    return copy;
}

/* Gives a copy of the key's text, or of `fallback`; NULL without either. */
static bitnet_status copy_key(struct bitnet_model *model, const char *key,
                              const char *fallback, char **out)
{
    struct bni_string text = {fallback, fallback != NULL ? strlen(fallback) : 0};
    bool is_found;
    const bitnet_status status =
        bni_gguf_get_string(model->gguf, key, &is_found, &text);
    if (status != BITNET_OK || (!is_found && fallback == NULL)) return status;
    *out = copy_text(text);
    return *out != NULL ? BITNET_OK : BITNET_ERROR_OUT_OF_MEMORY;
}

static bitnet_status copy_texts(struct bitnet_model *model)
{
    bitnet_status status = copy_key(model, "general.name", "", &model->name);
    if (status != BITNET_OK) return status;
    status = copy_key(model, "tokenizer.chat_template", NULL, &model->chat_template);
    if (status != BITNET_OK) return status;
    return copy_key(model, "general.architecture", "", &model->architecture_name);
}

/* A vocabulary may come without a model: then there is nothing to read. */
static bool has_hparams(const struct bni_gguf *gguf, struct bni_string name)
{
    char key[64];
    const struct bni_architecture *architecture = bni_architecture_find(name);
    if (architecture == NULL) return false;
    snprintf(key, sizeof(key), "%s.block_count", architecture->name);
    return bni_gguf_find(gguf, key) != NULL;
}

static bitnet_status refuse_split_files(const struct bni_gguf *gguf)
{
    uint64_t n_files = 1;
    bool is_found;
    const bitnet_status status =
        bni_gguf_get_u64(gguf, "split.count", 0, UINT64_MAX, &is_found, &n_files);
    if (status != BITNET_OK || n_files <= 1) return status;
    return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                     "%s: is one of %llu parts of a model, expected a whole one",
                     bni_gguf_label(gguf), (unsigned long long)n_files);
}

/* Fills the model from its open file. */
static bitnet_status fill(struct bitnet_model *model, bool is_vocabulary_only,
                          bitnet_head_copy head_copy, struct bni_progress *progress)
{
    struct bni_string name;
    bitnet_status status = bni_progress_at(progress, BNI_PROGRESS_INDEXED);
    if (status == BITNET_OK) status = refuse_split_files(model->gguf);
    if (status != BITNET_OK) return status;
    status = bni_gguf_get_string(model->gguf, "general.architecture", NULL, &name);
    if (status != BITNET_OK) return status;
    status = copy_texts(model);
    if (status != BITNET_OK) return status;

    if (!is_vocabulary_only || has_hparams(model->gguf, name)) {
        status = bni_hparams_read(model->gguf, &model->architecture, &model->hparams);
        if (status != BITNET_OK) return status;
    }
    status = bni_tokenizer_create(model->gguf, name, &model->tokenizer);
    if (status != BITNET_OK) return status;
    model->hparams.n_vocab = (uint32_t)bni_tokenizer_n_tokens(model->tokenizer);
    status = bni_progress_at(progress, BNI_PROGRESS_TOKENIZED);
    if (status == BITNET_OK && !is_vocabulary_only)
        status = bni_weights_bind(model, head_copy, progress);
    return status == BITNET_OK ? bni_progress_at(progress, 1.0) : status;
}

/* Each element takes at least two bits of the file, so this cannot overflow. */
static uint64_t count_parameters(const struct bni_gguf *gguf)
{
    uint64_t n_parameters = 0;
    for (size_t i = 0; i < bni_gguf_n_tensors(gguf); i++)
        n_parameters += bni_gguf_tensor_at(gguf, i)->n_elements;
    return n_parameters;
}

/* Takes down a model that nobody refers to, or that is half built. */
static void destroy(struct bitnet_model *model)
{
    bni_free(model->chat_template);
    bni_free(model->name);
    bni_free(model->architecture_name);
    bni_head_copy_free(&model->head_copy);
    bni_weights_free(model);
    bni_tokenizer_destroy(model->tokenizer);
    bni_gguf_close(model->gguf);
    bni_free(model);
}

static bitnet_status create(struct bni_gguf *gguf, bool is_vocabulary_only,
                            bitnet_head_copy head_copy, struct bni_progress *progress,
                            bitnet_model **out)
{
    const int64_t balance_before = bni_alloc_thread_balance();
    struct bitnet_model *model = bni_calloc(1, sizeof(*model));
    if (model == NULL) {
        bni_gguf_close(gguf);
        return BITNET_ERROR_OUT_OF_MEMORY;
    }
    atomic_init(&model->n_references, 1);
    model->gguf = gguf;
    model->n_parameters = count_parameters(gguf);
    const bitnet_status status = fill(model, is_vocabulary_only, head_copy, progress);
    if (status != BITNET_OK) {
        destroy(model);
        return status;
    }
    model->allocated_bytes = bni_gguf_allocated_bytes(gguf) +
                             (uint64_t)(bni_alloc_thread_balance() - balance_before);
    *out = model;
    return BITNET_OK;
}

bitnet_status bni_model_create(struct bni_gguf *gguf, bool is_vocabulary_only,
                               bitnet_model **out)
{
    return create(gguf, is_vocabulary_only, BITNET_HEAD_COPY_AUTO, NULL, out);
}

bitnet_status bni_model_load(const char *path, bool is_vocabulary_only,
                             bitnet_head_copy head_copy, struct bni_progress *progress,
                             bitnet_model **out)
{
    struct bni_gguf *gguf;
    bitnet_status status = bni_progress_at(progress, 0.0);
    if (status == BITNET_OK) status = bni_gguf_open(path, &gguf);
    if (status != BITNET_OK) return status;
    return create(gguf, is_vocabulary_only, head_copy, progress, out);
}

bitnet_status bitnet_model_load(const char *path, const bitnet_model_options *options,
                                bitnet_model **out)
{
    bitnet_model_options resolved = bitnet_model_options_default();
    if (path == NULL || out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "bitnet_model_load: %s is NULL",
                         path == NULL ? "path" : "out");
    bitnet_status status =
        bni_options_read("bitnet_model_load", &resolved, sizeof(resolved), options);
    if (status != BITNET_OK) return status;
    status = bni_head_copy_check("bitnet_model_load", resolved.head_copy);
    if (status != BITNET_OK) return status;
    struct bni_progress progress = {.fn = resolved.on_progress, .user = resolved.user};
    return bni_model_load(path, resolved.is_vocabulary_only, resolved.head_copy,
                          &progress, out);
}

bitnet_model *bitnet_model_retain(bitnet_model *model)
{
    /* Relaxed: whoever retains has a reference, so the count cannot reach 0 meanwhile. */
    if (model != NULL)
        atomic_fetch_add_explicit(&model->n_references, 1, memory_order_relaxed);
    return model;
}

void bitnet_model_release(bitnet_model *model)
{
    if (model == NULL) return;
    /* Release: this thread's reads are done before the count falls. Acquire: whoever
     * takes it to 0 sees those of all others done before it unmaps. */
    if (atomic_fetch_sub_explicit(&model->n_references, 1, memory_order_acq_rel) == 1)
        destroy(model);
}

bitnet_status bitnet_model_get_info(const bitnet_model *model, bitnet_model_info *info)
{
    if (model == NULL || info == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_model_get_info: %s is NULL",
                         model == NULL ? "model" : "info");
    const struct bni_hparams *hparams = &model->hparams;
    const bitnet_model_info filled = {
        .struct_size = sizeof(filled),
        .path = bni_gguf_path(model->gguf),
        .name = model->name,
        .architecture = model->architecture_name,
        .weight_type =
            model->has_weights ? bni_gguf_tensor_type_name(BNI_TENSOR_I2_S) : "",
        .tokenizer = bni_tokenizer_description(model->tokenizer),
        .chat_template = model->chat_template,
        .n_parameters = model->n_parameters,
        .mapped_bytes = bni_gguf_file_bytes(model->gguf),
        .allocated_bytes = model->allocated_bytes,
        .n_layers = hparams->n_layers,
        .n_embd = hparams->n_embd,
        .n_ff = hparams->n_ff,
        .n_heads = hparams->n_heads,
        .n_kv_heads = hparams->n_kv_heads,
        .head_dim = hparams->head_dim,
        .n_ctx_train = hparams->n_ctx_train,
        .n_vocab = hparams->n_vocab,
        .rope_freq_base = hparams->rope_freq_base,
        .rms_norm_epsilon = hparams->rms_norm_epsilon,
        .bos_token = bni_tokenizer_bos(model->tokenizer),
        .eos_token = bni_tokenizer_eos(model->tokenizer),
        .adds_bos = bni_tokenizer_adds_bos(model->tokenizer),
        .repacked_bytes = model->repacked_bytes,
        .head_copy_bytes = model->head_copy.n_bytes,
        .head_copy_ns = model->head_copy.build_ns,
    };
    return bni_options_write("bitnet_model_get_info", info, &filled, sizeof(filled));
}
