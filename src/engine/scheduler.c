/* SPDX-License-Identifier: MIT */
/*
 * scheduler.c - the one thread that takes an engine's steps; or, one at a time, those
 * that wait for them (stepping.c).
 *
 * A step: start queued requests while there are places and pages; pick rows
 * (batch.c); run them through the model in one batch; sample; hand out tokens; retire
 * what has ended. It waits for two things only: work, and its turn on the compute
 * team.
 *
 * Cancel and deadline are looked at between steps and, during one, before every
 * layer: a request that is interrupted ends at once for its caller, and its rows
 * go through the rest of the step unheeded; if all are interrupted, the step is
 * abandoned.
 *
 * Pages for all positions a request may reach, less those that it shares, are taken
 * when it starts, so a request that runs is never stopped for memory. Whose turn it
 * is to start waits for pages, and nobody overtakes it.
 */
#include "engine/engine.h"

#include <assert.h>

#include "engine/choice.h"
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
    bni_clients_leave(&engine->clients, request->client);
    request->client = BNI_NO_CLIENT;
    bni_count_end(engine, bitnet_clock_ns());
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
        bni_release_pages(engine, request);
        bni_request_unref(request);
    }
    engine->n_running = n_kept;
}

/* Whose turn it is to start. Looks at all that are queued: at most max_requests. */
static bitnet_request *next_to_start(const bitnet_engine *engine)
    BNI_REQUIRES(engine->lock)
{
    bitnet_request *best = NULL;
    uint64_t best_served = 0;
    for (bitnet_request *r = engine->queue.first; r != NULL; r = r->next) {
        const uint64_t n_served = engine->clients.table[r->client].n_served;
        if (best != NULL &&
            !bni_comes_before(r->priority, n_served, best->priority, best_served))
            continue;
        best = r;
        best_served = n_served;
    }
    return best;
}

/* The request has its pages already. */
static void start(bitnet_engine *engine, bitnet_request *request, uint64_t now_ns)
    BNI_REQUIRES(engine->lock)
{
    bni_list_remove(&engine->queue, request);
    bni_list_append(&engine->started, request);
    engine->queued_prompt_tokens -= request->n_prompt;
    engine->stats.n_waiting--;
    engine->stats.n_running++;
    engine->stats.n_prompt_tokens += request->n_prompt;
    bni_histogram_add(&engine->times.queue, now_ns - request->admitted_ns);
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
    while (engine->queue.first != NULL && engine->n_running < engine->max_batch) {
        bitnet_request *request = next_to_start(engine);
        if (!bni_reserve_pages(engine, request)) break;
        start(engine, request, now_ns);
    }
    bni_count_pages(engine);
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
    /* With nothing running every page is free or idle, and any one request fits. */
    assert(engine->n_running > 0 || engine->queue.first == NULL);
    const bool has_more = !is_idle(engine) || !engine->is_stopping;
    bni_mutex_unlock(&engine->lock);
    return has_more;
}

/* ---- a step ----------------------------------------------------------------------------- */

/* Before each layer: false if nobody is left who wants the step's result. */
static bool someone_still_waits(void *user)
{
    bitnet_engine *engine = user;
    end_interrupted(engine);
    for (uint32_t i = 0; i < engine->n_running; i++)
        if (!engine->running[i]->is_over) return true;
    return false;
}

static void choose_tokens(void *user, size_t begin, size_t end)
{
    const bitnet_engine *engine = user;
    const uint32_t n_vocab = engine->model->hparams.n_vocab;
    const size_t n_scratch = bni_sampler_scratch_candidates(n_vocab);
    for (size_t i = begin; i < end; i++) {
        bitnet_request *request = engine->logit_requests[i];
        const size_t row = request->first_logit_row;
        bni_request_choose(request, engine->workspace.logits + row * n_vocab,
                           engine->sampled + row, engine->candidates + i * n_scratch);
    }
}

/* Gives a request its first `n` tokens of the step, and ends it if one was the last. */
static void deliver(bitnet_engine *engine, bitnet_request *request, uint32_t n)
{
    const bitnet_token *chosen = engine->sampled + request->first_logit_row;
    for (uint32_t i = 0; i < n && !request->is_over; i++) {
        struct bni_error_record error;
        const bitnet_finish finish = bni_request_accept(request, chosen, i, &error);
        if (finish != BITNET_FINISH_NONE) end_running(engine, request, finish, &error);
    }
}

