/* SPDX-License-Identifier: MIT */
/*
 * histogram.h - how long things took, counted in buckets of nearly equal ratio.
 *
 * Log-linear: each power of two is cut into 8 buckets of equal width, so a bucket's
 * upper end is less than 1/8 above any time in it, and finding the bucket takes one
 * count of leading zeros. Times under 8 ns have a bucket each; all from 2^40 ns, 18
 * minutes, share the last one.
 *
 *     ns        0 1 ... 7 | 8 9 ... 15 | 16 18 ... 30 | 32 36 ... 60 | 64 ...
 *     bucket    0 1 ... 7 | 8 9 ... 15 | 16 17 ... 23 | 24 25 ... 31 | 32 ...
 *
 * All zero is an empty histogram. Nothing is synchronised: whoever owns it says what
 * guards it.
 */
#ifndef BNI_BASE_HISTOGRAM_H
#define BNI_BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/durations.h>

enum {
    BNI_HISTOGRAM_SPLIT_BITS = 3, /* 8 buckets for each power of two */
    BNI_HISTOGRAM_RANGE_BITS = 40,
    /* The first 8, 8 for each further power of two of the range, and the last. */
    BNI_HISTOGRAM_N_BUCKETS = ((BNI_HISTOGRAM_RANGE_BITS - BNI_HISTOGRAM_SPLIT_BITS + 1)
                               << BNI_HISTOGRAM_SPLIT_BITS) +
                              1
};

struct bni_histogram {
    uint64_t n;
    uint64_t total_ns; /* stays at UINT64_MAX once there: 584 years */
    uint64_t max_ns;
    uint64_t counts[BNI_HISTOGRAM_N_BUCKETS];
};

/* Returns the bucket that `ns` falls in. */
static inline size_t bni_histogram_bucket(uint64_t ns)
{
    if (ns < (1U << BNI_HISTOGRAM_SPLIT_BITS)) return (size_t)ns;
    if (ns >= UINT64_C(1) << BNI_HISTOGRAM_RANGE_BITS)
        return BNI_HISTOGRAM_N_BUCKETS - 1;
    /* The highest bit gives the power of two, the three below it the bucket in it. */
    const unsigned shift =
        63U - (unsigned)__builtin_clzll(ns) - (unsigned)BNI_HISTOGRAM_SPLIT_BITS;
    return ((size_t)shift << BNI_HISTOGRAM_SPLIT_BITS) + (size_t)(ns >> shift);
}

/* Adds two totals, which stay at UINT64_MAX once there. */
static inline uint64_t bni_histogram_sum(uint64_t a, uint64_t b)
{
    return a < UINT64_MAX - b ? a + b : UINT64_MAX;
}

/* Counts one time. */
static inline void bni_histogram_add(struct bni_histogram *histogram, uint64_t ns)
{
    histogram->n++;
    histogram->counts[bni_histogram_bucket(ns)]++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
    histogram->total_ns = bni_histogram_sum(histogram->total_ns, ns);
}

/* Counts everything that `part` has counted. */
void bni_histogram_merge(struct bni_histogram *sum, const struct bni_histogram *part);

/*
 * Fills `out`. The p-th percentile is the least time that at least that part of all
 * times does not exceed, rounded up to the end of its bucket, but never above the
 * longest time of all. Goes through all buckets: copy the histogram out from under a
 * hot lock first.
 */
void bni_histogram_read(const struct bni_histogram *histogram, bitnet_durations *out);

#endif
