/* SPDX-License-Identifier: MIT */
/*
 * A long day of one engine: many callers that cancel, come with deadlines, are refused,
 * stop in their callbacks, leave without a word, or want everything; and one observer.
 * Half of the seconds have keys and values in half precision, half of them in int8.
 *
 *     test_soak [callers [seconds [seed]]]         `make soak`: 64 callers, 10 minutes
 *
 * At every look of the observer
 *
 *     n_admitted = n_running + n_waiting + n_ended
 *     memory the library holds <= what was announced + what is the callers'
 *
 * with the callers' part as bitnet_engine_memory_bound() lists it. In the end the
 * engine's counts are those of the callers, to the one; no page, client, thread,
 * descriptor or byte is left; and the process did not grow in the second half of the
 * day, but for what malloc() keeps for its many threads.
 */
#include <inttypes.h>
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
#include <time.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "engine/kv_cache.h"
#include "engine/request.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/engine/random_requests.h"
#include "support/latch.h"
#include "support/models.h"
#include "support/process_figures.h"
#include "threads/compute_control.h"
#include "threads/perturb.h"

enum { MAX_CALLERS = 256, SLACK_S = 120 };

static unsigned n_callers = 64;
static unsigned n_seconds = 10;
static uint64_t seed = 1;

/* ---- what is the callers' -------------------------------------------------------- */

/* A block of the library's: its header, and what it is rounded up by. */
static const uint64_t block = 128;

/* The most that a drawn request keeps beyond the engine's bound, as the header says. */
static uint64_t kept_bytes(uint32_t n_vocab)
{
    const uint64_t longest = BITNET_MAX_STOP_STRING_BYTES;
    const uint64_t stops = RANDOM_MAX_STOPS * (2 * longest + 24 + 4) + 2 * block;
    const uint64_t biases = RANDOM_MAX_BIASES * 8 + block;
    const uint64_t logprobs =
        RANDOM_MAX_GENERATED * (4 + 8 * (uint64_t)BITNET_MAX_TOP_LOGPROBS) + block;
    const uint64_t logits = (RANDOM_MAX_GENERATED + 1) * 4 * (uint64_t)n_vocab + block;
    const uint64_t matcher = 660 * 1024 + block;
    return stops + biases + logprobs + logits + matcher;
}

/* The most that a result of one has, and what filling it in takes. */
static uint64_t result_bytes(uint32_t n_vocab)
{
    const uint64_t max_piece = 1024;
    return RANDOM_MAX_GENERATED * (4 + 4 + 8 * (uint64_t)BITNET_MAX_TOP_LOGPROBS) +
           (RANDOM_MAX_GENERATED + 1) * 4 * (uint64_t)n_vocab +
           (RANDOM_MAX_GENERATED + 1) * max_piece + 6 * block;
}

/* A request that is not among those of the bound, and the tokens of its prompt. */
static uint64_t request_bytes(const bitnet_model *model, uint32_t n_ctx)
{
    return bni_request_max_bytes(model, n_ctx) + 4 * (uint64_t)n_ctx + block;
}

/* ---- callers --------------------------------------------------------------------- */

struct counts {
    uint64_t n_admitted;
    uint64_t n_refused;
    uint64_t n_late_in_line; /* timed out before they were admitted */
    uint64_t n_cancelled_in_line;
    uint64_t n_whole;
    uint64_t n_failed; /* nothing left to choose */
    uint64_t n_cancelled;
    uint64_t n_late;
    uint64_t n_left; /* released under way */
};

struct soak {
    bitnet_engine *engine;
    struct request_mix mix;
    uint64_t base_bytes; /* of the library's, before the engine */
    uint64_t limit_bytes;
    uint64_t base_private_bytes;
    uint64_t begin_ns;
    uint64_t end_ns;
    atomic_bool is_over; /* the callers have gone */
    atomic_uint n_wrong;

    /* The observer's, until it is joined. */
    uint64_t n_looks;
    uint64_t most_bytes;
    uint64_t private_bytes[3]; /* at 10, 50 and 100 % of the time */
    unsigned n_measured;
};

struct caller {
    struct soak *soak;
    unsigned index;
    pthread_t thread;
    struct counts counts;
};

static void complain(struct soak *soak, const char *what)
{
    if (atomic_fetch_add(&soak->n_wrong, 1) < 10)
        fprintf(stderr, "seed %" PRIu64 ": %s; last error: %s\n", seed, what,
                bitnet_last_error());
}

struct stopper {
    unsigned n_left; /* pieces; 0: never stops */
};

static bool take_piece(void *user, const char *text, size_t text_len)
{
    struct stopper *stopper = user;
    (void)text;
    (void)text_len;
    return stopper->n_left == 0 || --stopper->n_left > 0;
}

