/* SPDX-License-Identifier: MIT */
/*
 * scheduler.c - the one thread that takes an engine's steps.
 *
 * A step: start queued requests while there are places and pages; pick rows, one
 * for every request that generates and then chunks of prompts up to the budget;
 * run them through the model in one batch; sample; hand out tokens; retire what
 * has ended. It waits for two things only: work, and its turn on the compute team.
 *
 * Cancel and deadline are looked at between steps and, during one, before every
 * layer: a request that is interrupted ends at once for its caller, and its rows
 * go through the rest of the step unheeded; if all are interrupted, the step is
 * abandoned.
 *
 * Pages for all positions a request may reach are taken when it starts, so a
 * request that runs is never stopped for memory. One that waits for pages waits
 * at the head of the queue, and nobody overtakes it.
 */
#include "engine/engine.h"

#include <assert.h>
#include <inttypes.h>

#include "threads/compute.h"

/* ---- beginnings and ends ------------------------------------------------------------- */

/* Takes a request off its list and out of the counts, then tells its consumer. */
static void end_request(bitnet_engine *engine, bitnet_request *request, bool is_started,
                        bitnet_finish finish, const struct bni_error_record *error)
    BNI_REQUIRES(engine->lock)
{
    bni_list_remove(is_started ? &engine->started : &engine->queue, request);
    if (is_started) {
        engine->stats.n_running--;
    } else {
        engine->stats.n_waiting--;
        engine->queued_prompt_tokens -= request->n_prompt;
    }
    engine->stats.n_ended++;
    bni_request_end(request, finish, error);
    bni_admission_changed(engine);
}

static void end_running(bitnet_engine *engine, bitnet_request *request,
                        bitnet_finish finish, const struct bni_error_record *error)
{
    bni_mutex_lock(&engine->lock);
    end_request(engine, request, true, finish, error);
    bni_mutex_unlock(&engine->lock);
    request->is_over = true; /* its pages are in use until the step is done */
}

/* Ends those that run and were cancelled or are late. */
static void end_interrupted(bitnet_engine *engine)
{
    const uint64_t now_ns = bitnet_clock_ns();
    for (uint32_t i = 0; i < engine->n_running; i++) {
        struct bni_error_record error;
        bitnet_request *request = engine->running[i];
        if (request->is_over) continue;
        const bitnet_finish finish = bni_request_interruption(request, now_ns, &error);
        if (finish != BITNET_FINISH_NONE) end_running(engine, request, finish, &error);
    }
}

/* Gives back the pages of requests that are over, and closes the gaps. */
static void sweep(bitnet_engine *engine)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        if (!request->is_over) {
            engine->running[n_kept++] = request;
            continue;
        }
        for (uint32_t p = 0; p < request->n_pages; p++)
            bni_kv_cache_give_page(&engine->cache, request->pages[p]);
        bni_request_unref(request);
    }
    engine->n_running = n_kept;
}

static void start(bitnet_engine *engine, bitnet_request *request)
    BNI_REQUIRES(engine->lock)
{
    bni_list_remove(&engine->queue, request);
    bni_list_append(&engine->started, request);
    engine->queued_prompt_tokens -= request->n_prompt;
    engine->stats.n_waiting--;
    engine->stats.n_running++;
    for (uint32_t p = 0; p < request->n_pages; p++)
        request->pages[p] = bni_kv_cache_take_page(&engine->cache);
    engine->running[engine->n_running++] = request;
}

/* Ends queued requests that were cancelled or are late, and starts those that can. */
static void serve_queue(bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    const uint64_t now_ns = bitnet_clock_ns();
    bitnet_request *next;
    for (bitnet_request *request = engine->queue.first; request != NULL;
         request = next) {
        struct bni_error_record error;
        next = request->next;
        const bitnet_finish finish = bni_request_interruption(request, now_ns, &error);
        if (finish == BITNET_FINISH_NONE) continue;
        end_request(engine, request, false, finish, &error);
        bni_request_unref(request);
    }
    while (engine->queue.first != NULL && engine->n_running < engine->max_batch &&
           engine->queue.first->n_pages <= engine->cache.n_free)
        start(engine, engine->queue.first);
    engine->stats.kv_pages_used = engine->n_pages - engine->cache.n_free;
    bni_admission_changed(engine); /* the queue may hold fewer prompt tokens now */
}

static bool is_idle(const bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    return engine->queue.first == NULL && engine->n_running == 0;
}

/* Waits until some request runs. False if the engine is stopping and none is left. */
static bool wait_for_work(bitnet_engine *engine)
{
    bni_mutex_lock(&engine->lock);
    serve_queue(engine);
    while (is_idle(engine) && !engine->is_stopping) {
        bni_cond_wait(&engine->has_work, &engine->lock);
        serve_queue(engine);
    }
    /* With nothing running every page is free, and any one request fits. */
    assert(engine->n_running > 0 || engine->queue.first == NULL);
    const bool has_more = !is_idle(engine) || !engine->is_stopping;
    bni_mutex_unlock(&engine->lock);
    return has_more;
}

/* ---- a step ----------------------------------------------------------------------------- */

static void add_rows(bitnet_engine *engine, bitnet_request *request, uint32_t n_added,
                     uint32_t n_known, uint32_t *n_rows, uint32_t *n_logit_rows)
{
    request->n_step_rows = n_added;
    for (uint32_t i = 0; i < n_added; i++) {
        const uint32_t position = request->n_computed + i;
        const bool is_last = position + 1 == n_known;
        if (is_last) engine->logit_requests[(*n_logit_rows)++] = request;
        engine->rows[(*n_rows)++] = (struct bni_row){
            .token = request->tokens[position],
            .position = position,
            .pages = request->pages,
            .wants_logits = is_last,
        };
    }
}

