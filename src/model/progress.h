/* SPDX-License-Identifier: MIT */
/*
 * progress.h - how far a load is, and whether to go on with it.
 *
 * A load calls in between pieces of bounded work: the file's index, the tokenizer, a
 * megabyte of weights. The fraction is a guess at the time, not a measurement:
 *
 *     0        0.05         0.25                                        1
 *     | index  | tokenizer  | checking weights, by bytes; copying the   |
 *     |        |            | head, by values                           |
 */
#ifndef BNI_MODEL_PROGRESS_H
#define BNI_MODEL_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <bitnet/model.h>

#include "base/float_env.h"

#define BNI_PROGRESS_INDEXED 0.05
#define BNI_PROGRESS_TOKENIZED 0.25

enum { BNI_PROGRESS_BYTES = 1 << 20 }; /* of weights in between */

struct bni_progress {
    bitnet_progress_fn fn; /* or NULL */
    void *user;
    _Atomic double fraction; /* any thread reads it */
};

/*
 * Tells that the load is at `fraction`. CANCELLED if the caller's function says so, or
 * the job that the load is was cancelled. A NULL `progress` goes on.
 */
bitnet_status bni_progress_at(struct bni_progress *progress, double fraction);

#endif
