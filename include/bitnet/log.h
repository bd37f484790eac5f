/* SPDX-License-Identifier: MIT */
/*
 * bitnet/log.h - what the library would like to say.
 *
 * The library prints nothing by itself. A program that wants its remarks (a
 * tensor that is all zeros, a key that was ignored) sets a callback.
 */
#ifndef BITNET_LOG_H
#define BITNET_LOG_H

#include <bitnet/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bitnet_log_level {
    BITNET_LOG_ERROR = 1,
    BITNET_LOG_WARNING = 2,
    BITNET_LOG_INFO = 3,
    BITNET_LOG_DEBUG = 4
} bitnet_log_level;

/*
 * Receives one message: a NUL-terminated line without a line break, valid until
 * the callback returns. Runs on whichever thread had something to say, several
 * at once, without locks; it must not call into the library.
 */
typedef void (*bitnet_log_fn)(void *user, bitnet_log_level level, const char *message);

/*
 * Sends messages of `max_level` and below to `fn`; NULL, the default, sends none.
 * `user` must live until another callback is set and every call that was under
 * way has returned.
 *
 * Thread safety: any thread; the pair of `fn` and `user` changes as one.
 */
BITNET_API void bitnet_set_log(bitnet_log_fn fn, void *user,
                               bitnet_log_level max_level);

#ifdef __cplusplus
}
#endif

#endif