/*
 * Fills engine->rows: the newest token of every request that generates, then parts
 * of prompts, oldest first, while the budget lasts. There is always a row: the
 * budget is at least the number of places.
 */
static void pick_rows(bitnet_engine *engine, uint32_t *n_rows, uint32_t *n_logit_rows)
{
    *n_rows = 0;
    *n_logit_rows = 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        request->n_step_rows = 0;
        if (request->n_computed >= request->n_prompt)
            add_rows(engine, request, 1, request->n_computed + 1, n_rows, n_logit_rows);
    }
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        if (request->n_computed >= request->n_prompt) continue;
        const uint32_t n_left = request->n_prompt - request->n_computed;
        const uint32_t n_room = engine->step_tokens - *n_rows;
        add_rows(engine, request, n_left < n_room ? n_left : n_room, request->n_prompt,
                 n_rows, n_logit_rows);
    }
}

/* Before each layer: false if nobody is left who wants the step's result. */
static bool someone_still_waits(void *user)
{
    bitnet_engine *engine = user;
    end_interrupted(engine);
    for (uint32_t i = 0; i < engine->n_running; i++)
        if (!engine->running[i]->is_over) return true;
    return false;
}

static void sample_rows(void *user, size_t begin, size_t end)
{
    const bitnet_engine *engine = user;
    const uint32_t n_vocab = engine->model->hparams.n_vocab;
    const size_t n_scratch = bni_sampler_scratch_candidates(n_vocab);
    for (size_t i = begin; i < end; i++) {
        const bitnet_request *request = engine->logit_requests[i];
        const uint32_t n_history = request->n_computed + request->n_step_rows;
        engine->sampled[i] =
            bni_sample(&request->sampler, engine->workspace.logits + i * n_vocab,
                       n_vocab, request->tokens, n_history,
                       n_history - request->n_prompt,
                       engine->candidates + i * n_scratch);
    }
}

/* Gives a request its token, and ends it if that was the last. */
static void deliver(bitnet_engine *engine, bitnet_request *request, bitnet_token token)
{
    static const struct bni_error_record no_error = {.status = BITNET_OK};
    const uint32_t n_generated = request->n_computed - request->n_prompt + 1;
    if (token == BITNET_NO_TOKEN) {
        struct bni_error_record error;
        bni_error_record_set(&error, BITNET_ERROR_INFERENCE_FAILED,
                             "generate: the logits of position %" PRIu32
                             " are not finite",
                             request->n_computed - 1);
        end_running(engine, request, BITNET_FINISH_ERROR, &error);
    } else if (!request->ignores_eos &&
               bni_tokenizer_is_end(engine->model->tokenizer, token)) {
        end_running(engine, request, BITNET_FINISH_STOP, &no_error);
    } else {
        bni_request_push(request, token);
        if (n_generated == request->max_tokens)
            end_running(engine, request, BITNET_FINISH_LENGTH, &no_error);
    }
}

static void count_step(bitnet_engine *engine, uint32_t n_rows, uint32_t n_generated)
{
    bni_mutex_lock(&engine->lock);
    engine->stats.n_steps++;
    engine->stats.n_rows += n_rows;
    engine->stats.n_generated += n_generated;
    bni_mutex_unlock(&engine->lock);
}

/* Runs the rows and samples. False if the step was abandoned. */
static bool compute(bitnet_engine *engine, struct bni_team *team, uint32_t n_rows,
                    uint32_t n_logit_rows)
{
    const struct bni_forward forward = {
        .model = engine->model,
        .kernels = engine->kernels,
        .rope = &engine->rope,
        .cache = &engine->cache,
        .workspace = &engine->workspace,
    };
    if (!bni_forward_run(&forward, team, engine->rows, n_rows, someone_still_waits,
                         engine))
        return false;
    const uint32_t n_vocab = engine->model->hparams.n_vocab;
    for (uint32_t i = 0; i < n_logit_rows; i++)
        bni_request_keep_logits(engine->logit_requests[i],
                                engine->workspace.logits + (size_t)i * n_vocab);
    bni_team_run(team, n_logit_rows, 1, sample_rows, engine);
    return true;
}

static void take_step(bitnet_engine *engine)
{
    uint32_t n_rows;
    uint32_t n_logit_rows;
    struct bni_team *team;
    if (bni_compute_acquire(&team) != BITNET_OK) {
        /* No compute threads to be had: who runs now fails, who comes later may not. */
        struct bni_error_record error;
        bni_error_save(&error);
        for (uint32_t i = 0; i < engine->n_running; i++)
            end_running(engine, engine->running[i], BITNET_FINISH_ERROR, &error);
        return;
    }
    pick_rows(engine, &n_rows, &n_logit_rows);
    const bool is_complete = compute(engine, team, n_rows, n_logit_rows);
    bni_compute_release(team);
    if (!is_complete) return; /* everybody is over */

    for (uint32_t i = 0; i < engine->n_running; i++)
        engine->running[i]->n_computed += engine->running[i]->n_step_rows;
    count_step(engine, n_rows, n_logit_rows);
    for (uint32_t i = 0; i < n_logit_rows; i++)
        if (!engine->logit_requests[i]->is_over)
            deliver(engine, engine->logit_requests[i], engine->sampled[i]);
}

void bni_scheduler_main(void *arg)
{
    bitnet_engine *engine = arg;
    bni_context_forbid_blocking("scheduler thread");
    while (wait_for_work(engine)) {
        end_interrupted(engine);
        sweep(engine);
        if (engine->n_running == 0) continue;
        take_step(engine);
        sweep(engine);
    }
}
