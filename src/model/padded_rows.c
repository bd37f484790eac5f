/* SPDX-License-Identifier: MIT */
/*
 * padded_rows.c - see padded_rows.h.
 */
#include "model/padded_rows.h"

#include <assert.h>
#include <string.h>

enum {
    GROUPS_PER_BLOCK = BNI_TERNARY_BLOCK / BNI_TERNARY_GROUP,
    WORDS_PER_BLOCK = BNI_TERNARY_BLOCK_BYTES / sizeof(uint64_t),
};

/* Where the codes of a block's group lie in each of its bytes. */
static unsigned shift_of(size_t group)
{
    return 6 - 2 * (unsigned)(group % GROUPS_PER_BLOCK);
}

/* Makes one block of `n_groups` groups in a row, of which `first` is counted over the
 * whole tensor. The rest is code 1, weight 0. */
static void put_block(const uint8_t *codes, size_t first, size_t n_groups, uint8_t *out)
{
    const uint64_t lowest_codes = UINT64_C(0x0303030303030303);
    const uint64_t lowest_ones = UINT64_C(0x0101010101010101);
    for (size_t w = 0; w < WORDS_PER_BLOCK; w++) {
        uint64_t word = 0;
        for (size_t g = 0; g < n_groups; g++) {
            const size_t block = (first + g) / GROUPS_PER_BLOCK;
            uint64_t from;
            memcpy(&from, codes + block * BNI_TERNARY_BLOCK_BYTES + w * sizeof(from),
                   sizeof(from));
            word |= (from >> shift_of(first + g) & lowest_codes) << shift_of(g);
        }
        for (size_t g = n_groups; g < GROUPS_PER_BLOCK; g++)
            word |= lowest_ones << shift_of(g);
        memcpy(out + w * sizeof(word), &word, sizeof(word));
    }
}

void bni_pad_rows(const uint8_t *codes, size_t n_cols, size_t row_begin, size_t row_end,
                  uint8_t *out)
{
    assert(n_cols % BNI_TERNARY_GROUP == 0);
    const size_t n_groups = n_cols / BNI_TERNARY_GROUP;
    uint8_t *block = out + row_begin * (bni_padded_cols(n_cols) / 4);
    for (size_t row = row_begin; row < row_end; row++) {
        for (size_t g = 0; g < n_groups; g += GROUPS_PER_BLOCK) {
            const size_t n_left = n_groups - g;
            put_block(codes, row * n_groups + g,
                      n_left < GROUPS_PER_BLOCK ? n_left : GROUPS_PER_BLOCK, block);
            block += BNI_TERNARY_BLOCK_BYTES;
        }
    }
}
