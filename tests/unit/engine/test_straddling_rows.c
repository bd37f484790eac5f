/* SPDX-License-Identifier: MIT */
/*
 * test_straddling_rows.c - models whose ternary rows begin inside of a block give, to
 * the bit, what a plain pass over the flat tensors gives.
 *
 * The plain pass is the graph of docs/architectures.md, one token after the other. It
 * reads each weight from the file by the index that I2_S defines, and takes all that is
 * not a ternary product from the scalar kernels.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/kv_cache.h"
#include "engine/rope.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "model/padded_rows.h"
#include "support/engine/first_position.h"
#include "support/engine/forward_run.h"
#include "support/gguf_builder.h"

enum { N_TOKENS = 40, MAX_WIDTH = 512, MAX_X = 9 }; /* two pages */

static const char *const isas[] = {"scalar", "avx2", "avx512"};
static const struct bni_kernels *const scalar = &bni_kernels_scalar;

static const struct gguf_tiny_options shapes[] = {
    {"bitnet-b1.58", 2, 96, 160, 3, 1, 64, 1, 0, false, false, 1},
    {"bitnet", 2, 128, 320, 4, 4, 64, 1, 0, false, false, 2}, /* as the 3B model */
    {"llama", 2, 160, 96, 5, 1, 64, 1, 0, true, false, 3},
    {"bitnet", 1, 32, 32, 1, 1, 64, 1, 0, false, false, 4}, /* four rows to a block */
};

enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* A model and the bytes it lies in. */
struct fixture {
    uint8_t *bytes;
    bitnet_model *model;
};

