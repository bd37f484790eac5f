/* SPDX-License-Identifier: MIT */
/*
 * engine.c - creating, measuring, asking and destroying an engine.
 *
 * resolve() turns options into numbers and a plan of what they cost; both
 * bitnet_engine_memory_bound() and bitnet_engine_create() go by that plan, so what
 * is announced is what is taken.
 */
#include "engine/engine.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "base/size.h"
#include "threads/compute.h"
#include "threads/fork.h"

enum {
    MAX_BATCH = 1024,
    MAX_STEP_TOKENS = 65536,
    MAX_REQUESTS = 1 << 20,
    MAX_CLIENTS_IN_LINE = 256, /* besides those of max_requests */
    SCHEDULER_STACK_BYTES = 1 << 20,
};

static const uint64_t default_kv_bytes_at_most = UINT64_C(2) << 30;

/* What options come to for a model. */
struct plan {
    bitnet_engine_options options; /* every 0 replaced */
    uint32_t n_pages;
    uint32_t max_clients; /* that are told apart */
    uint32_t max_logit_rows;
    size_t workspace_bytes;
    size_t two_pass_bytes;
    size_t candidates_bytes;
    uint64_t total_bytes;
};

/* ---- options to plan -------------------------------------------------------------- */

static bitnet_status check_range(const char *name, uint64_t value, uint64_t min,
                                 uint64_t max)
{
    if (value >= min && value <= max) return BITNET_OK;
    return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                     "engine: %s is %" PRIu64 "; it must be from %" PRIu64
                     " to %" PRIu64,
                     name, value, min, max);
}

/* Pages for the KV cache: as asked, or for max_batch full requests within the cap. */
static bitnet_status plan_pages(const struct bni_hparams *hparams, struct plan *plan)
{
    const uint64_t page_bytes = bni_kv_page_bytes(hparams, plan->options.kv_type);
    const uint64_t n_least = bni_kv_pages_for(plan->options.n_ctx);
    uint64_t n_pages = plan->options.kv_cache_bytes / page_bytes;
    if (plan->options.kv_cache_bytes == 0) {
        const uint64_t n_full = n_least * plan->options.max_batch;
        const uint64_t n_cap = default_kv_bytes_at_most / page_bytes;
        n_pages = n_full < n_cap ? n_full : n_cap;
        if (n_pages < n_least) n_pages = n_least;
    }
    if (n_pages < n_least)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "engine: kv_cache_bytes is %" PRIu64 ", less than the %" PRIu64
                         " that one request of %" PRIu32 " tokens needs",
                         plan->options.kv_cache_bytes, n_least * page_bytes,
                         plan->options.n_ctx);
    if (n_pages > UINT32_MAX || n_pages * page_bytes > PTRDIFF_MAX)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "engine: kv_cache_bytes is %" PRIu64
                         ", too many for this machine",
                         plan->options.kv_cache_bytes);
    plan->n_pages = (uint32_t)n_pages;
    plan->options.kv_cache_bytes = n_pages * page_bytes;
    return BITNET_OK;
}

static bool add_bytes(uint64_t *total, uint64_t n, uint64_t each)
{
    uint64_t product;
    return !__builtin_mul_overflow(n, each, &product) &&
           !__builtin_add_overflow(*total, product, total);
}

static bitnet_status plan_memory(const struct bitnet_model *model, struct plan *plan)
{
    const bitnet_engine_options *o = &plan->options;
    const struct bni_hparams *hp = &model->hparams;
    const size_t n_scratch = bni_sampler_scratch_candidates(hp->n_vocab);
    /* Each array of its own has a header and is rounded up. */
    const uint64_t block = 2 * BNI_ALIGNMENT;
    uint64_t total = 0;
    const bool fits =
        bni_workspace_bytes(hp, o->step_tokens, plan->max_logit_rows,
                            &plan->workspace_bytes) &&
        bni_two_pass_bytes(model, plan->max_logit_rows, &plan->two_pass_bytes) &&
        bni_size_mul(n_scratch * sizeof(struct bni_candidate), o->max_batch,
                     &plan->candidates_bytes) &&
        add_bytes(&total, 1, o->kv_cache_bytes) &&
        add_bytes(&total, 1, plan->n_pages * (uint64_t)sizeof(uint32_t) + block) &&
        add_bytes(&total, 1, bni_prefix_cache_bytes(plan->n_pages, o->prefix_cache)) &&
        add_bytes(&total, 1, bni_clients_bytes(plan->max_clients)) &&
        add_bytes(&total, 1, plan->workspace_bytes) &&
        add_bytes(&total, 1, plan->two_pass_bytes) &&
        add_bytes(&total, 1, plan->candidates_bytes) &&
        add_bytes(&total, 1, bni_rope_table_bytes(hp, o->n_ctx) + block) &&
        add_bytes(&total, o->step_tokens, sizeof(struct bni_row)) &&
        add_bytes(&total, o->max_batch,
                  3 * sizeof(bitnet_request *) + sizeof(struct bni_readout_row)) &&
        add_bytes(&total, plan->max_logit_rows,
                  sizeof(bitnet_token) + sizeof(struct bni_logit_need)) &&
        add_bytes(&total, 1, sizeof(struct bitnet_engine) + 8 * block) &&
        /* Those that have ended stay until their step is done, and others come. */
        add_bytes(&total, (uint64_t)o->max_requests + o->max_batch,
                  bni_request_max_bytes(model, o->n_ctx)) &&
        add_bytes(&total, 1, bni_token_order_bytes(model->tokenizer) + block) &&
        add_bytes(&total, 1, o->is_stepped ? 0 : SCHEDULER_STACK_BYTES) &&
        total <= PTRDIFF_MAX;
    if (!fits)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "engine: these options need more memory than a machine can have");
    plan->total_bytes = total;
    return BITNET_OK;
}

