/* SPDX-License-Identifier: MIT */
/*
 * readout.c - see readout.h.
 *
 *     rows of the step     . . s s s s s s s . e e e
 *     slices of 3              [s s s][s s s][s]     head, then ln p of each row
 *                                                [e e e]   norm, then one sum each
 *
 * The positions of a request come in order, whatever the chunks, so the sums of a mean
 * have one order. All of it is the scheduler's alone; the rows of a slice go side by side
 * on the compute team.
 */
#include "engine/readout.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/engine.h"
#include "engine/logprobs.h"
#include "kernels/elementary.h"

bitnet_status bni_readout_init(struct bni_readout *readout, enum bni_readout_kind kind,
                               size_t n_values)
{
    *readout = (struct bni_readout){.kind = kind, .bad_position = BNI_NO_POSITION};
    if (kind == BNI_READOUT_NONE) return BITNET_OK;
    const size_t n_sums = kind == BNI_READOUT_MEAN ? n_values : 0;
    double *block = bni_calloc(1, n_sums * sizeof(double) + n_values * sizeof(float));
    if (block == NULL) return bitnet_last_status();
    readout->sums = block;
    readout->values = (float *)(void *)(block + n_sums);
    readout->n_values = n_values;
    return BITNET_OK;
}

void bni_readout_free(struct bni_readout *readout)
{
    bni_free(readout->sums);
}

/* ---- a slice ----------------------------------------------------------------------- */

struct slice {
    bitnet_engine *engine;
    const struct bni_forward *forward;
    struct bni_team *team;
    struct bni_readout_row *rows; /* [max_batch] */
    size_t n_rows;
    bool is_scored;
};

static void norm_rows(void *user, size_t begin, size_t end)
{
    const struct slice *slice = user;
    for (size_t i = begin; i < end; i++)
        bni_forward_finish_row(slice->forward, slice->rows[i].row, i);
}

static void score_rows(void *user, size_t begin, size_t end)
{
    const struct slice *slice = user;
    const uint32_t n_vocab = slice->forward->model->hparams.n_vocab;
    for (size_t i = begin; i < end; i++) {
        struct bni_readout_row *row = &slice->rows[i];
        const float *logits = slice->forward->workspace->logits + i * n_vocab;
        row->is_finite = bni_all_are_finite(logits, n_vocab);
        if (!row->is_finite) continue;
        const struct bni_softmax softmax = bni_softmax_of(logits, n_vocab);
        const bitnet_token token = row->request->tokens[row->position + 1];
        row->request->readout.values[row->position - row->request->first_output] =
            bni_logprob(&softmax, logits[token]);
    }
}

static void score_slice(const struct slice *slice)
{
    const size_t n_vocab = slice->forward->model->hparams.n_vocab;
    bni_forward_head(slice->forward, slice->team, slice->n_rows);
    bni_team_run(slice->team, slice->n_rows, 1, score_rows, (void *)slice);
    for (size_t i = 0; i < slice->n_rows; i++)
        bni_request_keep_logits(slice->rows[i].request,
                                slice->forward->workspace->logits + i * n_vocab);
}

static void pool_row(struct bni_readout_row *row, const float *state)
{
    struct bni_readout *readout = &row->request->readout;
    row->is_finite = bni_all_are_finite(state, readout->n_values);
    for (size_t d = 0; d < readout->n_values; d++) {
        if (readout->kind == BNI_READOUT_MEAN)
            readout->sums[d] += (double)state[d];
        else
            readout->values[d] = state[d];
    }
}

static void run_slice(struct slice *slice)
{
    if (slice->n_rows == 0) return;
    bni_team_run(slice->team, slice->n_rows, 1, norm_rows, slice);
    if (slice->is_scored) score_slice(slice);
    for (size_t i = 0; i < slice->n_rows; i++) {
        struct bni_readout_row *row = &slice->rows[i];
        const size_t n_embd = slice->forward->model->hparams.n_embd;
        if (!slice->is_scored)
            pool_row(row, slice->forward->workspace->final + i * n_embd);
        struct bni_readout *readout = &row->request->readout;
        if (!row->is_finite && readout->bad_position == BNI_NO_POSITION)
            readout->bad_position = row->position;
    }
    slice->n_rows = 0;
}

/* ---- a step ------------------------------------------------------------------------ */

static bool is_in(const struct slice *slice, const bitnet_request *request)
{
    const enum bni_readout_kind kind = request->readout.kind;
    return kind != BNI_READOUT_NONE && !request->is_over &&
           (kind == BNI_READOUT_SCORES) == slice->is_scored;
}

/* Puts the request's rows into slices, and runs those that are full. */
static void add_rows_of(struct slice *slice, bitnet_request *request,
                        bni_layer_fn on_slice, void *user)
{
    for (uint32_t i = 0; i < request->n_step_rows && is_in(slice, request); i++) {
        const uint32_t position = request->n_computed + i;
        if (position < request->first_output) continue;
        slice->rows[slice->n_rows++] = (struct bni_readout_row){
            .request = request,
            .row = request->first_step_row + i,
            .position = position,
        };
        if (slice->n_rows < slice->engine->max_batch) continue;
        run_slice(slice);
        on_slice(user);
    }
}

void bni_read_out(bitnet_engine *engine, const struct bni_forward *forward,
                  struct bni_team *team, bni_layer_fn on_slice, void *user)
{
    struct slice slice = {engine, forward, team, engine->readout_rows, 0, false};
    for (int pass = 0; pass < 2; pass++) {
        slice.is_scored = pass == 0;
        for (uint32_t r = 0; r < engine->n_running; r++)
            add_rows_of(&slice, engine->running[r], on_slice, user);
        run_slice(&slice);
    }
}

void bni_readout_finish(struct bni_readout *readout, uint32_t n_positions)
{
    if (readout->kind == BNI_READOUT_MEAN)
        for (size_t d = 0; d < readout->n_values; d++)
            readout->values[d] = (float)(readout->sums[d] / (double)n_positions);
    if (!readout->is_normalised) return;
    double sum = 0;
    for (size_t d = 0; d < readout->n_values; d++)
        sum += (double)readout->values[d] * (double)readout->values[d];
    if (sum == 0) return;
    const double length = sqrt(sum);
    for (size_t d = 0; d < readout->n_values; d++)
        readout->values[d] = (float)((double)readout->values[d] / length);
}
