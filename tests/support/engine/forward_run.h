/* SPDX-License-Identifier: MIT */
/*
 * forward_run.h - the forward pass by itself, without an engine around it.
 *
 * Runs one sequence through a model, some tokens at a time, and gives the logits
 * of every position.
 */
#ifndef TESTS_SUPPORT_FORWARD_RUN_H
#define TESTS_SUPPORT_FORWARD_RUN_H

#include <stddef.h>

#include <bitnet/engine.h>
#include <bitnet/model.h>

#include "kernels/kernels.h"

/*
 * Puts logits [n_tokens][n_vocab] into a block for bni_free(). The tokens go through
 * in steps of `chunk` rows, on `n_threads` compute threads, with `kernels`.
 */
float *forward_run(const bitnet_model *model, const struct bni_kernels *kernels,
                   unsigned n_threads, const bitnet_token *tokens, size_t n_tokens,
                   size_t chunk);

/* The same with a cache of this type, which is F16 above. */
float *forward_run_kv(const bitnet_model *model, const struct bni_kernels *kernels,
                      bitnet_kv_type kv_type, unsigned n_threads,
                      const bitnet_token *tokens, size_t n_tokens, size_t chunk);

#endif
