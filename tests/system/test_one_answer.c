/* SPDX-License-Identifier: MIT */
/*
 * One answer, whatever happens around it.
 *
 * Rounds of requests of every kind (mixed_round.h), each answered first by itself
 * on a plain engine: one request at a time, whole prompts, nothing shared, one compute
 * thread. Then the round is played on one to three engines of the same model, drawn at
 * random, by up to sixteen threads that wait, pull, follow events, have their text
 * delivered on a pool, stop in a callback, cancel themselves and each other, come late
 * and leave early; some engines guess ahead, some have no thread of their own and are
 * stepped. What a request gets must be its answer to the bit, with all logits,
 * log-probabilities, scores or the vector, or the beginning of it if it was cut short. The
 * round's model has a copy of its output head, the plain engine's has none. Engines keep
 * keys and values in half precision or in int8; there is a plain engine of each kind.
 *
 *     test_one_answer [requests [seed]]
 *
 * All that is drawn comes from the seed; how the threads interleave does not.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/engine/mixed_round.h"
#include "support/latch.h"
#include "support/models.h"
#include "threads/compute.h"
#include "threads/perturb.h"

enum { ROUND_LIMIT_S = 120, N_KV_TYPES = BITNET_KV_INT8 + 1 };

/* Bounded to some seconds; without optimisation rows take ten times as long. */
#if defined(__OPTIMIZE__)
static unsigned n_requests = IS_SLOW_BUILD ? 400 : 3000;
#else
static unsigned n_requests = 240;
#endif
static uint64_t seed = 1;

/* ---- the answers ----------------------------------------------------------------- */

static bitnet_engine *create_plain_engine(bitnet_model *model, bitnet_kv_type kv_type)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.n_ctx = 256;
    options.max_batch = 1;
    options.max_requests = 1;
    options.step_tokens = 256;
    options.prefix_cache = false;
    options.speculation = false;
    options.kv_type = kv_type;
    return create_engine(model, &options);
}

static void answer_alone(bitnet_engine *const plain[N_KV_TYPES], struct round *round)
{
    assert_int_equal(bitnet_thread_manager_set_compute_threads(1), BITNET_OK);
    for (unsigned i = 0; i < round->n_entries; i++) {
        struct entry *entry = &round->entries[i];
        const bitnet_kv_type kv_type = round->engine_options[entry->engine].kv_type;
        bitnet_request *request;
        if (begin_entry(entry, plain[kv_type], &entry->request.options, &request) !=
            BITNET_OK)
            fail_msg("request %u alone: %s", i, bitnet_last_error());
        entry->alone_status = bitnet_request_wait(request, &entry->alone);
        /* A grammar and banned tokens may leave nothing to choose. */
        if (entry->alone_status != BITNET_OK &&
            (entry->alone_status != BITNET_ERROR_INFERENCE_FAILED ||
             entry->kind != GENERATES))
            fail_msg("request %u alone: %s", i, bitnet_last_error());
        if (entry->kind != GENERATES)
            assert_int_equal(take_values(entry, request, entry->alone_values,
                                         &entry->n_alone_values),
                             BITNET_OK);
        assert_true(entry->n_alone_values <= ROUND_MAX_VALUES);
        bitnet_request_release(request);
    }
}

/* ---- a round --------------------------------------------------------------------- */

/* Until every caller's first request is in a queue or in line. */
static void wait_for_all(const struct round *round)
{
    const unsigned n =
        round->n_callers < round->n_entries ? round->n_callers : round->n_entries;
    for (;;) {
        uint64_t n_there = 0;
        for (unsigned e = 0; e < round->n_engines; e++) {
            const bitnet_engine_stats stats = stats_of(round->engines[e]);
            n_there += stats.n_admitted + stats.n_blocked;
        }
        if (n_there >= n) return;
        sched_yield();
    }
}

static void play(struct round *round)
{
    pthread_t callers[ROUND_MAX_CALLERS];
    struct bni_team *team;
    for (unsigned e = 0; e < round->n_engines; e++)
        round->engines[e] = create_engine(round->model, &round->engine_options[e]);
    assert_int_equal(bitnet_thread_pool_create(&round->pool_options, &round->pool),
                     BITNET_OK);
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
    for (unsigned e = 0; e < round->n_engines; e++) {
        round->n_two_pass_rows += stats_of(round->engines[e]).n_two_pass_rows;
        destroy_engine(round->engines[e]);
    }
    assert_int_equal(bitnet_thread_pool_destroy(round->pool), BITNET_OK);
}

/* What came of some rounds. */
struct tally {
    unsigned n_whole;
    unsigned n_cut;
    unsigned n_of_way[N_WAYS];
    unsigned n_of_kind[EMBEDS + 1];
    unsigned n_of_kv_type[N_KV_TYPES];
    uint64_t n_two_pass_rows;
};