/* Counts how the request ended. */
static void count_end(struct caller *caller, bitnet_status status)
{
    struct counts *counts = &caller->counts;
    switch (status) {
    case BITNET_OK: counts->n_whole++; break;
    case BITNET_ERROR_CANCELLED: counts->n_cancelled++; break;
    case BITNET_ERROR_TIMED_OUT: counts->n_late++; break;
    case BITNET_ERROR_INFERENCE_FAILED: counts->n_failed++; break;
    default: complain(caller->soak, "a request ended in an unknown way");
    }
}

/* Counts a call that was not admitted. */
static void count_refusal(struct caller *caller, bitnet_status status)
{
    struct counts *counts = &caller->counts;
    switch (status) {
    case BITNET_ERROR_QUEUE_FULL: counts->n_refused++; break;
    case BITNET_ERROR_TIMED_OUT: counts->n_late_in_line++; break;
    case BITNET_ERROR_CANCELLED: counts->n_cancelled_in_line++; break;
    default: complain(caller->soak, "a call was refused in an unknown way");
    }
}

/* Takes tokens in one of the ways there are. */
static void take_some(bitnet_request *request, struct dice *dice)
{
    const unsigned n = roll(dice, 12);
    const bool never_waits = one_in(dice, 3);
    for (unsigned i = 0; i < n; i++) {
        const uint64_t deadline_ns =
            never_waits ? 0 : bitnet_clock_ns() + roll(dice, 3000000);
        bitnet_token token;
        if (bitnet_request_next(request, deadline_ns, &token, NULL, NULL) != BITNET_OK)
            return;
    }
}

/* One request, in any mood. */
static void make_request(struct caller *caller, struct dice *dice)
{
    struct soak *soak = caller->soak;
    struct random_request drawn;
    draw_request(&soak->mix, dice, one_in(dice, 4), &drawn);
    bitnet_generate_options *options = &drawn.options;
    struct stopper stopper = {one_in(dice, 4) ? 1 + roll(dice, 8) : 0};
    options->on_text = one_in(dice, 2) ? take_piece : NULL;
    options->user = &stopper;
    if (one_in(dice, 4))
        options->deadline_ns = bitnet_clock_ns() + roll(dice, 50000000);
    if (one_in(dice, 6))
        options->room_deadline_ns = bitnet_clock_ns() + roll(dice, 5000000);
    if (one_in(dice, 3)) options->when_full = BITNET_WHEN_FULL_REFUSE;

    bitnet_request *request;
    bitnet_status status = bitnet_generate_async(soak->engine, options, NULL, &request);
    if (status != BITNET_OK) {
        count_refusal(caller, status);
        return;
    }
    caller->counts.n_admitted++;
    if (one_in(dice, 3)) take_some(request, dice);
    if (one_in(dice, 6)) bitnet_request_cancel(request);
    if (one_in(dice, 5)) {
        caller->counts.n_left++;
        bitnet_request_release(request);
        return;
    }
    bitnet_result result;
    count_end(caller, bitnet_request_wait(request, &result));
    if (one_in(dice, 2)) {
        bitnet_result again;
        bitnet_request_wait(request, &again);
        if (again.n_tokens != result.n_tokens) complain(soak, "another second result");
        bitnet_result_release(&again);
    }
    bitnet_request_release(request);
    bitnet_result_release(&result);
}

static void *be_a_caller(void *arg)
{
    struct caller *caller = arg;
    struct soak *soak = caller->soak;
    for (uint64_t round = 0; bitnet_clock_ns() < soak->end_ns; round++) {
        struct dice dice = dice_for(seed + round, caller->index, 0);
        make_request(caller, &dice);
        if (one_in(&dice, 2000)) bitnet_engine_cancel_all(soak->engine);
    }
    return NULL;
}

/* ---- the observer ---------------------------------------------------------------- */

/* Compares the engine's numbers with each other and with those of the last look. */
static void look(struct soak *soak, bitnet_engine_stats *before)
{
    const uint64_t in_use = bni_alloc_in_use() - soak->base_bytes;
    bitnet_engine_stats now = {.struct_size = sizeof(now)};
    if (bitnet_engine_get_stats(soak->engine, &now) != BITNET_OK)
        complain(soak, "no statistics");
    if (now.n_admitted != now.n_running + now.n_waiting + now.n_ended)
        complain(soak, "admitted is not running + waiting + ended");
    if (now.n_ended < before->n_ended || now.n_refused < before->n_refused ||
        now.n_rows < before->n_rows || now.n_generated < before->n_generated)
        complain(soak, "a count went down");
    if (now.kv_pages_used + now.kv_pages_cached > now.kv_pages_total)
        complain(soak, "more pages than there are");
    if (in_use > soak->limit_bytes) complain(soak, "more memory than was announced");
    if (in_use > soak->most_bytes) soak->most_bytes = in_use;
    soak->n_looks++;
    *before = now;
}

