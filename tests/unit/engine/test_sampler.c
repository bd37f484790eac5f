/* SPDX-License-Identifier: MIT */
/*
 * The sampler: each stage on rows small enough to check by hand, then the whole of
 * it against a plain reference, and its distribution by a chi-square test.
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

#include "engine/logprobs.h"
#include "engine/random.h"
#include "engine/sampler.h"
#include "kernels/elementary.h"

enum { MAX_VOCAB = 512 };

static struct bni_candidate scratch[BNI_PENALTIES_MAX_CHANGES + MAX_VOCAB];

static struct bni_sampler plain(void)
{
    const struct bni_sampler sampler = {.temperature = 1.0f,
                                        .typical_p = 1.0f,
                                        .top_p = 1.0f,
                                        .penalties = {.repeat = 1.0f},
                                        .seed = 1};
    return sampler;
}

/* Samples without changing `logits`. */
static bitnet_token sample(const struct bni_sampler *sampler, const float *logits,
                           uint32_t n_vocab, uint64_t n)
{
    float copy[MAX_VOCAB];
    memcpy(copy, logits, n_vocab * sizeof(*logits));
    const struct bni_sample_row row = {.logits = copy,
                                       .n_vocab = n_vocab,
                                       .n_generated = n,
                                       .scratch = scratch};
    return bni_sample(sampler, &row);
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

static void typical_p_keeps_those_of_usual_surprise(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    /* Probabilities 0.5, 0.2, 0.2, 0.1: the mean surprise, 1.22, is nearest to that of
     * the 0.2s (1.61), then of the 0.5 (0.69), then of the 0.1 (2.30). */
    const float logits[] = {logf(0.5f), logf(0.2f), logf(0.2f), logf(0.1f)};
    sampler.typical_p = 0.15f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u << 1);
    sampler.typical_p = 0.35f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u << 1 | 1u << 2);
    sampler.typical_p = 0.6f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 7u);
    sampler.typical_p = 0.95f;
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 15u);
}

/* Chooses greedily after penalties; `logits` keep what these made of them. */
static bitnet_token choose_penalised(const struct bni_penalties *penalties,
                                     float *logits, uint32_t n_vocab,
                                     const bitnet_token *history, size_t n_history)
{
    struct bni_sampler sampler = plain();
    sampler.temperature = 0.0f;
    sampler.penalties = *penalties;
    const struct bni_sample_row row = {.logits = logits,
                                       .n_vocab = n_vocab,
                                       .history = history,
                                       .n_history = n_history,
                                       .scratch = scratch};
    return bni_sample(&sampler, &row);
}

static void a_repeated_token_is_scaled_once_however_often_it_came(void **state)
{
    (void)state;
    const struct bni_penalties penalties = {.repeat = 2.0f, .last_n = 4};
    const bitnet_token history[] = {2, 0, 0, 0, 1};
    float logits[] = {8.0f, -1.0f, 4.5f};
    /* Token 2 has left the window; 0 is halved to 4, 1 doubled to -2. */
    assert_int_equal(choose_penalised(&penalties, logits, 3, history, 5), 2);
    assert_true(logits[0] == 4.0f && logits[1] == -2.0f && logits[2] == 4.5f);
}

static void frequency_counts_each_time_and_presence_once(void **state)
{
    (void)state;
    const struct bni_penalties penalties = {.repeat = 1.0f,
                                            .frequency = 0.5f,
                                            .presence = 0.25f,
                                            .last_n = 4};
    const bitnet_token history[] = {2, 0, 0, 0, 1};
    float logits[] = {3.0f, -1.0f, 1.0f};
    assert_int_equal(choose_penalised(&penalties, logits, 3, history, 5), 0);
    assert_true(logits[0] == 1.25f && logits[1] == -1.75f && logits[2] == 1.0f);
}

static void biases_come_last_and_add_up(void **state)
{
    (void)state;
    const bitnet_logit_bias biases[] = {{1, 2.0f}, {1, 0.5f}, {0, -1.0f}};
    const struct bni_penalties penalties = {.repeat = 2.0f,
                                            .last_n = 8,
                                            .n_biases = 3,
                                            .biases = biases};
    const bitnet_token history[] = {0, 1};
    float logits[] = {4.0f, -1.0f, 0.75f};
    assert_int_equal(choose_penalised(&penalties, logits, 3, history, 2), 0);
    assert_true(logits[0] == 1.0f && logits[1] == 0.5f && logits[2] == 0.75f);
}

