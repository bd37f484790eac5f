/* SPDX-License-Identifier: MIT */
/*
 * float_env.h - the floating-point mode that our arithmetic is defined in.
 *
 * Every sum in docs/numerics.md is rounded to nearest and keeps subnormal numbers. A
 * host may have set another mode - programs built with -ffast-math do, at start-up -
 * and threads inherit it from whoever creates them. Our own threads begin with the
 * default mode; what we compute in a caller's thread goes between enter and leave.
 */
#ifndef BNI_BASE_FLOAT_ENV_H
#define BNI_BASE_FLOAT_ENV_H

#include <fenv.h>

/* Gives the calling thread the default mode for good: for threads of our own. */
static inline void bni_float_env_set_default(void)
{
    fesetenv(FE_DFL_ENV);
}

/* The default mode from enter to leave; then the caller's again. */
static inline void bni_float_env_enter(fenv_t *callers)
{
    fegetenv(callers);
    fesetenv(FE_DFL_ENV);
}

static inline void bni_float_env_leave(const fenv_t *callers)
{
    fesetenv(callers);
}

#endif
