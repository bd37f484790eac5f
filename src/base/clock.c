/* SPDX-License-Identifier: MIT */
/*
 * clock.c - the monotonic clock in nanoseconds, and the library's version.
 */
#include <bitnet/clock.h>
#include <bitnet/version.h>

#include <time.h>

uint64_t bitnet_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bitnet_deadline_after_ms(uint64_t timeout_ms)
{
    uint64_t timeout_ns;
    uint64_t deadline_ns;
    if (__builtin_mul_overflow(timeout_ms, UINT64_C(1000000), &timeout_ns) ||
        __builtin_add_overflow(bitnet_clock_ns(), timeout_ns, &deadline_ns))
        return BITNET_NO_DEADLINE;
    return deadline_ns;
}

const char *bitnet_version(void)
{
    return BITNET_VERSION;
}
