/* SPDX-License-Identifier: MIT */
/* avx512_vnni_emulated.c - x86_avx512_vnni.c with its instructions emulated. */
#include "emulated.h"

#include "../../../src/kernels/x86_avx512_vnni.c"
