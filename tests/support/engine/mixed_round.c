/* SPDX-License-Identifier: MIT */
#include "support/engine/mixed_round.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/kv_cache.h"
#include "model/model.h"

static const char *const way_names[N_WAYS] = {
    [BLOCKS] = "blocks",
    [WAITS] = "waits",
    [CANCELS_ITSELF] = "cancels itself",
    [MAY_BE_CANCELLED] = "may be cancelled by another",
    [HAS_DEADLINE] = "has a deadline",
    [LEAVES] = "leaves",
    [FOLLOWS_EVENTS] = "follows its events",
    [FOLLOWS_EVENTS_AND_LEAVES] = "follows its events and leaves",
    [STEPS] = "takes the engine's steps",
    [BLOCKS_WITH_CALLBACK] = "blocks with a callback",
    [PULLS] = "pulls",
    [PULLS_SOME_AND_WAITS] = "pulls some and waits",
    [STOPS_IN_CALLBACK] = "stops in its callback",
    [IS_DELIVERED] = "is delivered on a pool",
    [IS_DELIVERED_WITHOUT_HANDLE] = "is delivered on a pool without a handle",
    [STOPS_DELIVERY] = "stops its delivery on a pool",
};

static const char *const kind_names[] =
    {[GENERATES] = "generates", [SCORES] = "scores", [EMBEDS] = "embeds"};

const char *name_of_way(enum way way)
{
    return way_names[way];
}

/* ---- drawing --------------------------------------------------------------------- */

static bitnet_engine_options draw_engine(struct dice *dice, const bitnet_model *model)
{
    static const uint32_t spare_rows[] = {0, 1, 6, 30, 100, 400};
    bitnet_engine_options options = bitnet_engine_options_default();
    options.n_ctx = RANDOM_MAX_PROMPT + RANDOM_MAX_GENERATED + roll(dice, 50);
    options.max_batch = 1 + roll(dice, 12);
    options.step_tokens = options.max_batch + spare_rows[roll(dice, 6)];
    options.max_requests = 1 + roll(dice, 24);
    if (one_in(dice, 3)) options.max_prompt_tokens = 1 + roll(dice, 400);
    options.prefix_cache = !one_in(dice, 3);
    options.speculation = one_in(dice, 2);
    options.is_stepped = one_in(dice, 4);
    options.kv_type = one_in(dice, 2) ? BITNET_KV_INT8 : BITNET_KV_F16;
    if (one_in(dice, 3)) return options;
    const uint32_t n_pages = bni_kv_pages_for(options.n_ctx) + roll(dice, 14);
    options.kv_cache_bytes =
        n_pages * (uint64_t)bni_kv_page_bytes(&model->hparams, options.kv_type);
    return options;
}

static bitnet_thread_pool_options draw_pool(struct dice *dice)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = 1 + roll(dice, 3);
    options.max_queue_size = 1 + roll(dice, 4);
    return options;
}

static bool suits(enum way way, enum kind kind, bool is_stepped)
{
    if (way >= READS_TEXT && kind != GENERATES) return false;
    return way == STEPS ? is_stepped : way < IS_DELIVERED || !is_stepped;
}

/* Every fourth request is a score or an embedding; one token alone has no score. */
static void draw_kind(struct dice *dice, struct entry *entry)
{
    const size_t n = entry->request.options.n_prompt_tokens;
    entry->kind = !one_in(dice, 4) ? GENERATES : one_in(dice, 2) ? SCORES : EMBEDS;
    if (entry->kind == SCORES && n < 2) entry->kind = EMBEDS;
    entry->score = bitnet_score_options_default();
    if (n > 1 && one_in(dice, 2))
        entry->score.first_scored = 1 + roll(dice, (unsigned)n - 1);
    entry->score.keeps_logits = one_in(dice, 3);
    entry->embed = bitnet_embed_options_default();
    entry->embed.tokens = entry->request.prompt;
    entry->embed.n_tokens = n;
    entry->embed.pooling = one_in(dice, 2) ? BITNET_POOLING_MEAN : BITNET_POOLING_LAST;
    entry->embed.normalises = one_in(dice, 2);
}

static void draw_entry(const struct request_mix *mix, struct dice *dice,
                       const struct round *round, unsigned index, struct entry *entry)
{
    memset(entry, 0, sizeof(*entry));
    draw_request(mix, dice, round->keeps, &entry->request);
    draw_kind(dice, entry);
    entry->engine = roll(dice, round->n_engines);
    do entry->way = (enum way)roll(dice, N_WAYS);
    while (!suits(entry->way, entry->kind,
                  round->engine_options[entry->engine].is_stepped));
    entry->n_steps = 1 + roll(dice, 12);
    entry->deadline_us = one_in(dice, 4) ? 0 : roll(dice, 20000);
    entry->after = index;
    entry->victim = index;
    if (index > 0 && one_in(dice, 3)) entry->victim = roll(dice, index);
    /* With the engines held, each caller has a first request that waits for nobody. */
    if (round->is_held && index < round->n_callers) {
        if (entry->way == HAS_DEADLINE) entry->way = WAITS;
        return;
    }
    entry->is_refused_first = one_in(dice, 4);
    if (index == 0 || one_in(dice, 2)) return;
    entry->after = index - 1 - roll(dice, index < 8 ? index : 8);
    entry->after_steps = roll(dice, 10);
}

