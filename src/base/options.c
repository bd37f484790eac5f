/* SPDX-License-Identifier: MIT */
/*
 * options.c - see options.h.
 */
#include "base/options.h"

#include <string.h>

#include "base/error.h"
#include "base/size.h"

static bitnet_status read_struct_size(const char *what, const void *options,
                                      size_t *size)
{
    memcpy(size, options, sizeof(*size));
    if (*size < sizeof(*size) || *size > 65536)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: struct_size is %zu; set it to sizeof the struct", what,
                         *size);
    return BITNET_OK;
}

bitnet_status bni_options_read(const char *what, void *into, size_t into_bytes,
                               const void *from)
{
    if (from == NULL) return BITNET_OK;
    size_t from_bytes;
    const bitnet_status status = read_struct_size(what, from, &from_bytes);
    if (status != BITNET_OK) return status;

    for (size_t i = into_bytes; i < from_bytes; i++) {
        if (((const unsigned char *)from)[i] != 0)
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "%s: byte %zu of the options is set, but this library "
                             "knows only %zu bytes of them: the program was built for "
                             "a newer one",
                             what, i, into_bytes);
    }
    memcpy((char *)into + sizeof(size_t), (const char *)from + sizeof(size_t),
           bni_size_min(from_bytes, into_bytes) - sizeof(size_t));
    return BITNET_OK;
}

bitnet_status bni_options_write(const char *what, void *to, const void *from,
                                size_t from_bytes)
{
    size_t to_bytes;
    const bitnet_status status = read_struct_size(what, to, &to_bytes);
    if (status != BITNET_OK) return status;
    const size_t n_common = bni_size_min(to_bytes, from_bytes);
    memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
           n_common - sizeof(size_t));
    memset((char *)to + n_common, 0, to_bytes - n_common);
    return BITNET_OK;
}
