/* SPDX-License-Identifier: MIT */
/*
 * finite.c - where numbers stopped being finite.
 *
 * A step only notices at its end: quantising a row that is not finite makes all that
 * follows NaN, so it shows in the logits. Who has failed is run once more, alone, one
 * row, and looked at between the layers. That costs a step, once, and nothing where
 * nothing fails. The row writes the same keys and values to the same place again.
 */
#include "engine/engine.h"

#include <inttypes.h>
#include <math.h>

#include "kernels/elementary.h"

struct search {
    const bitnet_engine *engine;
    uint32_t n_layers_begun;
    bool is_found;
};

/* A layer's last product is still to be added when the next layer is about to begin. */
static bool sum_is_finite(const float *x, const float *product, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i] + product[i])) return false;
    return true;
}

static bool look_before_layer(void *user)
{
    struct search *search = user;
    const struct bni_workspace *ws = &search->engine->workspace;
    const size_t n_embd = search->engine->model->hparams.n_embd;
    search->is_found = search->n_layers_begun == 0
                           ? !bni_all_are_finite(ws->x, n_embd)
                           : !sum_is_finite(ws->x, ws->projected, n_embd);
    if (search->is_found) return false;
    search->n_layers_begun++;
    return true;
}

void bni_explain_not_finite(bitnet_engine *engine, struct bni_team *team,
                            const bitnet_request *request, uint32_t position,
                            struct bni_error_record *error)
{
    const struct bni_forward forward = bni_engine_forward(engine);
    const struct bni_row row = {
        .token = request->tokens[position],
        .position = position,
        .pages = request->pages,
        .wants_logits = true,
    };
    struct search search = {.engine = engine};
    bni_forward_run(&forward, team, &row, 1, look_before_layer, &search);

    const uint32_t n_layers = engine->model->hparams.n_layers;
    const bool is_in_layers =
        search.is_found ||
        !bni_all_are_finite(engine->workspace.x, engine->model->hparams.n_embd);
    if (is_in_layers && search.n_layers_begun > 0)
        bni_error_record_set(error, BITNET_ERROR_INFERENCE_FAILED,
                             "%s: the numbers of position %" PRIu32 " (token %" PRId32
                             ") stop being finite in layer %" PRIu32
                             ", counted from 0, of %" PRIu32,
                             request->what, position, row.token,
                             search.n_layers_begun - 1, n_layers);
    else
        bni_error_record_set(error, BITNET_ERROR_INFERENCE_FAILED,
                             "%s: the numbers of position %" PRIu32 " (token %" PRId32
                             ") stop being finite in the %s",
                             request->what, position, row.token,
                             is_in_layers ? "embedding, before the first layer"
                                          : "output head, after the last layer");
}
