/* SPDX-License-Identifier: MIT */
/*
 * scalar.c - every kernel as plain loops: the specification of all others.
 *
 * Written to be checked by hand against docs/numerics.md, not to be fast. Each
 * float result has one written order of operations; sums of products run in 16
 * lanes, so that a 512-bit unit holds them in one register, and nothing here may
 * be reassociated or contracted by a compiler (-ffp-contract=off). What happens to
 * a single number is in elementary.h.
 */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

enum { LANES = 16 };

/* Folds by halves: 16 -> 8 -> 4 -> 2 -> 1, lane j taking lane j + n/2. */
static float fold_lanes(float lanes[LANES])
{
    for (size_t n = LANES / 2; n > 0; n /= 2)
        for (size_t j = 0; j < n; j++) lanes[j] = lanes[j] + lanes[j + n];
    return lanes[0];
}

/* Quantisation and the ternary product. */

static void quantize(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum)
{
    float absmax = BNI_QUANTIZE_MIN_ABSMAX;
    bool is_finite = true;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) is_finite = false;
        if (fabsf(x[i]) > absmax) absmax = fabsf(x[i]);
    }

    *sum = 0;
    if (!is_finite) {
        memset(q, 0, n);
        *scale = NAN;
        return;
    }

    *scale = 127.0f / absmax;
    for (size_t i = 0; i < n; i++) {
        float rounded = rintf(x[i] * *scale); /* ties to even */
        if (rounded > 127.0f) rounded = 127.0f;
        if (rounded < -127.0f) rounded = -127.0f;
        q[i] = (int8_t)rounded;
        *sum += q[i];
    }
}

/* Returns weight k of a row: -1, 0 or +1. */
static int32_t ternary_weight(const uint8_t *row, size_t k)
{
    const size_t j = k % BNI_TERNARY_BLOCK;
    const uint8_t byte = row[k / BNI_TERNARY_BLOCK * BNI_TERNARY_BLOCK_BYTES + j % 32];
    return (int32_t)((byte >> (6 - 2 * (j / 32))) & 3) - 1;
}

static void ternary_matmul(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end)
{
    const size_t row_bytes = args->n_cols / 4;
    assert(args->n_cols % BNI_TERNARY_BLOCK == 0 &&
           args->n_cols <= BNI_TERNARY_MAX_COLS);

    for (size_t m = row_begin; m < row_end; m++) {
        const uint8_t *row = args->codes + m * row_bytes;
        for (size_t i = 0; i < args->n_x; i++) {
            const int8_t *q = args->q + i * args->n_cols;
            int32_t acc = 0;
            for (size_t k = 0; k < args->n_cols; k++)
                acc += ternary_weight(row, k) * q[k];
            args->out[i * args->out_stride + m] =
                ((float)acc / args->x_scale[i]) * args->w_scale;
        }
    }
}

/* Dense weights. They may lie at any address, hence memcpy. */

typedef float (*load_fn)(const void *weights, size_t index);

static float load_f32(const void *weights, size_t index)
{
    float value;
    memcpy(&value, (const char *)weights + index * sizeof(value), sizeof(value));
    return value;
}

static float load_f16(const void *weights, size_t index)
{
    uint16_t value;
    memcpy(&value, (const char *)weights + index * sizeof(value), sizeof(value));
    return bni_widen_f16(value);
}

static float load_bf16(const void *weights, size_t index)
{
    uint16_t value;
    memcpy(&value, (const char *)weights + index * sizeof(value), sizeof(value));
    return bni_widen_bf16(value);
}

static float load_q8_0(const void *weights, size_t index)
{
    const uint8_t *block =
        (const uint8_t *)weights + index / BNI_Q8_0_BLOCK * BNI_Q8_0_BYTES;
    const int8_t *q = (const int8_t *)block + sizeof(uint16_t);
    return load_f16(block, 0) * (float)q[index % BNI_Q8_0_BLOCK];
}

/*
 * A block is two halves of 128 values, and a half four groups of 32. Low bits: groups 0
 * and 1 are in the lower four of 32 bytes each, groups 2 and 3 in the upper four of the
 * same. High bits: group g is in bits 2g and 2g + 1 of 32 bytes.
 */
