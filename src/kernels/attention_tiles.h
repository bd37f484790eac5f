/* SPDX-License-Identifier: MIT */
/*
 * attention_tiles.h - what the attention files of the instruction sets share.
 */
#ifndef BNI_KERNELS_ATTENTION_TILES_H
#define BNI_KERNELS_ATTENTION_TILES_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/elementary.h"
#include "kernels/kernels.h"

/* The tile functions take the tile's shape and the type as constants, which only pays
 * off if each call becomes code of its own. */
#define BNI_TILE static inline __attribute__((always_inline))

/* Most queries of a tile. */
enum { BNI_TILE_QUERIES = 4 };

/* Of the queries of a tile: their scores, and then their weights. */
typedef float bni_block_floats[BNI_TILE_QUERIES][BNI_ATTENTION_BLOCK];

/* How keys and values are stored. */
enum bni_stored { BNI_STORED_HALF, BNI_STORED_INT8 };

static inline float bni_load_stored(const void *from, size_t index,
                                    enum bni_stored type)
{
    return type == BNI_STORED_HALF ? bni_widen_f16(((const uint16_t *)from)[index])
                                   : (float)((const int8_t *)from)[index];
}

/*
 * Asks for `n_values` of the next block's keys or values, from number `index` on. The
 * blocks of a sequence lie far from each other, and within one the CPU's own prefetcher
 * has to start anew every 4 KB; asked for a whole block at a time, memory would be waited
 * for. So each step of a tile asks for as much as it reads, but in the order in which the
 * values lie, not in that of the tile, whose steps leap over lines; `index` is how many
 * values the steps before it have read. Of several tiles of queries the first asks.
 */
BNI_TILE void bni_ask_for_next(const struct bni_kv_block *block, const void *from,
                               size_t index, size_t n_values, enum bni_stored type)
{
    if (block->next == 0) return;
    const size_t size = type == BNI_STORED_HALF ? sizeof(uint16_t) : sizeof(int8_t);
    const uintptr_t there = (uintptr_t)from + (uintptr_t)block->next + index * size;
    for (size_t i = 0; i < n_values * size; i += 64)
        __builtin_prefetch((const void *)(there + i), 0, 2);
}

#endif
