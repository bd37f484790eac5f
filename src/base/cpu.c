/* SPDX-License-Identifier: MIT */
/*
 * cpu.c - CPUID and XGETBV on x86-64, what the kernel tells a process on arm64.
 *
 * An x86 CPU may have registers that the operating system does not save on a context
 * switch: using them would corrupt other programs or fault. XCR0 tells which are
 * saved, so every flag needs both answers. The compilers' built-in test does the
 * same, but not every one we support knows all of these names. On arm64 the kernel's
 * list of capabilities is the answer to both.
 */
#include "base/cpu.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <stdint.h>

enum {
    /* Bits of XCR0: which registers the system saves. */
    XCR0_AVX = 0x06,    /* XMM and YMM */
    XCR0_AVX512 = 0xe6, /* these and the mask registers, ZMM 0-15, ZMM 16-31 */
    /* EAX of leaf 7, subleaf 1; clang's cpuid.h calls it bit_AVXVNNI, gcc's both ways. */
    AVX_VNNI = 1 << 4,
};

static uint32_t read_xcr0(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

struct bni_cpu_features bni_cpu_features(void)
{
    struct bni_cpu_features features = {0};
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;

    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & bit_OSXSAVE) == 0)
        return features;
    const uint32_t xcr0 = read_xcr0();
    if ((xcr0 & XCR0_AVX) != XCR0_AVX) return features;
    features.has_fma = (ecx & bit_FMA) != 0;
    features.has_f16c = (ecx & bit_F16C) != 0;

    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return features;
    features.has_avx2 = (ebx & bit_AVX2) != 0;
    if ((xcr0 & XCR0_AVX512) == XCR0_AVX512) {
        const uint32_t avx512 =
            bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
        features.has_avx512 = (ebx & avx512) == avx512;
        features.has_avx512_vnni = (ecx & bit_AVX512VNNI) != 0;
    }
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0)
        features.has_avx_vnni = (eax & AVX_VNNI) != 0;
    return features;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

struct bni_cpu_features bni_cpu_features(void)
{
    const unsigned long capabilities = getauxval(AT_HWCAP);
    return (struct bni_cpu_features){
        .has_neon = (capabilities & HWCAP_ASIMD) != 0,
        .has_dotprod = (capabilities & HWCAP_ASIMDDP) != 0,
    };
}

#else

struct bni_cpu_features bni_cpu_features(void)
{
    return (struct bni_cpu_features){0};
}

#endif
