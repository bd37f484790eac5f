/* SPDX-License-Identifier: MIT */
/*
 * sampling_options.h - from a caller's options to a sampler.
 */
#ifndef BNI_ENGINE_SAMPLING_OPTIONS_H
#define BNI_ENGINE_SAMPLING_OPTIONS_H

#include <stdint.h>

#include <bitnet/engine.h>

#include "engine/sampler.h"

/*
 * Checks everything that has to do with choosing and stopping. Fails with
 * INVALID_ARGUMENT, naming the field, what was found and what was expected.
 */
bitnet_status bni_sampling_options_check(const bitnet_generate_options *options,
                                         uint32_t n_vocab);

/*
 * Makes a sampler of options that have been checked. It owns a copy of the biases,
 * which bni_sampler_free() frees.
 */
bitnet_status bni_sampler_init(struct bni_sampler *sampler,
                               const bitnet_generate_options *options);
void bni_sampler_free(struct bni_sampler *sampler);

#endif
