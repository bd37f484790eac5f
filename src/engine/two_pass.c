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
 * Only for the rows that are in it. These need not stand together: a product goes from
 * one run of neighbours to the next while the weights of a piece are in the cache.
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
#include "engine/candidates.h"
#include "engine/forward.h"
#include "engine/grammar_mask.h"
#include "engine/penalties.h"
#include "kernels/elementary.h"

enum {
    CANDIDATES_PER_PIECE = 8,
    MIN_CANDIDATES = 1024,
    /* More candidates than this part of the vocabulary are not worth a second pass:
     * their rows of an F16 head lie apart, and are an eighth of what the first read. */
    MAX_PART = 16,
    LANES = 8,
    /* Of the likeliest tokens, so many that a grammar may refuse before all that it
     * allows are listed. */
    N_SPARE_TRIES = 64,
    /* Where other rows need the whole head, fewer rows than these go along with them: the
     * copy is read in addition, which is what five rows more cost in the whole product.
     * Measured on two cores of a Zen 3 in November 2026: docs/measurements.md. */
    LEAST_BESIDE_WHOLE = 6,
};

_Static_assert(BNI_TWO_PASS_BLOCK % LANES == 0, "a whole block has no remainder");

/* Half a unit in the last place of 1: the relative error of one float operation. */
#define HALF_ULP 0x1p-24
/* What is computed in double is this near, and so is what floats make of the bound. */
#define DOUBLE_SLACK (1.0 + 0x1p-30)
#define FLOAT_SLACK (1.0 + 0x1p-20)

/* ---- memory ------------------------------------------------------------------------ */

struct layout {
    size_t q, steps, rows, lows, highs, largest, candidates, n_candidates, is_in;
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
        bni_size_cut(&end, n_rows, BNI_TWO_PASS_MAX_TOP, sizeof(struct bni_candidate),
                     BNI_ALIGNMENT, &out->largest) &&
        bni_size_cut(&end, n_rows, max_candidates_of(model), sizeof(uint32_t),
                     BNI_ALIGNMENT, &out->candidates) &&
        bni_size_cut(&end, n_rows, 1, sizeof(size_t), BNI_ALIGNMENT,
                     &out->n_candidates) &&
        bni_size_cut(&end, n_rows, 1, sizeof(bool), BNI_ALIGNMENT, &out->is_in);
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
        .largest = (struct bni_candidate *)(void *)(block + layout.largest),
        .candidates = (uint32_t *)(void *)(block + layout.candidates),
        .n_candidates = (size_t *)(void *)(block + layout.n_candidates),
        .is_in = (bool *)(void *)(block + layout.is_in),
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

static size_t count_rows(const struct run *run)
{
    size_t n = 0;
    for (size_t row = 0; row < run->n_rows; row++) n += run->two_pass->is_in[row];
    return n;
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
    two_pass->is_in[row_index] = length <= 0x1p60;
}

static void quantise_rows(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    for (size_t i = begin; i < end; i++)
        if (run->two_pass->is_in[i]) quantise_row(run, i);
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
    const bool *is_in = run->two_pass->is_in;
    struct bni_coarse_args args = {
        .codes = run->copy->codes,
        .scales = run->copy->scales,
        .n_cols = run->n_embd,
        .out_stride = run->n_vocab,
    };
    for (size_t block = begin; block < end; block++) {
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        size_t row = 0;
        while (bni_next_run(is_in, true, run->n_rows, &row, &args.n_x)) {
            args.q = run->two_pass->q + row * run->n_embd;
            args.steps = run->two_pass->steps + row;
            args.out = logits_of(run, row);
            run->forward->kernels->coarse_matmul(&args, first, last);
            for (; args.n_x > 0; args.n_x--, row++)
                measure_block(run, row, first, last, block);
        }
    }
}

/* ---- candidates --------------------------------------------------------------------- */

static float low_of(const struct run *run, size_t row, size_t token)
{
    return logits_of(run, row)[token] -
           bni_two_pass_bound(run->copy, &run->two_pass->rows[row], token);
}

static float high_of(const struct run *run, size_t row, size_t token)
{
    return logits_of(run, row)[token] +
           bni_two_pass_bound(run->copy, &run->two_pass->rows[row], token);
}

/* The n largest of what is offered, in a heap whose root is the least of them. */
static struct bni_candidate *begin_heap(const struct run *run, size_t row, size_t n)
{
    struct bni_candidate *heap = run->two_pass->largest + row * BNI_TWO_PASS_MAX_TOP;
    for (size_t i = 0; i < n; i++) heap[i] = (struct bni_candidate){-INFINITY, 0};
    return heap;
}

static void offer(struct bni_candidate *heap, size_t n, float low, size_t token)
{
    if (!(low > heap[0].logit)) return;
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].logit < heap[child].logit) child++;
        if (heap[child].logit >= low) break;
        heap[i] = heap[child];
    }
    heap[i] = (struct bni_candidate){low, (bitnet_token)token};
}

