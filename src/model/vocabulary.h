/* SPDX-License-Identifier: MIT */
/*
 * vocabulary.h - the tokens of a GGUF file, as the bytes they stand for.
 *
 * Texts are decoded once, when the file is read: byte-level BPE's from its
 * alphabet, SPM's with a space for U+2581 and a byte for "<0x0A>". So the bytes
 * of a token are at once what it prints and what is looked up when text is
 * encoded. Control and user-defined tokens, and texts that do not decode, are
 * kept as they stand.
 *
 * What text may become by lookup is kept apart from what it must never become:
 * only normal tokens can be found. A control token's text is an ordinary text
 * here; special.h recognises it where that is asked for.
 */
#ifndef BNI_MODEL_VOCABULARY_H
#define BNI_MODEL_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>

#include "formats/gguf.h"

enum {
    BNI_TOKEN_MAX_BYTES = 64 * 1024, /* of any token's text */
    BNI_SPECIAL_MAX_BYTES = 256,     /* of a control, unknown or user-defined one's */
};

/* By their numbers in the file. */
enum bni_token_type {
    BNI_TOKEN_UNDEFINED,
    BNI_TOKEN_NORMAL,
    BNI_TOKEN_UNKNOWN,
    BNI_TOKEN_CONTROL,
    BNI_TOKEN_USER_DEFINED,
    BNI_TOKEN_UNUSED,
    BNI_TOKEN_BYTE,
    BNI_N_TOKEN_TYPES,
};

struct bni_text_slot {
    uint32_t hash;
    bitnet_token token; /* BITNET_NO_TOKEN: the slot is free */
};

/* Fixed once read. All zeros is an empty vocabulary that may be cleared. */
struct bni_vocabulary {
    size_t n_tokens;
    bool is_byte_level;
    char *bytes;       /* of all tokens, one after another */
    uint32_t *offsets; /* [n_tokens + 1] into `bytes` */
    uint8_t *types;    /* [n_tokens] enum bni_token_type, after correction */
    bool *is_end;      /* [n_tokens] generation ends there */
    const struct bni_gguf_value *scores; /* [n_tokens] in the file, or NULL */
    size_t max_token_bytes;
    bitnet_token byte_tokens[256]; /* for each byte, or BITNET_NO_TOKEN */

    /* Text to token, open addressing: at least half of the slots are free. */
    struct bni_text_slot *slots;
    size_t slot_mask;
};

/*
 * Reads tokens, types and scores, and marks as ends the tokens whose text says so.
 * Fails with MODEL_LOAD_FAILED or OUT_OF_MEMORY; the vocabulary is then empty.
 */
bitnet_status bni_vocabulary_read(struct bni_vocabulary *vocabulary,
                                  const struct bni_gguf *gguf, bool is_byte_level);

void bni_vocabulary_clear(struct bni_vocabulary *vocabulary);

/* Returns the normal token that stands for these bytes, or BITNET_NO_TOKEN. */
bitnet_token bni_vocabulary_find(const struct bni_vocabulary *vocabulary,
                                 const char *bytes, size_t n_bytes);

static inline struct bni_string bni_vocabulary_bytes(
    const struct bni_vocabulary *vocabulary, bitnet_token token)
{
    const uint32_t begin = vocabulary->offsets[token];
    const uint32_t end = vocabulary->offsets[token + 1];
    return (struct bni_string){vocabulary->bytes + begin, end - begin};
}

#endif
