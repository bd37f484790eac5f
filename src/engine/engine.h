/* SPDX-License-Identifier: MIT */
/*
 * engine.h - what an engine is, for the files that make it up.
 *
 *     admission.c   the calling thread's way in: room, waiting, refusal
 *     scheduler.c   the one thread that takes steps
 *     generate.c    the consumer's side: public calls on requests
 *     engine.c      creation, bound, statistics, destruction
 *
 *      callers ──► [ waiters, first come first ] ──► queue ──► running ──► ended
 *                    wait for room, hold nothing     admitted requests
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

#include "engine/forward.h"
#include "engine/kv_cache.h"
#include "engine/request.h"
#include "engine/rope.h"
#include "engine/sampler.h"
#include "kernels/kernels.h"
#include "model/model.h"
#include "threads/sync.h"
#include "threads/thread.h"

/* A calling thread that waits for room, on its own stack. */
struct bni_waiter {
    struct bni_waiter *next;
    bool is_cancelled; /* by bitnet_engine_cancel_all() */
};

/* A list of requests by their next and previous. */
struct bni_request_list {
    bitnet_request *first;
    bitnet_request *last;
};

struct bitnet_engine {
    atomic_uint n_references; /* the handle, and every request */

    /* Fixed after creation. */
    bitnet_model *model; /* a reference */
    const struct bni_kernels *kernels;
    uint32_t n_ctx;
    uint32_t max_batch;
    uint32_t max_requests;
    uint32_t step_tokens;
    uint32_t n_pages;
    uint64_t max_prompt_tokens;
    struct bni_thread scheduler;

    /* The scheduler's alone, between its start and its join. */
    struct bni_kv_cache cache;
    struct bni_workspace workspace;
    struct bni_rope_table rope;
    struct bni_row *rows;             /* [step_tokens] */
    bitnet_request **logit_requests;  /* [max_batch]: whose logit row i is */
    bitnet_token *sampled;            /* [max_batch] */
    struct bni_candidate *candidates; /* [max_batch][scratch of the sampler] */
    bitnet_request **running;         /* [max_batch], in the order they were started */
    uint32_t n_running;

    /* Guarded by lock. */
    struct bni_mutex lock;
    struct bni_cond has_work; /* the scheduler waits here */
    struct bni_cond has_room; /* waiters do */
    bool is_stopping BNI_FIELD_GUARDED_BY(lock);
    struct bni_request_list queue
        BNI_FIELD_GUARDED_BY(lock); /* admitted, not started */
    struct bni_request_list started BNI_FIELD_GUARDED_BY(lock); /* started, not ended */
    uint64_t queued_prompt_tokens BNI_FIELD_GUARDED_BY(lock);
    struct bni_waiter *first_waiter BNI_FIELD_GUARDED_BY(lock);
    bitnet_engine_stats stats BNI_FIELD_GUARDED_BY(lock);
};

void bni_engine_retain(bitnet_engine *engine);
void bni_engine_unref(bitnet_engine *engine);

/* ---- admission.c ---- */

/*
 * Puts a request into the queue, taking a reference for the scheduler, or waits
 * for room as the options say. Fails with QUEUE_FULL, TIMED_OUT, CANCELLED or
 * SHUT_DOWN, and then has taken nothing.
 */
bitnet_status bni_admit(bitnet_engine *engine, bitnet_request *request,
                        bitnet_when_full when_full);

/* Wakes whoever may be able to go on now that there is room, or no hope. */
void bni_admission_changed(bitnet_engine *engine) BNI_REQUIRES(engine->lock);

void bni_list_append(struct bni_request_list *list, bitnet_request *request);
void bni_list_remove(struct bni_request_list *list, bitnet_request *request);

/* ---- scheduler.c ---- */

/* The scheduler thread: takes steps until the engine is stopping and empty. */
void bni_scheduler_main(void *engine);

/* ---- generate.c ---- */

/* Whether the calling thread is inside an on_text of one of the engine's requests. */
bool bni_is_inside_callback_of(const bitnet_engine *engine);

#endif