/* Returns the heap of the n largest lower ends of a row; n is 1 to n_vocab. */
static struct bni_candidate *find_lows(const struct run *run, size_t row, size_t n)
{
    const struct bni_two_pass *two_pass = run->two_pass;
    const float *lows = two_pass->lows + row * two_pass->n_blocks;
    struct bni_candidate *heap = begin_heap(run, row, n);
    for (size_t block = 0; block < two_pass->n_blocks; block++) {
        if (!(lows[block] > heap[0].logit)) continue;
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        for (size_t token = first; token < last; token++)
            offer(heap, n, low_of(run, row, token), token);
    }
    return heap;
}

/* Finds the n-th largest lower end of what the grammar allows. False if a few more than
 * that many tries do not do. */
static bool find_allowed_low(const struct run *run, size_t row, size_t n, float *low)
{
    const struct bni_grammar_mask *mask = run->forward->needs[row].mask;
    const size_t max_tries = bni_size_min(BNI_TWO_PASS_MAX_TOP, run->n_vocab);
    const size_t n_tries = bni_size_min(n + N_SPARE_TRIES, max_tries);
    struct bni_candidate *likely = find_lows(run, row, n_tries);
    bni_candidates_sort(likely, n_tries);
    for (size_t i = 0; i < n_tries && n_tries - i >= n; i++) {
        *low = likely[i].logit;
        if (bni_grammar_mask_allows(mask, likely[i].token) && --n == 0) return true;
    }
    return false;
}

/* What is `depth` below a lower end. */
static float threshold_below(float low, const struct bni_logit_need *need)
{
    const float threshold = low - need->depth;
    return threshold - fabsf(threshold) * 0x1p-22f; /* what the subtraction rounded */
}

static void add_candidate(const struct run *run, size_t row, size_t token)
{
    struct bni_two_pass *two_pass = run->two_pass;
    uint32_t *candidates = two_pass->candidates + row * two_pass->max_candidates;
    const size_t n = two_pass->n_candidates[row]++;
    if (n < two_pass->max_candidates) candidates[n] = (uint32_t)token;
}

/* Lists the tokens whose upper end is not below the threshold; too many are not all
 * listed, but counted. */
static void list_candidates(const struct run *run, size_t row, float threshold)
{
    const struct bni_two_pass *two_pass = run->two_pass;
    const float *highs = two_pass->highs + row * two_pass->n_blocks;
    for (size_t block = 0; block < two_pass->n_blocks; block++) {
        if (highs[block] < threshold) continue;
        const size_t first = block * BNI_TWO_PASS_BLOCK;
        const size_t last = bni_size_min(first + BNI_TWO_PASS_BLOCK, run->n_vocab);
        for (size_t token = first; token < last; token++)
            if (!(high_of(run, row, token) < threshold)) add_candidate(run, row, token);
    }
}

