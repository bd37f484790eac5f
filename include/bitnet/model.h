/* SPDX-License-Identifier: MIT */
/*
 * bitnet/model.h - a loaded model: weights, hyper-parameters and tokenizer.
 *
 * A model is immutable once loaded: share one among any number of threads and
 * engines. Its weights stay in the file, mapped read-only, so processes that
 * load the same file share the memory too; only matrices with rows of certain
 * lengths are copied (bitnet_model_info.repacked_bytes), and a large output head gets
 * an eight-bit copy (bitnet_head_copy). It is reference counted:
 * an engine keeps its model alive, so releasing a model that is in use is safe.
 *
 * The file must not be changed or cut short while it is loaded: it is mapped, not
 * copied, and reading a page that is gone raises SIGBUS.
 */
#ifndef BITNET_MODEL_H
#define BITNET_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/export.h>
#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_model bitnet_model;

/* Index into the model's vocabulary. */
typedef int32_t bitnet_token;

enum { BITNET_NO_TOKEN = -1 };

/*
 * Tells how far a load is: from 0 to 1, never back, 0 first, and 1 when it has
 * succeeded but for this call. Return false to cancel the load, which then is
 * BITNET_ERROR_CANCELLED and leaves nothing behind. Called for each megabyte of weights
 * and for each of the steps before: the file's index, and its tokenizer.
 *
 * Runs on the thread that loads, without locks. It may call any function, and must
 * return.
 */
typedef bool (*bitnet_progress_fn)(void *user, double fraction);

/*
 * Whether a model gets an eight-bit copy of its output head, from which a step finds the
 * few tokens that can be chosen before it computes their logits. The copy takes memory,
 * n_vocab * (n_embd + 12) bytes beyond the file, and a while to make
 * (bitnet_model_info), by the compute threads, which the load then needs; a step then
 * reads half of the bytes of an F16 head. It changes no token: docs/engine.md says which
 * requests it serves.
 */
typedef enum bitnet_head_copy {
    BITNET_HEAD_COPY_AUTO,  /* where it makes a step faster */
    BITNET_HEAD_COPY_NEVER, /* not a byte beyond the file */
    BITNET_HEAD_COPY_ALWAYS
} bitnet_head_copy;

typedef struct bitnet_model_options {
    size_t struct_size;      /* sizeof(bitnet_model_options) in the caller */
    bool is_vocabulary_only; /* load hyper-parameters and tokenizer, bind no weights */
    bitnet_progress_fn on_progress; /* or NULL */
    void *user;                     /* handed to on_progress */
    bitnet_head_copy head_copy;
} bitnet_model_options;

/*
 * Returns the defaults. Edit what differs.
 *
 * Thread safety: any thread.
 */
static inline bitnet_model_options bitnet_model_options_default(void)
{
    bitnet_model_options options = {sizeof(bitnet_model_options), false, NULL, NULL,
                                    BITNET_HEAD_COPY_AUTO};
    return options;
}

/*
 * Loads the GGUF file at `path` and gives `*out` one reference to it. NULL
 * `options` are the defaults. Nothing in the file is believed unchecked: a
 * truncated, damaged or hostile file is an error that names the file and what in
 * it was found and expected.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT       `path` or `out` is NULL, or bad options
 *   BITNET_ERROR_MODEL_NOT_FOUND        the file cannot be opened
 *   BITNET_ERROR_MODEL_LOAD_FAILED      the file is not a valid model
 *   BITNET_ERROR_UNSUPPORTED_OPERATION  valid, but of a kind this library does not
 *                                       run: architecture, tensor type, tokenizer
 *   BITNET_ERROR_CANCELLED              on_progress said so, or this is inside a job
 *                                       that was cancelled
 *   BITNET_ERROR_OUT_OF_MEMORY
 *
 * Thread safety: any thread. Blocks on the file system.
 */
BITNET_API bitnet_status bitnet_model_load(const char *path,
                                           const bitnet_model_options *options,
                                           bitnet_model **out);

/* A load under way on a thread pool, or what became of it. */
typedef struct bitnet_loading bitnet_loading;

/*
 * Loads a model in a job of `pool`, or of the thread manager's pool if that is NULL;
 * `*out` is a handle, to be released. `path` and both options are copied; NULL options
 * are the defaults. `submit` says what happens while the pool is full, and may name an
 * event queue, which gets BITNET_EVENT_JOB_ENDED with the status of the load; its `drop`
 * must be NULL. on_progress is called on the pool's thread.
 *
 * Returns as bitnet_thread_pool_submit_with() does, and BITNET_ERROR_INVALID_ARGUMENT
 * for a NULL `path` or `out`, or bad options. What is wrong with the file is told by
 * bitnet_loading_wait().
 *
 * Thread safety: any thread. Blocks as `submit` says.
 */
BITNET_API bitnet_status bitnet_model_load_async(const char *path,
                                                 const bitnet_model_options *options,
                                                 bitnet_thread_pool *pool,
                                                 const bitnet_submit_options *submit,
                                                 bitnet_loading **out);

/*
 * Waits until the load has ended, or until `deadline_ns`; 0 looks without waiting. On
 * BITNET_OK gives `*model` one reference, each time it is called; `model` may be NULL.
 *
 * Returns as bitnet_model_load() does once the load has ended, BITNET_ERROR_CANCELLED
 * also if the pool was shut down before it could begin; until then as
 * bitnet_job_wait_until() does.
 *
 * Thread safety: any thread that has the handle. Blocks.
 */
BITNET_API bitnet_status bitnet_loading_wait(bitnet_loading *loading,
                                             uint64_t deadline_ns,
                                             bitnet_model **model);

