/* SPDX-License-Identifier: MIT */
/* avxvnni_emulated.c - x86_avxvnni.c with its instructions emulated. */
#include "emulated.h"

#include "../../../src/kernels/x86_avxvnni.c"
