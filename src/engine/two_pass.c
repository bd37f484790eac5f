/* SPDX-License-Identifier: MIT */
/*
 * two_pass.c - see two_pass.h.
 *
 * Four runs of the team:
 *
 *     rows        quantise to 16 bits; how far the row is from that
 *     blocks      64 tokens: about their logits; the largest lower and upper end
 *     rows        threshold; candidates, from the blocks that reach up to it
 *     candidates  of all rows: exactly
 *
 * The letters in comments are those of docs/numerics.md.
 */
#include "engine/two_pass.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/forward.h"
#include "engine/penalties.h"
#include "kernels/elementary.h"

enum {
    CANDIDATES_PER_PIECE = 8,
    MIN_CANDIDATES = 1024,
    /* More candidates than this part of the vocabulary are not worth a second pass:
     * their rows of an F16 head lie apart, and are an eighth of what the first read. */
    MAX_PART = 16,
    LANES = 8,
};

_Static_assert(BNI_TWO_PASS_BLOCK % LANES == 0, "a whole block has no remainder");

/* Half a unit in the last place of 1: the relative error of one float operation. */
#define HALF_ULP 0x1p-24
/* What is computed in double is this near, and so is what floats make of the bound. */
#define DOUBLE_SLACK (1.0 + 0x1p-30)
#define FLOAT_SLACK (1.0 + 0x1p-20)

/* ---- memory ------------------------------------------------------------------------ */

struct layout {
    size_t q, steps, rows, lows, highs, largest, candidates, n_candidates;
    size_t n_bytes;
};

static size_t max_candidates_of(const struct bitnet_model *model)
{
    const size_t n_vocab = model->hparams.n_vocab;
    return bni_size_min(n_vocab, bni_size_max(n_vocab / MAX_PART, MIN_CANDIDATES));
}

static bool lay_out(const struct bitnet_model *model, size_t n_rows, struct layout *out)
{
    const size_t n_embd = model->hparams.n_embd;
    const size_t n_blocks = bni_size_div_up(model->hparams.n_vocab, BNI_TWO_PASS_BLOCK);
    size_t end = 0;
    *out = (struct layout){0};
    if (model->head_copy.codes == NULL) return true;
    const bool fits =
        bni_size_cut(&end, n_rows, n_embd, sizeof(int16_t), BNI_ALIGNMENT, &out->q) &&
        bni_size_cut(&end, n_rows, 1, sizeof(float), BNI_ALIGNMENT, &out->steps) &&
        bni_size_cut(&end, n_rows, 1, sizeof(struct bni_coarse_row), BNI_ALIGNMENT,
                     &out->rows) &&
        bni_size_cut(&end, n_rows, n_blocks, sizeof(float), BNI_ALIGNMENT,
                     &out->lows) &&
        bni_size_cut(&end, n_rows, n_blocks, sizeof(float), BNI_ALIGNMENT,
                     &out->highs) &&
        bni_size_cut(&end, n_rows, BNI_TWO_PASS_MAX_TOP, sizeof(float), BNI_ALIGNMENT,
                     &out->largest) &&
        bni_size_cut(&end, n_rows, max_candidates_of(model), sizeof(uint32_t),
                     BNI_ALIGNMENT, &out->candidates) &&
        bni_size_cut(&end, n_rows, 1, sizeof(size_t), BNI_ALIGNMENT,
                     &out->n_candidates);
    out->n_bytes = end;
    return fits;
}

bool bni_two_pass_bytes(const struct bitnet_model *model, size_t max_logit_rows,
                        size_t *n_bytes)
{
    struct layout layout;
    if (!lay_out(model, max_logit_rows, &layout)) return false;
    *n_bytes = layout.n_bytes;
    return true;
}

