/* SPDX-License-Identifier: MIT */
/*
 * bitnet/engine.h - text generation for any number of callers at once.
 *
 *   bitnet_model    weights and tokenizer. Immutable once loaded: share one
 *                   among any number of threads and engines.
 *   bitnet_engine   a model at work: KV cache and scheduler. Callers are merged
 *                   into one batch per step.
 *   bitnet_request  one generation in flight.
 *
 * A request's tokens depend on the model, the prompt, the sampling options, the seed
 * and the engine's kv_type, and on nothing else: not on the number of threads, nor on
 * who else is calling. docs/numerics.md says how.
 *
 * After fork() a child goes on with its parent's models, and creates engines of its
 * own from them. The parent's engines and requests it can only destroy and release,
 * at once; other calls on them are refused with BITNET_ERROR_THREAD_SAFETY.
 *
 * Functions that can fail return bitnet_status and write their results through
 * their last parameters, only on BITNET_OK unless a comment says otherwise;
 * bitnet_last_error() has the sentence. Pointers are borrowed for the call.
 */
#ifndef BITNET_ENGINE_H
#define BITNET_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/durations.h>
#include <bitnet/event_queue.h>
#include <bitnet/export.h>
#include <bitnet/grammar.h>
#include <bitnet/model.h>
#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_engine bitnet_engine;
typedef struct bitnet_request bitnet_request;

/*
 * How the keys and values of tokens are kept. Bytes of a token, for each layer and each
 * of its heads of keys and values:
 *
 *   F16    4 * head_dim
 *   INT8   2 * head_dim + 8
 *
 * With INT8 more requests fit the same kv_cache_bytes. It moves logits a little, so that
 * a text may become another one (docs/engine.md has figures); answers of either type are
 * the same bits whatever else happens.
 */
typedef enum bitnet_kv_type {
    BITNET_KV_F16 = 0, /* half precision */
    BITNET_KV_INT8 =
        1 /* 8 bits, and a float for each token's key and value of a head */
} bitnet_kv_type;

typedef struct bitnet_engine_options {
    size_t struct_size;    /* sizeof(bitnet_engine_options) in the caller */
    uint32_t n_ctx;        /* tokens per request, prompt included; 0 = the model's */
    uint32_t max_batch;    /* requests in one step; the others wait */
    uint32_t max_requests; /* admitted: running and waiting; then QUEUE_FULL */
    uint32_t step_tokens;  /* rows in one step: decodes first, then prompt chunks, which
                                   get half of them at most beside other requests;
                                   bounds how long a long prompt holds up the others */
    uint64_t max_prompt_tokens; /* of the requests that wait; bounds their delay */
    uint64_t kv_cache_bytes;    /* for all requests together;
                                   0 = room for `max_batch` of them, at most 2 GiB */
    bool prefix_cache; /* prompts that begin alike, 32 tokens at least, share what was
                            computed for that beginning; changes no answer */
    bool speculation;  /* while the step budget has rows left, guess next tokens from a
                           request's own text and check them in one step: repetitive
                           text comes faster; changes no answer */
    bool is_stepped;   /* no thread of its own: see bitnet_engine_step() */
    bitnet_kv_type kv_type; /* F16; the one of these options that changes answers */
} bitnet_engine_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_engine_options bitnet_engine_options_default(void)
{
    bitnet_engine_options options = {sizeof(bitnet_engine_options),
                                     0,
                                     32,
                                     256,
                                     128,
                                     262144,
                                     0,
                                     true,
                                     true,
                                     false,
                                     BITNET_KV_F16};
    return options;
}