static float load_q6_k(const void *weights, size_t index)
{
    const uint8_t *block =
        (const uint8_t *)weights + index / BNI_Q6_K_BLOCK * BNI_Q6_K_BYTES;
    const size_t i = index % BNI_Q6_K_BLOCK;
    const size_t half = i / 128;
    const size_t group = i % 128 / 32;
    const size_t l = i % 32;
    const int low = block[64 * half + 32 * (group % 2) + l] >> (4 * (group / 2)) & 15;
    const int high = block[BNI_Q6_K_HIGH + 32 * half + l] >> (2 * group) & 3;
    const int8_t scale = (int8_t)block[BNI_Q6_K_SCALES + i / 16];
    const float d = load_f16(block + BNI_Q6_K_D, 0);
    return d * (float)scale * (float)((low | high << 4) - 32);
}

static void dense_matmul(const struct bni_dense_args *args, size_t row_begin,
                         size_t row_end, load_fn load)
{
    assert(args->n_cols % LANES == 0);

    for (size_t m = row_begin; m < row_end; m++) {
        for (size_t i = 0; i < args->n_x; i++) {
            const float *x = args->x + i * args->n_cols;
            float lanes[LANES] = {0};
            for (size_t k = 0; k < args->n_cols; k++) {
                const float weight = load(args->weights, m * args->n_cols + k);
                lanes[k % LANES] = fmaf(weight, x[k], lanes[k % LANES]);
            }
            args->out[i * args->out_stride + m] = fold_lanes(lanes);
        }
    }
}

static void dense_matmul_f32(const struct bni_dense_args *args, size_t row_begin,
                             size_t row_end)
{
    dense_matmul(args, row_begin, row_end, load_f32);
}

static void dense_matmul_f16(const struct bni_dense_args *args, size_t row_begin,
                             size_t row_end)
{
    dense_matmul(args, row_begin, row_end, load_f16);
}

static void dense_matmul_bf16(const struct bni_dense_args *args, size_t row_begin,
                              size_t row_end)
{
    dense_matmul(args, row_begin, row_end, load_bf16);
}

static void dense_matmul_q8_0(const struct bni_dense_args *args, size_t row_begin,
                              size_t row_end)
{
    dense_matmul(args, row_begin, row_end, load_q8_0);
}

static void dense_matmul_q6_k(const struct bni_dense_args *args, size_t row_begin,
                              size_t row_end)
{
    dense_matmul(args, row_begin, row_end, load_q6_k);
}

static void coarse_matmul(const struct bni_coarse_args *args, size_t row_begin,
                          size_t row_end)
{
    for (size_t m = row_begin; m < row_end; m++) {
        const int8_t *codes = args->codes + m * args->n_cols;
        for (size_t i = 0; i < args->n_x; i++) {
            const int16_t *q = args->q + i * args->n_cols;
            int32_t acc = 0;
            for (size_t k = 0; k < args->n_cols; k++) acc += codes[k] * q[k];
            args->out[i * args->out_stride + m] =
                (float)acc * (args->scales[m] * args->steps[i]);
        }
    }
}

static bool coarse_copy(const float *x, size_t n, int8_t *codes,
                        struct bni_coarse_copy *out)
{
    assert(n % LANES == 0);
    float lanes[LANES] = {0};
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++) {
        lanes[i % LANES] = fmaf(x[i], x[i], lanes[i % LANES]);
        if (fabsf(x[i]) > largest) largest = fabsf(x[i]);
    }
    const float squares = fold_lanes(lanes);
    if (!isfinite(squares)) return false;

    const float scale = largest / 127.0f;
    const float inverse = scale >= FLT_MIN ? 1.0f / scale : 0.0f;
    float left[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        codes[i] =
            (int8_t)rintf(x[i] * inverse); /* at most 127 after three roundings */
        const float rest = fmaf(-scale, (float)codes[i], x[i]);
        left[i % LANES] = fmaf(rest, rest, left[i % LANES]);
    }
    *out = (struct bni_coarse_copy){scale, squares, fold_lanes(left)};
    return true;
}

static void widen_f32(const void *from, size_t n, float *out)
{
    memcpy(out, from, n * sizeof(*out));
}

static void widen_f16(const void *from, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = load_f16(from, i);
}

static void widen_bf16(const void *from, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = load_bf16(from, i);
}

static void widen_q8_0(const void *from, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = load_q8_0(from, i);
}

static void widen_q6_k(const void *from, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = load_q6_k(from, i);
}

/* What happens between the matrices. */

static void rms_norm(const float *x, const float *gain, size_t n, float epsilon,
                     float *out)
{
    assert(n % LANES == 0);
    float lanes[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % LANES] = fmaf(x[i], x[i], lanes[i % LANES]);
    const float mean = fold_lanes(lanes) / (float)n;
    const float factor = 1.0f / sqrtf(mean + epsilon);
    for (size_t i = 0; i < n; i++) out[i] = (x[i] * factor) * gain[i];
}

