/* SPDX-License-Identifier: MIT */
/*
 * two_pass.h - the output head in two passes: all logits about, then some exactly.
 *
 * The head is more than half of the bytes that a step of one row reads. Where the model
 * has an eight-bit copy of it (model/head_copy.h), the first pass makes all logits from
 * the copy, each with a bound on how far it is from what the head itself would give.
 * The bounds tell which tokens can be among the first k, and the second pass computes
 * their logits from the head, by the kernel that the whole product uses:
 *
 *                        threshold: the k-th largest lower end
 *                            |
 *     token 0      |----x----|                  upper end below it: left as it is
 *     token 1              |----x----|          computed
 *     token 2                |----x----|        computed
 *     token 3   |----x----|                     left as it is
 *
 * At least k exact logits are not below the threshold, and what is left as it is lies
 * below it, exact or not. So whoever looks at the k largest only, in their order, finds
 * what the whole product has, to the bit, and nothing else need be told. What penalties
 * and biases change is computed in any case, and k is counted without it. docs/numerics.md
 * derives the bound.
 *
 * All rows of a step or none: if one needs all of its logits, or has numbers that are
 * not finite, or if too many tokens are left, the whole product is computed for all,
 * which reads the head once.
 */
#ifndef BNI_ENGINE_TWO_PASS_H
#define BNI_ENGINE_TWO_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>
#include <bitnet/status.h>

#include "model/head_copy.h"

struct bni_forward;
struct bni_penalties;
struct bni_team;
struct bitnet_model;

/* What will be looked at of a row of logits. */
struct bni_logit_need {
    uint32_t n_top; /* the first so many, when what follows has changed them; 0: all */
    float depth;    /* and all that are at most so far below the last of them */
    const struct bni_penalties *penalties;
    const bitnet_token *history; /* that the penalties go by */
    size_t n_history;
};

/* How one row of activations is quantised for the first pass, and how well. */
struct bni_coarse_row {
    float per_residual; /* the bound of a logit is per_residual * residuals[m] */
    float per_norm;     /* + per_norm * norms[m] */
    bool is_usable;
};

/* Above whatever subnormal numbers lose, in both passes. */
#define BNI_TWO_PASS_LEAST_BOUND 0x1p-110f

/* How far the first pass's logit of `token` may be from the exact one. */
static inline float bni_two_pass_bound(const struct bni_head_copy *copy,
                                       const struct bni_coarse_row *row, size_t token)
{
    return (copy->residuals[token] * row->per_residual +
            copy->norms[token] * row->per_norm) +
           BNI_TWO_PASS_LEAST_BOUND;
}

/* What was done, in all. */
struct bni_two_pass_counts {
    uint64_t n_rows;       /* of logits, in two passes */
    uint64_t n_candidates; /* computed in the second one */
    uint64_t n_vain_steps; /* that had a first pass and then the whole product */
};

/* The scheduler's alone. Sized for max_logit_rows; all NULL without a copy. */
struct bni_two_pass {
    size_t n_blocks;
    size_t max_candidates; /* of a row */
    int16_t *q;            /* [rows][n_embd] */
    float *steps;          /* [rows] */
    struct bni_coarse_row *rows;
    float *lows;           /* [rows][n_blocks]: the largest lower end of each block */
    float *highs;          /* [rows][n_blocks]: and upper end */
    float *largest;        /* [rows][BNI_TWO_PASS_MAX_TOP]: scratch */
    uint32_t *candidates;  /* [rows][max_candidates], increasing */
    size_t *n_candidates;  /* [rows] */
    uint32_t n_steps_left; /* without a first pass, after one in vain */
    struct bni_two_pass_counts counts;
    void *block; /* all of the above */
    size_t n_bytes;
};

enum {
    /* Most that n_top and the changed tokens can be together. */
    BNI_TWO_PASS_MAX_TOP = 1024,
    /* Tokens whose bounds are looked at together. */
    BNI_TWO_PASS_BLOCK = 64,
    /* After a first pass in vain, so many steps have none: a model for which it never
     * pays loses a 32nd of the head's time by it. */
    BNI_TWO_PASS_REST = 15,
};

/* Bytes for a model, 0 if it has no copy of its head; false if they do not fit. */
bool bni_two_pass_bytes(const struct bitnet_model *model, size_t max_logit_rows,
                        size_t *n_bytes);

bitnet_status bni_two_pass_init(struct bni_two_pass *two_pass,
                                const struct bitnet_model *model,
                                size_t max_logit_rows);
void bni_two_pass_free(struct bni_two_pass *two_pass);

/*
 * Makes the logits that are needed of the first `n_rows` rows of workspace->final, in
 * two passes. False if the whole product is to be computed instead.
 */
bool bni_two_pass_run(const struct bni_forward *forward, struct bni_team *team,
                      size_t n_rows);

#endif
