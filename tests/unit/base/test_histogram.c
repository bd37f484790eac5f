/* SPDX-License-Identifier: MIT */
/*
 * test_histogram.c - percentiles of times, against sorting the times themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/histogram.h"

enum { MAX_TIMES = 4096 };

static const uint64_t range_end = UINT64_C(1) << BNI_HISTOGRAM_RANGE_BITS;

/* A generator of its own, so that a seed means the same everywhere. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void check_percentile(const uint64_t *sorted, size_t n, unsigned per_mille,
                             uint64_t told_ns)
{
    /* The least time that at least `per_mille` of a thousand do not exceed. */
    size_t rank = 1;
    while (rank * 1000 < n * per_mille) rank++;
    const uint64_t true_ns = sorted[rank - 1];
    if (told_ns < true_ns || told_ns - true_ns > true_ns / 8)
        fail_msg("%u of 1000 of %zu times: told %llu, are %llu", per_mille, n,
                 (unsigned long long)told_ns, (unsigned long long)true_ns);
}

/* Counts the times, and compares what is told with what sorting them tells. */
static void check_times(uint64_t *times, size_t n)
{
    static struct bni_histogram histogram;
    memset(&histogram, 0, sizeof(histogram));
    uint64_t total_ns = 0;
    for (size_t i = 0; i < n; i++) {
        bni_histogram_add(&histogram, times[i]);
        total_ns += times[i];
    }
    bitnet_durations told;
    bni_histogram_read(&histogram, &told);
    qsort(times, n, sizeof(*times), compare_times);
    assert_int_equal(told.n, n);
    assert_int_equal(told.total_ns, total_ns);
    assert_int_equal(told.max_ns, times[n - 1]);
    check_percentile(times, n, 500, told.p50_ns);
    check_percentile(times, n, 900, told.p90_ns);
    check_percentile(times, n, 990, told.p99_ns);
    check_percentile(times, n, 999, told.p999_ns);
    assert_true(told.p999_ns <= told.max_ns);
}

static void percentiles_are_those_of_sorting(void **state)
{
    (void)state;
    static uint64_t times[MAX_TIMES];
    uint64_t seed = 0x9E3779B97F4A7C15;
    print_message("seed %llx\n", (unsigned long long)seed);
    for (int round = 0; round < 200; round++) {
        const size_t n = 1 + (size_t)(next_random(&seed) % MAX_TIMES);
        /* All magnitudes alike, or around one: both shapes that waits have. */
        const unsigned n_bits = (unsigned)(next_random(&seed) % 40);
        for (size_t i = 0; i < n; i++) {
            const unsigned cut =
                round % 2 == 0 ? 24 + (unsigned)(next_random(&seed) % 40) : 63 - n_bits;
            times[i] = next_random(&seed) >> cut;
        }
        check_times(times, n);
    }
}

static void few_times_have_percentiles_too(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 12; n++) {
        uint64_t times[12];
        for (uint64_t i = 0; i < n; i++) times[i] = 1000 * (i + 1);
        check_times(times, (size_t)n);
    }
}

static void nothing_counted_is_all_zero(void **state)
{
    (void)state;
    static const struct bni_histogram empty;
    static const bitnet_durations none;
    bitnet_durations told;
    memset(&told, 0xFF, sizeof(told));
    bni_histogram_read(&empty, &told);
    assert_memory_equal(&told, &none, sizeof(told));
}

static void equal_times_are_told_exactly(void **state)
{
    (void)state;
    struct bni_histogram histogram = {.n = 0};
    for (int i = 0; i < 100; i++) bni_histogram_add(&histogram, 1234567);
    bitnet_durations told;
    bni_histogram_read(&histogram, &told);
    assert_int_equal(told.p50_ns,
                     1234567); /* the bucket ends later, the times do not */
    assert_int_equal(told.p999_ns, 1234567);
}

static void buckets_ascend_without_gaps_and_are_narrow(void **state)
{
    (void)state;
    /* Around every boundary of the range: from one time to the next, the bucket is
     * the same or the one after it. */
    for (unsigned bit = 0; bit < BNI_HISTOGRAM_RANGE_BITS; bit++) {
        for (uint64_t eighth = 8; eighth < 16; eighth++) {
            const uint64_t begin = (eighth << bit) >> 3;
            if (begin == 0) continue;
            const size_t before = bni_histogram_bucket(begin - 1);
            const size_t at = bni_histogram_bucket(begin);
            assert_true(at == before || at == before + 1);
            assert_true(bit < 3 || at == before + 1);
        }
    }
    assert_int_equal(bni_histogram_bucket(0), 0);
    assert_int_equal(bni_histogram_bucket(range_end - 1), BNI_HISTOGRAM_N_BUCKETS - 2);
    assert_int_equal(bni_histogram_bucket(range_end), BNI_HISTOGRAM_N_BUCKETS - 1);
    assert_int_equal(bni_histogram_bucket(UINT64_MAX), BNI_HISTOGRAM_N_BUCKETS - 1);
}

static void times_beyond_the_range_are_told_as_the_longest(void **state)
{
    (void)state;
    struct bni_histogram histogram = {.n = 0};
    bni_histogram_add(&histogram, 5);
    bni_histogram_add(&histogram, range_end);
    bni_histogram_add(&histogram, 3 * range_end);
    bitnet_durations told;
    bni_histogram_read(&histogram, &told);
    assert_int_equal(told.p50_ns, 3 * range_end);
    assert_int_equal(told.max_ns, 3 * range_end);
    assert_int_equal(told.total_ns, 4 * range_end + 5);
}

static void a_total_too_large_stays_at_its_most(void **state)
{
    (void)state;
    struct bni_histogram histogram = {.n = 0};
    bni_histogram_add(&histogram, UINT64_MAX - 1);
    bni_histogram_add(&histogram, 1);
    assert_int_equal(histogram.total_ns, UINT64_MAX);
    bni_histogram_add(&histogram, 7);
    assert_int_equal(histogram.total_ns, UINT64_MAX);
    assert_int_equal(histogram.n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_sorting),
        cmocka_unit_test(few_times_have_percentiles_too),
        cmocka_unit_test(nothing_counted_is_all_zero),
        cmocka_unit_test(equal_times_are_told_exactly),
        cmocka_unit_test(buckets_ascend_without_gaps_and_are_narrow),
        cmocka_unit_test(times_beyond_the_range_are_told_as_the_longest),
        cmocka_unit_test(a_total_too_large_stays_at_its_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
