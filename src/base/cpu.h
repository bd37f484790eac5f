/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - which instructions this CPU has and this system lets us use.
 */
#ifndef BNI_BASE_CPU_H
#define BNI_BASE_CPU_H

#include <stdbool.h>

/* A flag is set only if the operating system also saves the registers. */
struct bni_cpu_features {
    bool has_avx2;
    bool has_fma;
    bool has_f16c;
    bool has_avx_vnni;
    bool has_avx512; /* F, BW, VL and DQ together */
    bool has_avx512_vnni;
    bool has_neon;
    bool has_dotprod; /* SDOT and UDOT on NEON registers */
};

/* All false on CPUs that are neither x86-64 nor arm64. Asks the CPU or the system each
 * time: a few hundred ns. */
struct bni_cpu_features bni_cpu_features(void);

#endif
