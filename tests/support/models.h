/* SPDX-License-Identifier: MIT */
/*
 * models.h - the models that tests run on, and how much tests run on them.
 */
#ifndef TESTS_SUPPORT_MODELS_H
#define TESTS_SUPPORT_MODELS_H

#include <stdbool.h>

#define SHIPPED_MODEL BITNET_SOURCE_DIR "/models/tinystories-3.7m-i2_s.gguf"

/* Models and logits of other engines; not part of the repository. */
#define REFERENCE_DIR BITNET_SOURCE_DIR "/../shared/data/reference/"

/* Sanitizers make arithmetic ten to thirty times slower, and so does an emulator
 * (BITNET_TESTS_ARE_EMULATED, from tests/CMakeLists.txt): tests then do less of it. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || \
    defined(BITNET_TESTS_ARE_EMULATED)
#define IS_SLOW_BUILD true
#else
#define IS_SLOW_BUILD false
#endif

#endif
