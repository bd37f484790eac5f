/* SPDX-License-Identifier: MIT */
/*
 * test_scalar.c - the specification itself: against worked examples, numbers one
 * can check by hand, and the same formulas in double precision.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

static const struct bni_kernels *const scalar = &bni_kernels_scalar;

/* A block of ternary values from s = s * 1103515245 + 12345 mod 2^31, s = 1 at first,
 * value (s >> 16) % 3 - 1; packed, and as activations' worked example. */
static const uint8_t block_codes[BNI_TERNARY_BLOCK_BYTES] = {
    0xa6, 0x50, 0x22, 0x69, 0x58, 0x94, 0x04, 0x04, 0x28, 0x22, 0x46,
    0x82, 0x16, 0x25, 0x85, 0xa0, 0x2a, 0x01, 0x04, 0x21, 0x95, 0x65,
    0x85, 0x14, 0x02, 0x1a, 0x2a, 0x98, 0x52, 0x90, 0x95, 0x86};

static void block_values(int values[BNI_TERNARY_BLOCK])
{
    uint32_t s = 1;
    for (size_t i = 0; i < BNI_TERNARY_BLOCK; i++) {
        s = (s * 1103515245u + 12345u) & 0x7fffffffu;
        values[i] = (int)((s >> 16) % 3) - 1;
    }
}

/* Activations in units of 1/64, and what they are quantised to. */
static const int8_t example_x64[BNI_TERNARY_BLOCK] = {
    16,  19,  12,  13,  27,  42,  41,  19, -7, -20, -17, -11, -18, -34, -44, -33,
    -6,  16,  21,  14,  13,  25,  40,  41, 21, -6,  -21, -19, -13, -17, -32, -43,
    -34, -8,  16,  23,  17,  13,  23,  38, 41, 23,  -4,  -22, -22, -14, -16, -30,
    -42, -35, -11, 15,  25,  19,  14,  21, 36, 41,  25,  -2,  -23, -24, -16, -15,
    -27, -40, -36, -13, 14,  26,  22,  15, 19, 34,  40,  27,  -1,  -23, -27, -18,
    -15, -25, -38, -36, -15, 13,  28,  24, 16, 18,  31,  39,  28,  2,   -22, -29,
    -21, -15, -23, -36, -37, -17, 11,  28, 27, 17,  17,  29,  38,  30,  4,   -22,
    -31, -23, -16, -21, -34, -36, -19, 10, 29, 29,  19,  16,  26,  36,  30,  6};

static const int8_t example_q[BNI_TERNARY_BLOCK] = {
    46, 55, 35, 38, 78, 121, 118, 55, -20, -58, -49, -32, -52, -98, -127, -95,  -17,
    46, 61, 40, 38, 72, 115, 118, 61, -17, -61, -55, -38, -49, -92, -124, -98,  -23,
    46, 66, 49, 38, 66, 110, 118, 66, -12, -64, -64, -40, -46, -87, -121, -101, -32,
    43, 72, 55, 40, 61, 104, 118, 72, -6,  -66, -69, -46, -43, -78, -115, -104, -38,
    40, 75, 64, 43, 55, 98,  115, 78, -3,  -66, -78, -52, -43, -72, -110, -104, -43,
    38, 81, 69, 46, 52, 89,  113, 81, 6,   -64, -84, -61, -43, -66, -104, -107, -49,
    32, 81, 78, 49, 49, 84,  110, 87, 12,  -64, -89, -66, -46, -61, -98,  -104, -55,
    29, 84, 84, 55, 46, 75,  104, 87, 17};

static float ternary_product(const uint8_t *codes, const int8_t *q, float x_scale,
                             float w_scale, int32_t q_sum)
{
    float out = 0;
    const struct bni_ternary_args args = {
        .codes = codes,
        .w_scale = w_scale,
        .n_cols = BNI_TERNARY_BLOCK,
        .q = q,
        .x_scale = &x_scale,
        .q_sum = &q_sum,
        .n_x = 1,
        .out = &out,
        .out_stride = 1,
    };
    scalar->ternary_matmul(&args, 0, 1);
    return out;
}