static void rope_neox(float *x, const float *cos, const float *sin, size_t head_dim)
{
    const size_t half = head_dim / 2;
    for (size_t i = 0; i < half; i++)
        bni_rotate_pair(&x[i], &x[i + half], cos[i], sin[i]);
}

static void rope_adjacent(float *x, const float *cos, const float *sin, size_t head_dim)
{
    for (size_t i = 0; i < head_dim / 2; i++)
        bni_rotate_pair(&x[2 * i], &x[2 * i + 1], cos[i], sin[i]);
}

static void store_f16(const float *x, size_t n, uint16_t *out, size_t stride)
{
    for (size_t i = 0; i < n; i++) out[i * stride] = bni_narrow_f16(x[i]);
}

static void attend(struct bni_attention_query *query, const struct bni_kv_block *block,
                   load_fn load, bool has_factors)
{
    const size_t n_positions = query->n_positions;
    assert(n_positions >= 1 && n_positions <= BNI_ATTENTION_BLOCK);

    float scores[BNI_ATTENTION_BLOCK];
    float max = query->max;
    for (size_t p = 0; p < n_positions; p++) {
        float dot = 0.0f;
        for (size_t d = 0; d < block->head_dim; d++)
            dot = fmaf(query->q[d], load(block->k, d * BNI_ATTENTION_BLOCK + p), dot);
        if (has_factors) dot = dot * block->k_factors[p];
        scores[p] = dot * block->scale;
        if (scores[p] > max) max = scores[p]; /* a NaN is not greater */
    }
    max = max + 0.0f; /* -0 becomes +0: then the order of comparing does not show */

    const float correction = bni_exp(query->max - max);
    float weights[BNI_ATTENTION_BLOCK];
    float lanes[LANES] = {0};
    for (size_t p = 0; p < n_positions; p++) {
        weights[p] = bni_exp(scores[p] - max);
        lanes[p % LANES] = lanes[p % LANES] + weights[p];
    }
    query->sum = query->sum * correction + fold_lanes(lanes);
    query->max = max;

    if (has_factors)
        for (size_t p = 0; p < n_positions; p++)
            weights[p] = weights[p] * block->v_factors[p];
    for (size_t d = 0; d < block->head_dim; d++) {
        float sum = query->acc[d] * correction;
        for (size_t p = 0; p < n_positions; p++)
            sum = fmaf(weights[p], load(block->v, p * block->head_dim + d), sum);
        query->acc[d] = sum;
    }
}

static void attention_block(struct bni_attention_query *queries, size_t n_queries,
                            const struct bni_kv_block *block)
{
    for (size_t i = 0; i < n_queries; i++) attend(&queries[i], block, load_f16, false);
}

static float load_int8(const void *values, size_t index)
{
    return ((const int8_t *)values)[index];
}

static void attention_block_int8(struct bni_attention_query *queries, size_t n_queries,
                                 const struct bni_kv_block *block)
{
    for (size_t i = 0; i < n_queries; i++) attend(&queries[i], block, load_int8, true);
}

static void relu2_mul(const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = bni_relu2_mul(gate[i], up[i]);
}

static void silu_mul(const float *gate, const float *up, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = bni_silu_mul(gate[i], up[i]);
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = x[i] + y[i];
}

const struct bni_kernels bni_kernels_scalar = {
    .name = "scalar",
    .quantize = quantize,
    .ternary_matmul = ternary_matmul,
    .dense_matmul =
        {
            [BNI_DENSE_F32] = dense_matmul_f32,
            [BNI_DENSE_F16] = dense_matmul_f16,
            [BNI_DENSE_BF16] = dense_matmul_bf16,
            [BNI_DENSE_Q8_0] = dense_matmul_q8_0,
            [BNI_DENSE_Q6_K] = dense_matmul_q6_k,
        },
    .coarse_matmul = coarse_matmul,
    .coarse_copy = coarse_copy,
    .widen =
        {
            [BNI_DENSE_F32] = widen_f32,
            [BNI_DENSE_F16] = widen_f16,
            [BNI_DENSE_BF16] = widen_bf16,
            [BNI_DENSE_Q8_0] = widen_q8_0,
            [BNI_DENSE_Q6_K] = widen_q6_k,
        },
    .rms_norm = rms_norm,
    .rope_neox = rope_neox,
    .rope_adjacent = rope_adjacent,
    .store_f16 = store_f16,
    .attention_block = attention_block,
    .attention_block_int8 = attention_block_int8,
    .relu2_mul = relu2_mul,
    .silu_mul = silu_mul,
    .add = add,
};
