/* SPDX-License-Identifier: MIT */
/*
 * head_copy.c - see head_copy.h.
 *
 * The compute team makes it, a piece of rows at a time, and each piece is a turn of its
 * own: an engine that wants the team waits for one piece, a load waits for one step, and
 * nobody has the turn while the load's caller is told how far it is.
 *
 *     turn             tell, or stop   turn             tell
 *     [rows 0 .. 6552]                 [rows 6553 .. ]        ...
 *      `--> a grain of rows, widened into a buffer of the grain's, one by one
 *
 * A row is copied alone, so the copy does not depend on who copies what.
 *
 * A kernel sums up squares in float; what it may have lost is put back in double, by
 * length_bound().
 */
#include "model/head_copy.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <bitnet/clock.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "threads/compute.h"

enum {
    PIECE_VALUES = 16 << 20, /* some milliseconds; fewer huge pages that two meet in */
    GRAINS_PER_PIECE = 64,
};

static const float max_norm = 0x1p60f; /* products of two lengths stay far from 2^127 */

bitnet_status bni_head_copy_check(const char *what, bitnet_head_copy choice)
{
    if ((unsigned)choice <= BITNET_HEAD_COPY_ALWAYS) return BITNET_OK;
    return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                     "%s: head_copy is %d; it must be from %d to %d", what, (int)choice,
                     (int)BITNET_HEAD_COPY_AUTO, (int)BITNET_HEAD_COPY_ALWAYS);
}

bool bni_head_copy_is_wanted(const struct bni_dense_weight *head,
                             bitnet_head_copy choice)
{
    /* Measured on two cores of a Zen 3 in November 2026: docs/measurements.md. */
    const uint64_t least_values = UINT64_C(4) << 20;
    if (choice != BITNET_HEAD_COPY_AUTO) return choice == BITNET_HEAD_COPY_ALWAYS;
    return (uint64_t)head->n_rows * head->n_cols >= least_values;
}

/* The least float that is not below a bound. */
static float bound_to_float(double bound)
{
    const float nearest = (float)bound;
    return (double)nearest < bound ? nextafterf(nearest, INFINITY) : nearest;
}

/*
 * The length of n numbers is at most this, where `squares` is the sum of their squares
 * as a kernel has it: 16 lanes of n / 16 fused steps and 4 folds. Each of those g =
 * n / 16 + 4 steps loses at most u = 2^-24 of the sum, g u / (1 - g u) in all, and a
 * fused step 2^-150 more if its result is subnormal. The last factor is for this
 * function's own roundings, and for numbers that were rounded once before.
 */
static float length_bound(float squares, size_t n)
{
    const double steps = ((double)n / 16 + 4) * 0x1p-24;
    const double lost = steps / (1 - steps);
    const double sum = ((double)squares + (double)n * 0x1p-149) / (1 - lost);
    return bound_to_float(sqrt(sum) * (1 + 0x1p-22));
}

/* A copy in the making. */
struct copying {
    const struct bni_dense_weight *head;
    const struct bni_kernels *kernels;
    struct bni_head_copy *copy;
    size_t rows_per_piece;
    size_t rows_per_grain;
    float *buffers; /* a row of floats for each grain of a piece */
    size_t piece;   /* its first row */
    /* Relaxed: cleared by whichever thread meets a row that has no copy, read when all
     * have joined. */
    atomic_bool is_possible;
};

/* Copies one row of the head, by way of `values`. False if it cannot be. */
static bool copy_row(const struct copying *copying, size_t row, float *values)
{
    const struct bni_dense_weight *head = copying->head;
    const size_t row_bytes = bni_dense_bytes(head->type, head->n_cols);
    struct bni_head_copy *copy = copying->copy;
    struct bni_coarse_copy made;
    copying->kernels->widen[head->type]((const char *)head->values + row * row_bytes,
                                        head->n_cols, values);
    if (!copying->kernels->coarse_copy(values, head->n_cols,
                                       copy->codes + row * head->n_cols, &made))
        return false;
    copy->scales[row] = made.scale;
    copy->residuals[row] = length_bound(made.left, head->n_cols);
    copy->norms[row] = length_bound(made.squares, head->n_cols);
    return copy->norms[row] <= max_norm;
}