static void every_value_of_the_example_block_is_where_it_should_be(void **state)
{
    (void)state;
    int values[BNI_TERNARY_BLOCK];
    block_values(values);
    for (size_t j = 0; j < BNI_TERNARY_BLOCK; j++) {
        int8_t q[BNI_TERNARY_BLOCK] = {0};
        q[j] = 1;
        const float value = ternary_product(block_codes, q, 1.0f, 1.0f, 1);
        assert_true(value == (float)values[j]);
    }
}

static void the_worked_example_is_reproduced_to_the_bit(void **state)
{
    (void)state;
    float x[BNI_TERNARY_BLOCK];
    for (size_t i = 0; i < BNI_TERNARY_BLOCK; i++) x[i] = (float)example_x64[i] / 64.0f;

    int8_t q[BNI_TERNARY_BLOCK];
    float scale;
    int32_t sum;
    scalar->quantize(x, BNI_TERNARY_BLOCK, q, &scale, &sum);
    assert_memory_equal(q, example_q, sizeof(q));
    assert_int_equal(bni_float_bits(scale), 0x4338ba2f);
    assert_int_equal(sum, 558);

    const float y = ternary_product(block_codes, q, scale, 1.21875f, sum);
    assert_true(y == 2.4345009f);
    assert_true(ternary_product(block_codes, q, 1.0f, 1.0f, sum) == 369.0f);
}

static void quantize_rounds_halves_to_even(void **state)
{
    (void)state;
    /* An absmax of 127 makes the scale 1. */
    const float x[] = {127.0f, 0.5f,    1.5f,  2.5f,   -2.5f,
                       126.5f, -126.5f, -0.5f, -127.0f};
    const int8_t expected[] = {127, 0, 2, 2, -2, 126, -126, 0, -127};
    int8_t q[9];
    float scale;
    int32_t sum;
    scalar->quantize(x, 9, q, &scale, &sum);
    assert_true(scale == 1.0f);
    assert_memory_equal(q, expected, sizeof(q));
    assert_int_equal(sum, 2);
}

static void a_row_of_zeros_is_quantised_to_zeros(void **state)
{
    (void)state;
    const float x[4] = {0.0f, -0.0f, 0.0f, 0.0f};
    int8_t q[4] = {1, 1, 1, 1};
    float scale;
    int32_t sum = 1;
    scalar->quantize(x, 4, q, &scale, &sum);
    assert_true(scale == 127.0f / 1e-5f);
    for (size_t i = 0; i < 4; i++) assert_int_equal(q[i], 0);
    assert_int_equal(sum, 0);
}

static void a_row_that_is_not_finite_shows_in_every_output(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float x[BNI_TERNARY_BLOCK] = {1.0f, 2.0f};
        x[77] = bad[i];
        int8_t q[BNI_TERNARY_BLOCK];
        float scale;
        int32_t sum;
        scalar->quantize(x, BNI_TERNARY_BLOCK, q, &scale, &sum);
        assert_true(isnan(scale));
        assert_int_equal(sum, 0);
        for (size_t j = 0; j < BNI_TERNARY_BLOCK; j++) assert_int_equal(q[j], 0);
        assert_true(isnan(ternary_product(block_codes, q, scale, 1.0f, sum)));
    }
}

static void quantised_values_keep_to_127_at_the_ends_of_the_range(void **state)
{
    (void)state;
    const float magnitudes[] = {0x1p-149f, 1e-20f, 1e-5f,          0.3f,
                                1.0f,      3e38f,  0x1.fffffep127f};
    for (size_t i = 0; i < 7; i++) {
        const float x[2] = {magnitudes[i], -magnitudes[i]};
        int8_t q[2];
        float scale;
        int32_t sum;
        scalar->quantize(x, 2, q, &scale, &sum);
        assert_int_equal(q[0], magnitudes[i] < 1e-8f ? 0 : 127);
        assert_int_equal(q[1], -q[0]);
        assert_int_equal(sum, 0);
    }
}

