/* SPDX-License-Identifier: MIT */
/*
 * tokenizer_parts.h - what a tokenizer is made of, for tokenizer.c and detokenizer.c.
 */
#ifndef BNI_MODEL_TOKENIZER_PARTS_H
#define BNI_MODEL_TOKENIZER_PARTS_H

#include "model/bpe.h"
#include "model/pretokenize.h"
#include "model/special.h"
#include "model/spm.h"
#include "model/tokenizer.h"
#include "model/vocabulary.h"

/* Fixed once created. */
struct bni_tokenizer {
    bool is_spm;
    struct bni_vocabulary vocabulary;
    struct bni_special_set specials;
    struct bni_pretokenizer *pretokenizer; /* byte-level BPE only, with `bpe` */
    struct bni_bpe bpe;
    struct bni_spm spm; /* SPM only */
    bitnet_token bos;   /* or BITNET_NO_TOKEN, as all of them */
    bitnet_token eos;
    bool adds_bos;
    bool adds_eos;
    char description[64];
};

#endif
