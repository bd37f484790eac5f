/* SPDX-License-Identifier: MIT */
/*
 * workspace.c - the memory of a forward pass: one block, cut into arrays.
 *
 * The same function lays out a workspace and measures one, so the announced bound
 * and what is taken cannot differ.
 */
#include "engine/forward.h"

#include "base/alloc.h"
#include "base/size.h"
#include "model/padded_rows.h"

static bool cut(size_t *offset, size_t n_rows, size_t n_columns, size_t size_bytes,
                size_t *begin)
{
    return bni_size_cut(offset, n_rows, n_columns, size_bytes, BNI_ALIGNMENT, begin);
}

struct layout {
    size_t x, normed, attended, projected, quantised, scales, sums, final, logits;
    size_t n_bytes;
};

static bool lay_out(const struct bni_hparams *hp, size_t max_rows,
                    size_t max_logit_rows, struct layout *layout)
{
    const size_t n_attended = (size_t)hp->n_heads * hp->head_dim;
    const size_t n_qkv = n_attended + 2 * (size_t)hp->n_kv_heads * hp->head_dim;
    const size_t widest_activation =
        bni_size_max(hp->n_ff, bni_size_max(hp->n_embd, n_attended));
    const size_t widest_projection =
        bni_size_max(n_qkv, bni_size_max(2 * (size_t)hp->n_ff, hp->n_embd));

    size_t offset = 0;
    const bool fits =
        cut(&offset, max_rows, hp->n_embd, sizeof(float), &layout->x) &&
        cut(&offset, max_rows, widest_activation, sizeof(float), &layout->normed) &&
        cut(&offset, max_rows, n_attended, sizeof(float), &layout->attended) &&
        cut(&offset, max_rows, widest_projection, sizeof(float), &layout->projected) &&
        cut(&offset, max_rows, bni_padded_cols(widest_activation), sizeof(int8_t),
            &layout->quantised) &&
        cut(&offset, max_rows, 1, sizeof(float), &layout->scales) &&
        cut(&offset, max_rows, 1, sizeof(int32_t), &layout->sums) &&
        cut(&offset, max_logit_rows, hp->n_embd, sizeof(float), &layout->final) &&
        cut(&offset, max_logit_rows, hp->n_vocab, sizeof(float), &layout->logits);
    layout->n_bytes = offset;
    return fits;
}

bool bni_workspace_bytes(const struct bni_hparams *hparams, size_t max_rows,
                         size_t max_logit_rows, size_t *n_bytes)
{
    struct layout layout;
    if (!lay_out(hparams, max_rows, max_logit_rows, &layout)) return false;
    *n_bytes = layout.n_bytes;
    return true;
}

bitnet_status bni_workspace_init(struct bni_workspace *workspace,
                                 const struct bni_hparams *hparams, size_t max_rows,
                                 size_t max_logit_rows)
{
    struct layout layout;
    char *block = NULL;
    *workspace = (struct bni_workspace){0};
    if (lay_out(hparams, max_rows, max_logit_rows, &layout))
        block = bni_map_zeroed(layout.n_bytes); /* touched as batches grow */
    if (block == NULL) return bitnet_last_status();

    *workspace = (struct bni_workspace){
        .max_rows = max_rows,
        .max_logit_rows = max_logit_rows,
        .x = (float *)(void *)(block + layout.x),
        .normed = (float *)(void *)(block + layout.normed),
        .attended = (float *)(void *)(block + layout.attended),
        .projected = (float *)(void *)(block + layout.projected),
        .quantised = (int8_t *)(block + layout.quantised),
        .scales = (float *)(void *)(block + layout.scales),
        .sums = (int32_t *)(void *)(block + layout.sums),
        .final = (float *)(void *)(block + layout.final),
        .logits = (float *)(void *)(block + layout.logits),
        .block = block,
        .n_bytes = layout.n_bytes,
    };
    return BITNET_OK;
}

void bni_workspace_free(struct bni_workspace *workspace)
{
    bni_unmap(workspace->block, workspace->n_bytes);
    workspace->block = NULL;
}
