/* SPDX-License-Identifier: MIT */
/*
 * The output head in two passes: what the bound promises, over heads and activations of
 * every kind, and that what is looked at of the logits is what the whole head has, to
 * the bit. Through engines: test_two_pass_engines. Penalties, biases, samplers and
 * batches: test_one_answer.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "engine/candidates.h"
#include "engine/forward.h"
#include "engine/penalties.h"
#include "engine/sampler.h"
#include "engine/two_pass.h"
#include "model/model.h"
#include "support/dice.h"
#include "threads/compute.h"
#include "threads/compute_control.h"

enum { N_EMBD = 96, N_VOCAB = 1500, MAX_ROWS = 9 };

static struct bni_team *team;

static int set_up(void **state)
{
    (void)state;
    return bni_team_create(2, &team) == BITNET_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    bni_team_destroy(team);
    return 0;
}

/* ---- a head and rows of activations ------------------------------------------------ */

enum kind {
    ORDINARY,
    OUTLIERS,   /* one in 30 is a hundred times as large */
    SMALL,      /* near 2^-130: subnormal, and so are products */
    TINY,       /* subnormal, so that no scale is a normal number */
    HUGE_ONES,  /* near 2^50 */
    ALTERNATES, /* +v, -v, +v ... nearly: sums cancel */
    ZERO,
    ALL_EQUAL, /* every value of every row: nothing to choose by */
    N_KINDS
};

static const char *const kind_names[N_KINDS] = {"ordinary", "outliers", "small",
                                                "tiny",     "huge",     "alternating",
                                                "zero",     "equal"};

static float draw_value(struct dice *dice, enum kind kind, size_t i)
{
    const float unit = (float)((int)roll(dice, 20001) - 10000) * 1e-4f;
    switch (kind) {
    case OUTLIERS: return one_in(dice, 30) ? 100.0f * unit : unit;
    case SMALL: return unit * 0x1p-127f;
    case TINY: return unit * 0x1p-142f;
    case HUGE_ONES: return unit * 0x1p50f;
    case ALTERNATES: return (i % 2 == 0 ? 1.0f : -1.0f) * (1.0f + 0x1p-12f * unit);
    case ZERO: return 0.0f;
    case ALL_EQUAL: return 0.7f;
    default: return unit;
    }
}

struct head {
    struct bitnet_model model;
    float weights[N_VOCAB * N_EMBD];
    float final[MAX_ROWS * N_EMBD];
    float logits[MAX_ROWS * N_VOCAB];
    float exact[MAX_ROWS * N_VOCAB]; /* of the whole product */
    struct bni_workspace workspace;
    struct bni_two_pass two_pass;
    struct bni_penalties penalties;
    struct bni_logit_need needs[MAX_ROWS];
    struct bni_forward forward;
    size_t n_rows;
};

static bitnet_status go_on(void *user, size_t n_values)
{
    *(size_t *)user += n_values;
    return BITNET_OK;
}

static void make_head(struct head *head, struct dice *dice, enum kind weights,
                      enum kind activations, size_t n_rows,
                      const struct bni_kernels *kernels)
{
    for (size_t i = 0; i < N_VOCAB * N_EMBD; i++)
        head->weights[i] = draw_value(dice, weights, i);
    if (weights != ALL_EQUAL) /* a zero row among others */
        memset(head->weights + 7 * N_EMBD, 0, N_EMBD * sizeof(float));
    for (size_t i = 0; i < n_rows * N_EMBD; i++)
        head->final[i] = draw_value(dice, activations, i);
    head->n_rows = n_rows;
    head->model = (struct bitnet_model){
        .hparams = {.n_embd = N_EMBD, .n_vocab = N_VOCAB},
        .head = {head->weights, BNI_DENSE_F32, N_EMBD, N_VOCAB},
    };
    size_t n_told = 0;
    assert_int_equal(bni_head_copy_make(&head->model.head, go_on, &n_told,
                                        &head->model.head_copy),
                     BITNET_OK);
    assert_int_equal(n_told, N_VOCAB * N_EMBD);
    assert_non_null(head->model.head_copy.codes);
    assert_int_equal(bni_two_pass_init(&head->two_pass, &head->model, MAX_ROWS),
                     BITNET_OK);
    head->workspace = (struct bni_workspace){.max_logit_rows = MAX_ROWS,
                                             .final = head->final,
                                             .logits = head->logits};
    head->penalties = (struct bni_penalties){.repeat = 1.0f};
    for (size_t i = 0; i < n_rows; i++)
        head->needs[i] =
            (struct bni_logit_need){.n_top = 1, .penalties = &head->penalties};
    head->forward = (struct bni_forward){
        .model = &head->model,
        .kernels = kernels,
        .workspace = &head->workspace,
        .two_pass = &head->two_pass,
        .needs = head->needs,
    };
}

