/* SPDX-License-Identifier: MIT */
/*
 * tokenizer.h - text to tokens and back, by the vocabulary of a GGUF file.
 *
 * Two algorithms: byte-level BPE ("gpt2": a split pattern, then merges by rank)
 * and SPM ("llama": merges by score, byte fallback). A tokenizer is immutable
 * once created: any number of threads use one without a lock; what a call needs
 * it allocates for itself.
 */
#ifndef BNI_MODEL_TOKENIZER_H
#define BNI_MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>

#include "base/utf8.h"
#include "formats/gguf.h"

struct bni_tokenizer;

/*
 * Builds the tokenizer that `gguf` describes, which must outlive it. `architecture`
 * decides the pre-tokenizer of files that do not name one. Fails with
 * MODEL_LOAD_FAILED (names key, index, found, expected), UNSUPPORTED_OPERATION for a
 * kind of vocabulary not handled, OUT_OF_MEMORY.
 */
bitnet_status bni_tokenizer_create(const struct bni_gguf *gguf,
                                   struct bni_string architecture,
                                   struct bni_tokenizer **out);

/* NULL does nothing. */
void bni_tokenizer_destroy(struct bni_tokenizer *tokenizer);

size_t bni_tokenizer_n_tokens(const struct bni_tokenizer *tokenizer);

/* Such as "gpt2 (llama-bpe)"; lives as long as the tokenizer. */
const char *bni_tokenizer_description(const struct bni_tokenizer *tokenizer);

/* BITNET_NO_TOKEN if the vocabulary has none. */
bitnet_token bni_tokenizer_bos(const struct bni_tokenizer *tokenizer);
bitnet_token bni_tokenizer_eos(const struct bni_tokenizer *tokenizer);
bool bni_tokenizer_adds_bos(const struct bni_tokenizer *tokenizer);
bool bni_tokenizer_adds_eos(const struct bni_tokenizer *tokenizer);

/* Whether generation ends at `token`: EOS, EOT and the like. */
bool bni_tokenizer_is_end(const struct bni_tokenizer *tokenizer, bitnet_token token);

/*
 * Tokenises into a block that the caller frees with bni_free(); `*n_tokens` may be 0.
 * With `add_special` BOS goes first and EOS last if the model adds them.
 */
bitnet_status bni_tokenizer_encode(const struct bni_tokenizer *tokenizer,
                                   const char *text, size_t text_len, bool add_special,
                                   bool parse_special, bitnet_token **tokens,
                                   size_t *n_tokens);

/* The bytes `token`, which is in the vocabulary, stands for; none for a control token
 * unless `show_special`. They live as long as the tokenizer. */
struct bni_string bni_tokenizer_bytes(const struct bni_tokenizer *tokenizer,
                                      bitnet_token token, bool show_special);

/*
 * Detokenisation in pieces that never cut a character: push tokens, take text. Holds
 * back at most an unfinished character's three bytes.
 */
struct bni_detokenizer {
    const struct bni_tokenizer *tokenizer;
    bool show_special;
    bool is_at_start; /* of a whole text: SPM drops the space it had put there */
    uint8_t held[BNI_UTF8_MAX_BYTES];
    size_t n_held;
};

/* `continues_text`: what comes follows a prompt, so a leading space is kept. */
void bni_detokenizer_init(struct bni_detokenizer *detokenizer,
                          const struct bni_tokenizer *tokenizer, bool show_special,
                          bool continues_text);

/* An upper bound on what push and flush of one token write. */
size_t bni_detokenizer_max_piece_bytes(const struct bni_tokenizer *tokenizer);

/* Appends what `token` completes to `out`; returns the bytes written, maybe 0. */
size_t bni_detokenizer_push(struct bni_detokenizer *detokenizer, bitnet_token token,
                            char *out);

/* Ends the text: what is held back can be no character any more. Returns the bytes. */
size_t bni_detokenizer_flush(struct bni_detokenizer *detokenizer, char *out);

#endif
