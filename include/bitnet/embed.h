/* SPDX-License-Identifier: MIT */
/*
 * bitnet/embed.h - a text as a vector: the model's hidden state, pooled.
 *
 * The hidden state of a position is what the output head would read: after all layers
 * and the final norm, model info's n_embd numbers. It has seen the tokens up to its own.
 * A text's vector is the mean of its positions' states, or the last one.
 *
 * An embedded text is a request like a prompt: it goes through the engine's steps in
 * chunks, in one batch with everybody's, waits its turn, and can be cancelled. Its bits
 * depend on the model, the tokens and the options alone; docs/numerics.md has the order
 * of the sums.
 */
#ifndef BITNET_EMBED_H
#define BITNET_EMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/engine.h>
#include <bitnet/event_queue.h>
#include <bitnet/export.h>
#include <bitnet/model.h>
#include <bitnet/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the states of a text's positions become one. */
typedef enum bitnet_pooling {
    BITNET_POOLING_MEAN = 0, /* of all positions, a BOS token's included */
    BITNET_POOLING_LAST = 1  /* full pages of the rest may come from the prefix cache */
} bitnet_pooling;

typedef struct bitnet_embed_options {
    size_t struct_size; /* sizeof(bitnet_embed_options) in the caller */
    bitnet_pooling pooling;
    bool normalises;    /* to length 1 (L2); true. A vector of zeros stays as it is */
    bool parse_special; /* in the text; see bitnet_tokenize() */
    const bitnet_token *tokens; /* instead of text: used if `text` is NULL; copied */
    size_t n_tokens;
    uint64_t deadline_ns; /* this and the next four: see bitnet_generate_options */
    bitnet_when_full when_full;
    uint64_t room_deadline_ns;
    uint64_t client_id;
    int32_t priority;
    bitnet_event_queue *events; /* gets BITNET_EVENT_REQUEST_ENDED; or NULL */
    uint64_t event_tag;
} bitnet_embed_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_embed_options bitnet_embed_options_default(void)
{
    bitnet_embed_options options;
    unsigned char *bytes = (unsigned char *)&options;
    for (size_t i = 0; i < sizeof(options); i++) bytes[i] = 0;
    options.struct_size = sizeof(options);
    options.normalises = true;
    options.deadline_ns = BITNET_NO_DEADLINE;
    options.room_deadline_ns = BITNET_NO_DEADLINE;
    return options;
}

/*
 * Writes the vector of the NUL-terminated `text`, or of options->tokens, to `vector`,
 * which has room for `n_vector` numbers: the model's n_embd. NULL `options` are the
 * defaults.
 *
 * Returns as bitnet_score() does (bitnet/score.h), and INVALID_ARGUMENT also for a text
 * without tokens or another `n_vector`. Other than on BITNET_OK nothing is written.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_embed(bitnet_engine *engine,
                                      const bitnet_embed_options *options,
                                      const char *text, float *vector, size_t n_vector);

/*
 * Starts embedding and returns as soon as it is admitted; `*out` is a handle, to be
 * released. Wait with bitnet_request_wait(), whose result has no tokens and no text, or
 * for the event; cancel with bitnet_request_cancel().
 *
 * Returns as bitnet_embed() does before the embedding begins.
 *
 * Thread safety: any thread. Blocks only while the queue is full, if so asked.
 */
BITNET_API bitnet_status bitnet_embed_async(bitnet_engine *engine,
                                            const bitnet_embed_options *options,
                                            const char *text, bitnet_request **out);

/*
 * Gives the vector of a request of bitnet_embed_async() that has ended well, `*n_vector`
 * numbers, valid as long as the handle.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  a NULL, or a request of another kind, or one that has
 *                                  not ended
 *   any other                      how the request failed
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_request_get_embedding(bitnet_request *request,
                                                      const float **vector,
                                                      size_t *n_vector);

#ifdef __cplusplus
}
#endif

#endif
