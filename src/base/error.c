/* SPDX-License-Identifier: MIT */
/*
 * error.c - one record per thread, and nothing else.
 *
 * The record is thread-local storage of fixed size: no allocation, so that "out
 * of memory" can be reported, and no destructor, so that nothing happens when a
 * thread or the process ends. It is one of the library's few mutable globals;
 * being thread-local it needs no lock.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static _Thread_local struct bni_error_record thread_error;

const char *bitnet_status_name(bitnet_status status)
{
    switch (status) {
    case BITNET_OK: return "OK";
    case BITNET_ERROR_INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case BITNET_ERROR_MODEL_NOT_FOUND: return "MODEL_NOT_FOUND";
    case BITNET_ERROR_MODEL_LOAD_FAILED: return "MODEL_LOAD_FAILED";
    case BITNET_ERROR_INFERENCE_FAILED: return "INFERENCE_FAILED";
    case BITNET_ERROR_OUT_OF_MEMORY: return "OUT_OF_MEMORY";
    case BITNET_ERROR_THREAD_SAFETY: return "THREAD_SAFETY";
    case BITNET_ERROR_INVALID_MODEL_ID: return "INVALID_MODEL_ID";
    case BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED: return "CONTEXT_LENGTH_EXCEEDED";
    case BITNET_ERROR_UNSUPPORTED_OPERATION: return "UNSUPPORTED_OPERATION";
    case BITNET_ERROR_INTERNAL: return "INTERNAL";
    case BITNET_ERROR_QUEUE_FULL: return "QUEUE_FULL";
    case BITNET_ERROR_TIMED_OUT: return "TIMED_OUT";
    case BITNET_ERROR_CANCELLED: return "CANCELLED";
    case BITNET_ERROR_SHUT_DOWN: return "SHUT_DOWN";
    }
    return "UNKNOWN";
}

/* A message that does not fit ends before the character that would be cut. */
static void set_message(struct bni_error_record *record, bitnet_status status,
                        const char *format, va_list arguments)
{
    record->status = status;
    const int n_bytes =
        vsnprintf(record->message, sizeof(record->message), format, arguments);
    if (n_bytes < 0) {
        record->message[0] = '\0';
    } else if ((size_t)n_bytes >= sizeof(record->message)) {
        const size_t n_kept = bni_utf8_whole_prefix((const uint8_t *)record->message,
                                                    sizeof(record->message) - 1);
        record->message[n_kept] = '\0';
    }
}

bitnet_status bni_error(bitnet_status status, const char *format, ...)
{
    /* An argument may be this thread's own message: format into a copy. */
    struct bni_error_record record;
    va_list arguments;
    va_start(arguments, format);
    set_message(&record, status, format, arguments);
    va_end(arguments);
    thread_error = record;
    return status;
}

bitnet_status bni_error_prefix(const char *format, ...)
{
    struct bni_error_record prefix;
    va_list arguments;
    va_start(arguments, format);
    set_message(&prefix, thread_error.status, format, arguments);
    va_end(arguments);
    return bni_error(thread_error.status, "%s: %s", prefix.message,
                     thread_error.message);
}

void bni_error_record_set(struct bni_error_record *record, bitnet_status status,
                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_message(record, status, format, arguments);
    va_end(arguments);
}

void bni_error_save(struct bni_error_record *record)
{
    *record = thread_error;
}

bitnet_status bni_error_restore(const struct bni_error_record *record)
{
    if (record->status != BITNET_OK) thread_error = *record;
    return record->status;
}

bitnet_status bitnet_last_status(void)
{
    return thread_error.status;
}

const char *bitnet_last_error(void)
{
    return thread_error.message;
}

void bitnet_clear_error(void)
{
    thread_error.status = BITNET_OK;
    thread_error.message[0] = '\0';
}