static struct fixture make(const struct gguf_tiny_options *options)
{
    struct gguf_builder builder;
    struct fixture fixture = {NULL, NULL};
    struct bni_gguf *gguf;
    size_t n_bytes;
    gguf_begin(&builder);
    gguf_tiny_model(&builder, options);
    fixture.bytes = gguf_end(&builder, &n_bytes);
    if (bni_gguf_open_memory(fixture.bytes, n_bytes, "built", &gguf) != BITNET_OK ||
        bni_model_create(gguf, false, &fixture.model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return fixture;
}

static void discard(struct fixture *fixture)
{
    bitnet_model_release(fixture->model);
    free(fixture->bytes);
}

/* ---- the plain pass ------------------------------------------------------------------ */

/* y = W x for the layer's tensor of that name, as it lies in the file. */
static void multiply_flat(const bitnet_model *model, uint32_t layer, const char *name,
                          const float *x, float *y)
{
    char full[64];
    int8_t q[MAX_WIDTH];
    float x_scale;
    float w_scale;
    int32_t sum;
    snprintf(full, sizeof(full), "blk.%u.%s.weight", layer, name);
    const struct bni_gguf_tensor *tensor = bni_gguf_find_tensor(model->gguf, full);
    const size_t n_cols = tensor->dims[0];
    scalar->quantize(x, n_cols, q, &x_scale, &sum);
    memcpy(&w_scale, tensor->bytes + tensor->n_elements / 4, sizeof(w_scale));
    for (size_t row = 0; row < tensor->dims[1]; row++) {
        int32_t acc = 0;
        for (size_t column = 0; column < n_cols; column++) {
            const size_t i = row * n_cols + column;
            const int byte = tensor->bytes[i / 128 * 32 + i % 32];
            acc += ((byte >> (6 - 2 * (i % 128 / 32)) & 3) - 1) * q[column];
        }
        y[row] = ((float)acc / x_scale) * w_scale;
    }
}

struct plain {
    const bitnet_model *model;
    const struct bni_hparams *hp;
    struct bni_rope_table rope;
    struct bni_kv_cache cache;
    uint32_t pages[2];
};

static void rotate(const struct plain *plain, float *heads, size_t n_heads, size_t pos)
{
    const float *cos = plain->rope.cos + pos * plain->rope.half_dim;
    const float *sin = plain->rope.sin + pos * plain->rope.half_dim;
    for (size_t h = 0; h < n_heads; h++) {
        float *head = heads + h * plain->hp->head_dim;
        if (plain->model->architecture->rope_style == BNI_ROPE_NEOX)
            scalar->rope_neox(head, cos, sin, plain->hp->head_dim);
        else
            scalar->rope_adjacent(head, cos, sin, plain->hp->head_dim);
    }
}

/* Attention of all heads over the positions 0 .. pos, after pos has been stored. */
static void attend(const struct plain *plain, uint32_t layer, const float *q,
                   size_t pos, float *out)
{
    const size_t dim = plain->hp->head_dim;
    const float scale = 1.0f / sqrtf((float)dim);
    for (uint32_t h = 0; h < plain->hp->n_heads; h++) {
        const uint32_t kv = h / (plain->hp->n_heads / plain->hp->n_kv_heads);
        float *acc = out + h * dim;
        struct bni_attention_query query = {.q = q + h * dim,
                                            .acc = acc,
                                            .max = -INFINITY};
        memset(acc, 0, dim * sizeof(*acc));
        for (size_t first = 0; first <= pos; first += 32) {
            query.n_positions = pos + 1 - first < 32 ? pos + 1 - first : 32;
            const struct bni_kv_place place = {plain->pages[first / 32], layer, kv};
            bni_kv_attend(&plain->cache, scalar, place, place.page, &query, 1, scale);
        }
        for (size_t d = 0; d < dim; d++) acc[d] /= query.sum;
    }
}

static void run_layer(const struct plain *plain, uint32_t index, size_t pos, float *x)
{
    const struct bni_hparams *hp = plain->hp;
    const struct bni_layer *layer = &plain->model->layers[index];
    const float eps = hp->rms_norm_epsilon;
    const size_t dim = hp->head_dim;
    const size_t n_q = (size_t)hp->n_heads * dim;
    float h[MAX_WIDTH], q[MAX_WIDTH], k[MAX_WIDTH], v[MAX_WIDTH], y[MAX_WIDTH];

    scalar->rms_norm(x, layer->attn_norm, hp->n_embd, eps, h);
    multiply_flat(plain->model, index, "attn_q", h, q);
    multiply_flat(plain->model, index, "attn_k", h, k);
    multiply_flat(plain->model, index, "attn_v", h, v);
    rotate(plain, q, hp->n_heads, pos);
    rotate(plain, k, hp->n_kv_heads, pos);
    for (uint32_t g = 0; g < hp->n_kv_heads; g++) {
        const struct bni_kv_place place = {plain->pages[pos / 32], index, g};
        bni_kv_store(&plain->cache, scalar, place, pos % 32, k + g * dim, v + g * dim);
    }
    attend(plain, index, q, pos, h);
    if (layer->attn_sub_norm != NULL)
        scalar->rms_norm(h, layer->attn_sub_norm, n_q, eps, h);
    multiply_flat(plain->model, index, "attn_output", h, y);
    scalar->add(x, y, hp->n_embd);

    scalar->rms_norm(x, layer->ffn_norm, hp->n_embd, eps, h);
    multiply_flat(plain->model, index, "ffn_gate", h, q);
    multiply_flat(plain->model, index, "ffn_up", h, k);
    if (plain->model->architecture->activation == BNI_ACTIVATION_RELU2)
        scalar->relu2_mul(q, k, hp->n_ff, h);
    else
        scalar->silu_mul(q, k, hp->n_ff, h);
    if (layer->ffn_sub_norm != NULL)
        scalar->rms_norm(h, layer->ffn_sub_norm, hp->n_ff, eps, h);
    multiply_flat(plain->model, index, "ffn_down", h, y);
    scalar->add(x, y, hp->n_embd);
}

/* Returns logits [N_TOKENS][n_vocab]; free() them. */
static float *run_plain(const bitnet_model *model, const bitnet_token *tokens)
{
    struct plain plain = {.model = model, .hp = &model->hparams};
    const size_t n_vocab = model->hparams.n_vocab;
    float *logits = malloc(N_TOKENS * n_vocab * sizeof(*logits));
    assert_non_null(logits);
    assert_int_equal(bni_rope_table_init(&plain.rope, plain.hp, NULL, N_TOKENS),
                     BITNET_OK);
    assert_int_equal(bni_kv_cache_init(&plain.cache, plain.hp, BITNET_KV_F16, 2),
                     BITNET_OK);
    for (int i = 0; i < 2; i++) plain.pages[i] = bni_kv_cache_take_page(&plain.cache);

    for (size_t pos = 0; pos < N_TOKENS; pos++) {
        float x[MAX_WIDTH];
        const size_t row_bytes = 2 * (size_t)plain.hp->n_embd;
        scalar->widen[BNI_DENSE_F16]((const char *)model->embedding.values +
                                         (size_t)tokens[pos] * row_bytes,
                                     plain.hp->n_embd, x);
        for (uint32_t i = 0; i < plain.hp->n_layers; i++) run_layer(&plain, i, pos, x);
        scalar->rms_norm(x, model->output_norm, plain.hp->n_embd,
                         plain.hp->rms_norm_epsilon, x);
        scalar->dense_matmul[BNI_DENSE_F16](
            &(struct bni_dense_args){.weights = model->head.values,
                                     .n_cols = plain.hp->n_embd,
                                     .x = x,
                                     .n_x = 1,
                                     .out = logits + pos * n_vocab,
                                     .out_stride = n_vocab},
            0, n_vocab);
    }
    bni_kv_cache_free(&plain.cache);
    bni_rope_table_free(&plain.rope);
    return logits;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void products_are_those_of_the_flat_tensor(void **state)
{
    (void)state;
    struct fixture fixture = make(&shapes[0]);
    const struct bni_layer *layer = &fixture.model->layers[1];
    const struct {
        const char *name;
        const struct bni_ternary_weight *weight;
    } products[] = {{"attn_k", &layer->k},
                    {"attn_output", &layer->output},
                    {"ffn_up", &layer->up},
                    {"ffn_down", &layer->down}};
    uint32_t random = 7;
    for (size_t p = 0; p < sizeof(products) / sizeof(products[0]); p++) {
        const struct bni_ternary_weight *weight = products[p].weight;
        const size_t n_cols = weight->n_cols;
        const size_t n_padded = bni_padded_cols(n_cols);
        float x[MAX_WIDTH], x_scale[MAX_X], expected[MAX_X][MAX_WIDTH];
        int32_t q_sum[MAX_X];
        int8_t *q = calloc(MAX_X, n_padded);
        assert_non_null(q);
        for (size_t i = 0; i < MAX_X; i++) {
            for (size_t k = 0; k < n_cols; k++) {
                random = random * 1664525u + 1013904223u;
                x[k] = (float)(int32_t)random * 0x1p-30f;
            }
            scalar->quantize(x, n_cols, q + i * n_padded, &x_scale[i], &q_sum[i]);
            multiply_flat(fixture.model, 1, products[p].name, x, expected[i]);
        }
        for (size_t t = 0; t < sizeof(isas) / sizeof(isas[0]); t++) {
            const struct bni_kernels *table = bni_kernels_by_name(isas[t]);
            for (size_t n_x = 1; table != NULL && n_x <= MAX_X; n_x++) {
                float out[MAX_X][MAX_WIDTH];
                const struct bni_ternary_args args = {weight->codes, weight->scale,
                                                      n_padded,      q,
                                                      x_scale,       q_sum,
                                                      n_x,           out[0],
                                                      MAX_WIDTH};
                table->ternary_matmul(&args, 0, weight->n_rows);
                for (size_t i = 0; i < n_x; i++)
                    if (memcmp(out[i], expected[i], weight->n_rows * sizeof(float)) !=
                        0)
                        fail_msg("%s, %s, row %zu of %zu: other bits", isas[t],
                                 products[p].name, i, n_x);
            }
        }
        free(q);
    }
    discard(&fixture);
}

static void logits_are_those_of_a_plain_pass(void **state)
{
    (void)state;
    bitnet_token tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 7 + i / 5) % 5;
    for (size_t s = 0; s < N_SHAPES; s++) {
        struct fixture fixture = make(&shapes[s]);
        float *expected = run_plain(fixture.model, tokens);
        const size_t n_bytes =
            (size_t)N_TOKENS * fixture.model->hparams.n_vocab * sizeof(float);
        for (size_t t = 0; t < sizeof(isas) / sizeof(isas[0]); t++) {
            static const size_t CHUNKS[] = {1, 2, 7, 40};
            const struct bni_kernels *table = bni_kernels_by_name(isas[t]);
            for (size_t c = 0; table != NULL && c < 4; c++) {
                float *logits = forward_run(fixture.model, table, 1 + (unsigned)c % 3,
                                            tokens, N_TOKENS, CHUNKS[c]);
                if (memcmp(logits, expected, n_bytes) != 0)
                    fail_msg("shape %zu, %s, chunks of %zu: other bits", s, isas[t],
                             CHUNKS[c]);
                bni_free(logits);
            }
        }
        free(expected);
        discard(&fixture);
    }
}

/* The formulas once more, in double and sharing nothing with the kernels. */
static void first_logits_follow_from_the_formulas(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        struct fixture fixture = make(&shapes[s]);
        const size_t n_vocab = fixture.model->hparams.n_vocab;
        for (bitnet_token token = 0; token < 5; token++) {
            double *expected = first_position_logits(fixture.model, token, true);
            float *ours = forward_run(fixture.model, scalar, 1, &token, 1, 1);
            for (size_t i = 0; i < n_vocab; i++)
                assert_true(fabs(expected[i] - (double)ours[i]) <
                            0.05 * (1 + fabs(expected[i])));
            bni_free(ours);
            free(expected);
        }
        discard(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_the_flat_tensor),
        cmocka_unit_test(logits_are_those_of_a_plain_pass),
        cmocka_unit_test(first_logits_follow_from_the_formulas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
