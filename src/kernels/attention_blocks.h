/* SPDX-License-Identifier: MIT */
/*
 * attention_blocks.h - how queries go through a block of keys and values: the same for
 * every instruction set, which includes this after the tiles it compiles.
 *
 *     queries of a tile     score -> weigh -> values that all of them see, together
 *                                             values of the last positions, one by one
 *
 * Before the inclusion the file defines
 *
 *     CHANNELS               channels that one vector of a tile has
 *     tile_vectors(n)        vectors of channels of a tile of n queries, n = 1, 2 or 4
 *     score(queries, n_queries, block, type, scores)
 *                            writes the scaled scores of all positions of the block, of
 *                            which some may be no positions
 *     weigh(query, scores)   goes on with the softmax: makes weights of the scores, +0 for
 *                            what is no position, and returns by what the values so far
 *                            are to be multiplied
 *     add_channels(queries, n_queries, weights, corrections, block, type, p, p_end, d,
 *                  n_vectors)
 *                            acc = acc * correction, and then the weighted values of the
 *                            positions [p, p_end), for n_vectors of channels from d on
 */
#ifndef BNI_KERNELS_ATTENTION_BLOCKS_H
#define BNI_KERNELS_ATTENTION_BLOCKS_H

#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "base/size.h"
#include "kernels/attention_tiles.h"
#include "kernels/kernels.h"

/* All channels, whole tiles first. */
BNI_TILE void add_values(const struct bni_attention_query *queries, size_t n_queries,
                         bni_block_floats weights, const float *corrections,
                         const struct bni_kv_block *block, enum bni_stored type,
                         size_t p, size_t p_end)
{
    const size_t head_dim = block->head_dim;
    const size_t n_vectors = tile_vectors(n_queries);
    size_t d = 0;
    for (; head_dim - d >= CHANNELS * n_vectors; d += CHANNELS * n_vectors)
        add_channels(queries, n_queries, weights, corrections, block, type, p, p_end, d,
                     n_vectors);
    for (; head_dim - d >= CHANNELS; d += CHANNELS)
        add_channels(queries, n_queries, weights, corrections, block, type, p, p_end, d,
                     1);
    for (; d < head_dim; d++)
        for (size_t i = 0; i < n_queries; i++) {
            float value = queries[i].acc[d] * corrections[i];
            for (size_t n = p; n < p_end; n++)
                value = fmaf(weights[i][n],
                             bni_load_stored(block->v, n * head_dim + d, type), value);
            queries[i].acc[d] = value;
        }
}

BNI_TILE void attend(struct bni_attention_query *queries, size_t n_queries,
                     const struct bni_kv_block *block, enum bni_stored type)
{
    bni_block_floats weights;
    float corrections[BNI_TILE_QUERIES];
    size_t n_common = BNI_ATTENTION_BLOCK;
    score(queries, n_queries, block, type, weights);
    for (size_t i = 0; i < n_queries; i++) {
        const size_t n_positions = queries[i].n_positions;
        assert(n_positions >= 1 && n_positions <= BNI_ATTENTION_BLOCK);
        n_common = bni_size_min(n_common, n_positions);
        corrections[i] = weigh(&queries[i], weights[i]);
        if (type == BNI_STORED_INT8) /* the factors of the values go into the weights */
            for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++)
                weights[i][p] *= block->v_factors[p];
    }
    add_values(queries, n_queries, weights, corrections, block, type, 0, n_common);
    const float none = 1.0f; /* has been applied */
    for (size_t i = 0; i < n_queries; i++) {
        if (queries[i].n_positions > n_common)
            add_values(&queries[i], 1, weights + i, &none, block, type, n_common,
                       queries[i].n_positions);
    }
}

/* All queries, in tiles of four, two and one. */
BNI_TILE void attend_all(struct bni_attention_query *queries, size_t n_queries,
                         const struct bni_kv_block *block, enum bni_stored type)
{
    struct bni_kv_block rest = *block; /* what comes next has been asked for */
    rest.next = 0;
    size_t i = 0;
    for (; n_queries - i >= 4; i += 4)
        attend(queries + i, 4, i == 0 ? block : &rest, type);
    for (; n_queries - i >= 2; i += 2)
        attend(queries + i, 2, i == 0 ? block : &rest, type);
    if (i < n_queries) attend(queries + i, 1, i == 0 ? block : &rest, type);
}

#endif
