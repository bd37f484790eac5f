/* SPDX-License-Identifier: MIT */
/*
 * limits.c - see limits.h.
 *
 * Memory: every thread adds up its part of a buffer that no cache holds. Integers: every
 * thread multiplies and adds in registers, with the best instructions for bytes that the
 * CPU has, in enough independent chains that no latency counts. The best of several
 * repetitions is the limit, because whatever else the machine does only takes away.
 *
 * With AVX2 the peak is `maddubs`, which adds products in pairs to 16 bits, and `madd`,
 * which adds those to 32. Ternary weights let kernels add up in 16 bits for a while and
 * save most of the second, so these may come out above this peak.
 */
#include "limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "common/machine.h"
#include "common/report.h"

enum { MAX_THREADS = 256, LINE_WORDS = 8 };

/* Steps take a few milliseconds: less than the system lets a thread run at a stretch. */
struct effort {
    size_t n_bytes;
    size_t n_steps;
    uint64_t budget_ns; /* for each limit */
};

static const struct effort full = {(size_t)256 << 20, 1000000, 1000000000};
static const struct effort quick = {(size_t)4 << 20, 10000, 1000000};

struct part {
    pthread_t thread;
    const uint64_t *words;
    size_t n_words;
    size_t n_steps;
    uint64_t sum; /* so that the reading is for something */
};

static void *read_words(void *arg)
{
    struct part *part = arg;
    uint64_t sums[LINE_WORDS] = {0};
    for (size_t i = 0; i < part->n_words; i += LINE_WORDS) {
        for (size_t k = 0; k < LINE_WORDS; k++) sums[k] += part->words[i + k];
    }
    for (size_t k = 0; k < LINE_WORDS; k++) part->sum += sums[k];
    return NULL;
}

/* Runs `work` on each part, on a thread each, and returns how long that took. */
static double time_s(void *(*work)(void *arg), struct part *parts, unsigned n_parts)
{
    const uint64_t begin_ns = bench_now_ns();
    for (unsigned i = 0; i < n_parts; i++) {
        if (pthread_create(&parts[i].thread, NULL, work, &parts[i]) != 0)
            bench_give_up("cannot start thread %u of %u", i + 1, n_parts);
    }
    for (unsigned i = 0; i < n_parts; i++) pthread_join(parts[i].thread, NULL);
    return (double)(bench_now_ns() - begin_ns) / 1e9;
}

static double best_time_s(void *(*work)(void *arg), struct part *parts,
                          unsigned n_parts, uint64_t budget_ns)
{
    const uint64_t begin_ns = bench_now_ns();
    double best_s = time_s(work, parts, n_parts);
    while (bench_now_ns() - begin_ns < budget_ns) {
        const double s = time_s(work, parts, n_parts);
        if (s < best_s) best_s = s;
    }
    return best_s;
}

static double measure_reading(unsigned n_threads, const uint64_t *words,
                              const struct effort *effort)
{
    struct part parts[MAX_THREADS] = {0};
    const size_t n_words =
        effort->n_bytes / sizeof(*words) / n_threads / LINE_WORDS * LINE_WORDS;
    for (unsigned i = 0; i < n_threads; i++)
        parts[i] = (struct part){.words = words + i * n_words, .n_words = n_words};
    const double s = best_time_s(read_words, parts, n_threads, effort->budget_ns);
    return (double)(n_threads * n_words * sizeof(*words)) / s / 1e9;
}

#if defined(__x86_64__)
enum { N_CHAINS = 8 };

/* The empty assembly makes the compiler believe that its operand has changed. */
__attribute__((target("avx2"))) static void *multiply_avx2(void *arg)
{
    struct part *part = arg;
    __m256i sums[N_CHAINS];
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i a = _mm256_set1_epi8(1);
    __m256i b = _mm256_set1_epi8(2);
    for (size_t k = 0; k < N_CHAINS; k++) sums[k] = _mm256_setzero_si256();
    for (size_t i = 0; i < part->n_steps; i++) {
#pragma GCC unroll 8
        for (size_t k = 0; k < N_CHAINS; k++) {
            __asm__ volatile("" : "+x"(a), "+x"(b));
            const __m256i pairs = _mm256_maddubs_epi16(a, b);
            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs, ones));
        }
    }
    for (size_t k = 1; k < N_CHAINS; k++) sums[0] = _mm256_add_epi32(sums[0], sums[k]);
    part->sum += (uint64_t)_mm256_extract_epi64(sums[0], 0);
    return NULL;
}

__attribute__((target("avx512f,avx512vnni"))) static void *multiply_vnni(void *arg)
{
    struct part *part = arg;
    __m512i sums[2 * N_CHAINS];
    __m512i a = _mm512_set1_epi32(0x01010101);
    __m512i b = _mm512_set1_epi32(0x02020202);
    for (size_t k = 0; k < 2 * N_CHAINS; k++) sums[k] = _mm512_setzero_si512();
    for (size_t i = 0; i < part->n_steps; i++) {
#pragma GCC unroll 16
        for (size_t k = 0; k < 2 * N_CHAINS; k++) {
            __asm__ volatile("" : "+v"(a), "+v"(b));
            sums[k] = _mm512_dpbusd_epi32(sums[k], a, b);
        }
    }
    for (size_t k = 1; k < 2 * N_CHAINS; k++)
        sums[0] = _mm512_add_epi32(sums[0], sums[k]);
    part->sum += (uint64_t)_mm512_reduce_add_epi32(sums[0]);
    return NULL;
}

static const struct {
    const char *name;
    void *(*work)(void *arg);
    double macs_per_step;
} instructions[] = {
    {"dpbusd", multiply_vnni, 2.0 * N_CHAINS * 64},
    {"maddubs and madd", multiply_avx2, 1.0 * N_CHAINS * 32},
};

/* Returns the place in the table of the best that the CPU has, or -1. */
static int best_instructions(void)
{
    if (__builtin_cpu_supports("avx512vnni")) return 0;
    return __builtin_cpu_supports("avx2") ? 1 : -1;
}

static void measure_peak(struct bench_limits *limits, const struct effort *effort)
{
    const int which = best_instructions();
    if (which < 0) return;
    limits->peak_name = instructions[which].name;
    for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
        struct part parts[MAX_THREADS] = {0};
        const unsigned n = limits->n_threads[team];
        for (unsigned i = 0; i < n; i++) parts[i].n_steps = effort->n_steps;
        const double s =
            best_time_s(instructions[which].work, parts, n, effort->budget_ns);
        limits->peak_gmac_s[team] =
            instructions[which].macs_per_step * n * (double)effort->n_steps / s / 1e9;
    }
}
#else
static void measure_peak(struct bench_limits *limits, const struct effort *effort)
{
    (void)limits;
    (void)effort;
}
#endif

void bench_measure_limits(struct bench_limits *limits, bool is_quick)
{
    const struct effort *effort = is_quick ? &quick : &full;
    for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
        if (limits->n_threads[team] > MAX_THREADS)
            bench_give_up("%u compute threads, expected at most %d",
                          limits->n_threads[team], MAX_THREADS);
    }
    uint64_t *words = malloc(effort->n_bytes);
    if (words == NULL) bench_give_up("out of memory for %zu bytes", effort->n_bytes);
    memset(words, 1, effort->n_bytes);
    for (size_t team = 0; team < BENCH_N_TEAMS; team++)
        limits->read_gb_s[team] =
            measure_reading(limits->n_threads[team], words, effort);
    free(words);
    measure_peak(limits, effort);
}