/* Sixteen lanes, not one sum and not the exact one: 2^24 + 1 rounds to 2^24 in lane 0,
 * -2^24 + 1 is exact in lane 8, and only then do they meet. */
static void sums_run_in_sixteen_lanes_and_fold_by_halves(void **state)
{
    (void)state;
    float weights[32];
    for (size_t i = 0; i < 32; i++) weights[i] = 1.0f;
    float x[32] = {0};
    x[0] = 0x1p24f;
    x[16] = 1.0f;
    x[8] = -0x1p24f;
    x[24] = 1.0f;
    float out = 0;
    const struct bni_dense_args args = {.weights = weights,
                                        .n_cols = 32,
                                        .x = x,
                                        .n_x = 1,
                                        .out = &out,
                                        .out_stride = 1};
    scalar->dense_matmul[BNI_DENSE_F32](&args, 0, 1);
    assert_true(out == 1.0f);

    /* Lanes 0 and 4 meet in the second fold, after 0 has met 8 and 4 has met 12. */
    float y[32] = {0};
    y[0] = 0x1p24f;
    y[4] = 1.0f;
    y[12] = 1.0f;
    const struct bni_dense_args second = {.weights = weights,
                                          .n_cols = 32,
                                          .x = y,
                                          .n_x = 1,
                                          .out = &out,
                                          .out_stride = 1};
    scalar->dense_matmul[BNI_DENSE_F32](&second, 0, 1);
    assert_true(out == 0x1p24f + 2.0f);
}

static void products_are_fused(void **state)
{
    (void)state;
    /* (1 + 2^-23)^2 - (1 + 2^-22) is 2^-46, lost if the product is rounded first. */
    float weights[32] = {0};
    float x[32] = {0};
    weights[0] = -1.0f;
    x[0] = 1.0f + 0x1p-22f;
    weights[16] = x[16] = 1.0f + 0x1p-23f;
    float out = 0;
    const struct bni_dense_args args = {.weights = weights,
                                        .n_cols = 32,
                                        .x = x,
                                        .n_x = 1,
                                        .out = &out,
                                        .out_stride = 1};
    scalar->dense_matmul[BNI_DENSE_F32](&args, 0, 1);
    assert_true(out == 0x1p-46f);
}

static void every_half_widens_to_its_value_and_back(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++) {
        const float value = bni_widen_f16((uint16_t)bits);
        const int exponent = (int)((bits >> 10) & 31);
        const double fraction = (double)(bits & 1023);
        if (exponent == 31 && fraction != 0) {
            assert_true(isnan(value));
            assert_int_equal(bni_narrow_f16(value), bits | 0x200); /* made quiet */
            continue;
        }
        double expected = exponent == 31  ? INFINITY
                          : exponent == 0 ? ldexp(fraction, -24)
                                          : ldexp(1024.0 + fraction, exponent - 25);
        if (bits >= 0x8000) expected = -expected;
        assert_true((double)value == expected);
        assert_int_equal(signbit(value) != 0, bits >= 0x8000); /* zeros too */
        assert_int_equal(bni_narrow_f16(value), bits);
    }
}

