/* SPDX-License-Identifier: MIT */
/*
 * rope.h - the angles of rotary position embedding, as a table.
 *
 * Row `pos` holds cos and sin of theta_i = pos * base^(-2i/head_dim) / scale /
 * factor_i for i < head_dim / 2, computed once in double and rounded to float.
 */
#ifndef BNI_ENGINE_ROPE_H
#define BNI_ENGINE_ROPE_H

#include <stddef.h>

#include <bitnet/status.h>

#include "model/model.h"

struct bni_rope_table {
    float *cos; /* [n_ctx][head_dim / 2] */
    float *sin; /* [n_ctx][head_dim / 2] */
    size_t half_dim;
};

/* Bytes that a table of `n_ctx` positions takes. */
size_t bni_rope_table_bytes(const struct bni_hparams *hparams, size_t n_ctx);

bitnet_status bni_rope_table_init(struct bni_rope_table *table,
                                  const struct bni_hparams *hparams,
                                  const float *factors, size_t n_ctx);
void bni_rope_table_free(struct bni_rope_table *table);

#endif
