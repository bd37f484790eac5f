/* SPDX-License-Identifier: MIT */
/*
 * engine.h - what an engine is, for the files that make it up.
 *
 *     admission.c   the calling thread's way in: room, waiting, refusal
 *     scheduler.c   the one thread that takes steps
 *     batch.c       which rows a step has, and which pages they share
 *     speculation.c tokens guessed from a request's own text
 *     readout.c     log-probabilities of given tokens, hidden states
 *     finite.c      where numbers stopped being finite
 *     stats.c       what is counted and measured
 *     generate.c    the consumer's side: public calls on requests
 *     delivery.c    the same, on a thread pool
 *     stepping.c    engines without a scheduler thread
 *     engine.c      creation, bound, statistics, destruction
 *
 *      callers ──► [ waiters ] ──► queue ──► running ──► ended
 *                    wait for room, hold nothing     admitted requests
 *
 * Who waits, and who is queued, is served by priority, then the client that has been
 * served least, then first come first served: bni_comes_before().
 *
 * Safety. One lock guards what callers and the scheduler share. A request's own
 * lock may be taken under it, never the other way round. The lock is not held
 * during a forward pass, a callback, an allocation or a join. The struct outlives
 * bitnet_engine_destroy() for as long as a request refers to it, so a consumer on
 * its way out finds a lock and not a hole.
 */
#ifndef BNI_ENGINE_ENGINE_H
#define BNI_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

#include "base/histogram.h"
#include "engine/clients.h"
#include "engine/forward.h"
#include "engine/kv_cache.h"
#include "engine/prefix_cache.h"
#include "engine/request.h"
#include "engine/rope.h"
#include "engine/sampler.h"
#include "engine/token_order.h"
#include "engine/two_pass.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "threads/sync.h"
#include "threads/thread.h"

/* A calling thread that waits for room, on its own stack. */
struct bni_waiter {
    struct bni_waiter *next; /* who came later */
    bitnet_request *request;
    bool is_cancelled; /* by bitnet_engine_cancel_all() */
};

/* How long things took and how fast they go; all guarded by the engine's lock. */
struct bni_engine_times {
    struct bni_histogram first_token;    /* from the call */
    struct bni_histogram between_tokens; /* of one request */
    struct bni_histogram admission;      /* from the call to the queue */
    struct bni_histogram queue;          /* from the queue to the batch */
    uint64_t busy_since_ns;              /* a request came when there was none */
    uint64_t last_end_ns;
    uint64_t end_interval_ns; /* between ends while busy, averaged; 0: none yet */
};

/* A list of requests by their next and previous. */
struct bni_request_list {
    bitnet_request *first;
    bitnet_request *last;
};

struct bitnet_engine {
    atomic_uint n_references; /* the handle, and every request */

    /* Fixed after creation. */
    unsigned generation; /* see threads/fork.h */
    bitnet_model *model; /* a reference */
    const struct bni_kernels *kernels;
    uint32_t n_ctx;
    uint32_t max_batch;
    uint32_t max_requests;
    uint32_t step_tokens;
    uint64_t
        double_cost_position; /* where attention takes as long as the rest of a row */
    uint32_t max_logit_rows;  /* at least max_batch; what is more is for drafts */
    bool has_speculation;
    uint32_t n_pages;
    uint64_t max_prompt_tokens;
    bool is_stepped; /* the scheduler is whoever calls */
    struct bni_thread scheduler;

    /* The scheduler's alone, between its start and its join. */
    struct bni_kv_cache cache;
    struct bni_prefix_cache prefixes;
    struct bni_workspace workspace;
    struct bni_two_pass two_pass;
    struct bni_rope_table rope;
    struct bni_row *rows;                 /* [step_tokens] */
    struct bni_logit_need *needs;         /* [max_logit_rows] */
    bitnet_request **logit_requests;      /* [max_batch]: who chooses in the step */
    bitnet_token *sampled;                /* [max_logit_rows] */
    struct bni_readout_row *readout_rows; /* [max_batch]: scratch of bni_read_out() */
    struct bni_candidate *candidates;     /* [max_batch][scratch of the sampler] */
    bitnet_request **running;    /* [max_batch], in the order they were started */
    bitnet_request **prefilling; /* [max_batch]: scratch of bni_pick_rows() */
    uint32_t n_running;

    /* Guarded by lock. */
    struct bni_mutex lock;
    struct bni_cond has_work; /* the scheduler waits here */
    struct bni_cond has_room; /* waiters do; and who waits for a step, see stepping.c */
    bool is_stepping BNI_FIELD_GUARDED_BY(lock); /* somebody takes a step of a stepped
                                                    engine: its scheduler */
    bool is_stopping BNI_FIELD_GUARDED_BY(lock);
    struct bni_request_list queue
        BNI_FIELD_GUARDED_BY(lock); /* admitted, not started */
    struct bni_request_list started BNI_FIELD_GUARDED_BY(lock); /* started, not ended */
    uint64_t queued_prompt_tokens BNI_FIELD_GUARDED_BY(lock);
    struct bni_waiter *first_waiter BNI_FIELD_GUARDED_BY(lock);
    struct bni_waiter *next_waiter BNI_FIELD_GUARDED_BY(lock); /* whose turn it is */
    struct bni_clients clients BNI_FIELD_GUARDED_BY(lock);
    /* NULL until a request has a grammar; what it points to never changes. */
    struct bni_token_order *token_order BNI_FIELD_GUARDED_BY(lock);
    bitnet_engine_stats stats BNI_FIELD_GUARDED_BY(lock);
    struct bni_engine_times times BNI_FIELD_GUARDED_BY(lock);
};

