/* SPDX-License-Identifier: MIT */
/*
 * One answer, whatever happens around it.
 *
 * Rounds of requests of every kind (random_requests.h), each answered first by itself
 * on a plain engine: one request at a time, whole prompts, nothing shared, one compute
 * thread. Then the round is played on an engine drawn at random, by up to sixteen
 * threads that wait, pull, stop in a callback, cancel themselves and each other, come
 * late and leave early; some engines guess ahead, some have no thread of their own.
 * What a request gets must be its answer to the bit, with all logits and
 * log-probabilities that it kept, or the beginning of it if it was cut short.
 *
 *     test_one_answer [requests [seed]]
 *
 * All that is drawn comes from the seed; how the threads interleave does not. When a
 * request comes is decided by what others have got by then, never by the clock.
 */
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "engine/kv_cache.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/engine/random_requests.h"
#include "support/engine/same_answer.h"
#include "support/latch.h"
#include "support/models.h"
#include "threads/perturb.h"

enum {
    ROUND_REQUESTS = 48,
    MAX_CALLERS = 16,
    ROUND_LIMIT_S = 120,
    MAX_TEXT = 8192,
};

/* Bounded to some seconds; without optimisation rows take ten times as long. */
#if defined(__OPTIMIZE__)
static unsigned n_requests = IS_SLOW_BUILD ? 400 : 3000;
#else
static unsigned n_requests = 240;
#endif
static uint64_t seed = 1;

/* How a request is consumed. */
enum way {
    BLOCKS,
    BLOCKS_WITH_CALLBACK,
    WAITS,
    PULLS,
    PULLS_SOME_AND_WAITS,
    STOPS_IN_CALLBACK,
    CANCELS_ITSELF,
    MAY_BE_CANCELLED, /* by another caller */
    HAS_DEADLINE,
    LEAVES, /* releases the handle under way */
    N_WAYS
};

static const char *const way_names[N_WAYS] = {
    "blocks",         "blocks with a callback",      "waits",
    "pulls",          "pulls some and waits",        "stops in its callback",
    "cancels itself", "may be cancelled by another", "has a deadline",
    "leaves",
};

/* A request of a round. */
struct entry {
    struct random_request request;
    enum way way;
    unsigned n_steps;      /* tokens or pieces until it does what it does */
    unsigned after;        /* the entry whose progress it waits for; itself: none */
    unsigned after_steps;  /* that much of it */
    unsigned victim;       /* the entry it cancels when it comes; itself: none */
    uint64_t deadline_us;  /* from when it comes */
    bool is_refused_first; /* it does not wait for room at its first try */

    bitnet_status alone_status;
    bitnet_result alone;

    /* Guarded by the round's lock. */
    unsigned n_seen; /* tokens or pieces it has been given */
    bool is_over;
    bool is_cancelled;      /* by another */
    bitnet_request *handle; /* while another may cancel it */
};

struct round {
    uint64_t number;
    const char *model_name;
    bitnet_model *model;
    bitnet_engine_options engine_options;
    unsigned n_threads;
    unsigned n_callers;
    bool is_held; /* all callers come before the first step */
    unsigned n_entries;
    struct entry entries[ROUND_REQUESTS];

    bitnet_engine *engine;
    size_t n_vocab;
    atomic_uint next_entry;
    atomic_uint n_whole;
    atomic_uint n_cut;
    pthread_mutex_t lock;
    pthread_cond_t progressed;
    bool has_failed; /* guarded by the lock, as the next */
    char failure[2048];
};

/* ---- drawing a round ------------------------------------------------------------- */

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
    if (one_in(dice, 3)) return options;
    const uint32_t n_pages = bni_kv_pages_for(options.n_ctx) + roll(dice, 14);
    options.kv_cache_bytes = n_pages * (uint64_t)bni_kv_page_bytes(&model->hparams);
    return options;
}

