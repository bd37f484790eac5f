/* SPDX-License-Identifier: MIT */
/*
 * stats.c - what an engine counts and measures, and what that foretells.
 *
 * All of it is under the engine's lock, which the scheduler takes a few times in a
 * step anyway. Readers copy it out and work out percentiles without the lock.
 */
#include "engine/engine.h"

#include "base/error.h"
#include "base/options.h"
#include "engine/choice.h"
#include "threads/fork.h"

static const uint64_t retry_unmeasured_ns = 100 * UINT64_C(1000000);
static const uint64_t retry_least_ns = UINT64_C(1000000);

/* ---- rates ------------------------------------------------------------------------- */

void bni_count_end(bitnet_engine *engine, uint64_t now_ns)
{
    struct bni_engine_times *times = &engine->times;
    const uint64_t since_ns = times->last_end_ns > times->busy_since_ns
                                  ? times->last_end_ns
                                  : times->busy_since_ns;
    const uint64_t interval_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    /* The newest interval counts an eighth: about the last eight ends. */
    if (engine->stats.n_ended == 0)
        times->end_interval_ns = interval_ns;
    else
        times->end_interval_ns += interval_ns / 8 - times->end_interval_ns / 8;
    times->last_end_ns = now_ns;
    engine->stats.n_ended++;
}

uint64_t bni_retry_after_ns(const bitnet_engine *engine, uint32_t n_in_line)
{
    const uint64_t each_ns = engine->stats.n_ended == 0 ? retry_unmeasured_ns
                                                        : engine->times.end_interval_ns;
    const uint64_t after_ns = each_ns * ((uint64_t)n_in_line + 1);
    return after_ns > retry_least_ns ? after_ns : retry_least_ns;
}

/* ---- a step ------------------------------------------------------------------------ */

void bni_count_pages(bitnet_engine *engine)
{
    const struct bni_prefix_cache *prefixes = &engine->prefixes;
    engine->stats.kv_pages_used = engine->n_pages - bni_prefix_n_available(prefixes);
    engine->stats.kv_pages_cached = prefixes->n_idle;
    engine->stats.kv_pages_shared = prefixes->n_shared;
    engine->stats.n_kv_pages_evicted = prefixes->n_evicted;
    engine->stats.n_cached_tokens = prefixes->n_reused;
}

/* The entry of a size of at least 1: i with 2^(i-1) < n <= 2^i. */
static uint32_t size_entry(uint32_t n)
{
    uint32_t i = 0;
    while ((UINT32_C(1) << i) < n) i++;
    return i;
}

static void count_token(bitnet_engine *engine, bitnet_request *request, uint64_t now_ns)
    BNI_REQUIRES(engine->lock)
{
    struct bni_engine_times *times = &engine->times;
    if (request->counted_ns == 0)
        bni_histogram_add(&times->first_token, now_ns - request->submitted_ns);
    else
        bni_histogram_add(&times->between_tokens, now_ns - request->counted_ns);
    request->counted_ns = now_ns;
    engine->stats.n_generated++;
}

static bool is_handed_out(const bitnet_request *request, bitnet_token token)
{
    return !request->is_over && token >= 0 && !bni_request_is_end(request, token);
}

/* Counts what a request has chosen in the step. */
static void count_choices(bitnet_engine *engine, bitnet_request *request,
                          uint64_t now_ns) BNI_REQUIRES(engine->lock)
{
    const bitnet_token *chosen = engine->sampled + request->first_logit_row;
    for (uint32_t i = 0; i < request->n_chosen; i++)
        if (is_handed_out(request, chosen[i])) count_token(engine, request, now_ns);
    engine->stats.n_drafted += request->n_drafts;
    engine->stats.n_accepted += request->n_chosen - 1;
}

void bni_count_step(bitnet_engine *engine, uint32_t n_rows, uint32_t n_choosing)
{
    const uint64_t now_ns = bitnet_clock_ns();
    uint32_t n_requests = 0;
    bni_mutex_lock(&engine->lock);
    for (uint32_t i = 0; i < engine->n_running; i++) {
        const bitnet_request *request = engine->running[i];
        if (request->n_step_rows == 0) continue;
        n_requests++;
        engine->stats.n_rows += request->n_step_rows;
        if (request->client != BNI_NO_CLIENT)
            bni_clients_charge(&engine->clients, request->client, request->n_step_rows);
    }
    bni_clients_settle(&engine->clients);
    bni_count_pages(engine);
    engine->stats.n_steps++;
    engine->stats.n_two_pass_rows = engine->two_pass.counts.n_rows;
    engine->stats.n_two_pass_exact = engine->two_pass.counts.n_candidates;
    engine->stats.n_two_pass_vain = engine->two_pass.counts.n_vain_steps;
    engine->stats.n_steps_by_rows[size_entry(n_rows)]++;
    engine->stats.n_steps_by_requests[size_entry(n_requests)]++;
    for (uint32_t i = 0; i < n_choosing; i++)
        count_choices(engine, engine->logit_requests[i], now_ns);
    bni_mutex_unlock(&engine->lock);
}

/* ---- public calls --------------------------------------------------------------------- */

bitnet_status bitnet_engine_get_stats(bitnet_engine *engine, bitnet_engine_stats *stats)
{
    if (engine == NULL || stats == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "engine stats: %s is NULL",
                         engine == NULL ? "engine" : "stats");
    const bitnet_status status = bni_fork_check(engine->generation, "engine stats");
    if (status != BITNET_OK) return status;

    bni_mutex_lock(&engine->lock);
    bitnet_engine_stats now = engine->stats;
    const struct bni_engine_times times = engine->times;
    now.n_clients = engine->clients.n_present;
    bni_mutex_unlock(&engine->lock);

    bni_histogram_read(&times.admission, &now.admission_wait);
    bni_histogram_read(&times.queue, &now.queue_wait);
    bni_histogram_read(&times.first_token, &now.first_token);
    bni_histogram_read(&times.between_tokens, &now.between_tokens);
    return bni_options_write("engine stats", stats, &now, sizeof(now));
}

uint64_t bitnet_engine_retry_after_ns(bitnet_engine *engine)
{
    if (engine == NULL || bni_fork_is_older(engine->generation)) return 0;
    bni_mutex_lock(&engine->lock);
    const uint64_t after_ns =
        bni_has_room(engine) ? 0 : bni_retry_after_ns(engine, engine->stats.n_blocked);
    bni_mutex_unlock(&engine->lock);
    return after_ns;
}
