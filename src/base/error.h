/* SPDX-License-Identifier: MIT */
/*
 * error.h - the thread's last error, and its way from one thread to another.
 *
 * An error is written once, where it is found, by bni_error(), which returns the
 * status so that `return bni_error(...)` reads as one thought. A record is a copy
 * that may cross threads: the thread that failed saves one, the thread that
 * waited restores it.
 */
#ifndef BNI_BASE_ERROR_H
#define BNI_BASE_ERROR_H

#include <bitnet/status.h>

struct bni_error_record {
    bitnet_status status;
    char message[BITNET_MAX_ERROR_BYTES]; /* NUL-terminated */
};

/* Sets this thread's error and returns `status`. Cuts at a whole character. */
bitnet_status bni_error(bitnet_status status, const char *format, ...)
    BITNET_PRINTF(2, 3);

/* Puts "what: " in front of this thread's message; returns its status. */
bitnet_status bni_error_prefix(const char *format, ...) BITNET_PRINTF(1, 2);

/* Copies this thread's error to `record`. */
void bni_error_save(struct bni_error_record *record);

/* Makes `record` this thread's error and returns its status; BITNET_OK changes nothing. */
bitnet_status bni_error_restore(const struct bni_error_record *record);

/* Writes a record that has no thread yet. */
void bni_error_record_set(struct bni_error_record *record, bitnet_status status,
                          const char *format, ...) BITNET_PRINTF(3, 4);

#endif
