/* SPDX-License-Identifier: MIT */
/*
 * peaks.c - see peaks.h.
 *
 * Each loop works in registers, in enough independent chains that no latency counts. The
 * empty assembly makes the compiler believe that its operand has changed, so that it
 * neither takes a product out of the loop nor adds up chains early.
 *
 * The integer peak of AVX2 is `maddubs`, which adds products in pairs to 16 bits, with
 * `madd`, which adds those to 32: what a product of bytes takes. Ternary weights are so
 * small that kernels may add up in 16 bits for a while and save most of the second; the
 * most that this can give is the narrow peak.
 */
#include "common/peaks.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 8, LOADS = 8 };

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512vnni")))

AVX2 static void keep_256(const __m256i *values, uint8_t *sink)
{
    __m256i all = values[0];
    for (size_t k = 1; k < CHAINS; k++) all = _mm256_xor_si256(all, values[k]);
    _mm256_storeu_si256((__m256i *)sink, all);
}

AVX2 static void integer_avx2(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_loadu_si256((const __m256i *)data);
    __m256i sums[CHAINS] = {0};
    for (size_t i = 0; i < n_steps; i++) {
#pragma GCC unroll 8
        for (size_t k = 0; k < CHAINS; k++) {
            __asm__ volatile("" : "+x"(a));
            const __m256i pairs = _mm256_maddubs_epi16(a, a);
            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs, ones));
        }
    }
    keep_256(sums, sink);
}

AVX2 static void narrow_avx2(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)data);
    __m256i sums[CHAINS] = {0};
    for (size_t i = 0; i < n_steps; i++) {
#pragma GCC unroll 8
        for (size_t k = 0; k < CHAINS; k++) {
            __asm__ volatile("" : "+x"(a));
            sums[k] = _mm256_add_epi16(sums[k], _mm256_maddubs_epi16(a, a));
        }
    }
    keep_256(sums, sink);
}

AVX2 static void fused_avx2(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m256 a = _mm256_set1_ps((float)data[0] * 0x1p-20f); /* sums stay finite */
    __m256 sums[CHAINS + 2];
    for (size_t k = 0; k < CHAINS + 2; k++) sums[k] = _mm256_setzero_ps();
    for (size_t i = 0; i < n_steps; i++) {
#pragma GCC unroll 10
        for (size_t k = 0; k < CHAINS + 2; k++) {
            __asm__ volatile("" : "+x"(a));
            sums[k] = _mm256_fmadd_ps(a, a, sums[k]);
        }
    }
    for (size_t k = 1; k < CHAINS + 2; k++) sums[0] = _mm256_add_ps(sums[0], sums[k]);
    _mm256_storeu_ps((float *)(void *)sink, sums[0]);
}

AVX2 static void load_avx2(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m256i all[CHAINS] = {0};
    for (size_t i = 0; i < n_steps; i++) {
        for (size_t at = 0; at < BENCH_LOAD_BYTES; at += LOADS * sizeof(__m256i)) {
#pragma GCC unroll 8
            for (size_t k = 0; k < LOADS; k++) {
                const void *from = data + at + k * sizeof(__m256i);
                __m256i v = _mm256_loadu_si256(from);
                __asm__ volatile("" : "+x"(v)); /* the load is by itself */
                if (k == 0) all[0] = v;
            }
        }
    }
    keep_256(all, sink);
}

AVX512 static void integer_avx512(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m512i a = _mm512_loadu_si512(data);
    __m512i sums[2 * CHAINS];
    for (size_t k = 0; k < 2 * CHAINS; k++) sums[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < n_steps; i++) {
#pragma GCC unroll 16
        for (size_t k = 0; k < 2 * CHAINS; k++) {
            __asm__ volatile("" : "+v"(a));
            sums[k] = _mm512_dpbusd_epi32(sums[k], a, a);
        }
    }
    for (size_t k = 1; k < 2 * CHAINS; k++)
        sums[0] = _mm512_add_epi32(sums[0], sums[k]);
    _mm512_storeu_si512(sink, sums[0]);
}

AVX512 static void fused_avx512(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m512 a = _mm512_set1_ps((float)data[0] * 0x1p-20f);
    __m512 sums[2 * CHAINS];
    for (size_t k = 0; k < 2 * CHAINS; k++) sums[k] = _mm512_setzero_ps();
    for (size_t i = 0; i < n_steps; i++) {
#pragma GCC unroll 16
        for (size_t k = 0; k < 2 * CHAINS; k++) {
            __asm__ volatile("" : "+v"(a));
            sums[k] = _mm512_fmadd_ps(a, a, sums[k]);
        }
    }
    for (size_t k = 1; k < 2 * CHAINS; k++) sums[0] = _mm512_add_ps(sums[0], sums[k]);
    _mm512_storeu_ps(sink, sums[0]);
}

AVX512 static void load_avx512(size_t n_steps, const uint8_t *data, uint8_t *sink)
{
    __m512i last = _mm512_setzero_si512();
    for (size_t i = 0; i < n_steps; i++) {
        for (size_t at = 0; at < BENCH_LOAD_BYTES; at += LOADS * sizeof(__m512i)) {
#pragma GCC unroll 8
            for (size_t k = 0; k < LOADS; k++) {
                __m512i v = _mm512_loadu_si512(data + at + k * sizeof(__m512i));
                __asm__ volatile("" : "+v"(v));
                if (k == 0) last = v;
            }
        }
    }
    _mm512_storeu_si512(sink, last);
}

/* The best first. */
static const struct bench_instructions all_instructions[] = {
    {
        .table = "avx512",
        .integer = {"dpbusd", integer_avx512, 2.0 * CHAINS * 64},
        .fused = {"fma, 512 bits", fused_avx512, 2.0 * CHAINS * 16},
        .load = {"loads, 512 bits", load_avx512, BENCH_LOAD_BYTES},
    },
    {
        .table = "avx2",
        .integer = {"maddubs and madd", integer_avx2, CHAINS * 32.0},
        .narrow = {"maddubs, 16-bit sums", narrow_avx2, CHAINS * 32.0},
        .fused = {"fma, 256 bits", fused_avx2, (CHAINS + 2) * 8.0},
        .load = {"loads, 256 bits", load_avx2, BENCH_LOAD_BYTES},
    },
};

static int cpu_has(const struct bench_instructions *instructions)
{
    if (strcmp(instructions->table, "avx512") == 0)
        return __builtin_cpu_supports("avx512vnni");
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const struct bench_instructions *bench_instructions_of(const char *table)
{
    const size_t n = sizeof(all_instructions) / sizeof(all_instructions[0]);
    const struct bench_instructions *best = NULL;
    for (size_t i = n; i-- > 0;) {
        if (!cpu_has(&all_instructions[i])) continue;
        if (strcmp(all_instructions[i].table, table) == 0) return &all_instructions[i];
        best = &all_instructions[i];
    }
    return best;
}
#else
const struct bench_instructions *bench_instructions_of(const char *table)
{
    (void)table;
    return NULL;
}
#endif
