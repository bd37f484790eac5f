/* SPDX-License-Identifier: MIT */
/*
 * bitnet/export.h - how a public function is declared.
 *
 * The library is built with hidden visibility; BITNET_API makes a function part
 * of its interface. Programs that link the static library need nothing special.
 */
#ifndef BITNET_EXPORT_H
#define BITNET_EXPORT_H

#if defined(__GNUC__)
#define BITNET_API __attribute__((visibility("default")))
#define BITNET_PRINTF(format_index, first_argument) \
    __attribute__((format(printf, format_index, first_argument)))
#else
#define BITNET_API
#define BITNET_PRINTF(format_index, first_argument)
#endif

#endif
