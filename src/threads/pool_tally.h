/* SPDX-License-Identifier: MIT */
/*
 * pool_tally.h - how the jobs of a pool ended, and how long they took.
 *
 * The pool has a tally, and each worker has one for the jobs that it ended without
 * the pool's lock (pool_hand.c); the statistics are their sum.
 */
#ifndef BNI_THREADS_POOL_TALLY_H
#define BNI_THREADS_POOL_TALLY_H

#include <stdint.h>

#include <bitnet/status.h>

#include "base/histogram.h"

/* How a job comes to its end. */
enum bni_ending {
    BNI_ENDING_RUN,      /* its function runs */
    BNI_ENDING_CANCEL,   /* this and all below: its drop function runs instead */
    BNI_ENDING_DISPLACE, /* the pool stops, has no threads, or needs the place */
    BNI_ENDING_EXPIRE,
};

struct bni_tally {
    uint64_t n_completed;
    uint64_t n_failed;
    uint64_t n_cancelled;
    uint64_t n_dropped;
    uint64_t n_expired;
    struct bni_histogram queue_wait; /* these two in ticks */
    struct bni_histogram run_time;
};

/* Counts one job; `status` and `run_ticks` are of one that ran. */
static inline void bni_tally_end(struct bni_tally *tally, enum bni_ending ending,
                                 bitnet_status status, uint64_t run_ticks)
{
    switch (ending) {
    case BNI_ENDING_CANCEL: tally->n_cancelled++; return;
    case BNI_ENDING_DISPLACE: tally->n_dropped++; return;
    case BNI_ENDING_EXPIRE: tally->n_expired++; return;
    case BNI_ENDING_RUN: break;
    }
    if (status == BITNET_OK) {
        tally->n_completed++;
    } else if (status == BITNET_ERROR_CANCELLED) {
        tally->n_cancelled++;
    } else {
        tally->n_failed++;
    }
    bni_histogram_add(&tally->run_time, run_ticks);
}

static inline void bni_tally_add(struct bni_tally *sum, const struct bni_tally *part)
{
    sum->n_completed += part->n_completed;
    sum->n_failed += part->n_failed;
    sum->n_cancelled += part->n_cancelled;
    sum->n_dropped += part->n_dropped;
    sum->n_expired += part->n_expired;
    bni_histogram_merge(&sum->queue_wait, &part->queue_wait);
    bni_histogram_merge(&sum->run_time, &part->run_time);
}

#endif