static void free_head(struct head *head)
{
    bni_two_pass_free(&head->two_pass);
    bni_head_copy_free(&head->model.head_copy);
}

/* Fills `exact` by the whole product, then `logits` in two passes. */
static bool run_both(struct head *head)
{
    bni_forward_head(&head->forward, team, head->n_rows);
    memcpy(head->exact, head->logits, sizeof(head->exact));
    const bool *is_made = bni_two_pass_run(&head->forward, team, head->n_rows);
    for (size_t r = 0; is_made != NULL && r < head->n_rows; r++)
        if (!is_made[r]) return false;
    return is_made != NULL;
}

/* ---- what is checked ---------------------------------------------------------------- */

/* Every logit is exact, or as near to it as its bound says. Returns the largest part of
 * a bound that was used up. */
static double check_bounds(const struct head *head, const char *what)
{
    double largest = 0;
    for (size_t r = 0; r < head->n_rows; r++) {
        for (size_t t = 0; t < N_VOCAB; t++) {
            const size_t i = r * N_VOCAB + t;
            const double error = fabs((double)head->logits[i] - (double)head->exact[i]);
            const double bound = (double)bni_two_pass_bound(&head->model.head_copy,
                                                            &head->two_pass.rows[r], t);
            if (!(error <= bound))
                fail_msg("%s, row %zu, token %zu: %a is %a from %a, more than %a", what,
                         r, t, (double)head->logits[i], error, (double)head->exact[i],
                         bound);
            if (error / bound > largest) largest = error / bound;
        }
    }
    return largest;
}

/* The first n of a row, in order, are the same tokens with the same bits. */
static void check_top(const struct head *head, size_t row, size_t n, const char *what)
{
    static struct bni_candidate expected[N_VOCAB];
    static struct bni_candidate got[N_VOCAB];
    bni_candidates_take_top(head->exact + row * N_VOCAB, N_VOCAB, n, expected);
    bni_candidates_take_top(head->logits + row * N_VOCAB, N_VOCAB, n, got);
    for (size_t i = 0; i < n; i++)
        if (expected[i].token != got[i].token ||
            memcmp(&expected[i].logit, &got[i].logit, sizeof(float)) != 0)
            fail_msg("%s, row %zu: number %zu of %zu is token %d of %a, expected %d of "
                     "%a",
                     what, row, i, n, (int)got[i].token, (double)got[i].logit,
                     (int)expected[i].token, (double)expected[i].logit);
}

/* ---- tests -------------------------------------------------------------------------- */

static struct head head;

static void a_bound_holds_for_weights_and_activations_of_every_kind(void **state)
{
    (void)state;
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    for (size_t isa = 0; isa < sizeof(isas) / sizeof(isas[0]); isa++) {
        const struct bni_kernels *kernels = bni_kernels_by_name(isas[isa]);
        if (kernels == NULL || kernels->coarse_matmul == NULL) continue;
        for (int w = 0; w < N_KINDS; w++) {
            for (int x = 0; x < N_KINDS; x++) {
                struct dice dice = dice_for(1, (uint64_t)w, (uint64_t)x);
                char what[64];
                snprintf(what, sizeof(what), "%s, %s weights, %s activations",
                         isas[isa], kind_names[w], kind_names[x]);
                make_head(&head, &dice, (enum kind)w, (enum kind)x, 2, kernels);
                const size_t n_top = 1 + roll(&dice, 50);
                for (size_t r = 0; r < 2; r++) head.needs[r].n_top = (uint32_t)n_top;
                const bool is_done = run_both(&head);
                check_bounds(&head, what);
                for (size_t r = 0; r < 2 && is_done; r++)
                    check_top(&head, r, n_top, what);
                free_head(&head);
            }
        }
    }
}

/* The worst there is: activations along what rounding has left of a row. */
static void a_bound_is_nearly_reached_by_activations_made_for_it(void **state)
{
    (void)state;
    struct dice dice = dice_for(2, 0, 0);
    make_head(&head, &dice, ORDINARY, ORDINARY, MAX_ROWS,
              bni_kernels_by_name("scalar"));
    for (size_t r = 0; r < MAX_ROWS; r++) {
        const struct bni_head_copy *copy = &head.model.head_copy;
        const size_t m = 3 + 100 * r;
        for (size_t k = 0; k < N_EMBD; k++)
            head.final[r * N_EMBD + k] =
                head.weights[m * N_EMBD + k] -
                copy->scales[m] * (float)copy->codes[m * N_EMBD + k];
    }
    assert_true(run_both(&head));
    const double used = check_bounds(&head, "adversarial");
    print_message("at most %.3f of a bound is used up\n", used);
    assert_true(used > 0.9 && used <= 1.0);
    free_head(&head);
}