static void measure(struct soak *soak)
{
    static const unsigned percent[3] = {10, 50, 100};
    const uint64_t length_ns = soak->end_ns - soak->begin_ns;
    if (soak->n_measured == 3 ||
        bitnet_clock_ns() <
            soak->begin_ns + length_ns / 100 * percent[soak->n_measured])
        return;
    soak->private_bytes[soak->n_measured++] = process_private_bytes();
}

static void *observe(void *arg)
{
    struct soak *soak = arg;
    bitnet_engine_stats before = {0};
    while (!atomic_load(&soak->is_over)) {
        for (int i = 0; i < 4; i++) look(soak, &before);
        measure(soak);
        /* It would keep the engine's lock busy; this is not to wait for anything. */
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    for (; soak->n_measured < 3; soak->n_measured++)
        soak->private_bytes[soak->n_measured] = process_private_bytes();
    return NULL;
}

/* ---- the day --------------------------------------------------------------------- */

static bitnet_engine_options soak_options(const bitnet_model *model,
                                          bitnet_kv_type kv_type)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 8;
    options.max_requests = n_callers < 8 ? n_callers : n_callers / 2;
    options.step_tokens = 64;
    options.max_prompt_tokens = 1000; /* so that this bound is met, too */
    options.kv_type = kv_type;
    options.kv_cache_bytes = 20 * (uint64_t)bni_kv_page_bytes(&model->hparams, kv_type);
    return options;
}

/* Sums up all callers, and compares with what the engine counted. */
static struct counts check_counts(struct soak *soak, const struct caller *callers)
{
    struct counts sum = {0};
    for (unsigned i = 0; i < n_callers; i++) {
        const struct counts *c = &callers[i].counts;
        sum.n_admitted += c->n_admitted;
        sum.n_refused += c->n_refused;
        sum.n_late_in_line += c->n_late_in_line;
        sum.n_cancelled_in_line += c->n_cancelled_in_line;
        sum.n_whole += c->n_whole;
        sum.n_failed += c->n_failed;
        sum.n_cancelled += c->n_cancelled;
        sum.n_late += c->n_late;
        sum.n_left += c->n_left;
    }
    bitnet_engine_stats stats = stats_of(soak->engine);
    while (stats.n_running + stats.n_waiting > 0) { /* those that were left */
        sched_yield();
        stats = stats_of(soak->engine);
    }
    assert_int_equal(stats.n_admitted, sum.n_admitted);
    assert_int_equal(stats.n_ended, sum.n_admitted);
    assert_int_equal(stats.n_refused, sum.n_refused);
    assert_int_equal(stats.n_blocked, 0);
    assert_int_equal(stats.n_clients, 0);
    assert_int_equal(sum.n_admitted, sum.n_whole + sum.n_failed + sum.n_cancelled +
                                         sum.n_late + sum.n_left);
    return sum;
}

/* Pages are counted when a step is over: after those that were left, let one pass. */
static void no_page_is_in_use(struct soak *soak)
{
    static const bitnet_token token = 3;
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = &token;
    options.n_prompt_tokens = 1;
    options.max_tokens = 1;
    bitnet_result result = generate_well(soak->engine, &options, NULL);
    bitnet_result_release(&result);
    while (stats_of(soak->engine).kv_pages_used > 0) sched_yield();
}

static void report(const struct soak *soak, const struct counts *sum)
{
    static const double mib = 1 << 20;
    print_message("%" PRIu64 " admitted: %" PRIu64 " whole, %" PRIu64
                  " cancelled, %" PRIu64 " late, %" PRIu64 " left, %" PRIu64
                  " failed\n",
                  sum->n_admitted, sum->n_whole, sum->n_cancelled, sum->n_late,
                  sum->n_left, sum->n_failed);
    print_message("%" PRIu64 " refused, %" PRIu64 " late and %" PRIu64
                  " cancelled in line; %" PRIu64 " looks\n",
                  sum->n_refused, sum->n_late_in_line, sum->n_cancelled_in_line,
                  soak->n_looks);
    print_message(
        "the library held up to %.2f of %.2f MiB; the process grew by %.2f "
        "MiB at 10 %%, %.2f at 50 %%, %.2f at the end\n",
        (double)soak->most_bytes / mib, (double)soak->limit_bytes / mib,
        ((double)soak->private_bytes[0] - (double)soak->base_private_bytes) / mib,
        ((double)soak->private_bytes[1] - (double)soak->base_private_bytes) / mib,
        ((double)soak->private_bytes[2] - (double)soak->base_private_bytes) / mib);
}

