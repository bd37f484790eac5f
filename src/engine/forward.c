/* SPDX-License-Identifier: MIT */
/*
 * forward.c - the forward graph, as a straight line of joins.
 *
 * Every step of the graph is one run of the compute team over a range: rows for
 * what is done to a row alone (norm, quantise, rotate), output rows of the weight
 * matrix for a product, (few rows, kv head) pairs for attention. The trampolines below
 * are all that joins kernels, which know no threads, to the team, which knows no
 * matrices. For each layer:
 *
 *     rows      x += previous product; h = RMS(x; attn_norm); quantise
 *     outputs   q, k, v          (one range over the three matrices)
 *     rows      rotate q and k; append k and v to the cache
 *     pairs     attention
 *     rows      sub-norm; quantise
 *     outputs   attention output
 *     rows      x += ; h = RMS(x; ffn_norm); quantise
 *     outputs   gate, up         (one range over the two)
 *     rows      activation * up; sub-norm; quantise
 *     outputs   down
 *
 * The order of every sum is in docs/numerics.md.
 */
#include "engine/forward.h"

#include <math.h>
#include <string.h>

#include "base/size.h"
#include "engine/two_pass.h"
#include "model/padded_rows.h"

enum {
    /* Work below this is not worth another thread: measured on 2 cores with the
     * shipped model, where a join costs about a microsecond. */
    ROWS_PER_PIECE = 2,
    OUTPUTS_PER_PIECE = 32,
    HEAD_OUTPUTS_PER_PIECE = 64,
    /* Rows of a sequence whose queries go over its pages together, and how many queries
     * do: enough to use what is read of a page several times. */
    ATTENTION_ROWS = 4,
    MAX_QUERIES = 16,
};

struct pass {
    const struct bni_forward *forward;
    const struct bitnet_model *model;
    const struct bni_kernels *kernels;
    struct bni_workspace *ws;
    struct bni_team *team;
    const struct bni_row *rows;
    size_t n_rows;
    uint32_t layer_index;
    const struct bni_layer *layer;
    size_t n_q;  /* columns of q in `projected`: n_heads * head_dim */
    size_t n_kv; /* of k, and of v */
};

/* ---- one row at a time ------------------------------------------------------- */

static float *row_of(float *array, size_t row, size_t n_columns)
{
    return array + row * n_columns;
}

static void quantise_row(const struct pass *pass, size_t row, const float *values,
                         size_t n)
{
    const size_t n_padded = bni_padded_cols(n);
    int8_t *q = pass->ws->quantised + row * n_padded;
    pass->kernels->quantize(values, n, q, &pass->ws->scales[row], &pass->ws->sums[row]);
    memset(q + n, 0, n_padded - n);
}

static void norm_and_quantise_row(const struct pass *pass, size_t row,
                                  const float *gain)
{
    const struct bni_hparams *hp = &pass->model->hparams;
    float *normed = row_of(pass->ws->normed, row, hp->n_embd);
    pass->kernels->rms_norm(row_of(pass->ws->x, row, hp->n_embd), gain, hp->n_embd,
                            hp->rms_norm_epsilon, normed);
    quantise_row(pass, row, normed, hp->n_embd);
}

static void embed_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    const struct bni_dense_weight *embedding = &pass->model->embedding;
    const size_t row_bytes = bni_dense_bytes(embedding->type, embedding->n_cols);
    for (size_t i = begin; i < end; i++) {
        const char *values =
            (const char *)embedding->values + (size_t)pass->rows[i].token * row_bytes;
        pass->kernels->widen[embedding->type](values, embedding->n_cols,
                                              row_of(pass->ws->x, i,
                                                     embedding->n_cols));
    }
}

static void add_product(const struct bni_forward *forward, size_t row)
{
    const size_t n_embd = forward->model->hparams.n_embd;
    forward->kernels->add(row_of(forward->workspace->x, row, n_embd),
                          row_of(forward->workspace->projected, row, n_embd), n_embd);
}

static void begin_attention_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    for (size_t i = begin; i < end; i++) {
        if (pass->layer_index > 0) add_product(pass->forward, i); /* the last down */
        norm_and_quantise_row(pass, i, pass->layer->attn_norm);
    }
}

static void begin_ffn_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    for (size_t i = begin; i < end; i++) {
        add_product(pass->forward, i);
        norm_and_quantise_row(pass, i, pass->layer->ffn_norm);
    }
}