/*
 * Tells how many bytes an engine with these options will hold, the model's own
 * bytes not counted: KV cache, scratch, admitted requests, the vocabulary in order once
 * there was a grammar, and the scheduler's stack. The engine never holds more.
 *
 * On top comes what is the callers': results; requests that wait for room, with the
 * tokens of their prompts, and requests that have ended and have a handle, or an on_end
 * to be called; and what a request's options make it keep, in bytes:
 *
 *   stop strings     twice their length and 24 for each
 *   stop tokens      4 for each
 *   logit biases     8 for each
 *   keeps_logprobs   4 + 8 * top_logprobs for each of max_tokens
 *   keeps_logits     4 * n_vocab for each of max_tokens and one more
 *   grammar          660 KiB, and the grammar while only the request has it
 *   delivery_pool    256
 *
 * with up to 128 more for each of these lines. Calls of bitnet/score.h keep 4 bytes for
 * each token that is scored, those of bitnet/embed.h 12 for each number of the vector.
 *
 * Returns as bitnet_engine_create() does for the same arguments, OUT_OF_MEMORY aside.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_engine_memory_bound(
    const bitnet_model *model, const bitnet_engine_options *options, uint64_t *n_bytes);

/*
 * Creates an engine for `model`, of which it takes its own reference, and starts its
 * scheduler thread, unless it is to be stepped. NULL `options` are the defaults. The
 * compute threads are the process's, shared by all engines: see bitnet/thread_manager.h.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT       a NULL, bad options, or a KV cache too small
 *                                       for one request
 *   BITNET_ERROR_UNSUPPORTED_OPERATION  the model was loaded without its weights
 *   BITNET_ERROR_OUT_OF_MEMORY          also if the bound is more than the process's
 *                                       limit leaves
 *   BITNET_ERROR_INTERNAL               the system refused a thread
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_engine_create(bitnet_model *model,
                                              const bitnet_engine_options *options,
                                              bitnet_engine **out);

/*
 * Stops admission, cancels every request, waits until the scheduler has ended, and
 * frees the engine. Threads inside bitnet_generate() or bitnet_generate_async() come
 * back with BITNET_ERROR_CANCELLED or BITNET_ERROR_SHUT_DOWN. Requests that are still
 * held stay readable until they are released. NULL does nothing.
 *
 * Returns BITNET_OK, or BITNET_ERROR_THREAD_SAFETY from inside one of this engine's
 * own callbacks (nothing has happened then).
 *
 * Thread safety: one thread, once. Generations may be under way; no other call that
 * names the engine may, and none may begin afterwards.
 */
BITNET_API bitnet_status bitnet_engine_destroy(bitnet_engine *engine);

/*
 * Takes one step of an engine whose options said is_stepped, on the calling thread:
 * each request that generates gets a token or more, and parts of prompts are computed,
 * as the step's budget allows. Waits
 * until there is a request to step for, and while another thread steps, until
 * `deadline_ns`; with 0 it never waits, but a step takes its time.
 *
 * Such an engine has no thread. Its steps are taken here, and by every call that waits:
 * bitnet_generate(), bitnet_request_wait(), bitnet_request_next() with a deadline that
 * is not over, and those that wait for room. So a program of one thread needs nothing
 * else, and with one compute thread there is no other thread at all. Of several threads
 * that wait one steps, for all of them; when it has what it waited for, another goes on.
 * Between steps nothing happens: a request that was cancelled, released, or is late ends
 * with the next step. Tokens are the same as with a thread. A delivery pool is refused.
 *
 * Returns
 *   BITNET_OK                      a step was taken, or a request that was queued ended
 *   BITNET_ERROR_TIMED_OUT         there was nothing to do, or another thread stepped
 *   BITNET_ERROR_SHUT_DOWN         the engine is being destroyed
 *   BITNET_ERROR_INVALID_ARGUMENT  `engine` is NULL, or has a thread
 *   BITNET_ERROR_THREAD_SAFETY     on a compute or scheduler thread, inside a step, or in
 *                                  a process forked from the engine's
 *
 * Thread safety: any thread, a callback included. Blocks.
 */
BITNET_API bitnet_status bitnet_engine_step(bitnet_engine *engine,
                                            uint64_t deadline_ns);

/*
 * Cancels every request the engine has now, and every call that waits for room in
 * its queue. Requests that come later are not touched.
 *
 * Thread safety: any thread, a callback included. Does not block.
 */
