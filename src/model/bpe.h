/* SPDX-License-Identifier: MIT */
/*
 * bpe.h - byte-level BPE: the merge list, and one pre-token into tokens.
 *
 * A merge names two tokens and stands for the token whose bytes are theirs
 * together; its place in the list is its rank. A pre-token begins as its bytes'
 * tokens, and the pair of lowest rank is merged until there is none.
 */
#ifndef BNI_MODEL_BPE_H
#define BNI_MODEL_BPE_H

#include "model/merge.h"
#include "model/token_list.h"
#include "model/vocabulary.h"

struct bni_merge {
    bitnet_token left;
    bitnet_token right;
    bitnet_token joined;
};

/* Fixed once read. All zeros may be cleared. */
struct bni_bpe {
    const struct bni_vocabulary *vocabulary;
    bool looks_up_whole_pieces; /* a pre-token that is a token is that token */
    struct bni_merge *merges;   /* [n_merges], in the order of their ranks */
    size_t n_merges;
    uint32_t *slots; /* hash of a pair to its index in `merges` */
    size_t slot_mask;
};

/*
 * Reads the merges. One that names, or makes, what is no normal token is left out,
 * with a warning in the log; of equal ones the first counts. Fails with
 * MODEL_LOAD_FAILED or OUT_OF_MEMORY, and then needs no clear.
 */
bitnet_status bni_bpe_read(struct bni_bpe *bpe, const struct bni_gguf *gguf,
                           const struct bni_vocabulary *vocabulary,
                           bool looks_up_whole_pieces);

void bni_bpe_clear(struct bni_bpe *bpe);

/* Appends the tokens of one pre-token. A byte that has no token is left out. */
bitnet_status bni_bpe_encode(const struct bni_bpe *bpe, const char *piece,
                             size_t n_bytes, struct bni_merger *merger,
                             struct bni_token_list *tokens);

#endif