static void draw_entry(const struct request_mix *mix, struct dice *dice,
                       const struct round *round, unsigned index, struct entry *entry)
{
    memset(entry, 0, sizeof(*entry));
    draw_request(mix, dice, true, &entry->request);
    entry->way = (enum way)roll(dice, N_WAYS);
    entry->n_steps = 1 + roll(dice, 12);
    entry->deadline_us = one_in(dice, 4) ? 0 : roll(dice, 20000);
    entry->after = index;
    entry->victim = index;
    if (index > 0 && one_in(dice, 3)) entry->victim = roll(dice, index);
    /* With the engine held, each caller has a first request that waits for nobody. */
    if (round->is_held && index < round->n_callers) {
        if (entry->way == HAS_DEADLINE) entry->way = WAITS;
        return;
    }
    entry->is_refused_first = one_in(dice, 4);
    if (index == 0 || one_in(dice, 2)) return;
    entry->after = index - 1 - roll(dice, index < 8 ? index : 8);
    entry->after_steps = roll(dice, 10);
}

static void draw_round(struct round *round, const struct request_mix *mix,
                       struct dice *dice)
{
    round->engine_options = draw_engine(dice, round->model);
    round->n_threads = 1 + roll(dice, 4);
    round->n_callers = 1 + roll(dice, MAX_CALLERS);
    round->is_held = one_in(dice, 3);
    for (unsigned i = 0; i < round->n_entries; i++)
        draw_entry(mix, dice, round, i, &round->entries[i]);
}

/* ---- the answers ----------------------------------------------------------------- */

static bitnet_engine *create_plain_engine(bitnet_model *model)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.n_ctx = 256;
    options.max_batch = 1;
    options.max_requests = 1;
    options.step_tokens = 256;
    options.prefix_cache = false;
    options.speculation = false;
    return create_engine(model, &options);
}

static void answer_alone(bitnet_engine *plain, struct round *round)
{
    assert_int_equal(bitnet_thread_manager_set_compute_threads(1), BITNET_OK);
    for (unsigned i = 0; i < round->n_entries; i++) {
        struct entry *entry = &round->entries[i];
        entry->alone_status =
            bitnet_generate(plain, &entry->request.options, NULL, &entry->alone);
        /* A grammar and banned tokens may leave nothing to choose. */
        if (entry->alone_status != BITNET_OK &&
            entry->alone_status != BITNET_ERROR_INFERENCE_FAILED)
            fail_msg("request %u alone: %s", i, bitnet_last_error());
    }
}

/* ---- comparing ------------------------------------------------------------------- */

static bool was_cancelled(struct round *round, const struct entry *entry)
{
    pthread_mutex_lock(&round->lock);
    const bool is_cancelled = entry->is_cancelled;
    pthread_mutex_unlock(&round->lock);
    return is_cancelled;
}

static bool may_be_cut(struct round *round, const struct entry *entry,
                       bitnet_status status)
{
    switch (status) {
    case BITNET_ERROR_TIMED_OUT: return entry->way == HAS_DEADLINE;
    case BITNET_ERROR_CANCELLED:
        return entry->way == STOPS_IN_CALLBACK || entry->way == CANCELS_ITSELF ||
               (entry->way == MAY_BE_CANCELLED && was_cancelled(round, entry));
    default: return false;
    }
}

static bitnet_finish finish_of_cut(bitnet_status status)
{
    return status == BITNET_ERROR_TIMED_OUT ? BITNET_FINISH_DEADLINE
                                            : BITNET_FINISH_CANCELLED;
}

/* Writes the first failure down: what, whose, and all that was drawn. */
static void complain(struct round *round, unsigned index, const char *what)
{
    const struct entry *entry = &round->entries[index];
    const bitnet_engine_options *o = &round->engine_options;
    char request[1024];
    describe_request(&entry->request, request, sizeof(request));
    pthread_mutex_lock(&round->lock);
    if (!round->has_failed)
        snprintf(round->failure, sizeof(round->failure),
                 "seed %" PRIu64 ", %s, round %" PRIu64
                 ", request %u, which %s after %u: %s.\n"
                 "request: %s.\n"
                 "engine: batch %" PRIu32 ", steps of %" PRIu32 ", %" PRIu32
                 " requests, %" PRIu64 " prompt tokens, %" PRIu64
                 " bytes of cache, prefixes %d, speculation %d, stepped %d; %u compute "
                 "threads, "
                 "%u callers%s",
                 seed, round->model_name, round->number, index, way_names[entry->way],
                 entry->n_steps, what, request, o->max_batch, o->step_tokens,
                 o->max_requests, o->max_prompt_tokens, o->kv_cache_bytes,
                 o->prefix_cache, o->speculation, o->is_stepped, round->n_threads,
                 round->n_callers, round->is_held ? ", all at once" : "");
    round->has_failed = true;
    pthread_mutex_unlock(&round->lock);
}

