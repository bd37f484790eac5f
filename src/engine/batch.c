/* SPDX-License-Identifier: MIT */
/*
 * batch.c - which rows a step has, and which pages they share.
 *
 * Every request that generates has one row in every step. What is left of the budget,
 * or half of the budget where several requests run, so that none waits a whole one for its
 * next token, nor who comes meanwhile for its first, goes to prompts of the highest
 * priority, in equal parts for each client that has
 * some, and among a client's in equal parts; what one does not need is the others'. So
 * a short prompt is done in a step or two however long the one is that came before it.
 * Rows that look far back count for more, so that a step takes about as long at the end of
 * a long prompt as at its beginning.
 * What they leave is for the next priority, and what prompts leave goes to drafts
 * (speculation.h), in equal parts: as long as places in the batch are free, each of
 * which has a row of logits to spare.
 *
 * A page becomes known (prefix_cache.h) in the step that fills it, before that step
 * is computed: in each layer all keys and values are written before any are read
 * (forward.c), so another request with the same prompt reads it in this very step.
 * Several requests that came at once with one prompt so compute each full page of it
 * once among them, whoever is first, and none waits for another.
 *
 * A position of which something is wanted is always computed: the last token of a
 * prompt, for its logits, and whatever is read out (readout.h). So the page it is in is
 * shared by others, if it is full, and never taken from them.
 */
#include <assert.h>

#include "base/size.h"
#include "engine/choice.h"
#include "engine/engine.h"

/* ---- pages ------------------------------------------------------------------------- */

static const bitnet_token *page_tokens(const bitnet_request *request, uint32_t page)
{
    return request->tokens + (size_t)page * BNI_KV_PAGE_POSITIONS;
}

static uint32_t parent_of(const bitnet_request *request, uint32_t page)
{
    return page == 0 ? BNI_NO_PAGE : request->pages[page - 1];
}

/* Full pages of the prompt that may come from others. */
static uint32_t n_pages_to_share(const bitnet_request *request)
{
    return request->first_output / BNI_KV_PAGE_POSITIONS;
}

static void count_cached(bitnet_engine *engine, bitnet_request *request,
                         uint32_t n_tokens)
{
    request->n_computed += n_tokens;
    engine->prefixes.n_reused += n_tokens;
    bni_request_count_cached(request, n_tokens);
}

bool bni_reserve_pages(bitnet_engine *engine, bitnet_request *request)
{
    struct bni_prefix_cache *prefixes = &engine->prefixes;
    uint32_t n_found = 0;
    uint32_t n_idle = 0; /* of them: they do not count as available any more */
    while (n_found < n_pages_to_share(request)) {
        const uint32_t page = bni_prefix_find(prefixes, parent_of(request, n_found),
                                              page_tokens(request, n_found));
        if (page == BNI_NO_PAGE) break;
        if (prefixes->pages[page].n_users == 0) n_idle++;
        request->pages[n_found++] = page;
    }
    if (request->n_pages - n_found > bni_prefix_n_available(prefixes) - n_idle)
        return false;

    for (uint32_t p = 0; p < n_found; p++) bni_prefix_use(prefixes, request->pages[p]);
    for (uint32_t p = n_found; p < request->n_pages; p++)
        request->pages[p] = bni_prefix_take(prefixes);
    request->n_shared = n_found;
    count_cached(engine, request, n_found * BNI_KV_PAGE_POSITIONS);
    return true;
}

void bni_release_pages(bitnet_engine *engine, bitnet_request *request)
{
    /* The last first: pages go before their parents. */
    for (uint32_t p = request->n_pages; p > 0; p--)
        bni_prefix_release(&engine->prefixes, request->pages[p - 1]);
}

/* Uses a known page in the place of the request's own. */
static void use_known(bitnet_engine *engine, bitnet_request *request, uint32_t known)
{
    bni_prefix_use(&engine->prefixes, known);
    bni_prefix_release(&engine->prefixes, request->pages[request->n_shared]);
    request->pages[request->n_shared++] = known;
}

/* Goes over the next pages of a prompt that others have computed, or are about to. */
static void skip_known_pages(bitnet_engine *engine, bitnet_request *request)
{
    if (request->n_computed != request->n_shared * BNI_KV_PAGE_POSITIONS) return;
    uint32_t n_skipped = 0;
    while (request->n_shared < n_pages_to_share(request)) {
        const uint32_t known =
            bni_prefix_find(&engine->prefixes, parent_of(request, request->n_shared),
                            page_tokens(request, request->n_shared));
        if (known == BNI_NO_PAGE) break;
        use_known(engine, request, known);
        n_skipped += BNI_KV_PAGE_POSITIONS;
    }
    if (n_skipped > 0) count_cached(engine, request, n_skipped);
}

/*
 * Makes known the pages that are full with `n_positions`. With an equal page known
 * already, ours is given back for that one, unless it is still to be written.
 */