void draw_round(struct round *round, const struct request_mix *mix, struct dice *dice)
{
    round->n_engines = one_in(dice, 2) ? 1 : 1 + roll(dice, ROUND_MAX_ENGINES);
    for (unsigned e = 0; e < round->n_engines; e++)
        round->engine_options[e] = draw_engine(dice, round->model);
    round->pool_options = draw_pool(dice);
    round->n_threads = 1 + roll(dice, 4);
    round->n_callers = 1 + roll(dice, ROUND_MAX_CALLERS);
    round->is_held = one_in(dice, 3);
    round->keeps = one_in(dice, 2);
    for (unsigned i = 0; i < round->n_entries; i++)
        draw_entry(mix, dice, round, i, &round->entries[i]);
}

/* ---- asking ---------------------------------------------------------------------- */

bitnet_status begin_entry(const struct entry *entry, bitnet_engine *engine,
                          const bitnet_generate_options *options,
                          bitnet_request **request)
{
    bitnet_score_options score = entry->score;
    bitnet_embed_options embed = entry->embed;
    if (entry->kind == GENERATES)
        return bitnet_generate_async(engine, options, NULL, request);
    score.deadline_ns = embed.deadline_ns = options->deadline_ns;
    score.when_full = embed.when_full = options->when_full;
    score.client_id = embed.client_id = options->client_id;
    score.priority = embed.priority = options->priority;
    score.events = embed.events = options->events;
    score.event_tag = embed.event_tag = options->event_tag;
    if (entry->kind == SCORES)
        return bitnet_score_async(engine, &score, options->prompt_tokens,
                                  options->n_prompt_tokens, request);
    return bitnet_embed_async(engine, &embed, NULL, request);
}

bitnet_status take_values(const struct entry *entry, bitnet_request *request,
                          float *values, size_t *n_values)
{
    const float *found;
    const bitnet_status status =
        entry->kind == SCORES ? bitnet_request_get_score(request, &found, n_values)
                              : bitnet_request_get_embedding(request, &found, n_values);
    if (status == BITNET_OK && *n_values <= ROUND_MAX_VALUES)
        memcpy(values, found, *n_values * sizeof(*values));
    return status;
}

/* ---- telling --------------------------------------------------------------------- */

static void describe_kind(const struct entry *entry, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "%s", kind_names[entry->kind]);
    if (entry->kind == SCORES)
        snprintf(text, n_bytes, "scores from token %zu, logits %d",
                 entry->score.first_scored, entry->score.keeps_logits);
    if (entry->kind == EMBEDS)
        snprintf(text, n_bytes, "embeds, pooling %d, normalised %d",
                 (int)entry->embed.pooling, entry->embed.normalises);
}

void complain(struct round *round, unsigned index, const char *what)
{
    const struct entry *entry = &round->entries[index];
    const bitnet_engine_options *o = &round->engine_options[entry->engine];
    char request[1024];
    char kind[128];
    describe_request(&entry->request, request, sizeof(request));
    describe_kind(entry, kind, sizeof(kind));
    pthread_mutex_lock(&round->lock);
    if (!round->has_failed)
        snprintf(round->failure, sizeof(round->failure),
                 "seed %" PRIu64 ", %s, round %" PRIu64
                 ", request %u, which %s and %s after %u: %s.\n"
                 "request: %s.\n"
                 "engine %u of %u: batch %" PRIu32 ", steps of %" PRIu32 ", %" PRIu32
                 " requests, %" PRIu64 " prompt tokens, %" PRIu64
                 " bytes of cache of type %d, prefixes %d, speculation %d, stepped %d; "
                 "%u compute threads, pool of %" PRIu32 " with %" PRIu32
                 " places, %u callers%s",
                 round->seed, round->model_name, round->number, index, kind,
                 way_names[entry->way], entry->n_steps, what, request, entry->engine,
                 round->n_engines, o->max_batch, o->step_tokens, o->max_requests,
                 o->max_prompt_tokens, o->kv_cache_bytes, (int)o->kv_type,
                 o->prefix_cache, o->speculation, o->is_stepped, round->n_threads,
                 round->pool_options.num_threads, round->pool_options.max_queue_size,
                 round->n_callers, round->is_held ? ", all at once" : "");
    round->has_failed = true;
    pthread_mutex_unlock(&round->lock);
}
