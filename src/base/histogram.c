/* SPDX-License-Identifier: MIT */
/*
 * histogram.c - percentiles of a histogram: see histogram.h.
 */
#include "base/histogram.h"

void bni_histogram_merge(struct bni_histogram *sum, const struct bni_histogram *part)
{
    sum->n += part->n;
    sum->total_ns = bni_histogram_sum(sum->total_ns, part->total_ns);
    if (part->max_ns > sum->max_ns) sum->max_ns = part->max_ns;
    for (size_t i = 0; i < BNI_HISTOGRAM_N_BUCKETS; i++)
        sum->counts[i] += part->counts[i];
}

/* Returns the longest time that falls in the bucket, `max_ns` for the last one. */
static uint64_t bucket_end(const struct bni_histogram *histogram, size_t bucket)
{
    const size_t n_split = (size_t)1 << BNI_HISTOGRAM_SPLIT_BITS;
    if (bucket == BNI_HISTOGRAM_N_BUCKETS - 1) return histogram->max_ns;
    if (bucket < n_split) return bucket;
    const size_t shift = bucket / n_split - 1;
    return ((uint64_t)(n_split + bucket % n_split + 1) << shift) - 1;
}

/* Rounds `n * per_mille / 1000` up, without the overflow. */
static uint64_t rank_of(uint64_t n, unsigned per_mille)
{
    return n / 1000 * per_mille + (n % 1000 * per_mille + 999) / 1000;
}

void bni_histogram_read(const struct bni_histogram *histogram, bitnet_durations *out)
{
    *out = (bitnet_durations){
        .n = histogram->n,
        .total_ns = histogram->total_ns,
        .max_ns = histogram->max_ns,
    };
    if (histogram->n == 0) return;

    static const unsigned per_milles[] = {500, 900, 990, 999};
    uint64_t *const results[] = {&out->p50_ns, &out->p90_ns, &out->p99_ns,
                                 &out->p999_ns};
    size_t bucket = 0;
    uint64_t n_so_far = histogram->counts[0]; /* in all buckets up to `bucket` */
    for (size_t i = 0; i < sizeof(per_milles) / sizeof(per_milles[0]); i++) {
        const uint64_t rank = rank_of(histogram->n, per_milles[i]);
        while (n_so_far < rank && bucket + 1 < BNI_HISTOGRAM_N_BUCKETS)
            n_so_far += histogram->counts[++bucket];
        const uint64_t end = bucket_end(histogram, bucket);
        *results[i] = end < histogram->max_ns ? end : histogram->max_ns;
    }
}