void bni_engine_retain(bitnet_engine *engine);
void bni_engine_unref(bitnet_engine *engine);

/* ---- admission.c ---- */

/*
 * Puts a request into the queue, taking a reference for the scheduler, or waits
 * for room as `options` say. Fails with QUEUE_FULL, TIMED_OUT, CANCELLED or
 * SHUT_DOWN, and then has taken nothing.
 */
bitnet_status bni_admit(bitnet_engine *engine, bitnet_request *request,
                        const bitnet_generate_options *options);

/* Whether somebody who came now would find room, were the prompt short. */
bool bni_has_room(const bitnet_engine *engine) BNI_REQUIRES(engine->lock);

/* Finds whose turn it is to enter, and wakes them if there is room, or no hope. */
void bni_admission_changed(bitnet_engine *engine) BNI_REQUIRES(engine->lock);

/*
 * Whether a request of `priority` goes before the other; of equal priority, whose count
 * is less: what its client was served, or what it needs. Of two that neither goes
 * before, the first to come is served.
 */
static inline bool bni_comes_before(int32_t priority, uint64_t count,
                                    int32_t other_priority, uint64_t other_count)
{
    if (priority != other_priority) return priority > other_priority;
    return count < other_count;
}

/* What the model is run with. */
static inline struct bni_forward bni_engine_forward(bitnet_engine *engine)
{
    return (struct bni_forward){
        .model = engine->model,
        .kernels = engine->kernels,
        .rope = &engine->rope,
        .cache = &engine->cache,
        .workspace = &engine->workspace,
    };
}

void bni_list_append(struct bni_request_list *list, bitnet_request *request);
void bni_list_remove(struct bni_request_list *list, bitnet_request *request);

/* ---- scheduler.c ---- */

/* The scheduler thread: takes steps until the engine is stopping and empty. */
void bni_scheduler_main(void *engine);

/* Starts what can be started, and ends what is queued in vain. Returns whether there is
 * something to step for. By whoever has the right to step, as is the next. */
bool bni_scheduler_has_work(bitnet_engine *engine) BNI_REQUIRES(engine->lock);

/* One step, or at least what is to be done between steps. */
void bni_scheduler_turn(bitnet_engine *engine);

/* ---- stepping.c: engines without a thread ---- */

/* Takes a step, or waits until somebody else's is over, something has changed, or the
 * deadline; the caller then looks again at what it waits for. */
void bni_step_or_wait(bitnet_engine *engine, uint64_t deadline_ns)
    BNI_REQUIRES(engine->lock);

/* Likewise, unless the request has news already. */
void bni_step_for_news(bitnet_request *request, uint64_t deadline_ns);

/* Takes steps until the stopping engine is empty, after which nobody steps any more. */
void bni_step_to_the_end(bitnet_engine *engine);

/* ---- batch.c ---- */

/*
 * Finds known pages for the beginning of a request's prompt and takes them and all
 * others it may need. False, with nothing taken, if there are too few.
 */
bool bni_reserve_pages(bitnet_engine *engine, bitnet_request *request);

/* Gives back the pages of a request that is over. */
void bni_release_pages(bitnet_engine *engine, bitnet_request *request);

/*
 * Fills engine->rows: the newest token of every request that generates, with drafts if
 * prompts leave room for them, then parts of prompts while the budget lasts. There is
 * always a row: the budget is at least the number of places. `*n_choosing` requests
 * have rows that want logits.
 */
void bni_pick_rows(bitnet_engine *engine, uint32_t *n_rows, uint32_t *n_choosing);

/* Counts the step's rows in, without drafts that were wrong, and makes the pages they
 * have filled known. */
void bni_rows_are_computed(bitnet_engine *engine);

/* Forgets the pages that the step would have filled. */
void bni_rows_are_abandoned(bitnet_engine *engine);

/* ---- finite.c ---- */

/*
 * Runs the last position of a request once more, by itself, to find where its numbers
 * stop being finite, and writes that into `error`. What the workspace held is gone.
 */
void bni_explain_not_finite(bitnet_engine *engine, struct bni_team *team,
                            const bitnet_request *request, uint32_t position,
                            struct bni_error_record *error);

/* ---- stats.c ---- */

/* Counts a request that has ended into the rate of ends. */
void bni_count_end(bitnet_engine *engine, uint64_t now_ns) BNI_REQUIRES(engine->lock);

/* In about how long there will be room for one more, behind `n_in_line` others. */
uint64_t bni_retry_after_ns(const bitnet_engine *engine, uint32_t n_in_line)
    BNI_REQUIRES(engine->lock);

/* Takes stock of the cache. */
void bni_count_pages(bitnet_engine *engine) BNI_REQUIRES(engine->lock);

/* Counts a step of `n_rows` rows, charges the clients for it, and counts a token for
 * each sampled one that is handed out. */
void bni_count_step(bitnet_engine *engine, uint32_t n_rows, uint32_t n_choosing);

/* ---- generate.c ---- */

/* Whether the calling thread is inside a callback of one of the engine's requests. */
bool bni_is_inside_callback_of(const bitnet_engine *engine);

/* Whether there is a token to take, or the end. */
bool bni_request_has_news(const bitnet_request *request) BNI_REQUIRES(request->lock);

/* Makes the caller the consumer of a request that has none. */
void bni_begin_consuming(bitnet_request *request);
void bni_end_consuming(bitnet_request *request);

/*
 * Takes one token, waiting for it, and shows its text to on_text. False once there is
 * no more to take, with the request's end in `status` and this thread's error.
 */
bool bni_consume_one(bitnet_request *request, bitnet_status *status);

void bni_call_on_end(bitnet_request *request, bitnet_end_fn on_end,
                     bitnet_status status);

#endif