/* ---- callers --------------------------------------------------------------------- */

/* The caller's side of a request. */
struct consumer {
    struct round *round;
    unsigned index;
    size_t n_text;
    char text[MAX_TEXT]; /* as it came */
};

static struct entry *entry_of(const struct consumer *consumer)
{
    return &consumer->round->entries[consumer->index];
}

static void note_progress(const struct consumer *consumer)
{
    pthread_mutex_lock(&consumer->round->lock);
    entry_of(consumer)->n_seen++;
    pthread_cond_broadcast(&consumer->round->progressed);
    pthread_mutex_unlock(&consumer->round->lock);
}

static void keep_text(struct consumer *consumer, const char *text, size_t text_len)
{
    if (text_len > MAX_TEXT - consumer->n_text) {
        complain(consumer->round, consumer->index, "more text than tokens can make");
        return;
    }
    memcpy(consumer->text + consumer->n_text, text, text_len);
    consumer->n_text += text_len;
}

static bool take_piece(void *user, const char *text, size_t text_len)
{
    struct consumer *consumer = user;
    const struct entry *entry = entry_of(consumer);
    keep_text(consumer, text, text_len);
    note_progress(consumer);
    return entry->way != STOPS_IN_CALLBACK || entry->n_seen < entry->n_steps;
}

/* Takes up to `n` tokens. */
static void pull(struct consumer *consumer, bitnet_request *request, unsigned n)
{
    const char *text;
    size_t text_len;
    for (unsigned i = 0; i < n; i++) {
        if (bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, &text, &text_len) !=
            BITNET_OK)
            return;
        keep_text(consumer, text, text_len);
        note_progress(consumer);
    }
}

/* Lets others cancel the request; those that wanted to already, do now. */
static void show_handle(struct round *round, struct entry *entry,
                        bitnet_request *request)
{
    pthread_mutex_lock(&round->lock);
    entry->handle = request;
    if (entry->is_cancelled) bitnet_request_cancel(request);
    pthread_mutex_unlock(&round->lock);
}

static void hide_handle(struct round *round, struct entry *entry)
{
    pthread_mutex_lock(&round->lock);
    entry->handle = NULL;
    pthread_mutex_unlock(&round->lock);
}

static void cancel_victim(struct round *round, const struct entry *entry)
{
    struct entry *victim = &round->entries[entry->victim];
    if (victim == entry || victim->way != MAY_BE_CANCELLED) return;
    pthread_mutex_lock(&round->lock);
    victim->is_cancelled = true;
    if (victim->handle != NULL) bitnet_request_cancel(victim->handle);
    pthread_mutex_unlock(&round->lock);
}

/* Waits for its turn. Entries are begun in their order and wait for earlier ones only,
 * so the earliest that has not ended waits for nobody. */
static void wait_for_turn(struct round *round, unsigned index)
{
    const struct entry *entry = &round->entries[index];
    const struct entry *other = &round->entries[entry->after];
    pthread_mutex_lock(&round->lock);
    while (other != entry && !other->is_over && other->n_seen < entry->after_steps)
        pthread_cond_wait(&round->progressed, &round->lock);
    pthread_mutex_unlock(&round->lock);
}

static bitnet_status submit(struct round *round, const struct entry *entry,
                            bitnet_generate_options *options, bitnet_request **request)
{
    if (entry->is_refused_first) {
        options->when_full = BITNET_WHEN_FULL_REFUSE;
        const bitnet_status status =
            bitnet_generate_async(round->engine, options, NULL, request);
        if (status != BITNET_ERROR_QUEUE_FULL) return status;
        options->when_full = BITNET_WHEN_FULL_WAIT;
    }
    return bitnet_generate_async(round->engine, options, NULL, request);
}

