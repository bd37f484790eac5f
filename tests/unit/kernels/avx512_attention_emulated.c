/* SPDX-License-Identifier: MIT */
/* avx512_attention_emulated.c - x86_avx512_attention.c with its instructions emulated. */
#include "emulated.h"

#include "../../../src/kernels/x86_avx512_attention.c"