/* A product in attention, of floats, takes as long as so many of ternary weights:
 * measured with the AVX2 kernels, 37 against 135 billions a second. */
enum { TERNARY_PER_ATTENTION_PRODUCT = 4 };

/* Where in a text attention takes as long as all else. At least 1. */
static uint64_t find_double_cost_position(const struct bni_hparams *hp)
{
    const uint64_t n_query = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t n_key = (uint64_t)hp->n_kv_heads * hp->head_dim;
    const uint64_t ternary =
        hp->n_embd * (2 * n_query + 2 * n_key + 3 * (uint64_t)hp->n_ff);
    return ternary / (TERNARY_PER_ATTENTION_PRODUCT * 2 * n_query) + 1;
}

/* Drafts take the places of requests that are not there; a small batch has some more. */
static uint32_t plan_logit_rows(const bitnet_engine_options *options)
{
    const uint32_t n_least = options->speculation ? 1 + BITNET_MAX_DRAFT_TOKENS : 1;
    const uint32_t n_rows = options->max_batch > n_least ? options->max_batch : n_least;
    return n_rows < options->step_tokens ? n_rows : options->step_tokens;
}

static bitnet_status resolve(const bitnet_model *model,
                             const bitnet_engine_options *options, struct plan *plan)
{
    if (model == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "engine: model is NULL");
    if (!model->has_weights)
        return bni_error(BITNET_ERROR_UNSUPPORTED_OPERATION,
                         "engine: %s was loaded without its weights",
                         bni_gguf_path(model->gguf));

    *plan = (struct plan){.options = bitnet_engine_options_default()};
    bitnet_engine_options *o = &plan->options;
    bitnet_status status = bni_options_read("engine options", o, sizeof(*o), options);
    if (status != BITNET_OK) return status;
    if (o->n_ctx == 0) o->n_ctx = model->hparams.n_ctx_train;

    status = check_range("n_ctx", o->n_ctx, 2, model->hparams.n_ctx_train);
    if (status == BITNET_OK)
        status = check_range("max_batch", o->max_batch, 1, MAX_BATCH);
    if (status == BITNET_OK)
        status = check_range("max_requests", o->max_requests, 1, MAX_REQUESTS);
    if (status == BITNET_OK)
        status =
            check_range("step_tokens", o->step_tokens, o->max_batch, MAX_STEP_TOKENS);
    if (status == BITNET_OK)
        status =
            check_range("max_prompt_tokens", o->max_prompt_tokens, 1, UINT64_MAX / 2);
    if (status == BITNET_OK)
        status = check_range("kv_type", o->kv_type, BITNET_KV_F16, BITNET_KV_INT8);
    if (status == BITNET_OK) status = plan_pages(&model->hparams, plan);
    plan->max_clients = o->max_requests + MAX_CLIENTS_IN_LINE;
    plan->max_logit_rows = plan_logit_rows(o);
    if (status == BITNET_OK) status = plan_memory(model, plan);
    return status;
}

/* A request that was admitted is not to fail because the process has used up its
 * limit: so the whole bound has to fit, now. */
static bitnet_status check_limit(const struct plan *plan)
{
    const uint64_t limit = bni_alloc_limit();
    const uint64_t in_use = bni_alloc_in_use();
    if (in_use <= limit && plan->total_bytes <= limit - in_use) return BITNET_OK;
    return bni_error(BITNET_ERROR_OUT_OF_MEMORY,
                     "engine: these options may take %" PRIu64
                     " bytes (bitnet_engine_memory_bound); of the process's limit "
                     "of %" PRIu64 ", %" PRIu64 " are in use",
                     plan->total_bytes, limit, in_use);
}

