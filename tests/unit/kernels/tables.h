/* SPDX-License-Identifier: MIT */
/*
 * tables.h - what the tests of kernel tables share: which tables there are, random
 * numbers with a printed seed, and comparing bits.
 */
#ifndef BNI_TESTS_KERNELS_TABLES_H
#define BNI_TESTS_KERNELS_TABLES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"

#if defined(BNI_TESTS_EMULATE)
/* Tables whose instructions are emulated with those of AVX2. */
extern const struct bni_kernels bni_kernels_avxvnni_emulated;
extern const struct bni_kernels bni_kernels_avx512_emulated;
extern const struct bni_kernels bni_kernels_avx512vnni_emulated;
#endif

enum { MAX_TABLES = 7 };

/* The tables to compare with the scalar one; filled by find_tables(). */
static const struct bni_kernels *tables[MAX_TABLES];
static size_t n_tables;

/* A group's setup. */
static inline int find_tables(void **state)
{
    (void)state;
    static const char *const names[] = {"avx2",       "avxvnni", "avx512",
                                        "avx512vnni", "neon",    "dotprod"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        tables[n_tables] = bni_kernels_by_name(names[i]);
        if (tables[n_tables] != NULL) n_tables++;
    }
#if defined(BNI_TESTS_EMULATE)
    if (bni_kernels_by_name("avx2") != NULL) {
        tables[n_tables++] = &bni_kernels_avxvnni_emulated;
        tables[n_tables++] = &bni_kernels_avx512_emulated;
        tables[n_tables++] = &bni_kernels_avx512vnni_emulated;
    }
#endif
    for (size_t i = 0; i < n_tables; i++)
        print_message("compares %s%s with scalar\n", tables[i]->name,
                      tables[i] == bni_kernels_by_name(tables[i]->name)
                          ? ""
                          : " (emulated)");
    return 0;
}

/* Runs the body once for each of them. */
#define FOR_EACH_TABLE(table) \
    const struct bni_kernels *table; \
    for (size_t t_ = 0; t_ < n_tables && (table = tables[t_]) != NULL; t_++)

/* Random numbers: a counter, hashed. The environment may choose where it starts. */
struct random {
    uint64_t counter;
};

static inline struct random random_start(void)
{
    const char *chosen = getenv("BITNET_TEST_SEED");
    const uint64_t seed = chosen != NULL ? strtoull(chosen, NULL, 0) : 20260101;
    print_message("BITNET_TEST_SEED=%llu\n", (unsigned long long)seed);
    return (struct random){seed};
}

static inline uint32_t random_bits(struct random *random)
{
    uint64_t z = random->counter += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

static inline uint32_t random_below(struct random *random, uint32_t n)
{
    return random_bits(random) % n;
}

/* How wild an array of floats is. */
enum values { VALUES_ORDINARY, VALUES_TINY, VALUES_HUGE, VALUES_ANY_BITS, N_VALUES };

static inline float random_float(struct random *random, enum values values)
{
    const uint32_t bits = random_bits(random);
    const float unit = ((float)(int32_t)bits) * 0x1p-31f;
    float value;
    switch (values) {
    case VALUES_TINY: return unit * (bits % 3 == 0 ? 0x1p-130f : 0x1p-148f);
    case VALUES_HUGE: return unit * 3e38f;
    case VALUES_ANY_BITS: memcpy(&value, &bits, sizeof(value)); return value;
    default: return bits % 16 == 0 ? (bits % 32 == 0 ? 0.0f : -0.0f) : unit * 4.0f;
    }
}

/* Exactly as large as asked, so that the address sanitizer sees one step too far. */
static inline void *make_buffer(size_t n_bytes)
{
    void *buffer = malloc(n_bytes);
    assert_non_null(buffer);
    return buffer;
}

static inline float *random_floats(struct random *random, size_t n, enum values values)
{
    float *floats = make_buffer(n * sizeof(*floats));
    for (size_t i = 0; i < n; i++) floats[i] = random_float(random, values);
    return floats;
}

/* A pattern that no kernel writes, so that what stays untouched compares equal. */
static inline float *untouched_floats(size_t n)
{
    float *floats = make_buffer(n * sizeof(*floats));
    memset(floats, 0x5a, n * sizeof(*floats));
    return floats;
}

static inline void *copy_of(const void *from, size_t n_bytes)
{
    return memcpy(make_buffer(n_bytes), from, n_bytes);
}

/* Equal bits, or both NaN: a NaN's payload is not part of the promise. */
#define assert_same_floats(expected, got, n, ...) \
    do { \
        const size_t differs = first_difference((expected), (got), (n)); \
        if (differs < (n)) { \
            print_error(__VA_ARGS__); \
            fail_msg(": element %zu is %a, expected %a", differs, \
                     (double)(got)[differs], (double)(expected)[differs]); \
        } \
    } while (0)

static inline size_t first_difference(const float *expected, const float *got, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(expected[i]) && isnan(got[i])) continue;
        if (memcmp(&expected[i], &got[i], sizeof(got[i])) != 0) return i;
    }
    return n;
}

#endif
