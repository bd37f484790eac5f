/* SPDX-License-Identifier: MIT */
/*
 * merge.h - joining neighbours, best pair first: the loop of BPE and of SPM.
 *
 * A text begins as symbols (bytes or characters). As long as there are two
 * neighbours that may be joined, those with the lowest priority number are, the
 * leftmost of equals first. What may be joined, into what, and how urgently is
 * the caller's to say. n symbols take O(n log n): a text of a million letters is
 * one pre-token, and must not take a million passes.
 */
#ifndef BNI_MODEL_MERGE_H
#define BNI_MODEL_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>

/* Lives at its first byte's index. The bytes behind it hold dead symbols. */
struct bni_symbol {
    uint32_t n_bytes;   /* 0: dead, part of a symbol further left */
    uint32_t previous;  /* index of the neighbour on the left; unset at 0 */
    bitnet_token token; /* or BITNET_NO_TOKEN */
};

/* A pair of neighbours as it was when it was found. */
struct bni_merge_candidate {
    uint64_t order;     /* priority, then the index of the left one */
    uint32_t n_bytes;   /* of both: if that has changed, the pair is no more */
    bitnet_token token; /* what they become */
};

/* Working memory; all zeros to begin with, kept from text to text. */
struct bni_merger {
    struct bni_symbol *symbols;
    struct bni_merge_candidate *heap;
    size_t n_heap;
    size_t max_bytes; /* of a text that fits */
};

/*
 * Whether `left` and `right`, which are neighbours whose bytes together are
 * `bytes`, may be joined. If so fills in what they become and the priority.
 */
typedef bool (*bni_join_fn)(const void *context, bitnet_token left, bitnet_token right,
                            const char *bytes, size_t n_bytes, uint32_t *priority,
                            bitnet_token *joined);

/* Makes room for a text of `n_bytes` < UINT32_MAX. Fails with OUT_OF_MEMORY. */
bitnet_status bni_merger_reserve(struct bni_merger *merger, size_t n_bytes);

void bni_merger_clear(struct bni_merger *merger);

/*
 * Joins until no pair can be. The caller has reserved room for `n_bytes`, and set
 * n_bytes and token of the symbols, which follow one another from index 0 on and
 * cover the text; what remains is read off in the same way.
 */
void bni_merger_run(struct bni_merger *merger, const char *bytes, size_t n_bytes,
                    bni_join_fn join, const void *context);

#endif