bitnet_status bitnet_engine_memory_bound(const bitnet_model *model,
                                         const bitnet_engine_options *options,
                                         uint64_t *n_bytes)
{
    struct plan plan = {0};
    if (n_bytes == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "engine: n_bytes is NULL");
    const bitnet_status status = resolve(model, options, &plan);
    if (status == BITNET_OK) *n_bytes = plan.total_bytes;
    return status;
}

/* ---- life ------------------------------------------------------------------------------- */

/* What only a running scheduler needs. */
static void free_working_memory(bitnet_engine *engine)
{
    bni_unmap(engine->candidates,
              engine->max_batch * sizeof(*engine->candidates) *
                  bni_sampler_scratch_candidates(engine->model->hparams.n_vocab));
    bni_free(engine->running);
    bni_free(engine->prefilling);
    bni_free(engine->sampled);
    bni_free(engine->readout_rows);
    bni_free(engine->logit_requests);
    bni_free(engine->needs);
    bni_free(engine->rows);
    bni_rope_table_free(&engine->rope);
    bni_two_pass_free(&engine->two_pass);
    bni_workspace_free(&engine->workspace);
    bni_prefix_cache_free(&engine->prefixes);
    bni_kv_cache_free(&engine->cache);
}

/* Either all of it, or nothing and an error. */
static bitnet_status allocate_working_memory(bitnet_engine *engine,
                                             const struct plan *plan)
{
    const struct bitnet_model *model = engine->model;
    bitnet_status status = bni_kv_cache_init(&engine->cache, &model->hparams,
                                             plan->options.kv_type, plan->n_pages);
    if (status == BITNET_OK)
        status = bni_prefix_cache_init(&engine->prefixes, &engine->cache,
                                       plan->options.prefix_cache);
    if (status == BITNET_OK)
        status = bni_workspace_init(&engine->workspace, &model->hparams,
                                    engine->step_tokens, engine->max_logit_rows);
    if (status == BITNET_OK)
        status = bni_two_pass_init(&engine->two_pass, model, engine->max_logit_rows);
    if (status == BITNET_OK)
        status = bni_rope_table_init(&engine->rope, &model->hparams,
                                     model->rope_factors, engine->n_ctx);
    if (status == BITNET_OK &&
        ((engine->rows = bni_calloc(engine->step_tokens, sizeof(*engine->rows))) ==
             NULL ||
         (engine->needs = bni_calloc(engine->max_logit_rows, sizeof(*engine->needs))) ==
             NULL ||
         (engine->logit_requests =
              bni_calloc(engine->max_batch, sizeof(*engine->logit_requests))) == NULL ||
         (engine->sampled =
              bni_calloc(engine->max_logit_rows, sizeof(*engine->sampled))) == NULL ||
         (engine->readout_rows =
              bni_calloc(engine->max_batch, sizeof(*engine->readout_rows))) == NULL ||
         (engine->running = bni_calloc(engine->max_batch, sizeof(*engine->running))) ==
             NULL ||
         (engine->prefilling =
              bni_calloc(engine->max_batch, sizeof(*engine->prefilling))) == NULL ||
         (engine->candidates = bni_map_zeroed(plan->candidates_bytes)) == NULL))
        status = bitnet_last_status();
    if (status != BITNET_OK) free_working_memory(engine);
    return status;
}

