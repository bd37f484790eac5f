/* SPDX-License-Identifier: MIT */
/*
 * float16.h - the two 16-bit floats, one value at a time, as the F16C instructions
 * convert them: to nearest, ties to even, subnormal numbers exact, a signalling NaN
 * made quiet.
 *
 *     f16    s eeeee mmmmmmmmmm            bias 15
 *     bf16   s eeeeeeee mmmmmmm            bias 127: the upper half of an f32
 *     f32    s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm
 */
#ifndef BNI_BASE_FLOAT16_H
#define BNI_BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bni_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static inline float bni_float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline float bni_widen_bf16(uint16_t value)
{
    return bni_float_from_bits((uint32_t)value << 16);
}

static inline float bni_widen_f16(uint16_t value)
{
    const uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    const uint32_t exponent = (value >> 10) & 0x1fu;
    const uint32_t fraction = value & 0x3ffu;

    if (exponent == 31) {
        const uint32_t quiet = fraction != 0 ? 0x400000u : 0;
        return bni_float_from_bits(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    if (exponent == 0) {
        const float magnitude = (float)fraction * 0x1p-24f; /* exact */
        return bni_float_from_bits(sign | bni_float_bits(magnitude));
    }
    return bni_float_from_bits(sign | ((exponent + (127 - 15)) << 23) |
                               (fraction << 13));
}

static inline uint16_t bni_narrow_f16(float value)
{
    const uint32_t bits = bni_float_bits(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u) /* NaN: keep what fits of its payload */
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= bni_float_bits(65520.0f)) /* half way from the largest to 2^16 */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < bni_float_bits(0x1p-14f)) {
        /* A subnormal counts units of 2^-24, which is the last place of 0.5f: the
         * addition rounds, and the count is what it changed. */
        const float shifted = bni_float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bni_float_bits(shifted) - bni_float_bits(0.5f)));
    }
    /* Just under half a unit of the last place that stays, or half if it is odd. */
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded >> 13) - ((127u - 15u) << 10)));
}

#endif
