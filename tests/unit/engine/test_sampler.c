/* SPDX-License-Identifier: MIT */
/*
 * The sampler: each step on rows small enough to check by hand, then draws against
 * a plain reference and their distribution by a chi-square test.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/random.h"
#include "engine/sampler.h"
#include "kernels/elementary.h"

enum { MAX_VOCAB = 512, SCRATCH = BNI_SAMPLER_MAX_REPEAT_LAST_N };

static struct bni_candidate scratch[SCRATCH];

static struct bni_sampler plain(void)
{
    const struct bni_sampler sampler = {.temperature = 1.0f,
                                        .top_p = 1.0f,
                                        .repeat_penalty = 1.0f,
                                        .seed = 1};
    return sampler;
}

/* Samples without changing `logits`. */
static bitnet_token sample(const struct bni_sampler *sampler, const float *logits,
                           uint32_t n_vocab, uint64_t n)
{
    float copy[MAX_VOCAB];
    memcpy(copy, logits, n_vocab * sizeof(*logits));
    return bni_sample(sampler, copy, n_vocab, NULL, 0, n, scratch);
}

/* Which tokens a thousand draws give, as a bit set over at most 32 tokens. */
static uint32_t tokens_drawn(const struct bni_sampler *sampler, const float *logits,
                             uint32_t n_vocab)
{
    uint32_t drawn = 0;
    for (uint64_t n = 0; n < 1000; n++)
        drawn |= 1u << sample(sampler, logits, n_vocab, n);
    return drawn;
}

static void greedy_takes_the_largest_and_the_lower_of_equals(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    sampler.temperature = 0.0f;
    const float logits[] = {-1.0f, 3.0f, 2.0f, 3.0f};
    assert_int_equal(sample(&sampler, logits, 4, 0), 1);
}

static void top_k_keeps_k_and_the_lower_ids_of_equals(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    sampler.top_k = 2;
    const float logits[] = {1.0f, 1.5f, 1.0f, 1.0f};
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u << 1 | 1u << 0);
}

static void top_p_keeps_the_shortest_prefix_that_reaches_p(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    /* Probabilities 0.5, 0.25, 0.125, 0.125. */
    const float logits[] = {0.0f, -0.6931472f, -1.3862944f, -1.3862944f};
    sampler.top_p = 0.45f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u);
    sampler.top_p = 0.7f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 3u);
    sampler.top_p = 0.80f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 7u);
}

static void min_p_is_measured_against_the_most_likely(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    const float logits[] = {0.0f, -0.6931472f, -1.3862944f, -3.0f};
    sampler.min_p = 0.3f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 3u);
    sampler.min_p = 0.2f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 7u);
}

static void a_penalised_token_is_penalised_once_however_often_it_came(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    sampler.temperature = 0.0f;
    sampler.repeat_penalty = 2.0f;
    sampler.repeat_last_n = 4;
    const bitnet_token history[] = {2, 0, 0, 0, 1};
    float logits[] = {8.0f, -1.0f, 4.5f};
    /* Token 2 has left the window; 0 is halved to 4, 1 doubled to -2. */
    assert_int_equal(bni_sample(&sampler, logits, 3, history, 5, 0, scratch), 2);
    assert_true(logits[0] == 4.0f && logits[1] == -2.0f && logits[2] == 4.5f);
}

static void logits_that_are_not_finite_give_no_token(void **state)
{
    (void)state;
    const struct bni_sampler sampler = plain();
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const float logits[] = {1.0f, bad[i], 0.0f};
        assert_int_equal(sample(&sampler, logits, 3, 0), BITNET_NO_TOKEN);
    }
}

/* ---- against a plain reference ------------------------------------------------------ */

static const float *reference_logits;

