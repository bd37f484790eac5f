/* SPDX-License-Identifier: MIT */
/* avx512_emulated.c - x86_avx512.c with its instructions emulated. */
#include "emulated.h"

#include "../../../src/kernels/x86_avx512.c"