static void count_round(struct round *round, struct tally *tally)
{
    for (unsigned i = 0; i < round->n_entries; i++) {
        const struct entry *entry = &round->entries[i];
        tally->n_of_kind[entry->kind]++;
        tally->n_of_kv_type[round->engine_options[entry->engine].kv_type]++;
    }
    for (unsigned w = 0; w < N_WAYS; w++) tally->n_of_way[w] += round->n_of_way[w];
    tally->n_two_pass_rows += round->n_two_pass_rows;
    tally->n_whole += round->n_whole;
    tally->n_cut += round->n_cut;
    assert_int_equal(round->n_whole + round->n_cut, round->n_entries);
}

static void play_round(struct round *round, struct request_mix *mix,
                       bitnet_engine *const plain[N_KV_TYPES])
{
    struct dice dice = dice_for(seed, round->number, 0);
    struct watchdog dog;
    char title[128];
    snprintf(title, sizeof(title), "one answer, seed %" PRIu64 ", %s, round %" PRIu64,
             seed, round->model_name, round->number);
    pthread_mutex_init(&round->lock, NULL);
    pthread_cond_init(&round->progressed, NULL);
    watchdog_start(&dog, title, ROUND_LIMIT_S);
    draw_families(mix, &dice);
    draw_round(round, mix, &dice);
    answer_alone(plain, round);
    play(round);
    watchdog_stop(&dog);
    for (unsigned i = 0; i < round->n_entries; i++)
        bitnet_result_release(&round->entries[i].alone);
    pthread_cond_destroy(&round->progressed);
    pthread_mutex_destroy(&round->lock);
    if (round->has_failed) fail_msg("%s", round->failure);
}

/* Plays rounds until `n` requests have been made. */
static void play_rounds(bitnet_model *plain_model, bitnet_model *model,
                        const char *model_name, unsigned n)
{
    static struct round round;
    struct request_mix mix;
    struct tally tally = {0};
    const unsigned n_made = n;
    print_message("seed %" PRIu64 ", %s, %u requests\n", seed, model_name, n);
    make_request_mix(&mix, model);
    bitnet_engine *const plain[N_KV_TYPES] = {
        [BITNET_KV_F16] = create_plain_engine(plain_model, BITNET_KV_F16),
        [BITNET_KV_INT8] = create_plain_engine(plain_model, BITNET_KV_INT8)};
    for (uint64_t number = 0; n > 0; number++) {
        memset(&round, 0, sizeof(round));
        round.seed = seed;
        round.number = number;
        round.model_name = model_name;
        round.model = model;
        round.n_vocab = mix.n_vocab;
        round.n_entries = n < ROUND_REQUESTS ? n : ROUND_REQUESTS;
        play_round(&round, &mix, plain);
        count_round(&round, &tally);
        n -= round.n_entries;
    }
    for (unsigned t = 0; t < N_KV_TYPES; t++) destroy_engine(plain[t]);
    free_request_mix(&mix);
    print_message("%u whole answers, %u beginnings; %u texts, %u scores, %u vectors; "
                  "%u with keys and values in int8\n",
                  tally.n_whole, tally.n_cut, tally.n_of_kind[GENERATES],
                  tally.n_of_kind[SCORES], tally.n_of_kind[EMBEDS],
                  tally.n_of_kv_type[BITNET_KV_INT8]);
    assert_true(tally.n_two_pass_rows > 0 || n_made < 240);
    /* About two thirds and one third. */
    assert_true(tally.n_whole >= n_made / 4 && tally.n_cut >= n_made / 8);
    /* With few requests some may really not be drawn. */
    for (unsigned w = 0; w < N_WAYS && n_made >= 240; w++)
        if (tally.n_of_way[w] == 0)
            fail_msg("no request of %u %s", n_made, name_of_way((enum way)w));
    for (unsigned t = 0; t < N_KV_TYPES && n_made >= 240; t++)
        if (tally.n_of_kv_type[t] == 0)
            fail_msg("no request of %u has keys and values of type %u", n_made, t);
}

static void every_request_of_a_small_model_gets_its_own_answer(void **state)
{
    (void)state;
    bitnet_model *plain_model = load_small_model(BITNET_HEAD_COPY_NEVER);
    bitnet_model *model = load_small_model(BITNET_HEAD_COPY_ALWAYS);
    play_rounds(plain_model, model, "small model", n_requests);
    bitnet_model_release(model);
    bitnet_model_release(plain_model);
}

static void every_request_of_the_shipped_model_gets_its_own_answer(void **state)
{
    (void)state;
    bitnet_model *plain_model = load_model_with(BITNET_HEAD_COPY_NEVER);
    bitnet_model *model = load_model_with(BITNET_HEAD_COPY_ALWAYS);
    play_rounds(plain_model, model, "shipped model", n_requests / 30 + 8);
    bitnet_model_release(model);
    bitnet_model_release(plain_model);
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