BITNET_API void bitnet_engine_cancel_all(bitnet_engine *engine);

/*
 * Tells in about how many nanoseconds the engine will have room for one more request,
 * behind the calls that wait for room already: what a refused caller should wait. 0 if
 * there is room now, otherwise at least 1 ms. Judged by how fast requests have been
 * ending; 100 ms for each while none has ended.
 *
 * Thread safety: any thread, a callback included. Does not block.
 */
BITNET_API uint64_t bitnet_engine_retry_after_ns(bitnet_engine *engine);

/* What a call does when the engine has no room for its request. */
typedef enum bitnet_when_full {
    BITNET_WHEN_FULL_WAIT = 0,  /* until there is room, or room_deadline_ns, or
                                     deadline_ns */
    BITNET_WHEN_FULL_REFUSE = 1 /* return BITNET_ERROR_QUEUE_FULL at once */
} bitnet_when_full;

/*
 * Receives the next piece of text: whole UTF-8 characters, `text_len` bytes, not
 * NUL-terminated, valid until the callback returns. Return false to stop the
 * request: it ends as cancelled.
 *
 * Runs on the thread that called bitnet_generate() or bitnet_request_wait(), or on one
 * of the request's delivery pool, without locks. It may call any function except those
 * that wait for this very request or destroy its engine, which refuse with
 * BITNET_ERROR_THREAD_SAFETY.
 */
typedef bool (*bitnet_text_fn)(void *user, const char *text, size_t text_len);

/*
 * Told once, last of all, how a request ended whose options name a delivery pool:
 * `status` is what bitnet_generate() would have returned, and bitnet_last_error() has
 * its sentence. bitnet_request_wait() on `request`, here or later, fills a result at
 * once. `request` is the handle, which may be released here, or if there is none lives
 * until this returns. It may be called before the call that began the request returns.
 *
 * With a delivery pool, on_text and on_end run on workers of that pool, in order and
 * never two of one request at a time. A request has at most one job in the pool, which
 * hands out up to 16 pieces and then lets other jobs go first; its place cannot be
 * taken by others, and the engine never waits for it: a consumer that is slow or stuck,
 * or a pool that is full, holds up its own text and nobody else's. on_end is called
 * exactly once for each request that was accepted, also if its handle was released
 * (which cancels it), its on_text said stop, or its engine was destroyed. A callback
 * that ends its thread stops its request.
 *
 * Until on_end has been called the request is something of the pool's that has not
 * ended. bitnet_thread_pool_destroy() and a graceful shutdown wait for that, an
 * immediate one cancels the request and calls on_end, with BITNET_ERROR_CANCELLED, on
 * the thread that shuts down (or, if that comes in between, inside the
 * bitnet_generate_async() that starts the request).
 *
 * Both may call any function, as a job may, except those that wait for the pool, and
 * destroying their own engine: these refuse with BITNET_ERROR_THREAD_SAFETY.
 */
typedef void (*bitnet_end_fn)(void *user, bitnet_status status,
                              bitnet_request *request);

/* What a request may bring. */
enum {
    BITNET_MAX_STOP_STRINGS = 64,
    BITNET_MAX_STOP_STRING_BYTES = 256, /* of each, without its NUL */
    BITNET_MAX_STOP_TOKENS = 64,
    BITNET_MAX_LOGIT_BIASES = 1024,
    BITNET_MAX_TOP_LOGPROBS = 20,
    BITNET_MAX_DRAFT_TOKENS = 8
};

/* Added to a token's logit; from -1000 to 1000, or -INFINITY, which bans the token. */
typedef struct bitnet_logit_bias {
    bitnet_token token;
    float bias;
} bitnet_logit_bias;