static void rotate(const struct pass *pass, float *heads, size_t n_heads,
                   uint32_t position)
{
    const struct bni_rope_table *rope = pass->forward->rope;
    const size_t head_dim = pass->model->hparams.head_dim;
    const float *cos = rope->cos + position * rope->half_dim;
    const float *sin = rope->sin + position * rope->half_dim;
    const bool is_neox = pass->model->architecture->rope_style == BNI_ROPE_NEOX;
    for (size_t h = 0; h < n_heads; h++) {
        float *head = heads + h * head_dim;
        if (is_neox)
            pass->kernels->rope_neox(head, cos, sin, head_dim);
        else
            pass->kernels->rope_adjacent(head, cos, sin, head_dim);
    }
}

/* Rotates a row's q and k in place and puts k and v where their position belongs. */
static void append_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    const struct bni_hparams *hp = &pass->model->hparams;
    for (size_t i = begin; i < end; i++) {
        const struct bni_row *row = &pass->rows[i];
        float *q = row_of(pass->ws->projected, i, pass->n_q + 2 * pass->n_kv);
        float *k = q + pass->n_q;
        const float *v = k + pass->n_kv;
        rotate(pass, q, hp->n_heads, row->position);
        rotate(pass, k, hp->n_kv_heads, row->position);

        struct bni_kv_place place = {row->pages[row->position / BNI_KV_PAGE_POSITIONS],
                                     pass->layer_index, 0};
        for (; place.kv_head < hp->n_kv_heads; place.kv_head++)
            bni_kv_store(pass->forward->cache, pass->kernels, place,
                         row->position % BNI_KV_PAGE_POSITIONS,
                         k + place.kv_head * hp->head_dim,
                         v + place.kv_head * hp->head_dim);
    }
}

/* Query heads that share keys and values, in the order of their rows' positions. */
struct queries {
    struct bni_attention_query query[MAX_QUERIES];
    uint32_t n_seen[MAX_QUERIES]; /* positions up to the row's own */
    size_t n;
};

/* All of them over all positions, a page at a time. */
static void attend(const struct pass *pass, const uint32_t *pages, uint32_t kv_head,
                   struct queries *queries)
{
    const size_t head_dim = pass->model->hparams.head_dim;
    const float scale = 1.0f / sqrtf((float)head_dim);
    size_t i = 0; /* those before it have seen all they see */
    for (uint32_t first = 0; i < queries->n; first += BNI_KV_PAGE_POSITIONS) {
        for (size_t j = i; j < queries->n; j++)
            queries->query[j].n_positions =
                bni_size_min(queries->n_seen[j] - first, BNI_KV_PAGE_POSITIONS);
        const uint32_t *page = &pages[first / BNI_KV_PAGE_POSITIONS];
        const struct bni_kv_place place = {*page, pass->layer_index, kv_head};
        const bool is_last =
            queries->n_seen[queries->n - 1] <= first + BNI_KV_PAGE_POSITIONS;
        bni_kv_attend(pass->forward->cache, pass->kernels, place,
                      is_last ? *page : page[1], queries->query + i, queries->n - i,
                      scale);
        while (i < queries->n && queries->n_seen[i] <= first + BNI_KV_PAGE_POSITIONS)
            i++;
    }
    for (i = 0; i < queries->n; i++) {
        const struct bni_attention_query *query = &queries->query[i];
        for (size_t d = 0; d < head_dim; d++) query->acc[d] /= query->sum;
    }
    queries->n = 0;
}

/* Rows [row, row_end) of one sequence, with the query heads of one kv head. */
static void attend_rows(const struct pass *pass, size_t row, size_t row_end,
                        uint32_t kv_head)
{
    const struct bni_hparams *hp = &pass->model->hparams;
    const size_t n_group = hp->n_heads / hp->n_kv_heads;
    const uint32_t *pages = pass->rows[row].pages;
    struct queries queries = {.n = 0};
    for (; row < row_end; row++) {
        const float *q = row_of(pass->ws->projected, row, pass->n_q + 2 * pass->n_kv);
        float *out = row_of(pass->ws->attended, row, pass->n_q);
        for (size_t h = kv_head * n_group; h < (kv_head + 1) * n_group; h++) {
            float *acc = out + h * hp->head_dim;
            memset(acc, 0, hp->head_dim * sizeof(*acc));
            queries.n_seen[queries.n] = pass->rows[row].position + 1;
            queries.query[queries.n++] =
                (struct bni_attention_query){.q = q + h * hp->head_dim,
                                             .acc = acc,
                                             .max = -INFINITY};
            if (queries.n == MAX_QUERIES) attend(pass, pages, kv_head, &queries);
        }
    }
    if (queries.n > 0) attend(pass, pages, kv_head, &queries);
}