static void what_penalties_change_is_computed(void **state)
{
    (void)state;
    static const bitnet_token history[] = {5, 900, 5, 1499, 7, 7};
    static const bitnet_logit_bias biases[] = {{42, 9.0f}, {0, -INFINITY}, {42, 1.0f}};
    struct dice dice = dice_for(3, 0, 0);
    make_head(&head, &dice, ORDINARY, ORDINARY, 3, bni_kernels_select());
    head.penalties = (struct bni_penalties){.repeat = 1.5f,
                                            .last_n = 5,
                                            .n_biases = 3,
                                            .biases = biases};
    for (size_t r = 0; r < 3; r++) {
        head.needs[r].history = history;
        head.needs[r].n_history = 6;
        head.needs[r].n_top = 10;
    }
    assert_true(run_both(&head));
    static const bitnet_token changed[] = {900, 5, 1499, 7, 42, 0};
    struct bni_candidate changes[BNI_PENALTIES_MAX_CHANGES];
    for (size_t r = 0; r < 3; r++) {
        float *row = head.logits + r * N_VOCAB;
        float *exact = head.exact + r * N_VOCAB;
        for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
            assert_memory_equal(&row[changed[i]], &exact[changed[i]], sizeof(float));
        bni_penalties_apply(&head.penalties, history, 6, row, changes);
        bni_penalties_apply(&head.penalties, history, 6, exact, changes);
        check_top(&head, r, 10, "penalised");
    }
    free_head(&head);
}

static void min_p_draws_the_same_from_either_row(void **state)
{
    (void)state;
    static struct bni_candidate scratch[BNI_PENALTIES_MAX_CHANGES + N_VOCAB];
    static const bitnet_logit_bias biases[] = {{3, 2.5f}, {77, -INFINITY}};
    static const float min_ps[] = {1.0f, 0.5f, 0.05f, 0.001f, 1e-30f, 1e-44f};
    unsigned n_done = 0;
    for (unsigned i = 0; i < 6 * 4; i++) {
        struct dice dice = dice_for(7, i, 0);
        make_head(&head, &dice, ORDINARY, ORDINARY, 2, bni_kernels_select());
        const struct bni_sampler sampler = {
            .penalties = {.repeat = 1.0f, .n_biases = i % 3, .biases = biases},
            .temperature = 1.5f,
            .typical_p = 1.0f,
            .top_p = 1.0f,
            .min_p = min_ps[i / 4],
            .seed = i,
        };
        for (size_t r = 0; r < 2; r++)
            head.needs[r] = bni_sampler_need(&sampler, NULL, 0);
        const bool is_done = run_both(&head);
        if (is_done) n_done++;
        for (uint64_t n = 0; n < 100 && is_done; n++) {
            struct bni_sample_row row = {.n_vocab = N_VOCAB,
                                         .n_generated = n / 2,
                                         .scratch = scratch};
            float copies[2][N_VOCAB];
            bitnet_token tokens[2];
            for (size_t k = 0; k < 2; k++) {
                row.logits =
                    memcpy(copies[k],
                           (k == 0 ? head.exact : head.logits) + (n % 2) * N_VOCAB,
                           sizeof(copies[k]));
                tokens[k] = bni_sample(&sampler, &row);
            }
            assert_int_equal(tokens[0], tokens[1]);
        }
        free_head(&head);
    }
    assert_true(n_done >= 16); /* the smallest leave every token */
}

static void most_logits_are_left_as_they_are(void **state)
{
    (void)state;
    struct dice dice = dice_for(4, 0, 0);
    make_head(&head, &dice, ORDINARY, ORDINARY, MAX_ROWS, bni_kernels_select());
    assert_true(run_both(&head));
    assert_int_equal(head.two_pass.counts.n_rows, MAX_ROWS);
    print_message("%.1f candidates of %d tokens\n",
                  (double)head.two_pass.counts.n_candidates / MAX_ROWS, N_VOCAB);
    assert_true(head.two_pass.counts.n_candidates < MAX_ROWS * N_VOCAB / 20);
    free_head(&head);
}