/*
 * How the next token is chosen. In this order:
 *
 *   repetition penalty   once for each distinct token of the last repeat_last_n
 *   frequency, presence  over the same tokens
 *   logit biases         which add up if a token has several
 *   grammar              what it does not allow cannot be chosen
 *   greedy               with `temperature` 0 the most likely token (the lower id of
 *                        equals), and nothing of what follows
 *   top-k, typical-p, top-p, min-p, temperature, one draw
 *
 * The n-th random number of a request is a hash of (seed, n), so a seed names one
 * answer.
 *
 * Stop strings are looked for in the generated text, across the borders of tokens.
 * The one that is complete first ends the request, with BITNET_FINISH_STOP; of several
 * complete at once the longest counts. Neither it nor what follows it is delivered,
 * and text that may yet become one is held back until that is decided. The tokens it
 * was made of are among the result's.
 *
 * With a grammar, an end-of-generation or stop token can be chosen exactly when the text
 * is complete; when nothing else could follow, the request ends without one. If
 * max_tokens, a stop string or the context ends it earlier, the text is not complete:
 * BITNET_FINISH_LENGTH tells the first and the last of these.
 *
 * What lists, log-probabilities, logits and a grammar add to a request is told at
 * bitnet_engine_memory_bound().
 */
typedef struct bitnet_generate_options {
    size_t struct_size;     /* sizeof(bitnet_generate_options) in the caller */
    uint32_t max_tokens;    /* to generate; 0 = as many as the context holds */
    uint32_t top_k;         /* 0 = all */
    float temperature;      /* 0 = greedy; at most 100 */
    float top_p;            /* from 1e-6 to 1; 1 = off */
    float min_p;            /* in [0, 1]; 0 = off */
    float repeat_penalty;   /* in [0.1, 10]; 1 = off */
    uint32_t repeat_last_n; /* tokens the penalty looks back, prompt included; 0 = off,
                                 at most 4096 */
    uint64_t seed;
    uint64_t deadline_ns; /* see bitnet/clock.h; BITNET_NO_DEADLINE */
    bitnet_when_full when_full;
    bool ignores_eos;                  /* do not stop at an end-of-generation token */
    bool parse_special;                /* in the prompt; see bitnet_tokenize() */
    bitnet_text_fn on_text;            /* or NULL */
    void *user;                        /* handed to on_text */
    const bitnet_token *prompt_tokens; /* instead of text: used if `prompt` is NULL */
    size_t n_prompt_tokens;
    bool keeps_logits; /* for tests and tools: the result has every row of them */
    uint64_t room_deadline_ns; /* of BITNET_WHEN_FULL_WAIT; BITNET_NO_DEADLINE */
    uint64_t client_id;        /* on whose behalf: clients of equal priority get equal
                                    shares of the engine, however much they ask */
    int32_t priority;          /* higher first, always; 0 */
    const bitnet_logit_bias *logit_biases; /* copied by the call, as all lists are */
    size_t n_logit_biases;                 /* at most BITNET_MAX_LOGIT_BIASES */
    const char *const *stop_strings;       /* UTF-8, NUL-terminated, not empty */
    size_t n_stop_strings;                 /* at most BITNET_MAX_STOP_STRINGS */
    const bitnet_token *stop_tokens;       /* end it as an end-of-generation token does,
                                              also if that is ignored */
    size_t n_stop_tokens;                  /* at most BITNET_MAX_STOP_TOKENS */
    float typical_p;         /* from 1e-6 to 1; 1 = off: keeps the tokens whose surprise
                                is nearest to the mean, up to this probability */
    float frequency_penalty; /* in [-10, 10], taken off for each time a token is among
                                the last repeat_last_n; 0 = off */
    float presence_penalty;  /* in [-10, 10], taken off once if it is; 0 = off */
    uint32_t top_logprobs;   /* most likely tokens told of each position, at most
                                BITNET_MAX_TOP_LOGPROBS; needs keeps_logprobs */
    bool keeps_logprobs;     /* the result tells how likely each token was */
    bitnet_grammar *grammar; /* what the text must look like, or NULL; the request takes
                                its own reference */
    bitnet_event_queue *events; /* gets BITNET_EVENT_REQUEST_READY and, once and last,
                                   BITNET_EVENT_REQUEST_ENDED, also if the handle was
                                   released; or NULL */
    uint64_t event_tag;
    bitnet_thread_pool *delivery_pool; /* on_text and on_end are jobs of this pool: see
                                          bitnet_end_fn; NULL = on_text is called by
                                          whoever waits */
    bitnet_end_fn on_end;              /* or NULL; needs a delivery_pool */
    uint32_t max_draft_tokens; /* to guess at a time, at most BITNET_MAX_DRAFT_TOKENS,
                                  if the engine has speculation; 0 = none */
} bitnet_generate_options;

