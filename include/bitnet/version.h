/* SPDX-License-Identifier: MIT */
/*
 * bitnet/version.h - which libbitnet this is.
 *
 * The macros tell the header a program was built with; bitnet_version() tells
 * the library it runs with.
 */
#ifndef BITNET_VERSION_H
#define BITNET_VERSION_H

#include <bitnet/export.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BITNET_VERSION_MAJOR 0
#define BITNET_VERSION_MINOR 1
#define BITNET_VERSION_PATCH 0
#define BITNET_VERSION "0.1.0"

/*
 * Returns the running library's version, such as "0.1.0". The string is static.
 *
 * Thread safety: any thread.
 */
BITNET_API const char *bitnet_version(void);

#ifdef __cplusplus
}
#endif

#endif