static void the_whole_product_is_asked_for_where_it_must_be(void **state)
{
    (void)state;
    struct dice dice = dice_for(5, 0, 0);
    make_head(&head, &dice, ORDINARY, ORDINARY, 3, bni_kernels_select());
    assert_true(run_both(&head));
    head.needs[1].n_top = 0; /* one row wants all */
    assert_false(run_both(&head));
    head.needs[1].n_top = N_VOCAB + 1;
    assert_false(run_both(&head));
    head.needs[1].n_top = 1;
    const float wild[] = {NAN, INFINITY, -INFINITY, 0x1p62f};
    for (size_t i = 0; i < 4; i++) {
        head.final[2 * N_EMBD + 17] = wild[i];
        assert_false(run_both(&head));
    }
    head.final[2 * N_EMBD + 17] = 0.5f;
    assert_true(run_both(&head));
    free_head(&head);
}

/* Rows of both kinds in every order, among them some whose numbers are not finite. */
static void rows_that_need_the_whole_head_leave_the_others_alone(void **state)
{
    (void)state;
    unsigned n_mixed = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct dice dice = dice_for(8, seed, 0);
        make_head(&head, &dice, ORDINARY, ORDINARY, MAX_ROWS, bni_kernels_select());
        bool is_in[MAX_ROWS];
        size_t n_in = 0;
        for (size_t r = 0; r < MAX_ROWS; r++) {
            is_in[r] = !one_in(&dice, 4);
            n_in += is_in[r];
            head.needs[r].n_top = 1 + roll(&dice, 30);
            if (is_in[r]) continue;
            if (one_in(&dice, 2))
                head.needs[r].n_top = 0;
            else
                head.final[r * N_EMBD + 5] = 0x1p61f;
        }
        bni_forward_head(&head.forward, team, MAX_ROWS);
        memcpy(head.exact, head.logits, sizeof(head.exact));
        const bool *is_made = bni_two_pass_run(&head.forward, team, MAX_ROWS);
        for (size_t r = 0; is_made != NULL && r < MAX_ROWS; r++) {
            assert_int_equal(is_made[r], is_in[r]);
            if (is_made[r]) check_top(&head, r, head.needs[r].n_top, "mixed");
        }
        if (is_made != NULL && n_in < MAX_ROWS) n_mixed++;
        assert_int_equal(head.two_pass.counts.n_rows, is_made == NULL ? 0 : n_in);
        free_head(&head);
    }
    print_message("%u of 40 steps were mixed\n", n_mixed);
    assert_true(n_mixed >= 10);
}

/* With nothing to choose by, every token is a candidate. */
static void a_pass_in_vain_is_followed_by_a_rest(void **state)
{
    (void)state;
    struct dice dice = dice_for(6, 0, 0);
    make_head(&head, &dice, ALL_EQUAL, ORDINARY, 1, bni_kernels_select());
    for (unsigned round = 1; round <= 3; round++) {
        assert_false(run_both(&head));
        assert_int_equal(head.two_pass.counts.n_vain_steps, round);
        for (int i = 0; i < BNI_TWO_PASS_REST; i++) {
            assert_false(run_both(&head));
            assert_int_equal(head.two_pass.counts.n_vain_steps, round);
        }
    }
    free_head(&head);
}

static void a_head_that_is_not_finite_gets_no_copy(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, 0x1p61f};
    for (size_t i = 0; i < 3; i++) {
        struct bni_head_copy copy;
        size_t n_told = 0;
        for (size_t k = 0; k < N_VOCAB * N_EMBD; k++) head.weights[k] = 0.25f;
        head.weights[1234 * N_EMBD + 5] = bad[i];
        const struct bni_dense_weight weight = {head.weights, BNI_DENSE_F32, N_EMBD,
                                                N_VOCAB};
        const uint64_t before = bni_alloc_in_use();
        assert_int_equal(bni_head_copy_make(&weight, go_on, &n_told, &copy), BITNET_OK);
        assert_null(copy.codes);
        assert_int_equal(copy.n_bytes, 0);
        assert_int_equal(bni_alloc_in_use(), before);
    }
}

