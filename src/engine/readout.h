/* SPDX-License-Identifier: MIT */
/*
 * readout.h - what the scheduler reads off the rows of a request that wants no tokens:
 * log-probabilities of given ones, or a pooled hidden state.
 *
 * Such a request is a prompt and nothing else. Its rows go through the layers like
 * everybody's; after the step's sampling, when the workspace's logits are free again,
 * the output head goes over them in slices of as many rows as have room there. So no
 * memory grows with the number of rows, and what a row gives does not depend on slices.
 */
#ifndef BNI_ENGINE_READOUT_H
#define BNI_ENGINE_READOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>
#include <bitnet/status.h>

#include "engine/forward.h"

enum bni_readout_kind {
    BNI_READOUT_NONE,   /* the request generates */
    BNI_READOUT_SCORES, /* ln p(token of position + 1), one number each */
    BNI_READOUT_MEAN,   /* of the hidden states */
    BNI_READOUT_LAST
};

/* Stands for no position. */
#define BNI_NO_POSITION UINT32_MAX

/* The scheduler's, and the compute team's for it, until the request has ended. */
struct bni_readout {
    enum bni_readout_kind kind;
    bool is_normalised; /* to length 1 */
    float *values;      /* [n_values] */
    size_t n_values;
    double *sums;          /* [n_values] of BNI_READOUT_MEAN; one block with `values` */
    uint32_t bad_position; /* the first whose numbers are not finite, or none */
};

/* A row to be read out. */
struct bni_readout_row {
    struct bitnet_request *request;
    uint32_t row; /* of the step */
    uint32_t position;
    bool is_finite;
};

/* Makes room for the results. `kind` NONE needs none. */
bitnet_status bni_readout_init(struct bni_readout *readout, enum bni_readout_kind kind,
                               size_t n_values);
void bni_readout_free(struct bni_readout *readout);

/*
 * Reads out the rows of the step that has just been computed, before they are counted
 * in. Before each slice it calls `on_slice`, which may end requests.
 */
void bni_read_out(bitnet_engine *engine, const struct bni_forward *forward,
                  struct bni_team *team, bni_layer_fn on_slice, void *user);

/* Makes the result of `n_positions` from what was read out. */
void bni_readout_finish(struct bni_readout *readout, uint32_t n_positions);

#endif