static bitnet_status consume(struct consumer *consumer, bitnet_request *request,
                             bitnet_result *result)
{
    struct round *round = consumer->round;
    struct entry *entry = entry_of(consumer);
    switch (entry->way) {
    case PULLS: pull(consumer, request, UINT_MAX); break;
    case PULLS_SOME_AND_WAITS:
    case LEAVES: pull(consumer, request, entry->n_steps); break;
    case CANCELS_ITSELF:
        pull(consumer, request, entry->n_steps - 1);
        bitnet_request_cancel(request);
        break;
    case MAY_BE_CANCELLED: show_handle(round, entry, request); break;
    default: break;
    }
    if (entry->way == LEAVES) return BITNET_OK;
    const bitnet_status status = bitnet_request_wait(request, result);
    if (entry->way == MAY_BE_CANCELLED) hide_handle(round, entry);
    return status;
}

static bitnet_status run_request(struct consumer *consumer, bitnet_result *result)
{
    struct round *round = consumer->round;
    const struct entry *entry = entry_of(consumer);
    bitnet_generate_options options = entry->request.options;
    if (entry->way != PULLS) options.on_text = take_piece;
    options.user = consumer;
    if (entry->way == HAS_DEADLINE)
        options.deadline_ns = bitnet_clock_ns() + entry->deadline_us * 1000;
    if (entry->way == WAITS) options.on_text = NULL;
    if (entry->way == BLOCKS || entry->way == BLOCKS_WITH_CALLBACK) {
        if (entry->way == BLOCKS) options.on_text = NULL;
        return bitnet_generate(round->engine, &options, NULL, result);
    }
    bitnet_request *request;
    *result = (bitnet_result){.struct_size = sizeof(*result)};
    bitnet_status status = submit(round, entry, &options, &request);
    if (status != BITNET_OK) return status;
    status = consume(consumer, request, result);
    bitnet_request_release(request);
    return status;
}

static void judge(struct consumer *consumer, bitnet_status status,
                  const bitnet_result *result)
{
    struct round *round = consumer->round;
    const struct entry *entry = entry_of(consumer);
    const bitnet_result *alone = &entry->alone;
    const char *difference = NULL;
    if (entry->way == LEAVES && status == BITNET_OK) {
        /* What it pulled before it left is all there is to look at. */
        const size_t n =
            consumer->n_text < alone->text_len ? consumer->n_text : alone->text_len;
        if (n < consumer->n_text || memcmp(consumer->text, alone->text, n) != 0)
            difference = "other text before it left";
        atomic_fetch_add(&round->n_cut, 1);
    } else if (status == entry->alone_status) {
        difference = answers_otherwise(result, alone, round->n_vocab);
        const bool has_text = entry->way != BLOCKS && entry->way != WAITS;
        if (difference == NULL && has_text &&
            (consumer->n_text != alone->text_len ||
             memcmp(consumer->text, alone->text, alone->text_len) != 0))
            difference = "other text than the result's, piece by piece";
        atomic_fetch_add(&round->n_whole, 1);
    } else if (may_be_cut(round, entry, status)) {
        const bool was_admitted = result->tokens != NULL;
        if (was_admitted) difference = begins_otherwise(result, alone, round->n_vocab);
        if (difference == NULL && was_admitted &&
            result->finish != finish_of_cut(status))
            difference = "cut, for another reason than the status says";
        atomic_fetch_add(&round->n_cut, 1);
    } else {
        difference = bitnet_last_error();
    }
    if (difference != NULL) complain(round, consumer->index, difference);
}

static void *be_a_caller(void *arg)
{
    struct round *round = arg;
    struct consumer *consumer = malloc(sizeof(*consumer));
    if (consumer == NULL) return NULL;
    consumer->round = round;
    for (;;) {
        consumer->index = atomic_fetch_add(&round->next_entry, 1);
        consumer->n_text = 0;
        if (consumer->index >= round->n_entries) break;
        struct entry *entry = entry_of(consumer);
        bitnet_result result;
        wait_for_turn(round, consumer->index);
        cancel_victim(round, entry);
        const bitnet_status status = run_request(consumer, &result);
        judge(consumer, status, &result);
        bitnet_result_release(&result);
        pthread_mutex_lock(&round->lock);
        entry->is_over = true;
        pthread_cond_broadcast(&round->progressed);
        pthread_mutex_unlock(&round->lock);
    }
    free(consumer);
    return NULL;
}

