/* SPDX-License-Identifier: MIT */
/*
 * head_copy.h - an eight-bit copy of the output head, and how far it is off.
 *
 * A token mostly is chosen among the few of the largest logits. The copy, half the
 * bytes of an F16 head, says which those can be; only their logits are then computed
 * from the head itself (engine/two_pass.h). So the copy decides nothing, and for each
 * row it is known how wrong it is.
 *
 *     row m of the head  =  scales[m] * codes[m]  +  what is left
 *     length of what is left <= residuals[m],  length of the row <= norms[m]
 *
 * Made while loading, since engines share it; fixed from then on.
 */
#ifndef BNI_MODEL_HEAD_COPY_H
#define BNI_MODEL_HEAD_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>
#include <bitnet/status.h>

struct bni_dense_weight;

struct bni_head_copy {
    int8_t *codes;    /* [n_rows][n_cols], in -127..127; NULL: there is no copy */
    float *scales;    /* [n_rows] */
    float *residuals; /* [n_rows] */
    float *norms;     /* [n_rows] */
    size_t n_bytes;   /* of all of it; one region, which begins with the codes */
    uint64_t build_ns;
};

/* Tells how many values of a copy were made since the last call. OK to go on. */
typedef bitnet_status (*bni_head_copy_fn)(void *user, size_t n_values);

/* INVALID_ARGUMENT, on behalf of `what`, unless the choice is one. */
bitnet_status bni_head_copy_check(const char *what, bitnet_head_copy choice);

/* Whether a model with this head gets a copy. */
bool bni_head_copy_is_wanted(const struct bni_dense_weight *head,
                             bitnet_head_copy choice);

/*
 * Makes the copy, on the compute team, in turns of a few milliseconds; calls
 * `on_progress` after each, without the turn. A head with a value that is not finite, or
 * a row longer than 2^60, gets none: that is OK, with `codes` NULL.
 */
bitnet_status bni_head_copy_make(const struct bni_dense_weight *head,
                                 bni_head_copy_fn on_progress, void *user,
                                 struct bni_head_copy *copy);

void bni_head_copy_free(struct bni_head_copy *copy);

#endif