static void floats_round_to_the_documented_halves(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t half;
    } examples[] = {
        {1.0f, 0x3c00},         {1.21875f, 0x3ce0},     {0.1f, 0x2e66},
        {-3.14159274f, 0xc248}, {65504.0f, 0x7bff},     {0x1p-14f, 0x0400},
        {0x1p-24f, 0x0001},     {1e-8f, 0x0000},        {-1e-8f, 0x8000},
        {65519.996f, 0x7bff},   {65520.0f, 0x7c00},     {INFINITY, 0x7c00},
        {-1e30f, 0xfc00},       {0x1p-25f, 0x0000},     {0x1.000002p-25f, 0x0001},
        {0x1.8p-24f, 0x0002},   {0x1.ff8p-15f, 0x03ff}, {0x1.ffcp-15f, 0x0400},
        {0x1p-149f, 0x0000},
    };
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
        assert_int_equal(bni_narrow_f16(examples[i].value), examples[i].half);
}

static void every_bfloat_is_the_upper_half_of_its_float(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0xffff; bits++)
        assert_int_equal(bni_float_bits(bni_widen_bf16((uint16_t)bits)), bits << 16);
}

/* Distance in units of the last place of the true value, rounded to float. */
static double ulps_off(float got, double expected)
{
    const float rounded = (float)expected;
    const double ulp = (double)nextafterf(rounded, INFINITY) - (double)rounded;
    return fabs((double)got - expected) / ulp;
}

static void exp_is_within_two_ulps(void **state)
{
    (void)state;
    double worst = 0;
    float worst_x = 0;
    /* Every 2003rd float of either sign: over a million. */
    for (uint32_t bits = 0; bits <= bni_float_bits(88.0f); bits += 2003)
        for (int sign = -1; sign <= 1; sign += 2) {
            const float x = (float)sign * bni_float_from_bits(bits);
            if (x < -87.0f) continue;
            const double off = ulps_off(bni_exp(x), exp((double)x));
            if (off > worst) {
                worst = off;
                worst_x = x;
            }
        }
    print_message("exp: at most %.3f ulp, at %a\n", worst, (double)worst_x);
    assert_true(worst <= 2.0);
}

/*
 * The hash of exp at every 32nd part from -87 to 88, as computed with exact rationals
 * rounded after each step of docs/numerics.md: changing any step changes it.
 */
static void exp_has_the_documented_bits(void **state)
{
    (void)state;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (int i = -87 * 32; i <= 88 * 32; i++) {
        const uint32_t bits = bni_float_bits(bni_exp((float)i / 32.0f));
        for (int shift = 0; shift < 32; shift += 8)
            hash = (hash ^ ((bits >> shift) & 0xff)) * UINT64_C(0x100000001b3);
    }
    assert_true(hash == UINT64_C(0x29c7ad6eddfdb87f));
}

static void exp_is_exact_where_it_must_be(void **state)
{
    (void)state;
    assert_true(bni_exp(0.0f) == 1.0f && bni_exp(-0.0f) == 1.0f);
    assert_int_equal(bni_float_bits(bni_exp(-INFINITY)), 0);
    assert_int_equal(bni_float_bits(bni_exp(nextafterf(-87.0f, -88.0f))), 0);
    assert_true(bni_exp(-87.0f) >= 0x1p-126f);
    assert_true(isfinite(bni_exp(88.0f)));
    assert_true(bni_exp(nextafterf(88.0f, 89.0f)) == INFINITY);
    assert_true(bni_exp(INFINITY) == INFINITY);
    assert_true(isnan(bni_exp(NAN)));
}

static void rms_norm_has_a_mean_square_of_one(void **state)
{
    (void)state;
    float x[64];
    float gain[64];
    double sum = 0;
    for (size_t i = 0; i < 64; i++) {
        x[i] = (float)i * 0.25f - 5.0f;
        gain[i] = 1.0f + (float)i / 64.0f;
        sum += (double)x[i] * (double)x[i];
    }
    const double factor = 1.0 / sqrt(sum / 64.0 + 1e-5);
    float out[64];
    scalar->rms_norm(x, gain, 64, 1e-5f, out);
    for (size_t i = 0; i < 64; i++) {
        const double expected = (double)x[i] * factor * (double)gain[i];
        assert_true(fabs((double)out[i] - expected) <= 3e-7 * fabs(expected));
    }
}