bitnet_status bni_two_pass_init(struct bni_two_pass *two_pass,
                                const struct bitnet_model *model, size_t max_logit_rows)
{
    struct layout layout;
    *two_pass = (struct bni_two_pass){0};
    if (model->head_copy.codes == NULL) return BITNET_OK;
    char *block = NULL;
    if (lay_out(model, max_logit_rows, &layout)) block = bni_map_zeroed(layout.n_bytes);
    if (block == NULL) return bitnet_last_status();
    *two_pass = (struct bni_two_pass){
        .n_blocks = bni_size_div_up(model->hparams.n_vocab, BNI_TWO_PASS_BLOCK),
        .max_candidates = max_candidates_of(model),
        .q = (int16_t *)(void *)(block + layout.q),
        .steps = (float *)(void *)(block + layout.steps),
        .rows = (struct bni_coarse_row *)(void *)(block + layout.rows),
        .lows = (float *)(void *)(block + layout.lows),
        .highs = (float *)(void *)(block + layout.highs),
        .largest = (float *)(void *)(block + layout.largest),
        .candidates = (uint32_t *)(void *)(block + layout.candidates),
        .n_candidates = (size_t *)(void *)(block + layout.n_candidates),
        .block = block,
        .n_bytes = layout.n_bytes,
    };
    return BITNET_OK;
}

void bni_two_pass_free(struct bni_two_pass *two_pass)
{
    bni_unmap(two_pass->block, two_pass->n_bytes);
    two_pass->block = NULL;
}

/* ---- what all runs share ------------------------------------------------------------ */

struct run {
    const struct bni_forward *forward;
    const struct bni_head_copy *copy;
    struct bni_two_pass *two_pass;
    size_t n_rows;
    size_t n_vocab;
    size_t n_embd;
    size_t n_candidates; /* of all rows */
};

static float *logits_of(const struct run *run, size_t row)
{
    return run->forward->workspace->logits + row * run->n_vocab;
}

/* ---- quantising a row --------------------------------------------------------------- */

static float largest_magnitude(const float *values, size_t n)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(values[i]) > largest) largest = fabsf(values[i]);
    return largest;
}

/* Rounds up to a float. */
static float to_float_above(double value)
{
    const float nearest = (float)value;
    return (double)nearest < value ? nextafterf(nearest, INFINITY) : nearest;
}

/* The bound's two factors, from the length X of a row and D of what rounding lost. */
static void bound_row(const struct run *run, double length, double lost,
                      struct bni_coarse_row *row)
{
    const size_t n_in_lane = run->n_embd / 16;
    const double n_roundings = (double)n_in_lane + 4; /* and four folds */
    const double gamma = n_roundings * HALF_ULP / (1.0 - n_roundings * HALF_ULP);
    const double coarse = 5 * HALF_ULP * (length + lost); /* the first pass's own */
    row->per_residual = to_float_above((length + lost + coarse) * FLOAT_SLACK);
    row->per_norm = to_float_above((lost + gamma * length + coarse) * FLOAT_SLACK);
}

/* Any integers within the limit would do: what they lose is measured. */
static void quantise_row(const struct run *run, size_t row_index)
{
    struct bni_two_pass *two_pass = run->two_pass;
    const float *x = run->forward->workspace->final + row_index * run->n_embd;
    int16_t *q = two_pass->q + row_index * run->n_embd;
    struct bni_coarse_row *row = &two_pass->rows[row_index];
    const size_t limit = bni_size_min(INT16_MAX, INT32_MAX / (127 * run->n_embd));
    const float step = largest_magnitude(x, run->n_embd) / (float)limit;
    const float inverse = step >= FLT_MIN ? 1.0f / step : 0.0f;
    double squares = 0;
    double lost_squares = 0;
    for (size_t i = 0; i < run->n_embd; i++) {
        float rounded = (x[i] * inverse + BNI_EXP_ROUND) - BNI_EXP_ROUND;
        if (!(rounded > -(float)limit)) rounded = -(float)limit; /* a NaN too */
        if (rounded > (float)limit) rounded = (float)limit;
        q[i] = (int16_t)rounded;
        const double lost = (double)x[i] - (double)step * (double)rounded;
        squares += (double)x[i] * (double)x[i];
        lost_squares += lost * lost;
    }
    two_pass->steps[row_index] = step;
    const double length = sqrt(squares) * DOUBLE_SLACK;
    bound_row(run, length, sqrt(lost_squares) * DOUBLE_SLACK, row);
    /* False for NaN and infinity. With it no sum or product can overflow. */
    row->is_usable = length <= 0x1p60;
}

static void quantise_rows(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    for (size_t i = begin; i < end; i++) quantise_row(run, i);
}

/* ---- the first pass ----------------------------------------------------------------- */

