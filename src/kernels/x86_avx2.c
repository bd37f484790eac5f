/* SPDX-License-Identifier: MIT */
/*
 * x86_avx2.c - the kernels for AVX2, FMA and F16C; its neighbours have the matrix
 * products and attention.
 *
 * Each function does what its namesake in scalar.c does, on eight elements at a
 * time. Sixteen lanes are two registers. What is left at the end of an array that
 * is no multiple of eight is done one by one, with the scalar definitions, which
 * give the same bits.
 */
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"
#include "kernels/x86_avx2.h"

static __m128i to_half(__m256 x)
{
    return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
}

/* Returns the largest of |x| as bits, which have the order of the numbers; infinity
 * and NaN come out above all numbers. */
static uint32_t max_magnitude_bits(const float *x, size_t n)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_setzero_si256();
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m256i bits = _mm256_loadu_si256((const __m256i *)(x + i));
        max = _mm256_max_epi32(max, _mm256_and_si256(bits, magnitude));
    }
    __m128i four =
        _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    four = _mm_max_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
    uint32_t result = (uint32_t)_mm_cvtsi128_si32(four);
    for (; i < n; i++) {
        const uint32_t bits = bni_float_bits(x[i]) & 0x7fffffffu;
        if (bits > result) result = bits;
    }
    return result;
}

static __m256i round_scaled(const float *x, __m256 scale)
{
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), scale));
}

void bni_avx2_quantize(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum)
{
    const uint32_t absmax_bits = max_magnitude_bits(x, n);
    if (absmax_bits >= bni_float_bits(INFINITY)) {
        memset(q, 0, n);
        *scale = NAN;
        *sum = 0;
        return;
    }
    const float absmax = bni_float_from_bits(absmax_bits);
    *scale =
        127.0f / (absmax > BNI_QUANTIZE_MIN_ABSMAX ? absmax : BNI_QUANTIZE_MIN_ABSMAX);

    /* Packing saturates at 127 and works in halves of a register: the permutation
     * puts the groups of four back in order. */
    const __m256 factor = _mm256_set1_ps(*scale);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i min = _mm256_set1_epi8(-127);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; n - i >= 32; i += 32) {
        const __m256i low = _mm256_packs_epi32(round_scaled(x + i, factor),
                                               round_scaled(x + i + 8, factor));
        const __m256i high = _mm256_packs_epi32(round_scaled(x + i + 16, factor),
                                                round_scaled(x + i + 24, factor));
        __m256i bytes = _mm256_max_epi8(_mm256_packs_epi16(low, high), min);
        bytes = _mm256_permutevar8x32_epi32(bytes, order);
        _mm256_storeu_si256((__m256i *)(q + i), bytes);
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, ones));
    }

    int32_t lanes[8];
    _mm256_storeu_si256((__m256i *)lanes, sums);
    int32_t total = 0;
    for (size_t j = 0; j < 8; j++) total += lanes[j];
    for (; i < n; i++) {
        const float rounded = rintf(x[i] * *scale);
        q[i] = (int8_t)fmaxf(fminf(rounded, 127.0f), -127.0f);
        total += q[i];
    }
    *sum = total;
}

void bni_avx2_widen_f32(const void *from, size_t n, float *out)
{
    memcpy(out, from, n * sizeof(*out));
}

void bni_avx2_widen_f16(const void *from, size_t n, float *out)
{
    const char *bytes = from;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m128i half = _mm_loadu_si128((const __m128i *)(bytes + i * 2));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(half));
    }
    for (; i < n; i++) {
        uint16_t value;
        memcpy(&value, bytes + i * 2, sizeof(value));
        out[i] = bni_widen_f16(value);
    }
}

void bni_avx2_widen_bf16(const void *from, size_t n, float *out)
{
    const char *bytes = from;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m128i half = _mm_loadu_si128((const __m128i *)(bytes + i * 2));
        const __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
        _mm256_storeu_ps(out + i, _mm256_castsi256_ps(wide));
    }
    for (; i < n; i++) {
        uint16_t value;
        memcpy(&value, bytes + i * 2, sizeof(value));
        out[i] = bni_widen_bf16(value);
    }
}

