/* SPDX-License-Identifier: MIT */
#include "support/engine/first_position.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/elementary.h"
#include "model/model.h"
#include "model/padded_rows.h"

static double *allocate(size_t n)
{
    double *values = calloc(n, sizeof(*values));
    assert_non_null(values);
    return values;
}

static void rms_norm(const double *x, const float *gain, size_t n, double epsilon,
                     double *out)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    const double factor = 1 / sqrt(sum / (double)n + epsilon);
    for (size_t i = 0; i < n; i++) out[i] = x[i] * factor * (double)gain[i];
}

static int code(const struct bni_ternary_weight *w, size_t row, size_t column)
{
    const size_t i = row * bni_padded_cols(w->n_cols) + column;
    const uint8_t byte = w->codes[i / 128 * 32 + i % 32];
    return (byte >> (6 - 2 * (i % 128 / 32)) & 3) - 1;
}

/* y = W x with x quantised to int8 by its largest magnitude. */
static void bit_linear(const struct bni_ternary_weight *w, const double *x, double *y)
{
    double largest = 1e-5;
    for (size_t k = 0; k < w->n_cols; k++) largest = fmax(largest, fabs(x[k]));
    const double scale = (double)(127.0f / (float)largest);
    for (size_t m = 0; m < w->n_rows; m++) {
        double sum = 0;
        for (size_t k = 0; k < w->n_cols; k++)
            sum += code(w, m, k) * rint((double)(float)x[k] * scale);
        y[m] = sum / scale * (double)w->scale;
    }
}

static double dense_value(const struct bni_dense_weight *w, size_t row, size_t column)
{
    const size_t i = row * w->n_cols + column;
    assert_int_equal(w->type, BNI_DENSE_F16);
    return (double)bni_widen_f16(((const uint16_t *)w->values)[i]);
}

double *first_position_logits(const bitnet_model *model, bitnet_token token,
                              bool rounds_values)
{
    const struct bni_hparams *hp = &model->hparams;
    const double eps = (double)hp->rms_norm_epsilon;
    const size_t n_q = (size_t)hp->n_heads * hp->head_dim;
    const bool is_relu2 = model->architecture->activation == BNI_ACTIVATION_RELU2;
    const size_t n_wide = n_q + hp->n_embd + hp->n_ff;
    double *x = allocate(hp->n_embd);
    double *h = allocate(n_wide);
    double *v = allocate(n_wide);
    double *gate = allocate(n_wide);
    double *logits = allocate(hp->n_vocab);

    for (size_t i = 0; i < hp->n_embd; i++)
        x[i] = dense_value(&model->embedding, (size_t)token, i);
    for (uint32_t l = 0; l < hp->n_layers; l++) {
        const struct bni_layer *layer = &model->layers[l];
        rms_norm(x, layer->attn_norm, hp->n_embd, eps, h);
        bit_linear(&layer->v, h, v);
        for (size_t i = 0; i < n_q; i++) {
            const size_t head = i / hp->head_dim * hp->n_kv_heads / hp->n_heads;
            const double value = v[head * hp->head_dim + i % hp->head_dim];
            h[i] = rounds_values ? (double)bni_widen_f16(bni_narrow_f16((float)value))
                                 : value;
        }
        if (layer->attn_sub_norm != NULL)
            rms_norm(h, layer->attn_sub_norm, n_q, eps, h);
        bit_linear(&layer->output, h, v);
        for (size_t i = 0; i < hp->n_embd; i++) x[i] += v[i];

        rms_norm(x, layer->ffn_norm, hp->n_embd, eps, h);
        bit_linear(&layer->gate, h, gate);
        bit_linear(&layer->up, h, v);
        for (size_t i = 0; i < hp->n_ff; i++) {
            const double g = gate[i];
            h[i] = (is_relu2 ? (g > 0 ? g * g : 0) : g / (1 + exp(-g))) * v[i];
        }
        if (layer->ffn_sub_norm != NULL)
            rms_norm(h, layer->ffn_sub_norm, hp->n_ff, eps, h);
        bit_linear(&layer->down, h, v);
        for (size_t i = 0; i < hp->n_embd; i++) x[i] += v[i];
    }
    rms_norm(x, model->output_norm, hp->n_embd, eps, h);
    for (size_t m = 0; m < hp->n_vocab; m++)
        for (size_t i = 0; i < hp->n_embd; i++)
            logits[m] += dense_value(&model->head, m, i) * h[i];

    free(x);
    free(h);
    free(v);
    free(gate);
    return logits;
}