/* Sanitizers keep what is freed, and more. */
static void memory_is_flat(const struct soak *soak)
{
    const uint64_t moods = 4 << 20; /* malloc()'s arenas, of which callers have many */
    if (IS_SLOW_BUILD) return;
    assert_true(soak->private_bytes[2] <= soak->private_bytes[1] + moods);
    assert_true(soak->private_bytes[2] <=
                soak->base_private_bytes + soak->limit_bytes + moods);
}

static void run_day(struct soak *soak, bitnet_model *model, bitnet_kv_type kv_type)
{
    static struct caller callers[MAX_CALLERS];
    bitnet_engine_options options = soak_options(model, kv_type);
    uint64_t bound;
    assert_int_equal(bitnet_engine_memory_bound(model, &options, &bound), BITNET_OK);
    soak->base_bytes = bni_alloc_in_use();
    soak->base_private_bytes = process_private_bytes();
    /* Each caller has one request, and up to two results; and what drawn options keep
     * belongs also to requests that were left and have not ended. */
    const uint64_t n_vocab = soak->mix.n_vocab;
    soak->limit_bytes = bound +
                        n_callers * (request_bytes(model, soak->mix.n_ctx) +
                                     2 * result_bytes((uint32_t)n_vocab)) +
                        (n_callers + options.max_requests + options.max_batch) *
                            kept_bytes((uint32_t)n_vocab);

    soak->engine = create_engine(model, &options);
    soak->begin_ns = bitnet_clock_ns();
    soak->end_ns = soak->begin_ns + n_seconds * UINT64_C(500000000);
    pthread_t observer;
    assert_int_equal(pthread_create(&observer, NULL, observe, soak), 0);
    for (unsigned i = 0; i < n_callers; i++) {
        callers[i] = (struct caller){.soak = soak, .index = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, be_a_caller,
                                        &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < n_callers; i++) pthread_join(callers[i].thread, NULL);
    atomic_store(&soak->is_over, true);
    pthread_join(observer, NULL);

    const struct counts sum = check_counts(soak, callers);
    report(soak, &sum);
    assert_int_equal(atomic_load(&soak->n_wrong), 0);
    assert_true(sum.n_whole > 0 && sum.n_cancelled > 0 && sum.n_left > 0);
    memory_is_flat(soak);
    no_page_is_in_use(soak);
    destroy_engine(soak->engine);
}

static void check_day(bitnet_kv_type kv_type)
{
    static struct soak soak;
    memset(&soak, 0, sizeof(soak));
    print_message("%u callers, %.1f s, seed %" PRIu64 "\n", n_callers, n_seconds / 2.0,
                  seed);
    struct watchdog dog;
    watchdog_start(&dog, "soak", n_seconds + SLACK_S);
    const unsigned n_descriptors = process_descriptors();
    const unsigned n_threads = process_threads();
    const uint64_t n_bytes = bni_alloc_in_use();

    bitnet_model *model = load_small_model(BITNET_HEAD_COPY_ALWAYS);
    struct dice dice = dice_for(seed, 0, 255);
    make_request_mix(&soak.mix, model);
    draw_families(&soak.mix, &dice);
    run_day(&soak, model, kv_type);
    free_request_mix(&soak.mix);
    bitnet_model_release(model);
    bni_compute_cleanup(); /* the team is the process's */

    assert_int_equal(bni_alloc_in_use(), n_bytes);
    assert_int_equal(process_descriptors(), n_descriptors);
    while (process_threads() > n_threads) sched_yield(); /* joined, and soon gone */
    watchdog_stop(&dog);
}

static void nothing_is_lost_and_nothing_is_left(void **state)
{
    (void)state;
    check_day(BITNET_KV_F16);
}

static void nothing_is_lost_and_nothing_is_left_in_int8(void **state)
{
    (void)state;
    check_day(BITNET_KV_INT8);
}

int main(int argc, char **argv)
{
    if (argc > 1) n_callers = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_seconds = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3) seed = strtoull(argv[3], NULL, 10);
    if (argc > 4 || n_callers == 0 || n_callers > MAX_CALLERS || n_seconds == 0) {
        fprintf(stderr, "usage: %s [callers (at most %d) [seconds [seed]]]\n", argv[0],
                MAX_CALLERS);
        return 2;
    }
    bni_perturb_seed(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_and_nothing_is_left),
        cmocka_unit_test(nothing_is_lost_and_nothing_is_left_in_int8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