/* Finds the largest lower and upper end among the tokens [first, last). */
static void measure_block(const struct run *run, size_t row, size_t first, size_t last,
                          size_t block)
{
    const float *logits = logits_of(run, row);
    const struct bni_coarse_row *coarse = &run->two_pass->rows[row];
    float low[LANES];
    float high[LANES];
    for (size_t l = 0; l < LANES; l++) low[l] = high[l] = -INFINITY;
    for (; last - first >= LANES; first += LANES) {
        for (size_t l = 0; l < LANES; l++) { /* a vector or two */
            const float logit = logits[first + l];
            const float bound = bni_two_pass_bound(run->copy, coarse, first + l);
            low[l] = logit - bound > low[l] ? logit - bound : low[l];
            high[l] = logit + bound > high[l] ? logit + bound : high[l];
        }
    }
    for (; first < last; first++) {
        const float bound = bni_two_pass_bound(run->copy, coarse, first);
        low[0] = fmaxf(low[0], logits[first] - bound);
        high[0] = fmaxf(high[0], logits[first] + bound);
    }
    for (size_t l = 1; l < LANES; l++) {
        low[0] = fmaxf(low[0], low[l]);
        high[0] = fmaxf(high[0], high[l]);
    }
    run->two_pass->lows[row * run->two_pass->n_blocks + block] = low[0];
    run->two_pass->highs[row * run->two_pass->n_blocks + block] = high[0];
}

static void multiply_blocks(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    const struct bni_coarse_args args = {
        .codes = run->copy->codes,
        .scales = run->copy->scales,
        .n_cols = run->n_embd,
        .q = run->two_pass->q,
        .steps = run->two_pass->steps,
        .n_x = run->n_rows,
        .out = run->forward->workspace->logits,
        .out_stride = run->n_vocab,
    };
    for (size_t block = begin; block < end; block++) {
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        run->forward->kernels->coarse_matmul(&args, first, last);
        for (size_t row = 0; row < run->n_rows; row++)
            measure_block(run, row, first, last, block);
    }
}

/* ---- candidates --------------------------------------------------------------------- */

/* A heap whose root is the least. */
static void sink(float *heap, size_t n, size_t i)
{
    const float item = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= item) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

/* Returns the n-th largest lower end of a row; n is 1 to n_vocab. */
static float find_low(const struct run *run, size_t row, size_t n)
{
    const struct bni_two_pass *two_pass = run->two_pass;
    const float *lows = two_pass->lows + row * two_pass->n_blocks;
    const float *logits = logits_of(run, row);
    float *heap = two_pass->largest + row * BNI_TWO_PASS_MAX_TOP;
    for (size_t i = 0; i < n; i++) heap[i] = -INFINITY;
    for (size_t block = 0; block < two_pass->n_blocks; block++) {
        if (!(lows[block] > heap[0])) continue;
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        for (size_t token = first; token < last; token++) {
            const float low =
                logits[token] -
                bni_two_pass_bound(run->copy, &two_pass->rows[row], token);
            if (!(low > heap[0])) continue;
            heap[0] = low;
            sink(heap, n, 0);
        }
    }
    return heap[0];
}

/* Lists the tokens whose upper end is not below the threshold; too many are not all
 * listed, but counted. */
static void list_candidates(const struct run *run, size_t row, float threshold)
{
    struct bni_two_pass *two_pass = run->two_pass;
    const float *highs = two_pass->highs + row * two_pass->n_blocks;
    const float *logits = logits_of(run, row);
    uint32_t *candidates = two_pass->candidates + row * two_pass->max_candidates;
    size_t n = 0;
    for (size_t block = 0; block < two_pass->n_blocks; block++) {
        if (highs[block] < threshold) continue;
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        for (size_t token = first; token < last; token++) {
            const float bound =
                bni_two_pass_bound(run->copy, &two_pass->rows[row], token);
            if (logits[token] + bound < threshold) continue;
            if (n < two_pass->max_candidates) candidates[n] = (uint32_t)token;
            n++;
        }
    }
    two_pass->n_candidates[row] = n;
}

static void compute_exactly(const struct run *run, size_t row, size_t token)
{
    const struct bni_dense_weight *head = &run->forward->model->head;
    const struct bni_dense_args args = {
        .weights = head->values,
        .n_cols = run->n_embd,
        .x = run->forward->workspace->final + row * run->n_embd,
        .n_x = 1,
        .out = logits_of(run, row),
        .out_stride = run->n_vocab,
    };
    run->forward->kernels->dense_matmul[head->type](&args, token, token + 1);
}

