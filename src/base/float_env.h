/* SPDX-License-Identifier: MIT */
/*
 * float_env.h - the floating-point mode that our arithmetic is defined in.
 *
 * Every sum in docs/numerics.md is rounded to nearest and keeps subnormal numbers. A
 * host may have set another mode - programs built with -ffast-math do, at start-up -
 * and threads inherit it from whoever creates them. Our own threads begin with the
 * default mode; what we compute in a caller's thread goes between enter and leave.
 *
 * On arm64 the control register FPCR has fields that the C library takes for reserved
 * and leaves as they are: another format of half precision (AHP), what becomes of a
 * NaN's bits (DN). There the register is written whole: 0 is the default mode.
 */
#ifndef BNI_BASE_FLOAT_ENV_H
#define BNI_BASE_FLOAT_ENV_H

#include <fenv.h>

#if defined(__aarch64__)
#include <stdint.h>
#endif

static inline void bni_float_env_set(const fenv_t *env)
{
    fesetenv(env);
#if defined(__aarch64__)
    const uint64_t mode = env == FE_DFL_ENV ? 0 : env->__fpcr;
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
#endif
}

/* Gives the calling thread the default mode for good: for threads of our own. */
static inline void bni_float_env_set_default(void)
{
    bni_float_env_set(FE_DFL_ENV);
}

/* The default mode from enter to leave; then the caller's again. */
static inline void bni_float_env_enter(fenv_t *callers)
{
    fegetenv(callers);
    bni_float_env_set(FE_DFL_ENV);
}

static inline void bni_float_env_leave(const fenv_t *callers)
{
    bni_float_env_set(callers);
}

#endif