/*
 * A token and the natural logarithm of its probability by the model itself: the
 * softmax of the logits over the whole vocabulary, at temperature 1, before
 * penalties, biases and filters.
 */
typedef struct bitnet_token_logprob {
    bitnet_token token;
    float logprob;
} bitnet_token_logprob;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_generate_options bitnet_generate_options_default(void)
{
    bitnet_generate_options options;
    unsigned char *bytes = (unsigned char *)&options;
    for (size_t i = 0; i < sizeof(options); i++) bytes[i] = 0;
    options.struct_size = sizeof(options);
    options.max_tokens = 128;
    options.top_k = 40;
    options.temperature = 0.8f;
    options.top_p = 0.95f;
    options.min_p = 0.05f;
    options.repeat_penalty = 1.0f;
    options.repeat_last_n = 64;
    options.deadline_ns = BITNET_NO_DEADLINE;
    options.room_deadline_ns = BITNET_NO_DEADLINE;
    options.typical_p = 1.0f;
    options.max_draft_tokens = BITNET_MAX_DRAFT_TOKENS;
    return options;
}

/* Why a generation ended. */
typedef enum bitnet_finish {
    BITNET_FINISH_NONE = 0,   /* it has not */
    BITNET_FINISH_STOP = 1,   /* an end-of-generation token, a stop string or token,
                                 or the end of the grammar */
    BITNET_FINISH_LENGTH = 2, /* max_tokens, or the context is full */
    BITNET_FINISH_CANCELLED = 3,
    BITNET_FINISH_DEADLINE = 4,
    BITNET_FINISH_ERROR = 5
} bitnet_finish;

/*
 * Returns "stop", "length", "cancelled", "deadline", "error" or "none". Static.
 *
 * Thread safety: any thread.
 */
BITNET_API const char *bitnet_finish_name(bitnet_finish finish);

typedef struct bitnet_result {
    size_t struct_size;   /* set by the library */
    char *text;           /* valid UTF-8, NUL-terminated; never NULL once filled */
    size_t text_len;      /* bytes, without the NUL */
    bitnet_token *tokens; /* generated; an end-of-generation or stop token is not
                             among them, those of a stop string are */
    size_t n_tokens;
    size_t n_prompt_tokens;
    float *logits; /* [n_logit_rows][n_vocab], if keeps_logits: what each
                                  generated token, and the one that ended it, came from */
    size_t n_logit_rows;
    bitnet_finish finish;
    uint64_t
        time_to_first_token_ns; /* from the call, waiting included; 0 if none came */
    uint64_t total_ns;          /* from the call to the last token */
    size_t n_cached_tokens;     /* of the prompt: computed for an earlier request */
    float *logprobs;            /* [n_tokens], if keeps_logprobs; see
                                   bitnet_token_logprob */
    bitnet_token_logprob
        *top_logprobs;     /* [n_tokens][n_top_logprobs], most likely first */
    size_t n_top_logprobs; /* as asked, but no more than the vocabulary */
    size_t n_drafted; /* tokens that were guessed and computed; see `speculation` */
    size_t
        n_accepted; /* of them: right, so that one more token came in the same step */
} bitnet_result;

/*
 * Frees what a result points to and zeroes it. NULL, and a zeroed result, do nothing.
 *
 * Thread safety: one thread at a time per result.
 */