/* Tokens whose logits will be changed, if it is only these: of the window, and biased. */
static size_t count_changes(const struct bni_logit_need *need,
                            const bitnet_token **window, size_t *n_window)
{
    *n_window =
        bni_penalties_window(need->penalties, need->history, need->n_history, window);
    return *n_window + need->penalties->n_biases;
}

static void choose_candidates(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    for (size_t row = begin; row < end; row++) {
        const struct bni_logit_need *need = &run->forward->needs[row];
        const bitnet_token *window;
        size_t n_window;
        const size_t n_changes = count_changes(need, &window, &n_window);
        float threshold = find_low(run, row, need->n_top + n_changes) - need->depth;
        threshold -= fabsf(threshold) * 0x1p-22f; /* what the subtraction rounded */
        list_candidates(run, row, threshold);
        /* Afterwards: their bounds are no longer about what is in the row. */
        for (size_t i = 0; i < n_window; i++)
            compute_exactly(run, row, (size_t)window[i]);
        for (size_t i = 0; i < need->penalties->n_biases; i++)
            compute_exactly(run, row, (size_t)need->penalties->biases[i].token);
    }
}

/* ---- the second pass ---------------------------------------------------------------- */

/* Item i is the i-th candidate of all rows, one row after the other. */
static void compute_candidates(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    const struct bni_two_pass *two_pass = run->two_pass;
    size_t first = 0; /* of the row */
    for (size_t row = 0; row < run->n_rows && first < end; row++) {
        const size_t last = first + two_pass->n_candidates[row];
        const uint32_t *candidates =
            two_pass->candidates + row * two_pass->max_candidates;
        for (size_t i = bni_size_max(begin, first); i < bni_size_min(end, last); i++)
            compute_exactly(run, row, candidates[i - first]);
        first = last;
    }
}

/* ---- the whole ---------------------------------------------------------------------- */

/* Whether the needs of all rows are such that a first pass can help. */
static bool can_help(const struct run *run)
{
    const size_t max_top = bni_size_min(BNI_TWO_PASS_MAX_TOP, run->n_vocab);
    for (size_t row = 0; row < run->n_rows; row++) {
        const struct bni_logit_need *need = &run->forward->needs[row];
        const bitnet_token *window;
        size_t n_window;
        if (need->n_top == 0 || need->n_top > max_top) return false;
        if (count_changes(need, &window, &n_window) > max_top - need->n_top)
            return false;
    }
    return true;
}

static bool all_are_usable(const struct run *run)
{
    for (size_t row = 0; row < run->n_rows; row++)
        if (!run->two_pass->rows[row].is_usable) return false;
    return true;
}

/* Adds up the candidates. False if some row has too many. */
static bool add_up(struct run *run)
{
    for (size_t row = 0; row < run->n_rows; row++) {
        const size_t n = run->two_pass->n_candidates[row];
        if (n > run->two_pass->max_candidates) return false;
        run->n_candidates += n;
    }
    return true;
}

bool bni_two_pass_run(const struct bni_forward *forward, struct bni_team *team,
                      size_t n_rows)
{
    struct bni_two_pass *two_pass = forward->two_pass;
    if (forward->needs == NULL || two_pass->block == NULL ||
        forward->kernels->coarse_matmul == NULL)
        return false;
    struct run run = {
        .forward = forward,
        .copy = &forward->model->head_copy,
        .two_pass = two_pass,
        .n_rows = n_rows,
        .n_vocab = forward->model->hparams.n_vocab,
        .n_embd = forward->model->hparams.n_embd,
    };
    if (!can_help(&run)) return false;
    if (two_pass->n_steps_left > 0) {
        two_pass->n_steps_left--;
        return false;
    }
    bni_team_run(team, n_rows, 1, quantise_rows, &run);
    if (!all_are_usable(&run)) return false;
    bni_team_run(team, two_pass->n_blocks, 1, multiply_blocks, &run);
    bni_team_run(team, n_rows, 1, choose_candidates, &run);
    if (!add_up(&run)) {
        two_pass->n_steps_left = BNI_TWO_PASS_REST;
        two_pass->counts.n_vain_steps++;
        return false;
    }
    bni_team_run(team, run.n_candidates, CANDIDATES_PER_PIECE, compute_candidates,
                 &run);
    two_pass->counts.n_rows += n_rows;
    two_pass->counts.n_candidates += run.n_candidates;
    return true;
}
