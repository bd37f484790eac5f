/* SPDX-License-Identifier: MIT */
/*
 * hparams.c - hyper-parameters, from metadata to numbers that can be relied on.
 *
 * Each is range-checked where it is read, then the relations between them. What a
 * file says that would change the graph in a way that is not implemented (another
 * RoPE scaling, a window, experts) is refused, never ignored: the answer would be
 * wrong and nobody would know.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/quote.h"
#include "model/architecture.h"

enum {
    MAX_LAYERS = 1024,
    MAX_HEADS = 65536,
    MAX_CONTEXT = 1 << 24,
    MAX_KEY_BYTES = 96,
};

struct source {
    const struct bni_gguf *gguf;
    const struct bni_architecture *architecture;
    char key[MAX_KEY_BYTES]; /* of the value being read */
};

/* Keys begin with the architecture's name, which may contain dots itself. */
static const char *key_of(struct source *source, const char *suffix)
{
    snprintf(source->key, sizeof(source->key), "%s.%s", source->architecture->name,
             suffix);
    return source->key;
}

/* Reads an integer in 1..max. With `fallback` 0 it must be there. */
static bitnet_status read_count(struct source *source, const char *suffix, uint32_t max,
                                uint32_t fallback, uint32_t *out)
{
    uint64_t value = fallback;
    bool is_found;
    const bitnet_status status =
        bni_gguf_get_u64(source->gguf, key_of(source, suffix), 1, max,
                         fallback != 0 ? &is_found : NULL, &value);
    *out = (uint32_t)value;
    return status;
}

/* Reads a number in min..max. With `fallback` NAN it must be there. */
static bitnet_status read_number(struct source *source, const char *suffix, float min,
                                 float max, float fallback, float *out)
{
    bool is_found;
    const char *key = key_of(source, suffix);
    *out = fallback;
    const bitnet_status status =
        bni_gguf_get_f32(source->gguf, key, isnan(fallback) ? NULL : &is_found, out);
    if (status != BITNET_OK) return status;
    /* Written so that NaN fails. */
    if (!(*out >= min && *out <= max))
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: is %g, expected %g to %g",
                         bni_gguf_label(source->gguf), key, (double)*out, (double)min,
                         (double)max);
    return BITNET_OK;
}

/* Refuses a feature that another value than `harmless` or none would switch on. */
static bitnet_status refuse_unless(struct source *source, const char *suffix,
                                   uint64_t harmless, const char *feature)
{
    uint64_t value = harmless;
    bool is_found;
    const char *key = key_of(source, suffix);
    const bitnet_status status =
        bni_gguf_get_u64(source->gguf, key, 0, UINT64_MAX, &is_found, &value);
    if (status != BITNET_OK || value == harmless) return status;
    return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                     "%s: key %s: is %" PRIu64 ", but %s is not supported",
                     bni_gguf_label(source->gguf), key, value, feature);
}

static bitnet_status read_sizes(struct source *source, struct bni_hparams *hparams)
{
    const uint32_t max_width = BNI_TERNARY_MAX_COLS;
    bitnet_status status =
        read_count(source, "block_count", MAX_LAYERS, 0, &hparams->n_layers);
    if (status == BITNET_OK)
        status = read_count(source, "embedding_length", max_width, 0, &hparams->n_embd);
    if (status == BITNET_OK)
        status =
            read_count(source, "feed_forward_length", max_width, 0, &hparams->n_ff);
    if (status == BITNET_OK)
        status =
            read_count(source, "attention.head_count", MAX_HEADS, 0, &hparams->n_heads);
    if (status == BITNET_OK)
        status = read_count(source, "attention.head_count_kv", MAX_HEADS,
                            hparams->n_heads, &hparams->n_kv_heads);
    if (status == BITNET_OK)
        status =
            read_count(source, "context_length", MAX_CONTEXT, 0, &hparams->n_ctx_train);
    return status;
}

/* Heads share keys and values in equal groups, and together have a width. */
static bitnet_status read_heads(struct source *source, struct bni_hparams *hparams)
{
    const char *label = bni_gguf_label(source->gguf);
    if (hparams->n_heads % hparams->n_kv_heads != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key %s: is %" PRIu32
                         ", expected a divisor of the %" PRIu32 " heads",
                         label, key_of(source, "attention.head_count_kv"),
                         hparams->n_kv_heads, hparams->n_heads);

    const char *key = key_of(source, "attention.key_length");
    if (bni_gguf_find(source->gguf, key) == NULL) {
        if (hparams->n_embd % hparams->n_heads != 0)
            return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                             "%s: key %s: is %" PRIu32
                             ", expected a divisor of the embedding length, %" PRIu32,
                             label, key_of(source, "attention.head_count"),
                             hparams->n_heads, hparams->n_embd);
        hparams->head_dim = hparams->n_embd / hparams->n_heads;
    } else {
        const bitnet_status status =
            read_count(source, "attention.key_length", BNI_MAX_HEAD_DIM, 0,
                       &hparams->head_dim);
        if (status != BITNET_OK) return status;
    }
    if (hparams->head_dim > BNI_MAX_HEAD_DIM || hparams->head_dim % 2 != 0)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: heads have %" PRIu32
                         " dimensions (embedding length %" PRIu32 ", %" PRIu32
                         " heads), expected an even number up to %d",
                         label, hparams->head_dim, hparams->n_embd, hparams->n_heads,
                         BNI_MAX_HEAD_DIM);

    uint32_t same;
    static const char *const MUST_MATCH[] = {"attention.value_length",
                                             "rope.dimension_count"};
    for (size_t i = 0; i < sizeof(MUST_MATCH) / sizeof(MUST_MATCH[0]); i++) {
        const bitnet_status status =
            read_count(source, MUST_MATCH[i], UINT32_MAX, hparams->head_dim, &same);
        if (status != BITNET_OK) return status;
        if (same != hparams->head_dim)
            return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                             "%s: key %s: is %" PRIu32
                             ", expected the dimensions of a head, %" PRIu32,
                             label, key_of(source, MUST_MATCH[i]), same,
                             hparams->head_dim);
    }

    const uint64_t width = (uint64_t)hparams->n_heads * hparams->head_dim;
    if (source->architecture->has_sub_norms && width != hparams->n_embd)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %" PRIu32 " heads of %" PRIu32 " dimensions are %" PRIu64
                         " wide, expected the embedding length, %" PRIu32,
                         label, hparams->n_heads, hparams->head_dim, width,
                         hparams->n_embd);
    if (width > BNI_TERNARY_MAX_COLS)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: %" PRIu32 " heads of %" PRIu32
                         " dimensions are wider than %d",
                         label, hparams->n_heads, hparams->head_dim,
                         BNI_TERNARY_MAX_COLS);
    return BITNET_OK;
}

