/* SPDX-License-Identifier: MIT */
/*
 * head_copy.c - see head_copy.h.
 *
 * Everything that a bound is made of is computed in double and rounded up. A sum of
 * n <= 2^20 squares in double is off by less than n * 2^-52 of itself, whatever its
 * order, and each square by as little, so a factor of 1 + 2^-30 covers it all.
 */
#include "model/head_copy.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include <bitnet/clock.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "model/progress.h"

enum { LANES = 16 };

/* 1.5 * 2^23: adding and subtracting it rounds to an integer. */
static const float rounder = 0x1.8p+23f;
static const double round_up = 1.0 + 0x1p-30;
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

static float length_bound(const double squares[LANES])
{
    double sum = 0;
    for (size_t l = 0; l < LANES; l++) sum += squares[l];
    return bound_to_float(sqrt(sum) * round_up);
}

static float largest_magnitude(const float *values, size_t n)
{
    float lanes[LANES] = {0};
    for (size_t k = 0; k < n; k += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const float magnitude = fabsf(values[k + l]);
            lanes[l] = magnitude > lanes[l] ? magnitude : lanes[l];
        }
    }
    float largest = 0;
    for (size_t l = 0; l < LANES; l++)
        if (lanes[l] > largest) largest = lanes[l];
    return largest;
}

/* Returns a bound on the length of a row. */
static float length_of(const float *values, size_t n)
{
    double squares[LANES] = {0};
    for (size_t k = 0; k < n; k += LANES)
        for (size_t l = 0; l < LANES; l++)
            squares[l] += (double)values[k + l] * (double)values[k + l];
    return length_bound(squares);
}

/* Copies one row. False if it cannot be. `rounded` has room for it. */
static bool copy_row(const float *values, size_t n_cols, size_t row, float *rounded,
                     struct bni_head_copy *copy)
{
    const float norm = length_of(values, n_cols);
    if (!(norm <= max_norm)) return false; /* nor NaN */
    const float scale = largest_magnitude(values, n_cols) / 127.0f;
    const float inverse = scale >= FLT_MIN ? 1.0f / scale : 0.0f; /* or all codes 0 */
    int8_t *codes = copy->codes + row * n_cols;
    /* To the nearest integer: at most 127, whatever the three roundings do. */
    for (size_t k = 0; k < n_cols; k++)
        rounded[k] = (values[k] * inverse + rounder) - rounder;
    for (size_t k = 0; k < n_cols; k++) codes[k] = (int8_t)(int32_t)rounded[k];
    /* Any integers would do: how far they are off is measured. The difference is near
     * enough: it is of doubles, and products of a float and seven bits are exact. */
    double squares[LANES] = {0};
    for (size_t k = 0; k < n_cols; k += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const double left =
                (double)values[k + l] - (double)scale * (double)rounded[k + l];
            squares[l] += left * left;
        }
    }
    copy->scales[row] = scale;
    copy->residuals[row] = length_bound(squares);
    copy->norms[row] = norm;
    return true;
}

static bitnet_status copy_rows(const struct bni_dense_weight *head,
                               const struct bni_kernels *kernels,
                               bni_head_copy_fn on_progress, void *user, float *buffer,
                               struct bni_head_copy *copy, bool *is_possible)
{
    const size_t row_bytes = bni_dense_bytes(head->type, head->n_cols);
    const char *values = head->values;
    size_t n_untold = 0;
    *is_possible = true;
    for (size_t row = 0; row < head->n_rows && *is_possible; row++) {
        kernels->widen[head->type](values + row * row_bytes, head->n_cols, buffer);
        *is_possible = copy_row(buffer, head->n_cols, row, buffer + head->n_cols, copy);
        n_untold += head->n_cols;
        if (n_untold < BNI_PROGRESS_BYTES && row + 1 < head->n_rows) continue;
        const bitnet_status status = on_progress(user, n_untold);
        if (status != BITNET_OK) return status;
        n_untold = 0;
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
    const struct bni_kernels *kernels = bni_kernels_select();
    if (kernels == NULL) return bitnet_last_status();
    float *buffer = bni_calloc(2 * (size_t)head->n_cols, sizeof(*buffer));
    if (buffer == NULL) return bitnet_last_status();
    bitnet_status status = make_room(head, copy);
    bool is_possible = true;
    if (status == BITNET_OK)
        status =
            copy_rows(head, kernels, on_progress, user, buffer, copy, &is_possible);
    bni_free(buffer);
    copy->build_ns = bitnet_clock_ns() - begin_ns;
    if (status != BITNET_OK || !is_possible) bni_head_copy_free(copy);
    return status;
}

void bni_head_copy_free(struct bni_head_copy *copy)
{
    bni_unmap(copy->codes, copy->n_bytes);
    *copy = (struct bni_head_copy){0};
}