/* Ends those whose logits are not finite. They all have been sampled: the workspace
 * is free. */
static void end_not_finite(bitnet_engine *engine, struct bni_team *team,
                           uint32_t n_choosing)
{
    for (uint32_t i = 0; i < n_choosing; i++) {
        bitnet_request *request = engine->logit_requests[i];
        const uint32_t last = request->n_chosen - 1;
        if (engine->sampled[request->first_logit_row + last] != BNI_SAMPLE_NOT_FINITE ||
            request->is_over)
            continue;
        struct bni_error_record error;
        deliver(engine, request, last);
        bni_explain_not_finite(engine, team, request, request->n_computed - 1, &error);
        end_running(engine, request, BITNET_FINISH_ERROR, &error);
    }
}

/* Drops the rows of drafts that were wrong: the step is as if it had not had them. */
static void drop_wrong_drafts(bitnet_request *request)
{
    const uint32_t n_accepted = request->n_chosen - 1;
    if (request->n_drafts == 0) return;
    request->n_step_rows -= request->n_drafts - n_accepted;
    bni_speculation_learn(&request->speculation, request->n_drafts, n_accepted);
    bni_request_count_drafts(request, request->n_drafts, n_accepted);
}

/* Runs the rows and samples. False if the step was abandoned. */
static bool compute(bitnet_engine *engine, struct bni_team *team, uint32_t n_rows,
                    uint32_t n_choosing)
{
    struct bni_forward forward = bni_engine_forward(engine);
    forward.two_pass = &engine->two_pass;
    forward.needs = engine->needs;
    if (!bni_forward_run(&forward, team, engine->rows, n_rows, someone_still_waits,
                         engine))
        return false;
    bni_team_run(team, n_choosing, 1, choose_tokens, engine);
    for (uint32_t i = 0; i < n_choosing; i++)
        drop_wrong_drafts(engine->logit_requests[i]);
    bni_read_out(engine, &forward, team, someone_still_waits, engine);
    return true;
}

/* Ends those that generate nothing and have been read to their end, or in vain. */
static void end_read_out(bitnet_engine *engine, struct bni_team *team)
{
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        struct bni_error_record error = {.status = BITNET_OK};
        if (request->readout.kind == BNI_READOUT_NONE || request->is_over) continue;
        if (request->readout.bad_position != BNI_NO_POSITION) {
            bni_explain_not_finite(engine, team, request, request->readout.bad_position,
                                   &error);
            end_running(engine, request, BITNET_FINISH_ERROR, &error);
        } else if (request->n_computed == request->n_prompt) {
            bni_readout_finish(&request->readout, request->n_prompt);
            end_running(engine, request, BITNET_FINISH_STOP, &error);
        }
    }
}

static void take_step(bitnet_engine *engine)
{
    uint32_t n_rows;
    uint32_t n_choosing;
    struct bni_team *team;
    if (bni_compute_acquire(&team) != BITNET_OK) {
        /* No compute threads to be had: who runs now fails, who comes later may not. */
        struct bni_error_record error;
        bni_error_save(&error);
        for (uint32_t i = 0; i < engine->n_running; i++)
            end_running(engine, engine->running[i], BITNET_FINISH_ERROR, &error);
        return;
    }
    bni_pick_rows(engine, &n_rows, &n_choosing);
    const bool is_complete = compute(engine, team, n_rows, n_choosing);
    if (!is_complete) {
        bni_compute_release(team);
        bni_rows_are_abandoned(engine); /* everybody is over */
        return;
    }
    bni_rows_are_computed(engine);
    bni_count_step(engine, n_rows, n_choosing);
    end_not_finite(engine, team, n_choosing);
    end_read_out(engine, team);
    bni_compute_release(team);
    for (uint32_t i = 0; i < n_choosing; i++)
        deliver(engine, engine->logit_requests[i], engine->logit_requests[i]->n_chosen);
}

bool bni_scheduler_has_work(bitnet_engine *engine)
{
    serve_queue(engine);
    return !is_idle(engine);
}

void bni_scheduler_turn(bitnet_engine *engine)
{
    end_interrupted(engine);
    sweep(engine);
    if (engine->n_running == 0) return;
    take_step(engine);
    sweep(engine);
}

void bni_scheduler_main(void *arg)
{
    bitnet_engine *engine = arg;
    bni_context_forbid_blocking("scheduler thread");
    while (wait_for_work(engine)) bni_scheduler_turn(engine);
}
