/* SPDX-License-Identifier: MIT */
/*
 * first_position.h - the forward graph at position 0, in double, from its formulas.
 *
 * With one position there is nothing to rotate and attention is the value itself,
 * so the whole graph is a page of plain loops: an independent check of embedding,
 * products, norms, activation and head.
 */
#ifndef TESTS_SUPPORT_FIRST_POSITION_H
#define TESTS_SUPPORT_FIRST_POSITION_H

#include <stdbool.h>

#include <bitnet/model.h>

/* Logits [n_vocab] of `token` alone, in a block for free(). `rounds_values` rounds V to
 * half precision, as an F16 cache does. */
double *first_position_logits(const bitnet_model *model, bitnet_token token,
                              bool rounds_values);

#endif