static void rope_rotates_the_pairs_of_its_kind(void **state)
{
    (void)state;
    /* A quarter turn: (a, b) becomes (-b, a). */
    const float cosine[2] = {0.0f, 0.0f};
    const float sine[2] = {1.0f, 1.0f};
    float neox[4] = {1, 2, 3, 4};
    scalar->rope_neox(neox, cosine, sine, 4);
    const float neox_expected[4] = {-3, -4, 1, 2};
    assert_memory_equal(neox, neox_expected, sizeof(neox));

    float adjacent[4] = {1, 2, 3, 4};
    scalar->rope_adjacent(adjacent, cosine, sine, 4);
    const float adjacent_expected[4] = {-2, 1, -4, 3};
    assert_memory_equal(adjacent, adjacent_expected, sizeof(adjacent));
}

static void activations_of_the_feed_forward_block(void **state)
{
    (void)state;
    const float gate[5] = {-3.0f, -0.0f, 2.0f, NAN, INFINITY};
    const float up[5] = {5.0f, 1.0f, 0.5f, 1.0f, 1.0f};
    float out[5];
    scalar->relu2_mul(gate, up, 5, out);
    assert_true(out[0] == 0.0f && out[1] == 0.0f && out[2] == 2.0f);
    assert_true(isnan(out[3]) && out[4] == INFINITY);

    const float wide[4] = {1.0f, -1.0f, 100.0f, -100.0f};
    const float ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    scalar->silu_mul(wide, ones, 4, out);
    assert_true(fabsf(out[0] - 0.73105858f) < 1e-7f);
    assert_true(fabsf(out[1] + 0.26894142f) < 1e-7f);
    assert_true(out[2] == 100.0f && out[3] == 0.0f);
}

/* Softmax over several blocks, against the textbook formula in double precision. */
static void attention_over_blocks_is_a_softmax(void **state)
{
    (void)state;
    enum { HEAD_DIM = 64, N_BLOCKS = 3, LAST = 5 };
    enum { N_POSITIONS = (N_BLOCKS - 1) * BNI_ATTENTION_BLOCK + LAST };
    static uint16_t k[N_BLOCKS][HEAD_DIM][BNI_ATTENTION_BLOCK];
    static uint16_t v[N_BLOCKS][BNI_ATTENTION_BLOCK][HEAD_DIM];
    float q[HEAD_DIM];
    uint32_t s = 7;
    for (size_t d = 0; d < HEAD_DIM; d++) {
        s = s * 1664525u + 1013904223u;
        q[d] = (float)(int32_t)s * 0x1p-30f;
        for (size_t p = 0; p < N_POSITIONS; p++) {
            s = s * 1664525u + 1013904223u;
            const uint16_t key = (uint16_t)((s >> 16) & 0xbfffu);
            s = s * 1664525u + 1013904223u;
            const uint16_t value = (uint16_t)((s >> 16) & 0xbfffu);
            k[p / BNI_ATTENTION_BLOCK][d][p % BNI_ATTENTION_BLOCK] = key;
            v[p / BNI_ATTENTION_BLOCK][p % BNI_ATTENTION_BLOCK][d] = value;
        }
    }

    float acc[HEAD_DIM] = {0};
    struct bni_attention_query query = {.q = q, .acc = acc, .max = -INFINITY};
    for (size_t b = 0; b < N_BLOCKS; b++) {
        query.n_positions = b + 1 < N_BLOCKS ? BNI_ATTENTION_BLOCK : LAST;
        scalar->attention_block(&query, 1,
                                &(struct bni_kv_block){.k = &k[b][0][0],
                                                       .v = &v[b][0][0],
                                                       .head_dim = HEAD_DIM,
                                                       .scale = 0.125f});
    }

    double scores[N_POSITIONS];
    double max = -INFINITY;
    for (size_t p = 0; p < N_POSITIONS; p++) {
        scores[p] = 0;
        for (size_t d = 0; d < HEAD_DIM; d++)
            scores[p] += (double)q[d] *
                         (double)bni_widen_f16(
                             k[p / BNI_ATTENTION_BLOCK][d][p % BNI_ATTENTION_BLOCK]);
        scores[p] *= 0.125;
        if (scores[p] > max) max = scores[p];
    }
    double sum = 0;
    for (size_t p = 0; p < N_POSITIONS; p++) sum += exp(scores[p] - max);
    for (size_t d = 0; d < HEAD_DIM; d++) {
        double expected = 0;
        for (size_t p = 0; p < N_POSITIONS; p++)
            expected += exp(scores[p] - max) / sum *
                        (double)bni_widen_f16(
                            v[p / BNI_ATTENTION_BLOCK][p % BNI_ATTENTION_BLOCK][d]);
        assert_true(fabs((double)(acc[d] / query.sum) - expected) < 2e-6);
    }
}

