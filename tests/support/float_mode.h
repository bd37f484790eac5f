/* SPDX-License-Identifier: MIT */
/*
 * float_mode.h - for tests: the calling thread's floating-point mode, and a mode that no
 * answer may depend on.
 */
#ifndef TESTS_SUPPORT_FLOAT_MODE_H
#define TESTS_SUPPORT_FLOAT_MODE_H

#include <fenv.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* All of it, but for the flags that arithmetic raises. */
static inline uint64_t float_mode(void)
{
#if defined(__x86_64__)
    return _mm_getcsr() & ~0x3fu;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return (uint64_t)fegetround();
#endif
}

/* As a program built with -ffast-math has it, and worse. */
static inline void set_hostile_float_mode(void)
{
    fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040u); /* flush subnormals, read them as zero */
#elif defined(__aarch64__)
    /* Flush subnormals, one NaN for all, halves without infinity. */
    __asm__ volatile("msr fpcr, %0" : : "r"(float_mode() | 0x7000000));
#endif
}

#endif
