/* SPDX-License-Identifier: MIT */
/*
 * options.h - reading option structs of callers older or newer than the library.
 *
 * A public options struct begins with its size in the caller. A shorter one comes
 * from a program built with an older header: the fields it lacks keep their
 * defaults. A longer one comes from a newer header: it is fine as long as what we
 * do not know is zero.
 */
#ifndef BNI_BASE_OPTIONS_H
#define BNI_BASE_OPTIONS_H

#include <stddef.h>

#include <bitnet/status.h>

/*
 * Copies `from` over `into`, which holds `into_bytes` of defaults and keeps its own
 * struct_size. NULL `from` changes nothing. Fails with INVALID_ARGUMENT, naming
 * `what`, if the size is less than the size field itself or the tail is not zero.
 */
bitnet_status bni_options_read(const char *what, void *into, size_t into_bytes,
                               const void *from);

/*
 * Copies a filled struct of ours out to the caller's, no more than its struct_size
 * says, and zeroes what the caller has beyond ours. Fails as above.
 */
bitnet_status bni_options_write(const char *what, void *to, const void *from,
                                size_t from_bytes);

#endif