static void a_banned_token_is_never_chosen(void **state)
{
    (void)state;
    const bitnet_logit_bias bans[] = {{1, -INFINITY}, {3, -INFINITY}};
    struct bni_sampler sampler = plain();
    sampler.penalties.biases = bans;
    sampler.penalties.n_biases = 2;
    const float logits[] = {0.0f, 9.0f, 0.5f, 9.0f};
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u << 0 | 1u << 2);
    sampler.top_k = 3; /* one of the first three is banned, and is not drawn either */
    assert_int_equal(tokens_drawn(&sampler, logits, 4), 1u << 0 | 1u << 2);
    sampler.temperature = 0.0f;
    assert_int_equal(sample(&sampler, logits, 4, 0), 2);
}

static void with_everything_banned_nothing_is_left(void **state)
{
    (void)state;
    const bitnet_logit_bias bans[] = {{0, -INFINITY}, {1, -INFINITY}};
    struct bni_sampler sampler = plain();
    sampler.penalties.biases = bans;
    sampler.penalties.n_biases = 2;
    const float logits[] = {0.0f, 9.0f};
    assert_int_equal(sample(&sampler, logits, 2, 0), BNI_SAMPLE_NOTHING_LEFT);
    sampler.temperature = 0.0f;
    assert_int_equal(sample(&sampler, logits, 2, 0), BNI_SAMPLE_NOTHING_LEFT);
}

static void logits_that_are_not_finite_give_no_token(void **state)
{
    (void)state;
    const struct bni_sampler sampler = plain();
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        const float logits[] = {1.0f, bad[i], 0.0f};
        assert_int_equal(sample(&sampler, logits, 3, 0), BNI_SAMPLE_NOT_FINITE);
    }
}

/* ---- against a plain reference ------------------------------------------------------ */

/* What the options of one round are: everything may be on. */
struct round {
    struct bni_sampler sampler;
    bitnet_logit_bias biases[8];
    uint32_t n_vocab;
    float logits[MAX_VOCAB];
    bitnet_token history[64];
    size_t n_history;
};

static const float *reference_logits;
static const double *reference_distances;

