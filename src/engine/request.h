/* SPDX-License-Identifier: MIT */
/*
 * request.h - one generation, between the thread that asked and the scheduler.
 *
 * The request's tokens, prompt and generated, lie in one array made for all of
 * them when the request is made. The scheduler appends; the consumer reads what
 * has been appended:
 *
 *     tokens  [ prompt ........ | generated ......... |  room to max_tokens  ]
 *                               ^ n_prompt            ^ n_prompt + n_produced
 *
 * So a request never waits for whoever reads it: a consumer that is slow, or
 * stuck, delays nobody, and holds no place in the batch beyond its own last token.
 *
 * Safety. Fields are in groups by who may touch them. The lock guards what both
 * sides share; it is taken after the engine's lock, if both are held, and no other
 * lock is taken under it but an event queue's, so that who sees a token or the end
 * finds its event posted. A reference is held by the handle and, from admission to
 * the end, by the scheduler.
 */
#ifndef BNI_ENGINE_REQUEST_H
#define BNI_ENGINE_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

#include "base/error.h"
#include "engine/delivery.h"
#include "engine/grammar_mask.h"
#include "engine/readout.h"
#include "engine/sampler.h"
#include "engine/speculation.h"
#include "engine/stop.h"
#include "engine/text_stream.h"
#include "model/model.h"
#include "threads/sync.h"

struct bitnet_request {
    atomic_uint n_references;

    /* Fixed once admitted. */
    struct bitnet_engine *engine; /* a reference */
    const char *what;             /* was asked for, for messages; static */
    struct bni_sampler sampler;
    struct bni_stop_rules stops;
    uint32_t n_top_logprobs; /* of each token, if there are logprobs */
    uint32_t n_prompt;       /* positions to compute before anything is generated */
    uint32_t first_output;   /* the first of them that something is wanted of */
    uint32_t max_tokens;
    uint32_t n_pages; /* for n_prompt + max_tokens positions */
    int32_t priority;
    uint64_t client_id;
    uint64_t deadline_ns;
    uint64_t submitted_ns;
    bool ignores_eos;
    bitnet_text_fn on_text;
    void *user;

    /* Any thread sets it, the scheduler polls it. Relaxed: it carries no data. */
    atomic_bool is_cancelled;

    /* The scheduler's alone, from admission on. */
    uint32_t *pages;         /* [n_pages] */
    uint32_t n_computed;     /* positions in the cache */
    uint32_t n_step_rows;    /* of them being computed now */
    uint32_t first_step_row; /* the first of these among all rows of the step */
    uint32_t n_drafts;       /* of these, the last: proposed tokens */
    uint32_t
        first_logit_row;  /* its first among those that want logits, if it chooses */
    uint32_t n_chosen;    /* tokens of this step */
    bitnet_finish ending; /* how the last of them ends it, or NONE */
    struct bni_speculation speculation;
    uint32_t n_shared;          /* first pages that are known to the prefix cache */
    uint32_t n_client_prefills; /* prompts of its client and priority in this step */
    bool is_over;               /* ended, its pages not yet given back */
    struct bni_text_stream watched; /* for stop strings, if there are any */
    struct bni_grammar_mask mask;   /* its matcher is NULL if there is no grammar */
    struct bni_event_place *event;  /* until its end was posted; or NULL */
    struct bni_readout readout;     /* once the request has ended, anybody's to read */

    /* Guarded by the engine's lock: the list of all that are admitted. */
    struct bitnet_request *next;
    struct bitnet_request *previous;
    uint32_t client;      /* its place among the clients, in line, or admitted; then
                               BNI_NO_CLIENT */
    uint64_t admitted_ns; /* clock */
    uint64_t counted_ns;  /* clock: its newest token's, 0: none */

    /* Guarded by the lock. tokens and logits grow behind what the counts cover:
     * the scheduler writes there without it, and so do log-probabilities. */
    struct bni_mutex lock;
    struct bni_cond changed;
    bitnet_token *tokens; /* [n_prompt + max_tokens] */
    float *logits;        /* [max_tokens + 1][n_vocab], or NULL */
    float *logprobs;      /* [max_tokens], or NULL; one block with the next */
    bitnet_token_logprob *top_logprobs; /* [max_tokens][n_top_logprobs] */
    uint32_t n_produced BNI_FIELD_GUARDED_BY(lock);
    uint32_t n_logit_rows BNI_FIELD_GUARDED_BY(lock);
    uint32_t n_cached BNI_FIELD_GUARDED_BY(lock); /* prompt tokens not computed */
    uint32_t n_drafted BNI_FIELD_GUARDED_BY(lock);
    uint32_t n_accepted BNI_FIELD_GUARDED_BY(lock);
    bitnet_finish finish BNI_FIELD_GUARDED_BY(lock);
    uint64_t first_token_ns BNI_FIELD_GUARDED_BY(lock); /* clock; 0: none yet */
    uint64_t last_token_ns BNI_FIELD_GUARDED_BY(lock);
    struct bni_error_record error BNI_FIELD_GUARDED_BY(lock);
    struct bni_delivery delivery; /* says itself what guards it */

    /* The consumer's alone: one thread at a time, which the flag sees to. */
    atomic_flag is_being_consumed;
    uint32_t n_taken;
    bool is_stopped; /* on_text said so: what comes later is not looked at */
    bool is_flushed;
    struct bni_text_stream text;
};

/*
 * Makes a request for `engine` from checked options: tokenises the prompt, checks
 * it against the context, allocates everything the request will need. The caller
 * has the one reference.
 */
bitnet_status bni_request_create(struct bitnet_engine *engine,
                                 const bitnet_generate_options *options,
                                 const char *prompt, bitnet_request **out);

struct bni_reading;

/* Likewise makes one that generates nothing (reading.h). */
bitnet_status bni_request_create_reading(struct bitnet_engine *engine,
                                         const bitnet_generate_options *options,
                                         const struct bni_reading *reading,
                                         bitnet_request **out);

void bni_request_retain(bitnet_request *request);
void bni_request_unref(bitnet_request *request);

/* The most bytes that one request of an engine with `n_ctx` holds. */
size_t bni_request_max_bytes(const struct bitnet_model *model, uint32_t n_ctx);

/* Scheduler: appends a token. */
void bni_request_push(bitnet_request *request, bitnet_token token);

/* Scheduler: counts prompt tokens whose keys and values were there already. */
void bni_request_count_cached(bitnet_request *request, uint32_t n_tokens);

/* Scheduler: counts proposed tokens, and those that were right. */
void bni_request_count_drafts(bitnet_request *request, uint32_t n_drafted,
                              uint32_t n_accepted);

/* Scheduler, or compute team for it: keeps a row of logits, if they are wanted. */
void bni_request_keep_logits(bitnet_request *request, const float *logits);

/* Scheduler: ends the request, once. For STOP and LENGTH the status is BITNET_OK. */
void bni_request_end(bitnet_request *request, bitnet_finish finish,
                     const struct bni_error_record *error);

/* Scheduler: whether the request should end now, and how. */
bitnet_finish bni_request_interruption(const bitnet_request *request, uint64_t now_ns,
                                       struct bni_error_record *error);

#endif