static int by_logit_then_id(const void *a, const void *b)
{
    const bitnet_token x = *(const bitnet_token *)a;
    const bitnet_token y = *(const bitnet_token *)b;
    if (reference_logits[x] != reference_logits[y])
        return reference_logits[x] > reference_logits[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bitnet_token reference_sample(const struct bni_sampler *s, const float *logits,
                                     uint32_t n_vocab, uint64_t n)
{
    bitnet_token order[MAX_VOCAB];
    for (uint32_t i = 0; i < n_vocab; i++) order[i] = (bitnet_token)i;
    reference_logits = logits;
    qsort(order, n_vocab, sizeof(*order), by_logit_then_id);
    const float best = logits[order[0]];

    size_t n_kept = s->top_k != 0 && s->top_k < n_vocab ? s->top_k : n_vocab;
    float total = 0;
    for (size_t i = 0; i < n_kept; i++) total += bni_exp(logits[order[i]] - best);
    if (s->top_p < 1.0f) {
        float sum = 0;
        for (size_t i = 0; i < n_kept; i++) {
            sum += bni_exp(logits[order[i]] - best);
            if (sum >= s->top_p * total) n_kept = i + 1;
        }
    }
    while (n_kept > 1 && bni_exp(logits[order[n_kept - 1]] - best) < s->min_p) n_kept--;

    total = 0;
    for (size_t i = 0; i < n_kept; i++)
        total += bni_exp((logits[order[i]] - best) / s->temperature);
    float sum = 0;
    for (size_t i = 0; i < n_kept; i++) {
        sum += bni_exp((logits[order[i]] - best) / s->temperature);
        if ((double)sum > bni_random_unit(s->seed, n) * (double)total) return order[i];
    }
    return order[n_kept - 1];
}

static void random_rows_give_what_a_plain_reference_gives(void **state)
{
    (void)state;
    const uint64_t seed = 20250101;
    print_message("seed %llu\n", (unsigned long long)seed);
    uint64_t n = 0;
    for (int round = 0; round < 3000; round++) {
        float logits[MAX_VOCAB];
        const uint32_t n_vocab = 1 + (uint32_t)(bni_random_unit(seed, n++) * MAX_VOCAB);
        for (uint32_t i = 0; i < n_vocab; i++) /* coarse, so that there are equals */
            logits[i] = (float)floor(bni_random_unit(seed, n++) * 40) * 0.25f;
        struct bni_sampler s = plain();
        s.seed = (uint64_t)round;
        s.temperature = 0.1f + (float)bni_random_unit(seed, n++) * 2;
        s.top_k = (uint32_t)(bni_random_unit(seed, n++) * 80);
        s.top_p = 0.05f + 0.95f * (float)bni_random_unit(seed, n++);
        s.min_p = 0.3f * (float)bni_random_unit(seed, n++);
        assert_int_equal(sample(&s, logits, n_vocab, (uint64_t)round),
                         reference_sample(&s, logits, n_vocab, (uint64_t)round));
    }
}

static void draws_follow_the_softmax(void **state)
{
    (void)state;
    enum { N_TOKENS = 8, N_DRAWS = 40000 };
    struct bni_sampler sampler = plain();
    sampler.temperature = 0.7f;
    float logits[N_TOKENS];
    double expected[N_TOKENS];
    double total = 0;
    for (int i = 0; i < N_TOKENS; i++) {
        logits[i] = 0.3f * (float)i;
        expected[i] = exp((double)logits[i] / 0.7);
        total += expected[i];
    }
    int seen[N_TOKENS] = {0};
    for (uint64_t n = 0; n < N_DRAWS; n++)
        seen[sample(&sampler, logits, N_TOKENS, n)]++;
    double chi_square = 0;
    for (int i = 0; i < N_TOKENS; i++) {
        const double e = N_DRAWS * expected[i] / total;
        chi_square += (seen[i] - e) * (seen[i] - e) / e;
    }
    /* 7 degrees of freedom: above 24.3 once in a thousand seeds; ours is fixed. */
    assert_true(chi_square < 24.3);
}

static void neighbouring_seeds_and_counts_share_no_numbers(void **state)
{
    (void)state;
    double seen[64 * 64];
    size_t n_seen = 0;
    for (uint64_t seed = 0; seed < 64; seed++)
        for (uint64_t n = 0; n < 64; n++) {
            const double unit = bni_random_unit(seed, n);
            assert_true(unit >= 0.0 && unit < 1.0);
            for (size_t i = 0; i < n_seen; i++) assert_true(seen[i] != unit);
            seen[n_seen++] = unit;
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_and_the_lower_of_equals),
        cmocka_unit_test(top_k_keeps_k_and_the_lower_ids_of_equals),
        cmocka_unit_test(top_p_keeps_the_shortest_prefix_that_reaches_p),
        cmocka_unit_test(min_p_is_measured_against_the_most_likely),
        cmocka_unit_test(a_penalised_token_is_penalised_once_however_often_it_came),
        cmocka_unit_test(logits_that_are_not_finite_give_no_token),
        cmocka_unit_test(random_rows_give_what_a_plain_reference_gives),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(neighbouring_seeds_and_counts_share_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