static void one_position_has_all_the_weight(void **state)
{
    (void)state;
    const float q[2] = {3.0f, -2.0f};
    uint16_t k[2 * BNI_ATTENTION_BLOCK];
    uint16_t v[BNI_ATTENTION_BLOCK * 2];
    for (size_t i = 0; i < 2 * BNI_ATTENTION_BLOCK; i++) k[i] = v[i] = 0x7e00; /* NaN */
    k[0] = 0x3c00;                                                             /* 1 */
    k[BNI_ATTENTION_BLOCK] = 0x4000;                                           /* 2 */
    v[0] = 0x4200;                                                             /* 3 */
    v[1] = 0xc400;                                                             /* -4 */
    float acc[2] = {0};
    struct bni_attention_query query = {.q = q,
                                        .acc = acc,
                                        .max = -INFINITY,
                                        .n_positions = 1};
    scalar->attention_block(
        &query, 1,
        &(struct bni_kv_block){.k = k, .v = v, .head_dim = 2, .scale = 0.5f});
    assert_true(query.max == -0.5f && query.sum == 1.0f);
    assert_true(acc[0] == 3.0f && acc[1] == -4.0f);
}

/* By hand: the factors apply to the score, and to the weight of the value, not to the
 * sum; what lies past the end does not show. */
static void factors_of_int8_apply_per_position(void **state)
{
    (void)state;
    const float q[2] = {1.0f, -2.0f};
    int8_t k[2 * BNI_ATTENTION_BLOCK];
    int8_t v[BNI_ATTENTION_BLOCK * 2];
    float k_factors[BNI_ATTENTION_BLOCK];
    float v_factors[BNI_ATTENTION_BLOCK];
    memset(k, -128, sizeof(k));
    memset(v, -128, sizeof(v));
    for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++) k_factors[p] = v_factors[p] = NAN;
    k[0] = 4, k[BNI_ATTENTION_BLOCK] = -2;        /* q k = 8, times 1/2 */
    k[1] = -64, k[BNI_ATTENTION_BLOCK + 1] = -33; /* q k = 2, times 2 */
    k_factors[0] = 0.5f, k_factors[1] = 2.0f;
    v[0] = 127, v[1] = -4, v[2] = 1, v[3] = 8;
    v_factors[0] = 0.5f, v_factors[1] = 4.0f;
    const struct bni_kv_block block = {.k = k,
                                       .v = v,
                                       .k_factors = k_factors,
                                       .v_factors = v_factors,
                                       .head_dim = 2,
                                       .scale = 0.5f};
    float acc[2] = {0};
    struct bni_attention_query query = {.q = q,
                                        .acc = acc,
                                        .max = -INFINITY,
                                        .n_positions = 2};
    scalar->attention_block_int8(&query, 1, &block);
    assert_true(query.max == 2.0f && query.sum == 2.0f); /* two equal weights */
    assert_true(acc[0] == 63.5f + 4.0f && acc[1] == -2.0f + 32.0f);

    /* A position that was not finite has the factor NaN, and shows. */
    k_factors[1] = NAN;
    query = (struct bni_attention_query){.q = q,
                                         .acc = acc,
                                         .max = -INFINITY,
                                         .n_positions = 2};
    acc[0] = acc[1] = 0;
    scalar->attention_block_int8(&query, 1, &block);
    assert_true(isnan(query.sum) && isnan(acc[0]) && isnan(acc[1]));
    k_factors[1] = 2.0f, v_factors[0] = NAN;
    query = (struct bni_attention_query){.q = q,
                                         .acc = acc,
                                         .max = -INFINITY,
                                         .n_positions = 2};
    acc[0] = acc[1] = 0;
    scalar->attention_block_int8(&query, 1, &block);
    assert_true(query.sum == 2.0f && isnan(acc[0]) && isnan(acc[1]));
}