/* Item i is (a few neighbouring rows, kv head); the rows may be of several sequences. */
static void attend_pairs(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    const uint32_t n_kv_heads = pass->model->hparams.n_kv_heads;
    for (size_t i = begin; i < end; i++) {
        size_t row = i / n_kv_heads * ATTENTION_ROWS;
        const size_t row_end = bni_size_min(row + ATTENTION_ROWS, pass->n_rows);
        while (row < row_end) {
            size_t next = row + 1;
            while (next < row_end && pass->rows[next].pages == pass->rows[row].pages)
                next++;
            attend_rows(pass, row, next, (uint32_t)(i % n_kv_heads));
            row = next;
        }
    }
}

static void end_attention_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    const float *gain = pass->layer->attn_sub_norm;
    for (size_t i = begin; i < end; i++) {
        float *attended = row_of(pass->ws->attended, i, pass->n_q);
        if (gain != NULL)
            pass->kernels->rms_norm(attended, gain, pass->n_q,
                                    pass->model->hparams.rms_norm_epsilon, attended);
        quantise_row(pass, i, attended, pass->n_q);
    }
}

static void end_ffn_rows(void *user, size_t begin, size_t end)
{
    const struct pass *pass = user;
    const struct bni_hparams *hp = &pass->model->hparams;
    const bool is_relu2 = pass->model->architecture->activation == BNI_ACTIVATION_RELU2;
    for (size_t i = begin; i < end; i++) {
        const float *gate = row_of(pass->ws->projected, i, 2 * (size_t)hp->n_ff);
        const float *up = gate + hp->n_ff;
        float *out = row_of(pass->ws->normed, i, hp->n_ff);
        if (is_relu2)
            pass->kernels->relu2_mul(gate, up, hp->n_ff, out);
        else
            pass->kernels->silu_mul(gate, up, hp->n_ff, out);
        if (pass->layer->ffn_sub_norm != NULL)
            pass->kernels->rms_norm(out, pass->layer->ffn_sub_norm, hp->n_ff,
                                    hp->rms_norm_epsilon, out);
        quantise_row(pass, i, out, hp->n_ff);
    }
}

/* ---- products ------------------------------------------------------------------ */

/* Matrices that read the same activations, side by side in one row of outputs. */
struct product {
    const struct pass *pass;
    const struct bni_ternary_weight *weights[3];
    size_t n_weights;
    size_t n_outputs; /* of all together: the stride of `projected` */
};

static void multiply_outputs(void *user, size_t begin, size_t end)
{
    const struct product *product = user;
    const struct bni_workspace *ws = product->pass->ws;
    size_t first = 0; /* of the current matrix among all outputs */
    for (size_t w = 0; w < product->n_weights; w++) {
        const struct bni_ternary_weight *weight = product->weights[w];
        const size_t last = first + weight->n_rows;
        const size_t from = bni_size_max(begin, first);
        const size_t to = bni_size_min(end, last);
        if (from < to) {
            const struct bni_ternary_args args = {
                .codes = weight->codes,
                .w_scale = weight->scale,
                .n_cols = bni_padded_cols(weight->n_cols),
                .q = ws->quantised,
                .x_scale = ws->scales,
                .q_sum = ws->sums,
                .n_x = product->pass->n_rows,
                .out = ws->projected + first,
                .out_stride = product->n_outputs,
            };
            product->pass->kernels->ternary_matmul(&args, from - first, to - first);
        }
        first = last;
    }
}

static void multiply(const struct pass *pass, const struct bni_ternary_weight *a,
                     const struct bni_ternary_weight *b,
                     const struct bni_ternary_weight *c)
{
    struct product product = {.pass = pass, .weights = {a, b, c}};
    while (product.n_weights < 3 && product.weights[product.n_weights] != NULL)
        product.n_outputs += product.weights[product.n_weights++]->n_rows;
    bni_team_run(pass->team, product.n_outputs, OUTPUTS_PER_PIECE, multiply_outputs,
                 &product);
}

struct head_product {
    const struct bni_forward *forward;
    size_t n_rows;
    const bool *is_made; /* [n_rows]: not to be computed; or NULL */
};