static void share_full_pages(bitnet_engine *engine, bitnet_request *request,
                             uint32_t n_positions, bool is_computed)
{
    struct bni_prefix_cache *prefixes = &engine->prefixes;
    if (prefixes->tokens == NULL) return;
    while (request->n_shared < n_positions / BNI_KV_PAGE_POSITIONS) {
        const uint32_t p = request->n_shared;
        const uint32_t parent = parent_of(request, p);
        const bitnet_token *tokens = page_tokens(request, p);
        if (bni_prefix_add(prefixes, request->pages[p], parent, tokens))
            request->n_shared++;
        else if (is_computed)
            use_known(engine, request, bni_prefix_find(prefixes, parent, tokens));
        else
            return;
    }
}

/* ---- rows --------------------------------------------------------------------------- */

/* The rows of a step so far, and their logits. */
struct picked {
    uint32_t n_rows;
    uint32_t n_logit_rows;
    uint32_t n_choosing; /* requests */
};

/* Adds the next rows of a request, which chooses from all that have at least
 * `first_choice` tokens up to their own. */
static void add_rows(bitnet_engine *engine, bitnet_request *request, uint32_t n_added,
                     uint32_t first_choice, struct picked *picked)
{
    request->n_step_rows = n_added;
    request->first_step_row = picked->n_rows;
    request->first_logit_row = picked->n_logit_rows;
    struct bni_candidate *scratch =
        engine->candidates + picked->n_choosing * bni_sampler_scratch_candidates(
                                                      engine->model->hparams.n_vocab);
    for (uint32_t i = 0; i < n_added; i++) {
        const uint32_t position = request->n_computed + i;
        const bool wants_logits =
            request->readout.kind == BNI_READOUT_NONE && position + 1 >= first_choice;
        if (wants_logits)
            engine->needs[picked->n_logit_rows++] =
                bni_request_need(request, position + 1, scratch);
        engine->rows[picked->n_rows++] = (struct bni_row){
            .token = request->tokens[position],
            .position = position,
            .pages = request->pages,
            .wants_logits = wants_logits,
        };
    }
    if (picked->n_logit_rows > request->first_logit_row)
        engine->logit_requests[picked->n_choosing++] = request;
}

static bool generates(const bitnet_request *request)
{
    return request->n_computed >= request->n_prompt;
}

/* Rows, and rows of logits, that are left when all have had theirs. */
static uint32_t count_spare_rows(const bitnet_engine *engine, uint32_t *n_generating)
{
    uint64_t n_taken = 0;
    *n_generating = 0;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        const bitnet_request *request = engine->running[i];
        if (generates(request)) ++*n_generating;
        n_taken += generates(request) ? 1 : request->n_prompt - request->n_computed;
    }
    if (n_taken >= engine->step_tokens) return 0;
    const uint32_t n_rows = engine->step_tokens - (uint32_t)n_taken;
    const uint32_t n_logit_rows = engine->max_logit_rows - engine->n_running;
    return n_rows < n_logit_rows ? n_rows : n_logit_rows;
}

/* Proposes tokens for a request that generates, behind its newest. */
static void draft(bitnet_request *request, uint32_t n_room, uint32_t n_generating)
{
    const uint32_t n_known = request->n_computed + 1;
    /* Each draft that is right brings one token, and there is one without any. */
    const uint32_t n_useful = request->n_prompt + request->max_tokens - n_known - 1;
    uint32_t n_wanted = bni_speculation_begin_step(&request->speculation, n_generating);
    if (n_wanted > n_room) n_wanted = n_room;
    if (n_wanted > n_useful) n_wanted = n_useful;
    if (n_wanted > 0) request->n_drafts = bni_draft(request->tokens, n_known, n_wanted);
}

/* The newest tokens of all that generate, and drafts. */
static void add_generating(bitnet_engine *engine, struct picked *picked)
{
    uint32_t n_generating;
    uint32_t n_spare = count_spare_rows(engine, &n_generating);
    uint32_t n_left = n_generating;
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        request->n_step_rows = 0;
        request->n_drafts = 0;
        if (!generates(request)) continue;
        assert(n_left > 0); /* it was counted above */
        draft(request, n_spare / n_left--, n_generating);
        n_spare -= request->n_drafts;
        add_rows(engine, request, 1 + request->n_drafts, request->n_computed + 1,
                 picked);
    }
}

/* The parts of a client's share. */
enum { WHOLE_SHARE = 1 << 16 };

static uint64_t share_of(const bitnet_request *request)
{
    return WHOLE_SHARE / request->n_client_prefills;
}

/* What a prompt needs of each part it has a right to: who needs least is asked first,
 * so that what it does not need can be given to the others. */
static uint64_t need_of(const bitnet_request *request)
{
    return (uint64_t)(request->n_prompt - request->n_computed) *
           request->n_client_prefills;
}

static bool prefills_before(const bitnet_request *a, const bitnet_request *b)
{
    return bni_comes_before(a->priority, need_of(a), b->priority, need_of(b));
}

/* Counts, for each request with prompt to compute, those of its client and priority.
 * None of them is over: that is swept before a step. */