/* ---- a round --------------------------------------------------------------------- */

/* Until every caller's first request is in the queue or in line. */
static void wait_for_all(const struct round *round)
{
    const unsigned n =
        round->n_callers < round->n_entries ? round->n_callers : round->n_entries;
    for (;;) {
        const bitnet_engine_stats stats = stats_of(round->engine);
        if (stats.n_admitted + stats.n_blocked >= n) return;
        sched_yield();
    }
}

static void play(struct round *round)
{
    pthread_t callers[MAX_CALLERS];
    struct bni_team *team;
    round->engine = create_engine(round->model, &round->engine_options);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(round->n_threads),
                     BITNET_OK);
    if (round->is_held) assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    for (unsigned i = 0; i < round->n_callers; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, be_a_caller, round), 0);
    if (round->is_held) {
        wait_for_all(round);
        bni_compute_release(team);
    }
    for (unsigned i = 0; i < round->n_callers; i++) pthread_join(callers[i], NULL);
    destroy_engine(round->engine);
}

/* Plays rounds until `n` requests have been made. */
static void play_rounds(bitnet_model *model, const char *model_name, unsigned n)
{
    static struct round round;
    struct request_mix mix;
    unsigned n_whole = 0;
    unsigned n_cut = 0;
    const unsigned n_made = n;
    print_message("seed %" PRIu64 ", %s, %u requests\n", seed, model_name, n);
    make_request_mix(&mix, model);
    bitnet_engine *plain = create_plain_engine(model);
    for (uint64_t number = 0; n > 0; number++) {
        struct dice dice = dice_for(seed, number, 0);
        char title[128];
        snprintf(title, sizeof(title),
                 "one answer, seed %" PRIu64 ", %s, round %" PRIu64, seed, model_name,
                 number);
        memset(&round, 0, sizeof(round));
        round.number = number;
        round.model_name = model_name;
        round.model = model;
        round.n_vocab = mix.n_vocab;
        round.n_entries = n < ROUND_REQUESTS ? n : ROUND_REQUESTS;
        pthread_mutex_init(&round.lock, NULL);
        pthread_cond_init(&round.progressed, NULL);
        struct watchdog dog;
        watchdog_start(&dog, title, ROUND_LIMIT_S);
        draw_families(&mix, &dice);
        draw_round(&round, &mix, &dice);
        answer_alone(plain, &round);
        play(&round);
        watchdog_stop(&dog);
        for (unsigned i = 0; i < round.n_entries; i++)
            bitnet_result_release(&round.entries[i].alone);
        pthread_cond_destroy(&round.progressed);
        pthread_mutex_destroy(&round.lock);
        if (round.has_failed) fail_msg("%s", round.failure);
        assert_int_equal(round.n_whole + round.n_cut, round.n_entries);
        n -= round.n_entries;
        n_whole += round.n_whole;
        n_cut += round.n_cut;
    }
    destroy_engine(plain);
    free_request_mix(&mix);
    print_message("%u whole answers, %u beginnings\n", n_whole, n_cut);
    /* About one half each. */
    assert_true(n_whole >= n_made / 4 && n_cut >= n_made / 8);
}

static void every_request_of_a_small_model_gets_its_own_answer(void **state)
{
    (void)state;
    bitnet_model *model = load_small_model();
    play_rounds(model, "small model", n_requests);
    bitnet_model_release(model);
}

static void every_request_of_the_shipped_model_gets_its_own_answer(void **state)
{
    (void)state;
    bitnet_model *model = load_model();
    play_rounds(model, "shipped model", n_requests / 30 + 8);
    bitnet_model_release(model);
}

int main(int argc, char **argv)
{
    if (argc > 1) n_requests = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    if (argc > 3 || n_requests == 0) {
        fprintf(stderr, "usage: %s [requests [seed]]\n", argv[0]);
        return 2;
    }
    bni_perturb_seed(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_of_a_small_model_gets_its_own_answer),
        cmocka_unit_test(every_request_of_the_shipped_model_gets_its_own_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