/* Scores that underflow to zeros of both signs: the state has +0, in any order. */
static void a_maximum_of_zeros_is_positive_zero(void **state)
{
    (void)state;
    const float q[2] = {0x1p-149f, 0.0f};
    for (size_t first = 0; first < 2; first++) {
        uint16_t k[2 * BNI_ATTENTION_BLOCK] = {0};
        uint16_t v[BNI_ATTENTION_BLOCK * 2] = {0};
        k[first] = 0x3c00;     /* +2^-149 / 4 rounds to +0 */
        k[1 - first] = 0xbc00; /* and the other to -0 */
        float acc[2] = {0};
        struct bni_attention_query query = {.q = q,
                                            .acc = acc,
                                            .max = -INFINITY,
                                            .n_positions = 2};
        scalar->attention_block(
            &query, 1,
            &(struct bni_kv_block){.k = k, .v = v, .head_dim = 2, .scale = 0.25f});
        assert_int_equal(bni_float_bits(query.max), 0);
        assert_true(query.sum == 2.0f);
    }
    uint16_t k[2 * BNI_ATTENTION_BLOCK];
    uint16_t v[BNI_ATTENTION_BLOCK * 2] = {0};
    for (size_t i = 0; i < 2 * BNI_ATTENTION_BLOCK; i++) k[i] = 0xbc00;
    float acc[2] = {0};
    struct bni_attention_query query = {.q = q,
                                        .acc = acc,
                                        .max = -INFINITY,
                                        .n_positions = 32};
    scalar->attention_block(
        &query, 1,
        &(struct bni_kv_block){.k = k, .v = v, .head_dim = 2, .scale = 0.25f});
    assert_int_equal(bni_float_bits(query.max), 0);
}

/* The examples of the formats' description. */
static void a_block_of_q8_0_widens_to_its_values(void **state)
{
    (void)state;
    static const uint8_t block[BNI_Q8_0_BYTES] = {0x08, 0x28, 0x81, 0x89, 0x91, 0x99,
                                                  0xa1, 0xa9, 0xb1, 0xb9, 0xc0, 0xc8,
                                                  0xd0, 0xd8, 0xe0, 0xe8, 0xf0, 0xf8,
                                                  0x00, 0x08, 0x10, 0x18, 0x20, 0x28,
                                                  0x30, 0x38, 0x40, 0x47, 0x4f, 0x57,
                                                  0x5f, 0x67, 0x6f, 0x77};
    float values[BNI_Q8_0_BLOCK];
    bni_kernels_scalar.widen[BNI_DENSE_Q8_0](block, BNI_Q8_0_BLOCK, values);
    for (int i = 0; i < BNI_Q8_0_BLOCK; i++) {
        assert_true(values[i] == 0.031494140625f * (float)(int8_t)block[2 + i]);
        assert_true(fabsf(values[i] - (float)(i - 16) * 0.25f) < 0.02f);
    }
}