static void count_prefills(bitnet_engine *engine)
{
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        if (generates(request)) continue;
        request->n_client_prefills = 0;
        for (uint32_t k = 0; k < engine->n_running; k++) {
            const bitnet_request *other = engine->running[k];
            if (!generates(other) && other->client == request->client &&
                other->priority == request->priority)
                request->n_client_prefills++;
        }
    }
}

/* Lists them in the order they get their rows. */
static uint32_t order_prefills(bitnet_engine *engine)
{
    uint32_t n = 0;
    bni_mutex_lock(&engine->lock);
    count_prefills(engine);
    bni_mutex_unlock(&engine->lock);
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        if (generates(request)) continue;
        /* Insertion keeps the order of starting among equals. */
        uint32_t at = n++;
        for (; at > 0 && prefills_before(request, engine->prefilling[at - 1]); at--)
            engine->prefilling[at] = engine->prefilling[at - 1];
        engine->prefilling[at] = request;
    }
    return n;
}

/* What of `room` is the i-th's, who shares with those behind it of its priority. */
static uint64_t part_of(const bitnet_engine *engine, uint32_t i, uint32_t n_prefilling,
                        uint64_t room)
{
    const bitnet_request *request = engine->prefilling[i];
    uint64_t n_shares = 0;
    for (uint32_t k = i; k < n_prefilling; k++) {
        if (engine->prefilling[k]->priority != request->priority) break;
        n_shares += share_of(engine->prefilling[k]);
    }
    return (room * share_of(request) + n_shares - 1) / n_shares;
}

/* A row looks back at all positions before it: with `double_cost_position` of them it
 * takes twice as long as at the beginning of a text. Prompts are therefore given not rows
 * but what as many rows at the beginning would cost; these two translate. */
static uint64_t cost_of_rows(const bitnet_engine *engine, const bitnet_request *request,
                             uint64_t n_rows)
{
    const uint64_t p = engine->double_cost_position;
    return (n_rows * (p + request->n_computed) + p - 1) / p;
}

static uint64_t rows_of_cost(const bitnet_engine *engine, const bitnet_request *request,
                             uint64_t cost)
{
    const uint64_t p = engine->double_cost_position;
    const uint64_t n_rows = cost * p / (p + request->n_computed);
    return n_rows == 0 && cost > 0 ? 1 : n_rows;
}

/* How many rows of its prompt a request gets that has a right to `part` of `room`.
 * Rounded up to whole pages: who has half a page cannot share it. */
static uint32_t rows_of_part(const bitnet_engine *engine, const bitnet_request *request,
                             uint64_t part, uint64_t room)
{
    const uint64_t end = request->n_computed + rows_of_cost(engine, request, part);
    const uint64_t page_end = (end + BNI_KV_PAGE_POSITIONS - 1) /
                              BNI_KV_PAGE_POSITIONS * BNI_KV_PAGE_POSITIONS;
    const uint64_t n_whole = page_end - request->n_computed;
    const uint64_t n_most = rows_of_cost(engine, request, room);
    const uint64_t n_left = request->n_prompt - request->n_computed;
    uint64_t n_rows = n_whole < n_most ? n_whole : n_most;
    if (n_rows > n_left) n_rows = n_left;
    return (uint32_t)n_rows;
}

/* What prompts may have of the step, of which those that generate take `n_taken` rows. */
static uint64_t room_for_prompts(const bitnet_engine *engine, uint32_t n_taken)
{
    const uint32_t n_free = engine->step_tokens - n_taken;
    const uint32_t n_half = (engine->step_tokens + 1) / 2;
    return engine->n_running > 1 && n_half < n_free ? n_half : n_free;
}

void bni_pick_rows(bitnet_engine *engine, uint32_t *n_rows, uint32_t *n_choosing)
{
    struct picked picked = {0, 0, 0};
    add_generating(engine, &picked);
    uint64_t room = room_for_prompts(engine, picked.n_rows);
    const uint32_t n_prefilling = order_prefills(engine);
    for (uint32_t i = 0; i < n_prefilling; i++) {
        bitnet_request *request = engine->prefilling[i];
        skip_known_pages(engine, request);
        const uint32_t n_added =
            rows_of_part(engine, request, part_of(engine, i, n_prefilling, room), room);
        const uint64_t cost = cost_of_rows(engine, request, n_added);
        room -= cost < room ? cost : room;
        add_rows(engine, request, n_added, request->n_prompt, &picked);
        share_full_pages(engine, request, request->n_computed + n_added, false);
    }
    *n_rows = picked.n_rows;
    *n_choosing = picked.n_choosing;
}

void bni_rows_are_computed(bitnet_engine *engine)
{
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        request->n_computed += request->n_step_rows;
        share_full_pages(engine, request, request->n_computed, true);
    }
}

void bni_rows_are_abandoned(bitnet_engine *engine)
{
    for (uint32_t i = 0; i < engine->n_running; i++) {
        bitnet_request *request = engine->running[i];
        /* Pages whose last position is not before the step's first. */
        while (request->n_shared > request->n_computed / BNI_KV_PAGE_POSITIONS)
            bni_prefix_forget(&engine->prefixes, request->pages[--request->n_shared]);
    }
}