static void a_copy_is_the_same_whatever_the_number_of_threads(void **state)
{
    (void)state;
    struct dice dice = dice_for(8, 0, 0);
    for (size_t k = 0; k < N_VOCAB * N_EMBD; k++)
        head.weights[k] = draw_value(&dice, OUTLIERS, k);
    const struct bni_dense_weight weight = {head.weights, BNI_DENSE_F32, N_EMBD,
                                            N_VOCAB};
    struct bni_head_copy first;
    for (uint32_t n_threads = 1; n_threads <= 4; n_threads++) {
        struct bni_head_copy copy;
        size_t n_told = 0;
        bitnet_thread_manager_set_compute_threads(n_threads);
        assert_int_equal(bni_head_copy_make(&weight, go_on, &n_told, &copy), BITNET_OK);
        if (n_threads == 1) {
            first = copy;
            continue;
        }
        assert_int_equal(copy.n_bytes, first.n_bytes);
        assert_memory_equal(copy.codes, first.codes, first.n_bytes); /* and the rest */
        bni_head_copy_free(&copy);
    }
    /* Who has the turn does not wait for it. */
    struct bni_head_copy own;
    struct bni_team *turns_team;
    size_t n_told = 0;
    assert_int_equal(bni_compute_acquire(&turns_team), BITNET_OK);
    assert_int_equal(bni_head_copy_make(&weight, go_on, &n_told, &own), BITNET_OK);
    bni_compute_release(turns_team);
    assert_memory_equal(own.codes, first.codes, first.n_bytes);
    bni_head_copy_free(&own);
    bni_head_copy_free(&first);
    bitnet_thread_manager_set_compute_threads(0);
}

struct listener {
    unsigned n_calls;
    unsigned stops_at; /* the call that says no; 0: none */
    size_t n_told;
};

/* Whoever is told how far a copy is does not have the turn: another may take it. */
static bitnet_status take_a_turn(void *user, size_t n_values)
{
    struct listener *listener = user;
    struct bni_team *turns_team;
    listener->n_told += n_values;
    assert_int_equal(bni_compute_acquire(&turns_team), BITNET_OK);
    bni_compute_release(turns_team);
    return ++listener->n_calls == listener->stops_at ? BITNET_ERROR_CANCELLED
                                                     : BITNET_OK;
}

static void a_large_copy_is_made_in_turns_and_may_be_stopped_after_each(void **state)
{
    (void)state;
    enum { N_ROWS = 18001, N_COLS = 1024 };
    uint16_t *halves = malloc((size_t)N_ROWS * N_COLS * sizeof(*halves));
    assert_non_null(halves);
    for (size_t i = 0; i < (size_t)N_ROWS * N_COLS; i++)
        halves[i] = (uint16_t)(0x3800 + i % 1021); /* from 0.5 to 1 */
    const struct bni_dense_weight weight = {halves, BNI_DENSE_F16, N_COLS, N_ROWS};
    struct bni_head_copy copy;
    struct listener listener = {.stops_at = 0};
    assert_int_equal(bni_head_copy_make(&weight, take_a_turn, &listener, &copy),
                     BITNET_OK);
    assert_true(listener.n_calls > 1);
    assert_int_equal(listener.n_told, (size_t)N_ROWS * N_COLS);
    for (size_t row = 0; row < N_ROWS; row += 1000) /* every row has a code of 127 */
        assert_non_null(memchr(copy.codes + row * N_COLS, 127, N_COLS));
    assert_true(copy.norms[N_ROWS - 1] > 16.0f && copy.norms[N_ROWS - 1] < 32.0f);
    bni_head_copy_free(&copy);

    const uint64_t before = bni_alloc_in_use();
    for (unsigned n = 1; n <= listener.n_calls; n++) {
        struct listener stopper = {.stops_at = n};
        assert_int_equal(bni_head_copy_make(&weight, take_a_turn, &stopper, &copy),
                         BITNET_ERROR_CANCELLED);
        assert_int_equal(stopper.n_calls, n);
        assert_null(copy.codes);
        assert_int_equal(bni_alloc_in_use(), before);
    }
    free(halves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_holds_for_weights_and_activations_of_every_kind),
        cmocka_unit_test(a_bound_is_nearly_reached_by_activations_made_for_it),
        cmocka_unit_test(what_penalties_change_is_computed),
        cmocka_unit_test(min_p_draws_the_same_from_either_row),
        cmocka_unit_test(most_logits_are_left_as_they_are),
        cmocka_unit_test(the_whole_product_is_asked_for_where_it_must_be),
        cmocka_unit_test(rows_that_need_the_whole_head_leave_the_others_alone),
        cmocka_unit_test(a_pass_in_vain_is_followed_by_a_rest),
        cmocka_unit_test(a_head_that_is_not_finite_gets_no_copy),
        cmocka_unit_test(a_copy_is_the_same_whatever_the_number_of_threads),
        cmocka_unit_test(a_large_copy_is_made_in_turns_and_may_be_stopped_after_each),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