/* Positions are divided by a factor, or not scaled at all. 0 is how some say 1. */
static bitnet_status read_rope(struct source *source, struct bni_hparams *hparams)
{
    struct bni_string type = {"none", 4};
    bool is_found;
    bitnet_status status = read_number(source, "rope.freq_base", 1.0f, 1e12f, 10000.0f,
                                       &hparams->rope_freq_base);
    if (status != BITNET_OK) return status;
    status = bni_gguf_get_string(source->gguf, key_of(source, "rope.scaling.type"),
                                 &is_found, &type);
    if (status != BITNET_OK) return status;

    const bool is_none = type.n_bytes == 4 && memcmp(type.bytes, "none", 4) == 0;
    const bool is_linear = type.n_bytes == 6 && memcmp(type.bytes, "linear", 6) == 0;
    if (!is_none && !is_linear) {
        struct bni_quote quote;
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: key %s: is \"%s\", expected none or linear",
                         bni_gguf_label(source->gguf), source->key,
                         bni_quote_bytes(&quote, type.bytes, type.n_bytes));
    }

    hparams->rope_scale = 1.0f;
    if (is_found && is_none) return BITNET_OK;
    status = read_number(source, "rope.scale_linear", 0.0f, 65536.0f, 1.0f,
                         &hparams->rope_scale);
    if (status == BITNET_OK)
        status = read_number(source, "rope.scaling.factor", 0.0f, 65536.0f,
                             hparams->rope_scale, &hparams->rope_scale);
    if (hparams->rope_scale == 0.0f) hparams->rope_scale = 1.0f;
    return status;
}

static bitnet_status refuse_other_graphs(struct source *source)
{
    bool is_causal = true;
    bool is_found;
    bitnet_status status =
        bni_gguf_get_bool(source->gguf, key_of(source, "attention.causal"), &is_found,
                          &is_causal);
    if (status != BITNET_OK) return status;
    if (!is_causal)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: key %s: is false, but only causal attention is supported",
                         bni_gguf_label(source->gguf), source->key);
    status = refuse_unless(source, "attention.sliding_window", 0, "a sliding window");
    if (status == BITNET_OK)
        status = refuse_unless(source, "expert_count", 0, "a mixture of experts");
    return status;
}

/* What the file says; the tokens that there are have the last word (model.c). */
static bitnet_status read_vocabulary_size(struct source *source, uint32_t *n_vocab)
{
    const struct bni_gguf_value *tokens;
    bool is_found;
    const bitnet_status status =
        bni_gguf_get_array(source->gguf, "tokenizer.ggml.tokens", BNI_GGUF_STRING,
                           &is_found, &tokens);
    if (status != BITNET_OK) return status;
    const bool has_tokens = is_found && tokens->n_elements > 0;
    if (has_tokens && tokens->n_elements > BNI_MAX_VOCABULARY)
        return bni_error(BITNET_ERROR_MODEL_LOAD_FAILED,
                         "%s: key tokenizer.ggml.tokens: %" PRIu64
                         " tokens, expected at most %d",
                         bni_gguf_label(source->gguf), tokens->n_elements,
                         BNI_MAX_VOCABULARY);
    return read_count(source, "vocab_size", BNI_MAX_VOCABULARY,
                      has_tokens ? (uint32_t)tokens->n_elements : 0, n_vocab);
}

bitnet_status bni_hparams_read(const struct bni_gguf *gguf,
                               const struct bni_architecture **architecture,
                               struct bni_hparams *hparams)
{
    struct bni_string name;
    struct bni_hparams read = {0};
    bitnet_status status =
        bni_gguf_get_string(gguf, "general.architecture", NULL, &name);
    if (status != BITNET_OK) return status;

    struct source source = {.gguf = gguf, .architecture = bni_architecture_find(name)};
    if (source.architecture == NULL) {
        struct bni_quote quote;
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "%s: key general.architecture: is \"%s\", expected %s",
                         bni_gguf_label(gguf),
                         bni_quote_bytes(&quote, name.bytes, name.n_bytes),
                         bni_architecture_names());
    }
    status = read_sizes(&source, &read);
    if (status == BITNET_OK) status = read_heads(&source, &read);
    if (status == BITNET_OK)
        status = read_number(&source, "attention.layer_norm_rms_epsilon", FLT_TRUE_MIN,
                             1.0f, NAN, &read.rms_norm_epsilon);
    if (status == BITNET_OK) status = read_rope(&source, &read);
    if (status == BITNET_OK) status = refuse_other_graphs(&source);
    if (status == BITNET_OK) status = read_vocabulary_size(&source, &read.n_vocab);
    if (status != BITNET_OK) return status;
    *architecture = source.architecture;
    *hparams = read;
    return BITNET_OK;
}
