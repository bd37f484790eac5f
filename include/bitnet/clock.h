/* SPDX-License-Identifier: MIT */
/*
 * bitnet/clock.h - the clock that deadlines are written in.
 *
 * A deadline is an absolute time of the monotonic clock in nanoseconds, so it
 * means the same in every queue it crosses, and changing the date changes
 * nothing:
 *
 *     options.deadline_ns = bitnet_deadline_after_ms(250);
 */
#ifndef BITNET_CLOCK_H
#define BITNET_CLOCK_H

#include <stdint.h>

#include <bitnet/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A deadline that never comes. */
#define BITNET_NO_DEADLINE UINT64_MAX

/*
 * Returns the monotonic clock's time in nanoseconds.
 *
 * Thread safety: any thread.
 */
BITNET_API uint64_t bitnet_clock_ns(void);

/*
 * Returns the time `timeout_ms` milliseconds from now. So late a time that it
 * does not fit is BITNET_NO_DEADLINE.
 *
 * Thread safety: any thread.
 */
BITNET_API uint64_t bitnet_deadline_after_ms(uint64_t timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
