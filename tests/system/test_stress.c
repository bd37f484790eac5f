/* SPDX-License-Identifier: MIT */
/*
 * Many callers, many requests, in every mood: most want their whole answer, some
 * stop in a callback, some are cancelled, some come with a short deadline, some
 * take their tokens one by one. Whatever a request got must be its own answer, or
 * the beginning of it; afterwards nothing is left.
 *
 *     test_stress [callers [requests of each [seed]]]
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/random.h"
#include "support/engine/engines.h"

enum { N_MIXES = 24, MAX_CALLERS = 64 };

static unsigned n_callers = 16;
static unsigned n_requests = 50;
static uint64_t seed = 1;

struct stress {
    bitnet_engine *engine;
    bitnet_result alone[N_MIXES];
    atomic_uint n_wrong;
    atomic_uint n_whole;
};

struct caller {
    pthread_t thread;
    struct stress *stress;
    unsigned index;
};

enum mood { WHOLE, STOPS, IS_CANCELLED, HAS_DEADLINE, PULLS, N_MOODS };

static bool stop_after(void *user, const char *text, size_t text_len)
{
    (void)text;
    (void)text_len;
    unsigned *n_left = user;
    return --*n_left > 0;
}

static bool is_prefix(const bitnet_result *result, const bitnet_result *alone)
{
    return result->n_tokens <= alone->n_tokens &&
           memcmp(result->tokens, alone->tokens,
                  result->n_tokens * sizeof(*result->tokens)) == 0;
}

/* Whether the outcome is one that this mood allows. */
static bool is_right(enum mood mood, bitnet_status status, const bitnet_result *result,
                     const bitnet_result *alone)
{
    if (status == BITNET_OK)
        return is_prefix(result, alone) && result->n_tokens == alone->n_tokens &&
               strcmp(result->text, alone->text) == 0;
    if (status == BITNET_ERROR_CANCELLED)
        return (mood == STOPS || mood == IS_CANCELLED) && is_prefix(result, alone);
    if (status == BITNET_ERROR_TIMED_OUT) /* perhaps before it was admitted */
        return mood == HAS_DEADLINE &&
               (result->tokens == NULL || is_prefix(result, alone));
    return false;
}

static bitnet_status run_request(struct stress *stress, enum mood mood, unsigned mix,
                                 unsigned n_steps, bitnet_result *result)
{
    bitnet_generate_options options = mixed_options(mix);
    const char *prompt = test_prompts[mix % N_PROMPTS];
    unsigned n_left = n_steps;
    if (mood == STOPS) {
        options.on_text = stop_after;
        options.user = &n_left;
    }
    if (mood == HAS_DEADLINE) options.deadline_ns = bitnet_deadline_after_ms(n_steps);
    if (mood != IS_CANCELLED && mood != PULLS)
        return bitnet_generate(stress->engine, &options, prompt, result);

    bitnet_request *request;
    bitnet_status status =
        bitnet_generate_async(stress->engine, &options, prompt, &request);
    memset(result, 0, sizeof(*result));
    if (status != BITNET_OK) return status;
    for (unsigned i = 0; i < n_steps; i++)
        if (bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, NULL, NULL) !=
            BITNET_OK)
            break;
    if (mood == IS_CANCELLED) bitnet_request_cancel(request);
    status = bitnet_request_wait(request, result);
    bitnet_request_release(request);
    return status;
}

static void *be_a_caller(void *arg)
{
    const struct caller *caller = arg;
    struct stress *stress = caller->stress;
    for (unsigned i = 0; i < n_requests; i++) {
        const uint64_t draw = (uint64_t)caller->index * n_requests + i;
        const unsigned mix = (unsigned)(bni_random_unit(seed, 3 * draw) * N_MIXES);
        const double kind = bni_random_unit(seed, 3 * draw + 1);
        const enum mood mood =
            kind < 0.6 ? WHOLE : (enum mood)(1 + (kind - 0.6) / 0.4 * (N_MOODS - 1));
        const unsigned n_steps =
            1 + (unsigned)(bni_random_unit(seed, 3 * draw + 2) * 20);
        bitnet_result result;
        const bitnet_status status = run_request(stress, mood, mix, n_steps, &result);
        if (!is_right(mood, status, &result, &stress->alone[mix]))
            atomic_fetch_add(&stress->n_wrong, 1);
        if (status == BITNET_OK) atomic_fetch_add(&stress->n_whole, 1);
        bitnet_result_release(&result);
    }
    return NULL;
}

static void every_request_gets_its_own_answer(void **state)
{
    (void)state;
    print_message("%u callers, %u requests each, seed %llu\n", n_callers, n_requests,
                  (unsigned long long)seed);
    const uint64_t before = bni_alloc_in_use();
    bitnet_model *model = load_model();
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = 8;     /* so that requests wait for a place */
    options.max_requests = 12; /* and callers for room in the queue */
    struct stress stress = {.engine = create_engine(model, &options)};
    for (unsigned i = 0; i < N_MIXES; i++) {
        const bitnet_generate_options mix = mixed_options(i);
        stress.alone[i] =
            generate_well(stress.engine, &mix, test_prompts[i % N_PROMPTS]);
    }

    struct caller callers[MAX_CALLERS];
    for (unsigned i = 0; i < n_callers; i++) {
        callers[i] = (struct caller){.stress = &stress, .index = i};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, be_a_caller,
                                        &callers[i]),
                         0);
    }
    for (unsigned i = 0; i < n_callers; i++) pthread_join(callers[i].thread, NULL);
    assert_int_equal(atomic_load(&stress.n_wrong), 0);
    assert_true(atomic_load(&stress.n_whole) > n_callers * n_requests / 2);

    for (unsigned i = 0; i < N_MIXES; i++) bitnet_result_release(&stress.alone[i]);
    destroy_engine(stress.engine);
    bitnet_model_release(model);
    assert_true(bni_alloc_in_use() - before < 65536); /* the compute team may stay */
}

int main(int argc, char **argv)
{
    if (argc > 1) n_callers = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2) n_requests = (unsigned)strtoul(argv[2], NULL, 10);
    if (argc > 3) seed = strtoull(argv[3], NULL, 10);
    if (n_callers == 0 || n_callers > MAX_CALLERS || n_requests == 0) {
        fprintf(stderr, "callers must be 1 to %d, requests at least 1\n", MAX_CALLERS);
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_gets_its_own_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