static int by_logit_then_id(const void *a, const void *b)
{
    const bitnet_token x = *(const bitnet_token *)a;
    const bitnet_token y = *(const bitnet_token *)b;
    if (reference_logits[x] != reference_logits[y])
        return reference_logits[x] > reference_logits[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Positions in the order, by distance; of equals the one that is first. */
static int by_distance(const void *a, const void *b)
{
    const int x = *(const int *)a;
    const int y = *(const int *)b;
    if (reference_distances[x] != reference_distances[y])
        return reference_distances[x] < reference_distances[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void reference_penalties(const struct round *round, float *logits)
{
    const struct bni_penalties *p = &round->sampler.penalties;
    const size_t begin =
        round->n_history > p->last_n ? round->n_history - p->last_n : 0;
    for (bitnet_token t = 0; (uint32_t)t < round->n_vocab; t++) {
        int n_times = 0;
        for (size_t i = begin; i < round->n_history; i++)
            n_times += round->history[i] == t;
        if (n_times == 0) continue;
        logits[t] = logits[t] > 0 ? logits[t] / p->repeat : logits[t] * p->repeat;
        logits[t] -= (float)n_times * p->frequency + p->presence;
    }
    for (uint32_t i = 0; i < p->n_biases; i++)
        logits[p->biases[i].token] += p->biases[i].bias;
}

/* Keeps the typical of order[0..n), by the definition. Returns how many. */
static size_t reference_typical(const float *logits, bitnet_token *order, size_t n,
                                float typical_p)
{
    double distances[MAX_VOCAB];
    int positions[MAX_VOCAB];
    bool is_kept[MAX_VOCAB] = {false};
    double total = 0;
    double entropy = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)bni_exp(logits[order[i]] - logits[order[0]]);
    for (size_t i = 0; i < n; i++) {
        const double p = (double)bni_exp(logits[order[i]] - logits[order[0]]) / total;
        if (p > 0) entropy -= p * log(p);
    }
    for (size_t i = 0; i < n; i++) {
        const double d = (double)(logits[order[i]] - logits[order[0]]);
        distances[i] = fabs(log(total) - d - entropy);
        positions[i] = (int)i;
    }
    reference_distances = distances;
    qsort(positions, n, sizeof(*positions), by_distance);
    double sum = 0;
    for (size_t i = 0; i < n && sum < (double)typical_p * total; i++) {
        is_kept[positions[i]] = true;
        sum += (double)bni_exp(logits[order[positions[i]]] - logits[order[0]]);
    }
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (is_kept[i]) order[n_kept++] = order[i];
    return n_kept;
}

static bitnet_token reference_sample(const struct round *round, uint64_t n)
{
    const struct bni_sampler *s = &round->sampler;
    float logits[MAX_VOCAB];
    bitnet_token order[MAX_VOCAB];
    memcpy(logits, round->logits, sizeof(logits));
    reference_penalties(round, logits);
    for (uint32_t i = 0; i < round->n_vocab; i++) order[i] = (bitnet_token)i;
    reference_logits = logits;
    qsort(order, round->n_vocab, sizeof(*order), by_logit_then_id);
    if (logits[order[0]] == -INFINITY) return BNI_SAMPLE_NOTHING_LEFT;
    if (s->temperature == 0) return order[0];

    size_t n_kept =
        s->top_k != 0 && s->top_k < round->n_vocab ? s->top_k : round->n_vocab;
    while (logits[order[n_kept - 1]] == -INFINITY) n_kept--;
    if (s->typical_p < 1.0f)
        n_kept = reference_typical(logits, order, n_kept, s->typical_p);
    const float best = logits[order[0]];
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

static const uint64_t seed = 20250101;
static uint64_t n_drawn;

static float random_within(float min, float max)
{
    return min + (max - min) * (float)bni_random_unit(seed, n_drawn++);
}

static uint32_t random_below(uint32_t n)
{
    return (uint32_t)(bni_random_unit(seed, n_drawn++) * n);
}

/* `value`, or what switches the stage off, one time in three. */
static float sometimes(float value, float off)
{
    return random_below(3) == 0 ? off : value;
}

static void make_round(struct round *round, uint64_t number)
{
    struct bni_sampler *s = &round->sampler;
    *s = plain();
    /* From one token on; now and then all of them equal. */
    round->n_vocab =
        number % 7 == 0 ? 1 + random_below(3) : 1 + random_below(MAX_VOCAB);
    const bool is_flat = number % 11 == 0;
    /* Coarse, so that there are equals, or fine, so that none are. */
    const bool is_coarse = number % 2 == 0;
    for (uint32_t i = 0; i < round->n_vocab; i++) {
        const float logit = random_within(-5.0f, 5.0f);
        round->logits[i] = is_flat ? 1.5f : is_coarse ? floorf(logit * 4) / 4 : logit;
    }
    s->seed = number;
    s->temperature = sometimes(random_within(0.1f, 2.1f), 0.0f);
    s->top_k = random_below(3) == 0 ? 0 : random_below(80);
    s->top_p = sometimes(random_within(0.05f, 1.0f), 1.0f);
    s->min_p = sometimes(random_within(0.0f, 0.3f), 0.0f);
    /* With equal logits what is typical depends on the last bits of equal distances,
     * which the reference computes in another way. */
    s->typical_p = is_flat || is_coarse ? 1.0f : random_within(0.05f, 1.0f);

    s->penalties.repeat = sometimes(random_within(0.5f, 2.0f), 1.0f);
    s->penalties.frequency = sometimes(random_within(-1.0f, 1.0f), 0.0f);
    s->penalties.presence = sometimes(random_within(-1.0f, 1.0f), 0.0f);
    s->penalties.last_n = random_below(80);
    s->penalties.biases = round->biases;
    s->penalties.n_biases = random_below(9);
    for (uint32_t i = 0; i < s->penalties.n_biases; i++)
        round->biases[i] =
            (bitnet_logit_bias){(bitnet_token)random_below(round->n_vocab),
                                sometimes(random_within(-3.0f, 3.0f), -INFINITY)};
    round->n_history = random_below(64);
    for (size_t i = 0; i < round->n_history; i++)
        round->history[i] = (bitnet_token)random_below(round->n_vocab);
}

static void random_rows_give_what_a_plain_reference_gives(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    static struct round round;
    int n_nothing_left = 0;
    for (uint64_t number = 0; number < 6000; number++) {
        make_round(&round, number);
        float logits[MAX_VOCAB];
        memcpy(logits, round.logits, sizeof(logits));
        const struct bni_sample_row row = {.logits = logits,
                                           .n_vocab = round.n_vocab,
                                           .history = round.history,
                                           .n_history = round.n_history,
                                           .n_generated = number,
                                           .scratch = scratch};
        const bitnet_token expected = reference_sample(&round, number);
        const bitnet_token token = bni_sample(&round.sampler, &row);
        if (token != expected)
            fail_msg("round %llu gives token %d, not %d", (unsigned long long)number,
                     token, expected);
        n_nothing_left += token == BNI_SAMPLE_NOTHING_LEFT;
    }
    assert_true(n_nothing_left > 0 && n_nothing_left < 600);
}

static void more_candidates_than_tokens_are_all_of_them(void **state)
{
    (void)state;
    struct bni_sampler sampler = plain();
    const float logits[] = {1.0f, 1.5f, 1.0f};
    for (uint64_t n = 0; n < 200; n++) {
        sampler.top_k = 1000;
        const bitnet_token token = sample(&sampler, logits, 3, n);
        sampler.top_k = 0;
        assert_int_equal(token, sample(&sampler, logits, 3, n));
    }
}

/* ---- log-probabilities --------------------------------------------------------------- */

static void our_logarithm_is_the_c_library_s_within_two_units(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        const double x = exp((double)random_within(-20.0f, 20.0f));
        assert_true(fabs(bni_ln(x) - log(x)) <= 4e-16 * fmax(1.0, fabs(log(x))));
    }
    assert_true(bni_ln(1.0) == 0.0);
    assert_true(fabs(bni_ln(262144.0) - log(262144.0)) < 4e-15);
}

static void log_probabilities_are_those_of_the_untouched_row(void **state)
{
    (void)state;
    enum { N_TOP = 5 };
    static struct round round;
    for (uint64_t number = 1; number < 400; number++) {
        make_round(&round, number);
        if (round.n_vocab < N_TOP) continue;
        float logits[MAX_VOCAB];
        memcpy(logits, round.logits, sizeof(logits));
        float chosen = NAN;
        bitnet_token_logprob top[N_TOP];
        const struct bni_logprob_sink sink = {&chosen, top, N_TOP};
        const struct bni_sample_row row = {.logits = logits,
                                           .n_vocab = round.n_vocab,
                                           .history = round.history,
                                           .n_history = round.n_history,
                                           .scratch = scratch,
                                           .logprobs = &sink};
        const bitnet_token token = bni_sample(&round.sampler, &row);
        double total = 0;
        for (uint32_t i = 0; i < round.n_vocab; i++)
            total += exp((double)round.logits[i]);
        if (token >= 0)
            assert_true(fabs((double)chosen -
                             ((double)round.logits[token] - log(total))) < 1e-6);
        bitnet_token order[MAX_VOCAB];
        for (uint32_t i = 0; i < round.n_vocab; i++) order[i] = (bitnet_token)i;
        reference_logits = round.logits;
        qsort(order, round.n_vocab, sizeof(*order), by_logit_then_id);
        for (int i = 0; i < N_TOP; i++) {
            assert_int_equal(top[i].token, order[i]);
            assert_true(fabs((double)top[i].logprob -
                             ((double)round.logits[order[i]] - log(total))) < 1e-6);
        }
    }
}

/* ---- distribution ------------------------------------------------------------------ */

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

/* The probabilities of what is left after all stages, renormalised, in double. */
static void the_whole_sampler_draws_by_what_its_stages_left(void **state)
{
    (void)state;
    enum { N_TOKENS = 12, N_DRAWS = 60000 };
    const bitnet_logit_bias biases[] = {{0, -INFINITY}, {4, 1.0f}};
    const bitnet_token history[] = {1, 1, 2};
    struct bni_sampler sampler = plain();
    sampler.seed = 99;
    print_message("seed %llu\n", (unsigned long long)sampler.seed);
    sampler.temperature = 1.3f;
    sampler.top_k = 8;
    sampler.top_p = 0.9f;
    sampler.min_p = 0.1f;
    sampler.penalties = (struct bni_penalties){.repeat = 1.5f,
                                               .frequency = 0.2f,
                                               .presence = 0.1f,
                                               .last_n = 3,
                                               .n_biases = 2,
                                               .biases = biases};
    /* Logits after the changes: 0 banned, 1: 3/1.5 - 0.5, 2: 2.8/1.5 - 0.3, 4: + 1. */
    const float logits[N_TOKENS] = {5.0f, 3.0f, 2.8f, 2.5f, 1.0f,  1.9f,
                                    1.4f, 0.9f, 0.3f, 0.0f, -1.0f, -2.0f};
    double changed[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) changed[i] = (double)logits[i];
    changed[1] = 1.5;
    changed[2] = 2.8 / 1.5 - 0.3;
    changed[4] = 2.0;
    /* In order: 3 (2.5), 4 (2.0), 5 (1.9), 2 (1.567), 1 (1.5), 6 (1.4), 7, 8. Of the
     * weights 1, .607, .549, .393, .368, .333, .202, .111 the first six reach 0.9. */
    const int kept[] = {3, 4, 5, 2, 1, 6};
    double total = 0;
    for (size_t i = 0; i < 6; i++) total += exp(changed[kept[i]] / 1.3);

    int seen[N_TOKENS] = {0};
    for (uint64_t n = 0; n < N_DRAWS; n++) {
        float copy[N_TOKENS];
        memcpy(copy, logits, sizeof(copy));
        const struct bni_sample_row row = {.logits = copy,
                                           .n_vocab = N_TOKENS,
                                           .history = history,
                                           .n_history = 3,
                                           .n_generated = n,
                                           .scratch = scratch};
        seen[bni_sample(&sampler, &row)]++;
    }
    double chi_square = 0;
    int n_seen = 0;
    for (size_t i = 0; i < 6; i++) {
        const double e = N_DRAWS * exp(changed[kept[i]] / 1.3) / total;
        chi_square += (seen[kept[i]] - e) * (seen[kept[i]] - e) / e;
        n_seen += seen[kept[i]];
    }
    assert_int_equal(n_seen, N_DRAWS); /* nothing else was drawn */
    /* 5 degrees of freedom: above 20.5 once in a thousand seeds; ours is fixed. */
    print_message("chi-square %.1f\n", chi_square);
    assert_true(chi_square < 20.5);
}

static void neighbouring_seeds_and_counts_share_no_numbers(void **state)
{
    (void)state;
    double seen[64 * 64];
    size_t n_seen = 0;
    for (uint64_t s = 0; s < 64; s++)
        for (uint64_t n = 0; n < 64; n++) {
            const double unit = bni_random_unit(s, n);
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
        cmocka_unit_test(typical_p_keeps_those_of_usual_surprise),
        cmocka_unit_test(a_repeated_token_is_scaled_once_however_often_it_came),
        cmocka_unit_test(frequency_counts_each_time_and_presence_once),
        cmocka_unit_test(biases_come_last_and_add_up),
        cmocka_unit_test(a_banned_token_is_never_chosen),
        cmocka_unit_test(with_everything_banned_nothing_is_left),
        cmocka_unit_test(logits_that_are_not_finite_give_no_token),
        cmocka_unit_test(random_rows_give_what_a_plain_reference_gives),
        cmocka_unit_test(more_candidates_than_tokens_are_all_of_them),
        cmocka_unit_test(our_logarithm_is_the_c_library_s_within_two_units),
        cmocka_unit_test(log_probabilities_are_those_of_the_untouched_row),
        cmocka_unit_test(draws_follow_the_softmax),
        cmocka_unit_test(the_whole_sampler_draws_by_what_its_stages_left),
        cmocka_unit_test(neighbouring_seeds_and_counts_share_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
