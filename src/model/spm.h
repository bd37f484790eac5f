/* SPDX-License-Identifier: MIT */
/*
 * spm.h - SentencePiece-style tokenising: merges by score, bytes for the rest.
 *
 * A text begins as its characters, and the pair that makes the token of the
 * highest score is joined until no pair makes one. A character that is no token
 * falls back to the tokens of its bytes.
 *
 * Where the file writes U+2581 for a space, a space stands here: vocabulary.c has
 * replaced it in the tokens, and encoding replaces it in the text, so that both
 * mean the same thing, as they do in the file.
 */
#ifndef BNI_MODEL_SPM_H
#define BNI_MODEL_SPM_H

#include "model/merge.h"
#include "model/token_list.h"
#include "model/vocabulary.h"

/* Fixed once read; owns nothing. */
struct bni_spm {
    const struct bni_vocabulary *vocabulary;
    bitnet_token unknown;   /* for a byte without a token; maybe none */
    bool adds_space_prefix; /* to each stretch of text between specials */
};

/* Checks the scores: none is NaN. Fails with MODEL_LOAD_FAILED. */
bitnet_status bni_spm_read(struct bni_spm *spm, const struct bni_gguf *gguf,
                           const struct bni_vocabulary *vocabulary);

/* Appends the tokens of a stretch of well-formed UTF-8 between special tokens. */
bitnet_status bni_spm_encode(const struct bni_spm *spm, const char *text,
                             size_t n_bytes, struct bni_merger *merger,
                             struct bni_token_list *tokens);

#endif