/* Rows begin .. end of the piece, where `begin` is the first of a grain. */
static void copy_rows(void *user, size_t begin, size_t end)
{
    struct copying *copying = user;
    float *values =
        copying->buffers + begin / copying->rows_per_grain * copying->head->n_cols;
    for (size_t i = begin; i < end; i++)
        if (!copy_row(copying, copying->piece + i, values))
            atomic_store_explicit(&copying->is_possible, false, memory_order_relaxed);
}

static bool is_possible(struct copying *copying)
{
    return atomic_load_explicit(&copying->is_possible, memory_order_relaxed);
}

/* Copies n rows. Who has the turn already loads a model from a callback within a step,
 * and waits for nobody: not for itself, that is. */
static bitnet_status copy_piece(struct copying *copying, size_t n)
{
    if (bni_compute_has_turn()) {
        copy_rows(copying, 0, n);
        return BITNET_OK;
    }
    struct bni_team *team;
    const bitnet_status status = bni_compute_acquire(&team);
    if (status != BITNET_OK) return status;
    bni_team_run(team, n, copying->rows_per_grain, copy_rows, copying);
    bni_compute_release(team);
    return BITNET_OK;
}

/* Copies all pieces, or those up to the first that has no copy. */
static bitnet_status copy_pieces(struct copying *copying, bni_head_copy_fn on_progress,
                                 void *user)
{
    const size_t n_rows = copying->head->n_rows;
    for (copying->piece = 0; copying->piece < n_rows && is_possible(copying);
         copying->piece += copying->rows_per_piece) {
        const size_t n = bni_size_min(copying->rows_per_piece, n_rows - copying->piece);
        bitnet_status status = copy_piece(copying, n);
        if (status != BITNET_OK) return status;
        status = on_progress(user, n * copying->head->n_cols);
        if (status != BITNET_OK) return status;
    }
    return BITNET_OK;
}

/* One region: codes, then the three arrays of a float for each row. */
static bitnet_status make_room(const struct bni_dense_weight *head,
                               struct bni_head_copy *copy)
{
    const size_t n_codes = (size_t)head->n_rows * head->n_cols; /* a multiple of 16 */
    *copy = (struct bni_head_copy){
        .n_bytes = n_codes + 3 * sizeof(float) * (size_t)head->n_rows,
    };
    char *region = bni_map_zeroed(copy->n_bytes);
    if (region == NULL) return bitnet_last_status();
    bni_map_advise_huge(region, copy->n_bytes);
    copy->codes = (int8_t *)region;
    copy->scales = (float *)(void *)(region + n_codes);
    copy->residuals = copy->scales + head->n_rows;
    copy->norms = copy->residuals + head->n_rows;
    return BITNET_OK;
}

bitnet_status bni_head_copy_make(const struct bni_dense_weight *head,
                                 bni_head_copy_fn on_progress, void *user,
                                 struct bni_head_copy *copy)
{
    const uint64_t begin_ns = bitnet_clock_ns();
    struct copying copying = {
        .head = head,
        .kernels = bni_kernels_select(),
        .copy = copy,
        .rows_per_piece =
            bni_size_min(bni_size_max(PIECE_VALUES / head->n_cols, 1), head->n_rows),
    };
    if (copying.kernels == NULL) return bitnet_last_status();
    atomic_init(&copying.is_possible, true);
    copying.rows_per_grain = bni_size_div_up(copying.rows_per_piece, GRAINS_PER_PIECE);
    const size_t n_buffers =
        bni_size_div_up(copying.rows_per_piece, copying.rows_per_grain);
    copying.buffers = bni_calloc(n_buffers * head->n_cols, sizeof(*copying.buffers));
    if (copying.buffers == NULL) return bitnet_last_status();
    bitnet_status status = make_room(head, copy);
    if (status == BITNET_OK) status = copy_pieces(&copying, on_progress, user);
    bni_free(copying.buffers);
    copy->build_ns = bitnet_clock_ns() - begin_ns;
    if (status != BITNET_OK || !is_possible(&copying)) bni_head_copy_free(copy);
    return status;
}

void bni_head_copy_free(struct bni_head_copy *copy)
{
    bni_unmap(copy->codes, copy->n_bytes);
    *copy = (struct bni_head_copy){0};
}
