/* SPDX-License-Identifier: MIT */
/* avx512_head_emulated.c - x86_avx512_head.c with its instructions emulated. */
#include "emulated.h"

#include "../../../src/kernels/x86_avx512_head.c"