static void multiply_head(void *user, size_t begin, size_t end)
{
    const struct head_product *product = user;
    const struct bni_forward *forward = product->forward;
    const struct bni_dense_weight *head = &forward->model->head;
    struct bni_dense_args args = {
        .weights = head->values,
        .n_cols = head->n_cols,
        .x = forward->workspace->final,
        .n_x = product->n_rows,
        .out = forward->workspace->logits,
        .out_stride = head->n_rows,
    };
    if (product->is_made == NULL) {
        forward->kernels->dense_matmul[head->type](&args, begin, end);
        return;
    }
    size_t row = 0;
    while (bni_next_run(product->is_made, false, product->n_rows, &row, &args.n_x)) {
        args.x = row_of(forward->workspace->final, row, head->n_cols);
        args.out = row_of(forward->workspace->logits, row, head->n_rows);
        forward->kernels->dense_matmul[head->type](&args, begin, end);
        row += args.n_x;
    }
}

void bni_forward_finish_row(const struct bni_forward *forward, size_t row, size_t slot)
{
    const struct bni_hparams *hp = &forward->model->hparams;
    const struct bni_workspace *ws = forward->workspace;
    add_product(forward, row);
    forward->kernels->rms_norm(row_of(ws->x, row, hp->n_embd),
                               forward->model->output_norm, hp->n_embd,
                               hp->rms_norm_epsilon,
                               row_of(ws->final, slot, hp->n_embd));
}

static void multiply_head_with(const struct bni_forward *forward, struct bni_team *team,
                               size_t n_rows, const bool *is_made)
{
    struct head_product product = {forward, n_rows, is_made};
    bni_team_run(team, forward->model->hparams.n_vocab, HEAD_OUTPUTS_PER_PIECE,
                 multiply_head, &product);
}

void bni_forward_head(const struct bni_forward *forward, struct bni_team *team,
                      size_t n_rows)
{
    multiply_head_with(forward, team, n_rows, NULL);
}

/* The rows that want logits: last product, final norm, output head. */
static void run_head(const struct pass *pass)
{
    size_t n_logit_rows = 0;
    for (size_t i = 0; i < pass->n_rows; i++)
        if (pass->rows[i].wants_logits)
            bni_forward_finish_row(pass->forward, i, n_logit_rows++);
    if (n_logit_rows == 0) return;
    const bool *is_made = bni_two_pass_run(pass->forward, pass->team, n_logit_rows);
    size_t row = 0;
    size_t n_left = n_logit_rows;
    if (is_made == NULL || bni_next_run(is_made, false, n_logit_rows, &row, &n_left))
        multiply_head_with(pass->forward, pass->team, n_logit_rows, is_made);
}

/* ---- the graph ------------------------------------------------------------------- */

bool bni_forward_run(const struct bni_forward *forward, struct bni_team *team,
                     const struct bni_row *rows, size_t n_rows, bni_layer_fn on_layer,
                     void *user)
{
    const struct bni_hparams *hp = &forward->model->hparams;
    struct pass pass = {
        .forward = forward,
        .model = forward->model,
        .kernels = forward->kernels,
        .ws = forward->workspace,
        .team = team,
        .rows = rows,
        .n_rows = n_rows,
        .n_q = (size_t)hp->n_heads * hp->head_dim,
        .n_kv = (size_t)hp->n_kv_heads * hp->head_dim,
    };
    bni_team_run(team, n_rows, ROWS_PER_PIECE, embed_rows, &pass);

    for (; pass.layer_index < hp->n_layers; pass.layer_index++) {
        if (on_layer != NULL && !on_layer(user)) return false;
        const struct bni_layer *layer = &pass.model->layers[pass.layer_index];
        pass.layer = layer;

        bni_team_run(team, n_rows, ROWS_PER_PIECE, begin_attention_rows, &pass);
        multiply(&pass, &layer->q, &layer->k, &layer->v);
        bni_team_run(team, n_rows, ROWS_PER_PIECE, append_rows, &pass);
        bni_team_run(team, bni_size_div_up(n_rows, ATTENTION_ROWS) * hp->n_kv_heads, 1,
                     attend_pairs, &pass);
        bni_team_run(team, n_rows, ROWS_PER_PIECE, end_attention_rows, &pass);
        multiply(&pass, &layer->output, NULL, NULL);

        bni_team_run(team, n_rows, ROWS_PER_PIECE, begin_ffn_rows, &pass);
        multiply(&pass, &layer->gate, &layer->up, NULL);
        bni_team_run(team, n_rows, ROWS_PER_PIECE, end_ffn_rows, &pass);
        multiply(&pass, &layer->down, NULL, NULL);
    }
    run_head(&pass);
    return true;
}
