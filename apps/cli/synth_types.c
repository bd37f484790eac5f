/* SPDX-License-Identifier: MIT */
/*
 * synth_types.c - see synth_types.h.
 *
 * Blocks are made in the simplest way: the factor is such that the largest magnitude
 * becomes the largest code, and each value the nearest code. Every step is an operation
 * that IEEE 754 rounds correctly, so the bytes are the same on every machine.
 *
 *     Q8_0   32 values, 34 bytes    half d, int8 q[32]                         d * q
 *     Q6_K  256 values, 210 bytes   low 4 bits [128], high 2 bits [64], int8 scales
 *                                   [16], half d            d * scale * (code - 32)
 */
#include "synth_types.h"

#include <math.h>
#include <string.h>

enum {
    Q8_0_VALUES = 32,
    Q8_0_BYTES = 34,
    Q6_K_VALUES = 256,
    Q6_K_BYTES = 210,
    Q6_K_PART = 16, /* values that share a scale */
    Q6_K_HIGH = 128,
    Q6_K_SCALES = 192,
    Q6_K_D = 208,
    I2_S_TAIL = 32,
};

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Nearest, ties to even; what would be subnormal is 0, and nothing here is too large. */
static uint16_t to_f16(float value)
{
    const uint32_t bits = bits_of(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7FFFFFFF;
    if (magnitude < UINT32_C(113) << 23) return sign;
    const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
    return (uint16_t)(sign | ((rounded >> 13) - (UINT32_C(112) << 10)));
}

static uint16_t to_bf16(float value)
{
    const uint32_t bits = bits_of(value);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* Stores a block's factor, not negative and maybe subnormal, as a half; returns it as it
 * was rounded. */
static float put_factor(float factor, uint8_t *out)
{
    uint16_t half;
    float rounded;
    if (factor < 0x1p-14f) {
        const float n = rintf(factor * 0x1p24f);
        half = (uint16_t)n;
        rounded = n * 0x1p-24f;
    } else {
        half = to_f16(factor);
        const uint32_t bits = ((uint32_t)half << 13) + (UINT32_C(112) << 23);
        memcpy(&rounded, &bits, sizeof(rounded));
    }
    memcpy(out, &half, sizeof(half));
    return rounded;
}

static float largest_of(const float *values, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++)
        if (fabsf(values[i]) > largest) largest = fabsf(values[i]);
    return largest;
}

/* The nearest integer to value / factor in low .. high; 0 without a factor. */
static int nearest(float value, float factor, int low, int high)
{
    if (factor == 0.0f) return 0;
    const int code = (int)rintf(value / factor);
    if (code < low) return low;
    return code > high ? high : code;
}

static void encode_q8_0(const float *values, uint8_t *block)
{
    const float d = put_factor(largest_of(values, Q8_0_VALUES) / 127.0f, block);
    for (size_t i = 0; i < Q8_0_VALUES; i++)
        block[2 + i] = (uint8_t)(int8_t)nearest(values[i], d, -127, 127);
}

/*
 * A block is two halves of 128 values, and a half four groups of 32. Low bits: groups 0
 * and 1 are in the lower four of 32 bytes each, groups 2 and 3 in the upper four of the
 * same. High bits: group g is in bits 2g and 2g + 1 of 32 bytes.
 */
static void put_six_bits(uint8_t *block, size_t i, unsigned code)
{
    const size_t half = i / 128;
    const size_t group = i % 128 / 32;
    const size_t l = i % 32;
    uint8_t *low = &block[64 * half + 32 * (group % 2) + l];
    uint8_t *high = &block[Q6_K_HIGH + 32 * half + l];
    *low = (uint8_t)(*low | (code & 15) << (4 * (group / 2)));
    *high = (uint8_t)(*high | (code >> 4) << (2 * group));
}

static void encode_q6_k(const float *values, uint8_t *block)
{
    memset(block, 0, Q6_K_BYTES);
    const float largest = largest_of(values, Q6_K_VALUES);
    const float d = put_factor(largest / (31.0f * 127.0f), block + Q6_K_D);
    for (size_t i = 0; i < Q6_K_VALUES; i++) {
        const float *part = values + i / Q6_K_PART * Q6_K_PART;
        const int scale = nearest(largest_of(part, Q6_K_PART) / 31.0f, d, 0, 127);
        block[Q6_K_SCALES + i / Q6_K_PART] = (uint8_t)scale;
        const int code = nearest(values[i], d * (float)scale, -32, 31);
        put_six_bits(block, i, (unsigned)(code + 32));
    }
}

uint64_t synth_block_values(enum synth_type type)
{
    switch (type) {
    case SYNTH_Q8_0: return Q8_0_VALUES;
    case SYNTH_Q6_K: return Q6_K_VALUES;
    default: return 1;
    }
}

uint64_t synth_type_bytes(enum synth_type type, uint64_t n_values)
{
    switch (type) {
    case SYNTH_I2_S: return n_values / 4 + I2_S_TAIL;
    case SYNTH_F32: return n_values * 4;
    case SYNTH_Q8_0: return n_values / Q8_0_VALUES * Q8_0_BYTES;
    case SYNTH_Q6_K: return n_values / Q6_K_VALUES * Q6_K_BYTES;
    case SYNTH_F16:
    case SYNTH_BF16: break;
    }
    return n_values * 2;
}

void synth_encode(enum synth_type type, const float *values, size_t n, uint8_t *out)
{
    const size_t n_block = (size_t)synth_block_values(type);
    const size_t block_bytes = (size_t)synth_type_bytes(type, n_block);
    for (size_t i = 0; i < n; i += n_block, out += block_bytes) {
        uint16_t half;
        switch (type) {
        case SYNTH_Q8_0: encode_q8_0(values + i, out); break;
        case SYNTH_Q6_K: encode_q6_k(values + i, out); break;
        case SYNTH_F32: memcpy(out, values + i, sizeof(*values)); break;
        default:
            half = type == SYNTH_BF16 ? to_bf16(values[i]) : to_f16(values[i]);
            memcpy(out, &half, sizeof(half));
        }
    }
}