BITNET_API void bitnet_result_release(bitnet_result *result);

/*
 * Generates text for the NUL-terminated `prompt` and returns when it is finished.
 * Calls from other threads run at the same time, in the same batch, and change
 * neither this call's tokens nor their order. NULL `options` are the defaults.
 *
 * Returns
 *   BITNET_OK                             finished: stop or length
 *   BITNET_ERROR_CANCELLED                on_text said so, or bitnet_engine_cancel_all()
 *   BITNET_ERROR_TIMED_OUT                the deadline, or room_deadline_ns, passed
 *   BITNET_ERROR_QUEUE_FULL               no room, and the options said not to wait; or
 *                                         no place in the event queue
 *   BITNET_ERROR_CONTEXT_LENGTH_EXCEEDED  the prompt leaves no room for a token, or
 *                                         prompt + max_tokens exceed n_ctx
 *   BITNET_ERROR_INVALID_ARGUMENT         a NULL, bad options, or a bad prompt token
 *   BITNET_ERROR_THREAD_SAFETY            called where waiting would never end
 *   BITNET_ERROR_SHUT_DOWN                the engine is being destroyed
 *   BITNET_ERROR_INFERENCE_FAILED         the model gave numbers that are not finite;
 *                                         the message names the layer; or the options
 *                                         leave no token to choose
 *   BITNET_ERROR_OUT_OF_MEMORY
 * On BITNET_OK, CANCELLED, TIMED_OUT and INFERENCE_FAILED `*result` is filled with
 * what there is; otherwise it is zeroed. Release it with bitnet_result_release().
 *
 * Thread safety: any thread. Blocks.
 */
BITNET_API bitnet_status bitnet_generate(bitnet_engine *engine,
                                         const bitnet_generate_options *options,
                                         const char *prompt, bitnet_result *result);

/*
 * Starts a generation and returns as soon as it is admitted; `*out` is a handle,
 * to be released. bitnet_generate() is this and bitnet_request_wait(). The
 * generation does not wait for whoever takes its tokens with bitnet_request_next()
 * or bitnet_request_wait(): there is room for all of them, so a slow consumer holds
 * up nobody. `options->on_text` is called by bitnet_request_wait().
 *
 * With a delivery pool that is the consumer instead, until on_end is called: others are
 * refused with BITNET_ERROR_THREAD_SAFETY. `out` may then be NULL, for no handle: the
 * request goes on without one.
 *
 * Returns as bitnet_generate() does before the generation begins.
 *
 * Thread safety: any thread. Blocks only while the queue is full, if so asked.
 */
BITNET_API bitnet_status bitnet_generate_async(bitnet_engine *engine,
                                               const bitnet_generate_options *options,
                                               const char *prompt,
                                               bitnet_request **out);

/*
 * Takes the next token and its piece of text, waiting for it until `deadline_ns`.
 * `*text` is whole UTF-8 characters, possibly none, `*text_len` bytes, valid until
 * the next call on this request. `token`, `text` and `text_len` may be NULL. After
 * the last token one call may bring text alone, with BITNET_NO_TOKEN.
 *
 * Returns
 *   BITNET_OK                 a token
 *   BITNET_ERROR_TIMED_OUT    the request's deadline passed, or `deadline_ns` did: tell
 *                             them apart by bitnet_request_finish()
 *   BITNET_ERROR_SHUT_DOWN    there is nothing more: finished in good order
 *   any other                 how the request failed, after its last token was taken
 *
 * Thread safety: one thread at a time per request. Blocks.
 */
BITNET_API bitnet_status bitnet_request_next(bitnet_request *request,
                                             uint64_t deadline_ns, bitnet_token *token,
                                             const char **text, size_t *text_len);

/*
 * Takes what is left of the request, calls its on_text for each piece, and fills
 * `*result`, tokens that bitnet_request_next() has taken before included.
 *
 * Returns as bitnet_generate() does.
 *
 * Thread safety: one thread at a time per request. Blocks.
 */