static void a_block_of_q6_k_widens_to_its_values(void **state)
{
    (void)state;
    static const uint8_t low[16] = {0x55, 0x00, 0xbb, 0x66, 0x11, 0xcc, 0x77, 0x22,
                                    0xdd, 0x88, 0x33, 0xee, 0x99, 0x44, 0xff, 0xaa};
    static const uint8_t high[32] = {0x88, 0xdd, 0xdd, 0x22, 0x77, 0x77, 0x88, 0xdd,
                                     0xdd, 0x22, 0x77, 0x77, 0x88, 0xdd, 0xdd, 0x22,
                                     0x77, 0x88, 0x88, 0xdd, 0x22, 0x22, 0x77, 0x88,
                                     0x88, 0xdd, 0x22, 0x22, 0x77, 0x88, 0x88, 0xdd};
    static const struct {
        int index;
        float value;
    } expected[] = {{0, 12.65625f},    {1, 7.5f},        {15, -4.6875f},
                    {16, -8.3671875f}, {31, 2.390625f},  {32, -1.640625f},
                    {64, 5.0625f},     {96, -0.234375f}, {127, 0.609375f},
                    {128, -2.53125f},  {200, -1.125f},   {255, 15.234375f}};
    uint8_t block[BNI_Q6_K_BYTES] = {0};
    float values[BNI_Q6_K_BLOCK];
    for (size_t i = 0; i < 8; i++) memcpy(block + 16 * i, low, sizeof(low));
    for (size_t i = 0; i < 2; i++)
        memcpy(block + BNI_Q6_K_HIGH + 32 * i, high, sizeof(high));
    for (int i = 0; i < 16; i++) block[BNI_Q6_K_SCALES + i] = (uint8_t)(9 * i - 60);
    block[BNI_Q6_K_D + 1] = 0x20;
    bni_kernels_scalar.widen[BNI_DENSE_Q6_K](block, BNI_Q6_K_BLOCK, values);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_true(values[expected[i].index] == expected[i].value);
    for (int i = 0; i < BNI_Q6_K_BLOCK; i++)
        assert_true(values[i] == 0.0078125f * (float)(9 * (i / 16) - 60) *
                                     (float)((11 * i + 5) % 64 - 32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_the_example_block_is_where_it_should_be),
        cmocka_unit_test(the_worked_example_is_reproduced_to_the_bit),
        cmocka_unit_test(quantize_rounds_halves_to_even),
        cmocka_unit_test(a_row_of_zeros_is_quantised_to_zeros),
        cmocka_unit_test(a_row_that_is_not_finite_shows_in_every_output),
        cmocka_unit_test(quantised_values_keep_to_127_at_the_ends_of_the_range),
        cmocka_unit_test(sums_run_in_sixteen_lanes_and_fold_by_halves),
        cmocka_unit_test(products_are_fused),
        cmocka_unit_test(every_half_widens_to_its_value_and_back),
        cmocka_unit_test(a_block_of_q8_0_widens_to_its_values),
        cmocka_unit_test(a_block_of_q6_k_widens_to_its_values),
        cmocka_unit_test(floats_round_to_the_documented_halves),
        cmocka_unit_test(every_bfloat_is_the_upper_half_of_its_float),
        cmocka_unit_test(exp_is_within_two_ulps),
        cmocka_unit_test(exp_has_the_documented_bits),
        cmocka_unit_test(exp_is_exact_where_it_must_be),
        cmocka_unit_test(rms_norm_has_a_mean_square_of_one),
        cmocka_unit_test(rope_rotates_the_pairs_of_its_kind),
        cmocka_unit_test(activations_of_the_feed_forward_block),
        cmocka_unit_test(attention_over_blocks_is_a_softmax),
        cmocka_unit_test(one_position_has_all_the_weight),
        cmocka_unit_test(factors_of_int8_apply_per_position),
        cmocka_unit_test(a_maximum_of_zeros_is_positive_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
