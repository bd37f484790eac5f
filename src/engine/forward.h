/* SPDX-License-Identifier: MIT */
/*
 * forward.h - one pass of the model over a batch of rows.
 *
 * A row is one token of one sequence: its id, its position, and the pages of its
 * sequence. Rows of different sequences, and several rows of one, go through
 * together, so that each weight is read from memory once per step; but nothing a
 * row computes reads another row's data, except the keys and values of its own
 * sequence, so a row's bits do not depend on the company it keeps.
 */
#ifndef BNI_ENGINE_FORWARD_H
#define BNI_ENGINE_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>
#include <bitnet/status.h>

#include "engine/kv_cache.h"
#include "engine/rope.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "threads/team.h"

struct bni_row {
    bitnet_token token;
    uint32_t position;
    const uint32_t *pages; /* of the sequence: page i has positions [32i, 32i + 32) */
    bool wants_logits;
};

/*
 * Called on the calling thread before each layer; false abandons the pass. The
 * cache is then as if the rows had been half written, which is harmless: their
 * positions are written again before they are read.
 */
typedef bool (*bni_layer_fn)(void *user);

/* The memory a pass works in, sized once for the largest batch. */
struct bni_workspace {
    size_t max_rows;
    size_t max_logit_rows;
    float *x;        /* [max_rows][n_embd]: the residual stream */
    float *normed;   /* [max_rows][widest activation]: what is about to be quantised */
    float *attended; /* [max_rows][n_heads * head_dim] */
    float *
        projected; /* [max_rows][widest projection group]: q, k and v, or gate and up */
    int8_t *quantised; /* [max_rows][widest activation, padded: padded_rows.h] */
    float *scales;     /* [max_rows] */
    int32_t *sums;     /* [max_rows] */
    float *final;      /* [max_logit_rows][n_embd] */
    float *logits;     /* [max_logit_rows][n_vocab] */
    void *block;       /* all of the above */
    size_t n_bytes;
};

/* Bytes of a workspace; false if they do not fit a size_t. */
bool bni_workspace_bytes(const struct bni_hparams *hparams, size_t max_rows,
                         size_t max_logit_rows, size_t *n_bytes);

bitnet_status bni_workspace_init(struct bni_workspace *workspace,
                                 const struct bni_hparams *hparams, size_t max_rows,
                                 size_t max_logit_rows);
void bni_workspace_free(struct bni_workspace *workspace);

struct bni_two_pass;
struct bni_logit_need;

/* What a pass needs besides its rows; all of it outlives the pass. */
struct bni_forward {
    const struct bitnet_model *model;
    const struct bni_kernels *kernels;
    const struct bni_rope_table *rope;
    const struct bni_kv_cache *cache;
    struct bni_workspace *workspace;
    /* What will be looked at of each row of logits, if that is known and so may save
     * the others (two_pass.h); or both NULL. */
    struct bni_two_pass *two_pass;
    const struct bni_logit_need *needs;
};

/*
 * Computes `n_rows` <= max_rows rows, of which at most max_logit_rows want logits.
 * The rows of one sequence are in increasing order of position and continue what
 * its pages hold. Logits of the i-th row that wants them are row i of
 * workspace->logits, with `needs` those that the row's need asks for. Returns false if `on_layer` (may be NULL) said to stop.
 */
bool bni_forward_run(const struct bni_forward *forward, struct bni_team *team,
                     const struct bni_row *rows, size_t n_rows, bni_layer_fn on_layer,
                     void *user);

/*
 * After a pass: puts the hidden state of row number `row`, which did not want logits,
 * into row `slot` < max_logit_rows of workspace->final. Once for each row.
 */
void bni_forward_finish_row(const struct bni_forward *forward, size_t row, size_t slot);

/* Makes logits of the first `n_rows` rows of workspace->final. */
void bni_forward_head(const struct bni_forward *forward, struct bni_team *team,
                      size_t n_rows);

#endif