BITNET_API bitnet_status bitnet_request_wait(bitnet_request *request,
                                             bitnet_result *result);

/*
 * Tells how likely the request's token number `index` was, from 0, and which tokens
 * were the most likely there: `*top` are `*n_top` of them, valid as long as the handle.
 * Any of the three may be NULL. For who takes tokens one at a time; a result has all.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  `request` is NULL, was made without keeps_logprobs,
 *                                  or has not that many tokens yet
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_request_get_logprobs(bitnet_request *request,
                                                     size_t index, float *logprob,
                                                     const bitnet_token_logprob **top,
                                                     size_t *n_top);

/*
 * Asks the request to end; it does within one step, or at once if it has not begun.
 * Sticky, and harmless on a request that has ended.
 *
 * Thread safety: any thread, a callback included. Does not block.
 */
BITNET_API void bitnet_request_cancel(bitnet_request *request);

/*
 * Returns why the request ended, BITNET_FINISH_NONE while it has not.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_finish bitnet_request_finish(const bitnet_request *request);

/*
 * Cancels the request if it is under way and gives up the handle. NULL does nothing.
 *
 * Thread safety: one thread, once, after the last other call on the request.
 */
BITNET_API void bitnet_request_release(bitnet_request *request);

/* Sizes of steps are counted by powers of two: entry i has those in (2^(i-1), 2^i]. */
enum { BITNET_N_STEP_SIZES = 17 };

typedef struct bitnet_engine_stats {
    size_t struct_size;     /* set by the caller: sizeof(bitnet_engine_stats) */
    uint32_t n_running;     /* requests that have a place in the batch */
    uint32_t n_waiting;     /* admitted, not yet running */
    uint32_t n_blocked;     /* calls that wait for room, not admitted */
    uint32_t kv_pages_used; /* by running requests; a shared page counts once, and those
                               of one that ended until the step it was in is over */
    uint32_t kv_pages_total;
    uint64_t n_admitted; /* since creation; = running + waiting + ended */
    uint64_t n_ended;
    uint64_t n_refused; /* calls that found no room and did not want to wait */
    uint64_t n_steps;
    uint64_t n_rows; /* tokens computed, prompt and generated, without wrong guesses */
    uint64_t n_generated;        /* tokens handed out */
    uint32_t kv_page_positions;  /* tokens in a page */
    uint32_t kv_pages_cached;    /* not in use, kept for prompts that begin alike */
    uint32_t kv_pages_shared;    /* in use by two requests or more */
    uint32_t n_clients;          /* that have a request, admitted or in line */
    uint64_t n_kv_pages_evicted; /* cached ones, taken for something else */
    uint64_t n_prompt_tokens;    /* of requests that have started */
    uint64_t n_cached_tokens;    /* of them: not computed, as they were cached */
    uint64_t n_steps_by_rows[BITNET_N_STEP_SIZES];
    uint64_t n_steps_by_requests[BITNET_N_STEP_SIZES]; /* with a row in the step */
    bitnet_durations admission_wait; /* from the call to being admitted */
    bitnet_durations queue_wait;     /* from being admitted to the first step */
    bitnet_durations first_token;    /* from the call to the request's first token */
    bitnet_durations between_tokens; /* of one request */
    uint64_t n_drafted;              /* tokens guessed and computed, of all requests */
    uint64_t n_accepted;             /* of them: right, and used */
    /* The output head in two passes, by the model's copy of it (bitnet_head_copy): */
    uint64_t n_two_pass_rows;  /* of logits that were made so */
    uint64_t n_two_pass_exact; /* logits that were computed exactly for them */
    uint64_t n_two_pass_vain;  /* steps in which a row left too many tokens */
} bitnet_engine_stats;

/*
 * Fills `stats`, whose struct_size the caller has set, without stopping the engine.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_engine_get_stats(bitnet_engine *engine,
                                                 bitnet_engine_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
