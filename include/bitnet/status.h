/* SPDX-License-Identifier: MIT */
/*
 * bitnet/status.h - what functions return, and where the sentence is.
 *
 * Every function that can fail returns a bitnet_status: BITNET_OK, or a negative
 * code. The sentence that says what went wrong - doing what, to what, what was
 * found, what was expected - is kept per thread and read with
 * bitnet_last_error(). Work done on another thread carries its record back:
 * whoever waits for a job or a request finds it here, in the waiting thread.
 */
#ifndef BITNET_STATUS_H
#define BITNET_STATUS_H

#include <bitnet/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bitnet_status {
    BITNET_OK = 0,
    BITNET_ERROR_INVALID_ARGUMENT = -1,
    BITNET_ERROR_MODEL_NOT_FOUND = -2,
    BITNET_ERROR_MODEL_LOAD_FAILED = -3,
    BITNET_ERROR_INFERENCE_FAILED = -4,
    BITNET_ERROR_OUT_OF_MEMORY = -5,
    BITNET_ERROR_THREAD_SAFETY = -6, /* the call would wait for itself, or after fork */
    BITNET_ERROR_INVALID_MODEL_ID = -7,
    BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED = -8,
    BITNET_ERROR_UNSUPPORTED_OPERATION = -9,
    BITNET_ERROR_INTERNAL = -10,
    BITNET_ERROR_QUEUE_FULL = -11,
    BITNET_ERROR_TIMED_OUT = -12,
    BITNET_ERROR_CANCELLED = -13,
    BITNET_ERROR_SHUT_DOWN = -14
} bitnet_status;

/* Longest message, its NUL included. A longer one is cut at a whole character. */
enum { BITNET_MAX_ERROR_BYTES = 512 };

/*
 * Returns the code's name, "QUEUE_FULL" for BITNET_ERROR_QUEUE_FULL, and
 * "UNKNOWN" for a number that is no code. The string is static.
 *
 * Thread safety: any thread.
 */
BITNET_API const char *bitnet_status_name(bitnet_status status);

/*
 * Returns the status of this thread's last failed call, BITNET_OK if none failed
 * since the thread started or bitnet_clear_error(). A successful call leaves it.
 *
 * Thread safety: any thread; each has its own.
 */
BITNET_API bitnet_status bitnet_last_status(void);

/*
 * Returns the sentence of this thread's last failed call, "" if there is none.
 * Never NULL, never another thread's. Valid until the thread's next call into
 * the library; valid UTF-8 if the names it quotes are.
 *
 * Thread safety: any thread; each has its own.
 */
BITNET_API const char *bitnet_last_error(void);

/*
 * Forgets this thread's last error.
 *
 * Thread safety: any thread; each has its own.
 */
BITNET_API void bitnet_clear_error(void);

#ifdef __cplusplus
}
#endif

#endif
