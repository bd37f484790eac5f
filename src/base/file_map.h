/* SPDX-License-Identifier: MIT */
/*
 * file_map.h - a whole file, mapped read-only.
 *
 * Only regular files: opening a pipe, a device or a folder fails at once instead
 * of blocking or never ending. The descriptor is closed before the call returns;
 * the mapping stays valid though the file be renamed or deleted, but not though
 * it be cut short.
 */
#ifndef BNI_BASE_FILE_MAP_H
#define BNI_BASE_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>

struct bni_file_map {
    const uint8_t *bytes; /* page aligned; of an empty file, some pointer not NULL */
    size_t n_bytes;
};

/*
 * Fails with MODEL_NOT_FOUND if the file cannot be opened, MODEL_LOAD_FAILED if it
 * is not a regular file, OUT_OF_MEMORY if it cannot be mapped; `*map` needs no close
 * then.
 */
bitnet_status bni_file_map_open(const char *path, struct bni_file_map *map);

void bni_file_map_close(struct bni_file_map *map);

#endif