/*
 * Cancels the load: one that is queued never begins, and one that runs ends before its
 * next call of on_progress would come, and frees what it has. One that has ended stays
 * as it is. NULL does nothing.
 *
 * Thread safety: any thread that has the handle, on_progress included. Does not block.
 */
BITNET_API void bitnet_loading_cancel(bitnet_loading *loading);

/*
 * Returns how far the load is or came, from 0 to 1; 0 for NULL.
 *
 * Thread safety: any thread that has the handle. Does not block.
 */
BITNET_API double bitnet_loading_get_progress(const bitnet_loading *loading);

/*
 * Returns the job that the load is, for bitnet_job_get_state() and its like: the
 * handle's, valid as long as that is. NULL for NULL.
 *
 * Thread safety: any thread that has the handle.
 */
BITNET_API bitnet_job *bitnet_loading_get_job(bitnet_loading *loading);

/*
 * Cancels the load if it is under way, and gives up the handle. Models that
 * bitnet_loading_wait() gave stay. NULL does nothing. In a process forked from the
 * load's, frees what the parent's job does not share.
 *
 * Thread safety: one thread, once, after the last other call with the handle. Does not
 * block.
 */
BITNET_API void bitnet_loading_release(bitnet_loading *loading);

/*
 * Adds a reference, and returns `model`. NULL returns NULL.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_model *bitnet_model_retain(bitnet_model *model);

/*
 * Gives back a reference; the last one unmaps the file. NULL does nothing.
 *
 * Thread safety: any thread, once for each reference.
 */
BITNET_API void bitnet_model_release(bitnet_model *model);

typedef struct bitnet_model_info {
    size_t struct_size;        /* set by the caller: sizeof(bitnet_model_info) */
    const char *path;          /* as given to load; lives as long as the model */
    const char *name;          /* general.name, or ""; likewise */
    const char *architecture;  /* general.architecture; likewise */
    const char *weight_type;   /* of the projections, such as "I2_S"; likewise */
    const char *tokenizer;     /* such as "gpt2 (llama-bpe)"; likewise */
    const char *chat_template; /* or NULL; likewise */
    uint64_t n_parameters;
    uint64_t mapped_bytes;    /* of the file */
    uint64_t allocated_bytes; /* beyond it */
    uint32_t n_layers;
    uint32_t n_embd; /* width of the residual stream */
    uint32_t n_ff;   /* width of the feed-forward block */
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t n_ctx_train; /* longest context the model was made for, tokens */
    uint32_t n_vocab;
    float rope_freq_base;
    float rms_norm_epsilon;
    bitnet_token bos_token;  /* or BITNET_NO_TOKEN */
    bitnet_token eos_token;  /* or BITNET_NO_TOKEN */
    bool adds_bos;           /* bitnet_tokenize puts it first where asked for special */
    uint64_t repacked_bytes; /* of those allocated: copies of ternary weights whose rows
                                are no multiple of 128 long; else 0 */
    uint64_t head_copy_bytes; /* of allocated_bytes; 0: there is no copy of the head */
    uint64_t head_copy_ns;    /* it took to make */
} bitnet_model_info;

/*
 * Fills `info`, whose struct_size the caller has set.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_model_get_info(const bitnet_model *model,
                                               bitnet_model_info *info);

typedef struct bitnet_tokenize_options {
    size_t struct_size; /* sizeof(bitnet_tokenize_options) in the caller */
    bool add_special;   /* put BOS first, and EOS last, if the model wants them */
    bool parse_special; /* text such as "<|eot_id|>" becomes the control token;
                            never set this for text that a stranger wrote */
} bitnet_tokenize_options;

/*
 * Returns the defaults: BOS as the model wants it, special tokens not parsed.
 *
 * Thread safety: any thread.
 */
static inline bitnet_tokenize_options bitnet_tokenize_options_default(void)
{
    bitnet_tokenize_options options = {sizeof(bitnet_tokenize_options), true, false};
    return options;
}

/*
 * Turns `text_len` bytes of UTF-8 into tokens. Bytes that are not UTF-8 are read
 * as U+FFFD, one for each maximal ill-formed part. Writes at most `max_tokens` to
 * `tokens` and the full count to `*n_tokens`; call with `max_tokens` 0 to learn
 * the count. `3 * text_len + 3` tokens are always enough.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  a needed pointer is NULL, or `max_tokens` is
 *                                  neither 0 nor enough: `*n_tokens` says how many
 *   BITNET_ERROR_OUT_OF_MEMORY
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_tokenize(const bitnet_model *model, const char *text,
                                         size_t text_len,
                                         const bitnet_tokenize_options *options,
                                         bitnet_token *tokens, size_t max_tokens,
                                         size_t *n_tokens);

/*
 * Turns tokens into text: writes at most `max_bytes` bytes, not NUL-terminated, to
 * `text` and the full length to `*n_bytes`; call with `max_bytes` 0 to learn it.
 * The text is valid UTF-8: what is not a character becomes U+FFFD. Control tokens
 * give nothing, unless `show_special`.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  a needed pointer is NULL, a token is outside the
 *                                  vocabulary, or `max_bytes` is neither 0 nor enough
 *   BITNET_ERROR_OUT_OF_MEMORY
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_detokenize(const bitnet_model *model,
                                           const bitnet_token *tokens, size_t n_tokens,
                                           bool show_special, char *text,
                                           size_t max_bytes, size_t *n_bytes);

/*
 * Gives a token's own bytes as the vocabulary has them, decoded; a lone token may
 * be part of a character. The pointer lives as long as the model.
 *
 * Returns BITNET_OK, or BITNET_ERROR_INVALID_ARGUMENT.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_token_bytes(const bitnet_model *model,
                                            bitnet_token token, const char **bytes,
                                            size_t *n_bytes);

#ifdef __cplusplus
}
#endif

#endif