/* The same among all that the grammar allows, where that is not what is likely. */
static void list_allowed(const struct run *run, size_t row, size_t n_top)
{
    const struct bni_logit_need *need = &run->forward->needs[row];
    const size_t n =
        bni_grammar_mask_list(need->mask, logits_of(run, row), need->scratch);
    struct bni_candidate *heap = begin_heap(run, row, n_top);
    for (size_t i = 0; i < n; i++) {
        const size_t token = (size_t)need->scratch[i].token;
        offer(heap, n_top, low_of(run, row, token), token);
    }
    const float threshold = threshold_below(heap[0].logit, need);
    for (size_t i = 0; i < n; i++) {
        const size_t token = (size_t)need->scratch[i].token;
        if (!(high_of(run, row, token) < threshold)) add_candidate(run, row, token);
    }
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

static void choose_candidates_of(const struct run *run, size_t row)
{
    const struct bni_logit_need *need = &run->forward->needs[row];
    const bitnet_token *window;
    size_t n_window;
    const size_t n_top = need->n_top + count_changes(need, &window, &n_window);
    float low;
    run->two_pass->n_candidates[row] = 0;
    if (need->mask == NULL)
        list_candidates(run, row,
                        threshold_below(find_lows(run, row, n_top)[0].logit, need));
    else if (find_allowed_low(run, row, n_top, &low))
        list_candidates(run, row, threshold_below(low, need));
    else
        list_allowed(run, row, n_top);
    /* Afterwards: their bounds are no longer about what is in the row. */
    for (size_t i = 0; i < n_window; i++) compute_exactly(run, row, (size_t)window[i]);
    for (size_t i = 0; i < need->penalties->n_biases; i++)
        compute_exactly(run, row, (size_t)need->penalties->biases[i].token);
}

static void choose_candidates(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    for (size_t row = begin; row < end; row++)
        if (run->two_pass->is_in[row]) choose_candidates_of(run, row);
}

/* ---- the second pass ---------------------------------------------------------------- */

/* Item i is the i-th candidate of all rows, one row after the other. */
static void compute_candidates(void *user, size_t begin, size_t end)
{
    const struct run *run = user;
    const struct bni_two_pass *two_pass = run->two_pass;
    size_t first = 0; /* of the row */
    for (size_t row = 0; row < run->n_rows && first < end; row++) {
        if (!two_pass->is_in[row]) continue;
        const size_t last = first + two_pass->n_candidates[row];
        const uint32_t *candidates =
            two_pass->candidates + row * two_pass->max_candidates;
        for (size_t i = bni_size_max(begin, first); i < bni_size_min(end, last); i++)
            compute_exactly(run, row, candidates[i - first]);
        first = last;
    }
}

/* ---- the whole ---------------------------------------------------------------------- */

/* Whether the need of a row is such that a first pass can help. */
static bool can_help(const struct run *run, size_t row)
{
    const size_t max_top = bni_size_min(BNI_TWO_PASS_MAX_TOP, run->n_vocab);
    const struct bni_logit_need *need = &run->forward->needs[row];
    const bitnet_token *window;
    size_t n_window;
    if (need->n_top == 0 || need->n_top > max_top) return false;
    return count_changes(need, &window, &n_window) <= max_top - need->n_top;
}

/* Whether so many rows of a step save more than the copy costs. */
static bool is_worth_it(const struct run *run, size_t n_rows_in)
{
    return n_rows_in == run->n_rows || n_rows_in >= LEAST_BESIDE_WHOLE;
}

/* Takes in the rows that it can help. False if these are too few. */
static bool pick_rows(const struct run *run)
{
    for (size_t row = 0; row < run->n_rows; row++)
        run->two_pass->is_in[row] = can_help(run, row);
    return is_worth_it(run, count_rows(run));
}

/* Adds up the candidates, and leaves out rows that have too many. */
static void add_up(struct run *run)
{
    struct bni_two_pass *two_pass = run->two_pass;
    bool is_vain = false;
    for (size_t row = 0; row < run->n_rows; row++) {
        if (!two_pass->is_in[row]) continue;
        const size_t n = two_pass->n_candidates[row];
        two_pass->is_in[row] = n <= two_pass->max_candidates;
        if (two_pass->is_in[row])
            run->n_candidates += n;
        else
            is_vain = true;
    }
    if (!is_vain) return;
    two_pass->counts.n_vain_steps++;
    if (!is_worth_it(run, count_rows(run))) two_pass->n_steps_left = BNI_TWO_PASS_REST;
}

const bool *bni_two_pass_run(const struct bni_forward *forward, struct bni_team *team,
                             size_t n_rows)
{
    struct bni_two_pass *two_pass = forward->two_pass;
    if (forward->needs == NULL || two_pass->block == NULL ||
        forward->kernels->coarse_matmul == NULL)
        return NULL;
    struct run run = {
        .forward = forward,
        .copy = &forward->model->head_copy,
        .two_pass = two_pass,
        .n_rows = n_rows,
        .n_vocab = forward->model->hparams.n_vocab,
        .n_embd = forward->model->hparams.n_embd,
    };
    if (!pick_rows(&run)) return NULL;
    if (two_pass->n_steps_left > 0) {
        two_pass->n_steps_left--;
        return NULL;
    }
    bni_team_run(team, n_rows, 1, quantise_rows, &run);
    if (!is_worth_it(&run, count_rows(&run))) return NULL;
    bni_team_run(team, two_pass->n_blocks, 1, multiply_blocks, &run);
    bni_team_run(team, n_rows, 1, choose_candidates, &run);
    add_up(&run);
    bni_team_run(team, run.n_candidates, CANDIDATES_PER_PIECE, compute_candidates,
                 &run);
    two_pass->counts.n_rows += count_rows(&run);
    two_pass->counts.n_candidates += run.n_candidates;
    return two_pass->is_in;
}