void bni_avx2_rms_norm(const float *x, const float *gain, size_t n, float epsilon,
                       float *out)
{
    assert(n % 16 == 0);
    __m256 low = _mm256_setzero_ps();
    __m256 high = _mm256_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    const float mean = bni_avx2_fold_lanes(low, high) / (float)n;
    const __m256 factor = _mm256_set1_ps(1.0f / sqrtf(mean + epsilon));
    for (size_t i = 0; i < n; i += 8) {
        const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(gain + i)));
    }
}

void bni_avx2_rope_neox(float *x, const float *cos, const float *sin, size_t head_dim)
{
    const size_t half = head_dim / 2;
    size_t i = 0;
    for (; half - i >= 8; i += 8) {
        const __m256 c = _mm256_loadu_ps(cos + i);
        const __m256 s = _mm256_loadu_ps(sin + i);
        const __m256 a = _mm256_loadu_ps(x + i);
        const __m256 b = _mm256_loadu_ps(x + half + i);
        _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) bni_rotate_pair(&x[i], &x[i + half], cos[i], sin[i]);
}

void bni_avx2_rope_adjacent(float *x, const float *cos, const float *sin,
                            size_t head_dim)
{
    const size_t half = head_dim / 2;
    size_t i = 0;
    for (; half - i >= 4; i += 4) {
        const __m128 c = _mm_loadu_ps(cos + i);
        const __m128 s = _mm_loadu_ps(sin + i);
        const __m256 cs = _mm256_set_m128(_mm_unpackhi_ps(c, s), _mm_unpacklo_ps(c, s));
        const __m256 sc = _mm256_permute_ps(cs, _MM_SHUFFLE(2, 3, 0, 1));
        const __m256 ab = _mm256_loadu_ps(x + 2 * i);
        const __m256 product = _mm256_mul_ps(_mm256_movehdup_ps(ab), sc);
        /* Even elements subtract the product, odd ones add it. */
        _mm256_storeu_ps(x + 2 * i,
                         _mm256_fmaddsub_ps(_mm256_moveldup_ps(ab), cs, product));
    }
    for (; i < half; i++) bni_rotate_pair(&x[2 * i], &x[2 * i + 1], cos[i], sin[i]);
}

void bni_avx2_store_f16(const float *x, size_t n, uint16_t *out, size_t stride)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m128i half = to_half(_mm256_loadu_ps(x + i));
        if (stride == 1) {
            _mm_storeu_si128((__m128i *)(out + i), half);
            continue;
        }
        uint16_t values[8];
        _mm_storeu_si128((__m128i *)values, half);
        for (size_t j = 0; j < 8; j++) out[(i + j) * stride] = values[j];
    }
    for (; i < n; i++) out[i * stride] = bni_narrow_f16(x[i]);
}

void bni_avx2_relu2_mul(const float *gate, const float *up, size_t n, float *out)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        /* The second operand is the answer when it is NaN. */
        const __m256 positive =
            _mm256_max_ps(_mm256_setzero_ps(), _mm256_loadu_ps(gate + i));
        const __m256 square = _mm256_mul_ps(positive, positive);
        _mm256_storeu_ps(out + i, _mm256_mul_ps(square, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++) out[i] = bni_relu2_mul(gate[i], up[i]);
}

void bni_avx2_silu_mul(const float *gate, const float *up, size_t n, float *out)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 one = _mm256_set1_ps(1.0f);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m256 g = _mm256_loadu_ps(gate + i);
        const __m256 divisor = _mm256_add_ps(one, bni_avx2_exp(_mm256_xor_ps(g, sign)));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_div_ps(g, divisor),
                                                _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++) out[i] = bni_silu_mul(gate[i], up[i]);
}

void bni_avx2_add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        _mm256_storeu_ps(x + i,
                         _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++) x[i] = x[i] + y[i];
}

const struct bni_kernels bni_kernels_avx2 =
    BNI_AVX2_TABLE("avx2", bni_avx2_ternary_matmul);
