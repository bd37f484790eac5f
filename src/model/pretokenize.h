/* SPDX-License-Identifier: MIT */
/*
 * pretokenize.h - cutting text into the pieces that byte-level BPE works on.
 *
 * A file names its pre-tokenizer; each is one or more patterns, applied one after
 * another to the pieces that the one before has left. Nothing is lost: what no
 * pattern matches is a piece too.
 *
 * Patterns run in PCRE2, compiled once and used by any number of threads; what a
 * call needs is in its own bni_split_memory.
 */
#ifndef BNI_MODEL_PRETOKENIZE_H
#define BNI_MODEL_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

#include <bitnet/status.h>

#include "formats/gguf.h"

enum { BNI_MAX_PATTERNS = 4 };

struct bni_pretokenizer_kind {
    const char *name;            /* as in tokenizer.ggml.pre */
    const char *const *patterns; /* NULL-terminated */
    bool looks_up_whole_pieces;  /* a piece that is a token is not taken apart */
    bool adds_bos;               /* where the file does not say */
};

/* Returns NULL for a name that is not known. */
const struct bni_pretokenizer_kind *bni_pretokenizer_find(struct bni_string name);

/* The known ones, in order, for a message; NULL at the end. */
const struct bni_pretokenizer_kind *bni_pretokenizer_at(size_t index);

struct bni_pretokenizer;

/*
 * Compiles the patterns, to machine code where `uses_jit` and the system allows
 * it; the pieces are the same either way. Fails with OUT_OF_MEMORY.
 */
bitnet_status bni_pretokenizer_create(const struct bni_pretokenizer_kind *kind,
                                      bool uses_jit, struct bni_pretokenizer **out);

/* NULL does nothing. */
void bni_pretokenizer_destroy(struct bni_pretokenizer *pretokenizer);

/* Working memory of one call; all zeros may be cleared. */
struct bni_split_memory {
    void *match_data;
    void *match_context;
};

/* Makes it ready for texts of up to `n_bytes`. Fails with OUT_OF_MEMORY. */
bitnet_status bni_split_memory_init(struct bni_split_memory *memory,
                                    const struct bni_pretokenizer *pretokenizer,
                                    size_t n_bytes);

void bni_split_memory_clear(struct bni_split_memory *memory);

/* Takes one piece, never empty; anything but BITNET_OK ends the splitting. */
typedef bitnet_status (*bni_piece_fn)(void *user, const char *piece, size_t n_bytes);

/*
 * Calls `fn` for the pieces of well-formed UTF-8, from left to right. Fails with
 * what `fn` fails with, or OUT_OF_MEMORY.
 */
bitnet_status bni_pretokenize(const struct bni_pretokenizer *pretokenizer,
                              const struct bni_split_memory *memory, const char *text,
                              size_t n_bytes, bni_piece_fn fn, void *user);

#endif
