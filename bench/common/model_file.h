/* SPDX-License-Identifier: MIT */
/*
 * model_file.h - the large model, made when it is not there.
 */
#ifndef BENCH_COMMON_MODEL_FILE_H
#define BENCH_COMMON_MODEL_FILE_H

#include <bitnet/model.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Sees to it that there is a model at `path`: unless something is there already,
 * `synth_program` (that is `bitnet`) writes one of the 2B shape. Returns NULL, or why
 * there is none: words that live as long as the program.
 */
const char *bench_provide_model(const char *path, const char *synth_program,
                                bool is_quick);

/* Ternary products for one token, of all layers. */
uint64_t bench_macs_per_token(const bitnet_model_info *info);

#endif
