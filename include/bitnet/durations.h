/* SPDX-License-Identifier: MIT */
/*
 * bitnet/durations.h - how long something took, over many times.
 */
#ifndef BITNET_DURATIONS_H
#define BITNET_DURATIONS_H

#include <stdint.h>

/*
 * What a histogram of times tells. The 90th percentile is the least time that at
 * least 90 % of all times do not exceed, and so on. What is told is the upper end of
 * the bucket it falls in, at most 1/8 above the true one and never above `max_ns`;
 * from 2^40 ns, 18 minutes, it is `max_ns`. `n`, `max_ns` and `total_ns` are exact;
 * the total stays at UINT64_MAX once there. All zero while `n` is.
 */
typedef struct bitnet_durations {
    uint64_t n;
    uint64_t total_ns;
    uint64_t p50_ns;
    uint64_t p90_ns;
    uint64_t p99_ns;
    uint64_t p999_ns;
    uint64_t max_ns;
} bitnet_durations;

#endif
