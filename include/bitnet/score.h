/* SPDX-License-Identifier: MIT */
/*
 * bitnet/score.h - how likely a model finds a text that is given.
 *
 * Token i of a text has the log-probability ln p(token i | tokens 0 .. i-1): of the
 * softmax of the logits over the whole vocabulary at temperature 1, as the result of a
 * generation has it (bitnet/engine.h). Their mean, negated, is the loss in nats per
 * token, and exp() of that the perplexity.
 *
 * A scored text is a request like a prompt: it goes through the engine's steps in chunks,
 * in one batch with everybody's, waits its turn, and can be cancelled. The bits of the
 * results depend on the model and the tokens alone, not on chunks, threads, cached
 * prefixes or company. A row of logits exists only while its step does.
 */
#ifndef BITNET_SCORE_H
#define BITNET_SCORE_H

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

typedef struct bitnet_score_options {
    size_t struct_size;   /* sizeof(bitnet_score_options) in the caller */
    size_t first_scored;  /* the first token that is scored, at least 1: those before it
                              are context only, of which full pages may come from the
                              prefix cache */
    uint64_t deadline_ns; /* this and the next four: see bitnet_generate_options */
    bitnet_when_full when_full;
    uint64_t room_deadline_ns;
    uint64_t client_id;
    int32_t priority;
    bool keeps_logits; /* for tests and tools: bitnet_request_wait()'s result has the
                            row of logits that each scored token was looked up in */
    bitnet_event_queue *events; /* gets BITNET_EVENT_REQUEST_ENDED; or NULL */
    uint64_t event_tag;
} bitnet_score_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_score_options bitnet_score_options_default(void)
{
    bitnet_score_options options;
    unsigned char *bytes = (unsigned char *)&options;
    for (size_t i = 0; i < sizeof(options); i++) bytes[i] = 0;
    options.struct_size = sizeof(options);
    options.first_scored = 1;
    options.deadline_ns = BITNET_NO_DEADLINE;
    options.room_deadline_ns = BITNET_NO_DEADLINE;
    return options;
}

/*
 * Writes the log-probability of each of `tokens` from options->first_scored on: by
 * default of all but the first, so that `logprobs` has room for `n_tokens` - 1 numbers
 * and logprobs[0] is that of tokens[1]. NULL `options` are the defaults.
 *
 * Every row of a step that is scored costs a product with the output head, as each
 * generated token does.
 *
 * Returns
 *   BITNET_OK                             all are written
 *   BITNET_ERROR_CANCELLED                by bitnet_engine_cancel_all()
 *   BITNET_ERROR_TIMED_OUT                the deadline, or room_deadline_ns, passed
 *   BITNET_ERROR_QUEUE_FULL               no room, and the options said not to wait; or
 *                                         no place in the event queue
 *   BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED  more than n_ctx tokens
 *   BITNET_ERROR_INVALID_ARGUMENT         a NULL, less than two tokens, a bad token or
 *                                         first_scored
 *   BITNET_ERROR_THREAD_SAFETY            called where waiting would never end
 *   BITNET_ERROR_SHUT_DOWN                the engine is being destroyed
 *   BITNET_ERROR_INFERENCE_FAILED         the model gave numbers that are not finite
 *   BITNET_ERROR_OUT_OF_MEMORY
 * Other than on BITNET_OK nothing is written.
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_score(bitnet_engine *engine,
                                      const bitnet_score_options *options,
                                      const bitnet_token *tokens, size_t n_tokens,
                                      float *logprobs);

/*
 * Starts scoring and returns as soon as it is admitted; `*out` is a handle, to be
 * released. Wait with bitnet_request_wait(), whose result has no tokens and no text, or
 * for the event; cancel with bitnet_request_cancel(). `tokens` are copied.
 *
 * Returns as bitnet_score() does before the scoring begins.
 *
 * Thread safety: any thread. Blocks only while the queue is full, if so asked.
 */
BITNET_API bitnet_status bitnet_score_async(bitnet_engine *engine,
                                            const bitnet_score_options *options,
                                            const bitnet_token *tokens, size_t n_tokens,
                                            bitnet_request **out);

/*
 * Gives the log-probabilities of a request of bitnet_score_async() that has ended well,
 * `*n_logprobs` of them, valid as long as the handle.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  a NULL, or a request of another kind, or one that has
 *                                  not ended
 *   any other                      how the request failed
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_request_get_score(bitnet_request *request,
                                                  const float **logprobs,
                                                  size_t *n_logprobs);

#ifdef __cplusplus
}
#endif

#endif
