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
 * With a grammar the k are of the tokens that it allows; of the others it matters
 * nothing how exact they are. Mostly the likeliest k tell the threshold, with a few more
 * tried; where they do not, all that is allowed is listed, and only that is computed.
 *
 * A row that needs all of its logits, or has numbers that are not finite, or too many
 * candidates, takes the whole product. The others of the step do not, if they are all or
 * so many that what they save is more than reading the copy beside the head.
 */
#ifndef BNI_ENGINE_TWO_PASS_H
#define BNI_ENGINE_TWO_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>
#include <bitnet/status.h>

#include "model/head_copy.h"

struct bni_candidate;
struct bni_forward;
struct bni_grammar_mask;
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
    const struct bni_grammar_mask
        *mask;                     /* or NULL; then they are first of what it allows */
    struct bni_candidate *scratch; /* [n_vocab], with a mask */
};

/* How one row of activations is quantised for the first pass, and how well. */
struct bni_coarse_row {
    float per_residual; /* the bound of a logit is per_residual * residuals[m] */
    float per_norm;     /* + per_norm * norms[m] */
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
    uint64_t n_vain_steps; /* where a row had a first pass and then the whole product */
};

/* The scheduler's alone. Sized for max_logit_rows; all NULL without a copy. */
struct bni_two_pass {
    size_t n_blocks;
    size_t max_candidates; /* of a row */
    int16_t *q;            /* [rows][n_embd] */
    float *steps;          /* [rows] */
    struct bni_coarse_row *rows;
    float *lows;  /* [rows][n_blocks]: the largest lower end of each block */
    float *highs; /* [rows][n_blocks]: and upper end */
    struct bni_candidate *largest; /* [rows][BNI_TWO_PASS_MAX_TOP]: scratch */
    uint32_t *candidates;          /* [rows][max_candidates] */
    size_t *n_candidates;          /* [rows] */
    bool *is_in;                   /* [rows]: it goes in two passes */
    uint32_t n_steps_left;         /* without a first pass, after one in vain */
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
 * Makes, in two passes, the logits that are needed of those of the first `n_rows` rows of
 * workspace->final that can be. Returns for each row whether they are made, good until
 * the next call, or NULL if of none; the whole product is to be computed for the others.
 */
const bool *bni_two_pass_run(const struct bni_forward *forward, struct bni_team *team,
                             size_t n_rows);

/* Finds the next run of neighbours in [*begin, n) for which `values` is `wanted`. */
static inline bool bni_next_run(const bool *values, bool wanted, size_t n,
                                size_t *begin, size_t *n_found)
{
    while (*begin < n && values[*begin] != wanted) ++*begin;
    size_t end = *begin;
    while (end < n && values[end] == wanted) end++;
    *n_found = end - *begin;
    return *n_found > 0;
}

#endif