bitnet_status bitnet_engine_create(bitnet_model *model,
                                   const bitnet_engine_options *options,
                                   bitnet_engine **out)
{
    struct plan plan = {0};
    if (out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "engine: out is NULL");
    bitnet_status status = resolve(model, options, &plan);
    if (status != BITNET_OK) return status;
    status = check_limit(&plan);
    if (status != BITNET_OK) return status;
    status = bni_fork_watch();
    if (status != BITNET_OK) return status;
    const struct bni_kernels *kernels = bni_kernels_select();
    if (kernels == NULL) return bitnet_last_status();

    bitnet_engine *engine = bni_calloc(1, sizeof(*engine));
    if (engine == NULL) return bitnet_last_status();
    atomic_init(&engine->n_references, 1);
    engine->generation = bni_fork_generation();
    engine->model = model;
    engine->kernels = kernels;
    engine->n_ctx = plan.options.n_ctx;
    engine->max_batch = plan.options.max_batch;
    engine->max_requests = plan.options.max_requests;
    engine->step_tokens = plan.options.step_tokens;
    engine->double_cost_position = find_double_cost_position(&model->hparams);
    engine->max_logit_rows = plan.max_logit_rows;
    engine->has_speculation = plan.options.speculation;
    engine->max_prompt_tokens = plan.options.max_prompt_tokens;
    engine->n_pages = plan.n_pages;
    engine->is_stepped = plan.options.is_stepped;
    engine->stats.struct_size = sizeof(engine->stats);
    engine->stats.kv_pages_total = plan.n_pages;
    engine->stats.kv_page_positions = BNI_KV_PAGE_POSITIONS;

    status = allocate_working_memory(engine, &plan);
    if (status != BITNET_OK) goto fail_engine;
    status = bni_clients_init(&engine->clients, plan.max_clients);
    if (status != BITNET_OK) goto fail_memory;
    status = bni_mutex_init(&engine->lock);
    if (status != BITNET_OK) goto fail_clients;
    status = bni_cond_init(&engine->has_work);
    if (status != BITNET_OK) goto fail_lock;
    status = bni_cond_init(&engine->has_room);
    if (status != BITNET_OK) goto fail_has_work;
    if (!engine->is_stepped)
        status = bni_thread_start(&engine->scheduler, "bitnet-sched",
                                  SCHEDULER_STACK_BYTES, bni_scheduler_main, engine);
    if (status != BITNET_OK) goto fail_has_room;

    bitnet_model_retain(model);
    *out = engine;
    return BITNET_OK;

fail_has_room:
    bni_cond_destroy(&engine->has_room);
fail_has_work:
    bni_cond_destroy(&engine->has_work);
fail_lock:
    bni_mutex_destroy(&engine->lock);
fail_clients:
    bni_clients_free(&engine->clients);
fail_memory:
    free_working_memory(engine);
fail_engine:
    bni_free(engine);
    return status;
}

void bni_engine_retain(bitnet_engine *engine)
{
    /* Relaxed: whoever retains has a reference already. */
    atomic_fetch_add_explicit(&engine->n_references, 1, memory_order_relaxed);
}

void bni_engine_unref(bitnet_engine *engine)
{
    if (atomic_fetch_sub_explicit(&engine->n_references, 1, memory_order_acq_rel) != 1)
        return;
    /* In a child, threads that are not there may hold the lock, and destroying a
     * condition would wait for those asleep on it. Neither owns memory. */
    if (!bni_fork_is_older(engine->generation)) {
        bni_cond_destroy(&engine->has_room);
        bni_cond_destroy(&engine->has_work);
        bni_mutex_destroy(&engine->lock);
    }
    bni_clients_free(&engine->clients); /* callers leave the line as late as now */
    bni_free(engine->token_order);
    bitnet_model_release(engine->model);
    bni_free(engine);
}

static void cancel_list(const struct bni_request_list *list)
{
    for (bitnet_request *request = list->first; request != NULL;
         request = request->next)
        atomic_store_explicit(&request->is_cancelled, true, memory_order_relaxed);
}

/* Cancels everything that is admitted or waits to be. */
static void cancel_present(bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    cancel_list(&engine->queue);
    cancel_list(&engine->started);
    for (struct bni_waiter *w = engine->first_waiter; w != NULL; w = w->next)
        w->is_cancelled = true;
    bni_cond_broadcast(&engine->has_room);
}

void bitnet_engine_cancel_all(bitnet_engine *engine)
{
    if (engine == NULL || bni_fork_is_older(engine->generation)) return;
    bni_mutex_lock(&engine->lock);
    cancel_present(engine);
    bni_mutex_unlock(&engine->lock);
}

/* A parent's engine in its child. What only the scheduler used is given back, and so is
 * the model; the struct stays for as long as a request refers to it, which one that
 * was under way at the fork does for ever. */
static void forget(bitnet_engine *engine)
{
    free_working_memory(engine);
    bitnet_model_release(engine->model);
    engine->model = NULL;
    bni_engine_unref(engine);
}

bitnet_status bitnet_engine_destroy(bitnet_engine *engine)
{
    if (engine == NULL) return BITNET_OK;
    const bitnet_status status = bni_context_check("bitnet_engine_destroy");
    if (status != BITNET_OK) return status;
    if (bni_is_inside_callback_of(engine))
        return bni_error(
            BITNET_ERROR_THREAD_SAFETY,
            "bitnet_engine_destroy: called from a callback of one of the "
            "engine's own requests; stop the request and destroy the engine "
            "after it has returned");
    if (bni_fork_is_older(engine->generation)) {
        forget(engine);
        return BITNET_OK;
    }

    bni_mutex_lock(&engine->lock);
    engine->is_stopping = true;
    cancel_present(engine);
    bni_cond_signal(&engine->has_work);
    bni_mutex_unlock(&engine->lock);

    if (engine->is_stepped)
        bni_step_to_the_end(engine);
    else
        bni_thread_join(&engine->scheduler);
    free_working_memory(engine);
    bni_engine_unref(engine);
    return BITNET_OK;
}
