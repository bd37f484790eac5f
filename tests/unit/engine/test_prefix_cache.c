/* SPDX-License-Identifier: MIT */
/*
 * Prefixes that are shared: pages counted, found, evicted; and answers that stay the
 * same to the bit, whoever computed the beginning of their prompts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "engine/prefix_cache.h"
#include "engine/random.h"
#include "engine/request.h"
#include "model/model.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"

enum { PAGE = BNI_KV_PAGE_POSITIONS };

/* ---- pages by themselves ------------------------------------------------------------- */

static const struct bni_hparams small = {.n_layers = 1, .n_kv_heads = 1, .head_dim = 8};

struct pages {
    struct bni_kv_cache kv;
    struct bni_prefix_cache prefixes;
};

static void make_pages(struct pages *pages, uint32_t n_pages)
{
    assert_int_equal(bni_kv_cache_init(&pages->kv, &small, BITNET_KV_F16, n_pages),
                     BITNET_OK);
    assert_int_equal(bni_prefix_cache_init(&pages->prefixes, &pages->kv, true),
                     BITNET_OK);
}

static void free_pages(struct pages *pages)
{
    bni_prefix_cache_free(&pages->prefixes);
    bni_kv_cache_free(&pages->kv);
}

/* Tokens that depend on `what` in the last place only: equal up to there. */
static const bitnet_token *tokens_of(bitnet_token what)
{
    static bitnet_token tokens[PAGE];
    for (int i = 0; i < PAGE; i++) tokens[i] = 7 + i;
    tokens[PAGE - 1] = what;
    return tokens;
}

static uint32_t take_known(struct pages *pages, uint32_t parent, bitnet_token what)
{
    const uint32_t page = bni_prefix_take(&pages->prefixes);
    assert_true(bni_prefix_add(&pages->prefixes, page, parent, tokens_of(what)));
    return page;
}

static void a_page_is_found_by_its_tokens_and_its_parent(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 8);
    const uint32_t a = take_known(&p, BNI_NO_PAGE, 1);
    const uint32_t b = take_known(&p, BNI_NO_PAGE, 2);
    const uint32_t after_a = take_known(&p, a, 3);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)), a);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(2)), b);
    assert_int_equal(bni_prefix_find(&p.prefixes, a, tokens_of(3)), after_a);
    assert_int_equal(bni_prefix_find(&p.prefixes, b, tokens_of(3)), BNI_NO_PAGE);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(3)),
                     BNI_NO_PAGE);
    free_pages(&p);
}

static void a_page_of_the_same_hash_but_other_tokens_is_not_taken_for_it(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 4);
    const uint32_t page = take_known(&p, BNI_NO_PAGE, 1);
    /* As if the hash of 1 were that of 2: only the comparison tells them apart. */
    p.prefixes.tokens[(size_t)page * PAGE + PAGE - 1] = 2;
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)),
                     BNI_NO_PAGE);
    p.prefixes.tokens[(size_t)page * PAGE + PAGE - 1] = 1;
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)), page);
    p.prefixes.pages[page].parent = 3; /* and as if it came after another page */
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)),
                     BNI_NO_PAGE);
    free_pages(&p);
}

static void an_equal_page_is_known_only_once(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 4);
    take_known(&p, BNI_NO_PAGE, 1);
    const uint32_t second = bni_prefix_take(&p.prefixes);
    assert_false(bni_prefix_add(&p.prefixes, second, BNI_NO_PAGE, tokens_of(1)));
    bni_prefix_release(&p.prefixes, second); /* it was nobody else's: free again */
    assert_int_equal(p.kv.n_free, 3);
    free_pages(&p);
}

static void users_are_counted_and_the_last_leaves_the_page_idle(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 2);
    const uint32_t page = take_known(&p, BNI_NO_PAGE, 1);
    bni_prefix_use(&p.prefixes, page);
    bni_prefix_use(&p.prefixes, page);
    assert_int_equal(p.prefixes.n_shared, 1);
    bni_prefix_release(&p.prefixes, page);
    assert_int_equal(p.prefixes.n_shared, 1);
    bni_prefix_release(&p.prefixes, page);
    assert_int_equal(p.prefixes.n_shared, 0);
    assert_int_equal(p.prefixes.n_idle, 0);
    bni_prefix_release(&p.prefixes, page);
    assert_int_equal(p.prefixes.n_idle, 1);
    assert_int_equal(bni_prefix_n_available(&p.prefixes), 2);
    bni_prefix_use(&p.prefixes, page); /* found again */
    assert_int_equal(p.prefixes.n_idle, 0);
    free_pages(&p);
}

static void the_longest_unused_goes_first_and_ends_before_beginnings(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 5);
    const uint32_t root = take_known(&p, BNI_NO_PAGE, 1);
    const uint32_t end = take_known(&p, root, 2);
    const uint32_t other = take_known(&p, BNI_NO_PAGE, 3);
    bni_prefix_release(&p.prefixes, end);
    bni_prefix_release(&p.prefixes, root);
    bni_prefix_release(&p.prefixes, other);
    bni_prefix_take(&p.prefixes); /* the two that are free */
    bni_prefix_take(&p.prefixes);
    bni_prefix_use(&p.prefixes, root); /* now `other` is unused for longer */
    bni_prefix_release(&p.prefixes, root);
    assert_int_equal(bni_prefix_take(&p.prefixes), end);
    assert_int_equal(bni_prefix_take(&p.prefixes), other);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)), root);
    assert_int_equal(bni_prefix_take(&p.prefixes), root);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)),
                     BNI_NO_PAGE);
    assert_int_equal(p.prefixes.n_evicted, 3);
    free_pages(&p);
}

static void a_forgotten_page_is_not_found_and_becomes_free(void **state)
{
    (void)state;
    struct pages p;
    make_pages(&p, 2);
    const uint32_t page = take_known(&p, BNI_NO_PAGE, 1);
    bni_prefix_forget(&p.prefixes, page);
    assert_int_equal(bni_prefix_find(&p.prefixes, BNI_NO_PAGE, tokens_of(1)),
                     BNI_NO_PAGE);
    bni_prefix_release(&p.prefixes, page);
    assert_int_equal(p.kv.n_free, 2);
    free_pages(&p);
}

/*
 * Requests of random chains come and go for long; at every moment a page is free, idle
 * or used, and parents of known pages are known.
 */
static void no_page_is_lost_in_a_long_run(void **state)
{
    (void)state;
    enum { N_PAGES = 40, N_REQUESTS = 8, N_ROUNDS = 5000, CHAIN = 5 };
    const uint64_t seed = 20261;
    print_message("seed %llu\n", (unsigned long long)seed);
    struct pages p;
    uint32_t chains[N_REQUESTS][CHAIN];
    bool is_here[N_REQUESTS] = {false};
    uint32_t n_used = 0;
    make_pages(&p, N_PAGES);
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        const uint64_t dice = bni_random_mix(seed + round);
        const unsigned r = dice % N_REQUESTS;
        if (is_here[r]) {
            for (int i = CHAIN; i > 0; i--)
                bni_prefix_release(&p.prefixes, chains[r][i - 1]);
        } else {
            uint32_t parent = BNI_NO_PAGE;
            for (int i = 0; i < CHAIN; i++) {
                const bitnet_token what = (bitnet_token)(dice >> (8 + 4 * i) & 3);
                uint32_t page = bni_prefix_find(&p.prefixes, parent, tokens_of(what));
                if (page != BNI_NO_PAGE)
                    bni_prefix_use(&p.prefixes, page);
                else
                    page = take_known(&p, parent, what);
                chains[r][i] = parent = page;
            }
        }
        is_here[r] = !is_here[r];
        n_used = 0;
        for (uint32_t page = 0; page < N_PAGES; page++) {
            const struct bni_prefix_page *known = &p.prefixes.pages[page];
            if (known->n_users > 0) n_used++;
            if (known->is_known && known->parent != BNI_NO_PAGE)
                assert_true(p.prefixes.pages[known->parent].is_known);
        }
        assert_int_equal(n_used + bni_prefix_n_available(&p.prefixes), N_PAGES);
    }
    assert_true(p.prefixes.n_evicted > 0);
    free_pages(&p);
}

static void no_memory_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    struct bni_kv_cache kv;
    assert_int_equal(bni_kv_cache_init(&kv, &small, BITNET_KV_F16, 4), BITNET_OK);
    const uint64_t before = bni_alloc_in_use();
    for (uint64_t n = 1; n <= 3; n++) {
        struct bni_prefix_cache prefixes;
        bni_fault_arm(n);
        assert_int_equal(bni_prefix_cache_init(&prefixes, &kv, true),
                         BITNET_ERROR_OUT_OF_MEMORY);
        bni_fault_arm(0);
        bni_prefix_cache_free(&prefixes);
        assert_true(bni_alloc_in_use() == before);
    }
    bni_kv_cache_free(&kv);
}

/* ---- an engine ---------------------------------------------------------------------------- */

static bitnet_model *model;

static int set_up(void **state)
{
    (void)state;
    model = load_model();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_model_release(model);
    return 0;
}

enum { MAX_PROMPT = 200 };

/* Story number `n`: any two differ from the first token on. */
static const bitnet_token *story(uint32_t n)
{
    static bitnet_token tokens[MAX_PROMPT];
    for (uint32_t i = 0; i < MAX_PROMPT; i++)
        tokens[i] = (bitnet_token)((i * 131 + n * 977 + 7) % 2000);
    return tokens;
}

static bitnet_generate_options options_for(const bitnet_token *prompt, size_t n_prompt,
                                           uint64_t seed)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = prompt;
    options.n_prompt_tokens = n_prompt;
    options.seed = seed;
    options.max_tokens = 6;
    options.ignores_eos = true;
    options.keeps_logits = true;
    return options;
}

static bitnet_engine *create_without_cache(void)
{
    bitnet_engine_options options = bitnet_engine_options_default();
    options.prefix_cache = false;
    return create_engine(model, &options);
}

static void a_repeated_prompt_is_computed_from_its_last_page_on(void **state)
{
    (void)state;
    bitnet_engine *cached = create_engine(model, NULL);
    bitnet_engine *plain = create_without_cache();
    const struct {
        size_t n_prompt, n_cached;
    } cases[] = {{1, 0}, {32, 0}, {33, 32}, {64, 32}, {65, 64}, {100, 96}, {200, 192}};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const bitnet_generate_options options =
            options_for(story(i), cases[i].n_prompt, i);
        bitnet_result expected = generate_well(plain, &options, NULL);
        bitnet_result first = generate_well(cached, &options, NULL);
        const uint64_t n_rows = stats_of(cached).n_rows;
        bitnet_result second = generate_well(cached, &options, NULL);
        assert_int_equal(expected.n_cached_tokens, 0);
        assert_int_equal(first.n_cached_tokens, 0);
        assert_int_equal(second.n_cached_tokens, cases[i].n_cached);
        assert_true(stats_of(cached).n_rows - n_rows ==
                    cases[i].n_prompt - cases[i].n_cached + options.max_tokens - 1);
        assert_same_result(&expected, &first, model->hparams.n_vocab);
        assert_same_result(&expected, &second, model->hparams.n_vocab);
        bitnet_result_release(&expected);
        bitnet_result_release(&first);
        bitnet_result_release(&second);
    }
    destroy_engine(cached);
    destroy_engine(plain);
}

static void a_conversation_continues_where_the_answer_ended(void **state)
{
    (void)state;
    bitnet_engine *cached = create_engine(model, NULL);
    bitnet_engine *plain = create_without_cache();
    bitnet_generate_options options = options_for(story(1), 60, 3);
    options.max_tokens = 40;
    bitnet_result answer = generate_well(cached, &options, NULL);
    bitnet_token all[MAX_PROMPT];
    memcpy(all, story(1), 60 * sizeof(*all));
    memcpy(all + 60, answer.tokens, 40 * sizeof(*all));
    memcpy(all + 100, story(2), 10 * sizeof(*all));
    options = options_for(all, 110, 4);
    bitnet_result expected = generate_well(plain, &options, NULL);
    bitnet_result next = generate_well(cached, &options, NULL);
    assert_int_equal(next.n_cached_tokens, 96); /* 99 positions were computed */
    assert_same_result(&expected, &next, model->hparams.n_vocab);
    bitnet_result_release(&answer);
    bitnet_result_release(&expected);
    bitnet_result_release(&next);
    destroy_engine(cached);
    destroy_engine(plain);
}

/* All come at once, and start in one step: each full page is computed by one of them. */
static void samples_of_one_prompt_share_its_pages_from_the_first_step(void **state)
{
    (void)state;
    enum { N_SAMPLES = 8, N_PROMPT = 100 };
    const uint32_t steps[] = {128, 48, 9};
    bitnet_engine *plain = create_without_cache();
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        bitnet_engine_options engine_options = bitnet_engine_options_default();
        engine_options.max_batch = N_SAMPLES + 1;
        engine_options.step_tokens = steps[s];
        struct held_engine held = hold_engine(create_engine(model, &engine_options));
        bitnet_request *samples[N_SAMPLES];
        for (uint32_t i = 0; i < N_SAMPLES; i++) {
            bitnet_generate_options options = options_for(story(5), N_PROMPT, i);
            options.client_id = i % 3; /* whoever computes it, all have it */
            samples[i] = submit_well(held.engine, &options);
        }
        let_engine_go(&held);

        size_t n_cached = 0;
        for (uint32_t i = 0; i < N_SAMPLES; i++) {
            const bitnet_generate_options options = options_for(story(5), N_PROMPT, i);
            bitnet_result expected = generate_well(plain, &options, NULL);
            bitnet_result result = wait_well(samples[i]);
            assert_same_result(&expected, &result, model->hparams.n_vocab);
            n_cached += result.n_cached_tokens;
            bitnet_result_release(&expected);
            bitnet_result_release(&result);
            bitnet_request_release(samples[i]);
        }
        /* With small steps two may be half through the same page: each does its own. */
        if (steps[s] == 128) assert_int_equal(n_cached, (N_SAMPLES - 1) * 96);
        assert_true(n_cached >= (N_SAMPLES - 1) * 96 / 2);
        assert_true(stats_of(held.engine).n_cached_tokens == n_cached);
        destroy_engine(held.engine);
    }
    destroy_engine(plain);
}

static uint64_t first_token_ns(bitnet_request *request)
{
    bni_mutex_lock(&request->lock);
    const uint64_t ns = request->first_token_ns;
    bni_mutex_unlock(&request->lock);
    return ns;
}

static uint64_t last_token_ns(bitnet_request *request)
{
    bni_mutex_lock(&request->lock);
    const uint64_t ns = request->last_token_ns;
    bni_mutex_unlock(&request->lock);
    return ns;
}

/* Six pages, two requests of four: side by side only if three of the four are one. */
static void shared_pages_are_reserved_once(void **state)
{
    (void)state;
    for (int is_shared = 0; is_shared < 2; is_shared++) {
        bitnet_engine_options engine_options = bitnet_engine_options_default();
        engine_options.n_ctx = 128;
        engine_options.kv_cache_bytes =
            6 * bni_kv_page_bytes(&model->hparams, BITNET_KV_F16);
        engine_options.prefix_cache = is_shared;
        struct held_engine held = hold_engine(create_engine(model, &engine_options));
        bitnet_generate_options options = options_for(story(6), 97, 1);
        options.max_tokens = 31;
        bitnet_request *first = submit_well(held.engine, &options);
        bitnet_request *second = submit_well(held.engine, &options);
        let_engine_go(&held);
        bitnet_result results[2] = {wait_well(first), wait_well(second)};
        assert_same_result(&results[0], &results[1], model->hparams.n_vocab);
        assert_int_equal(first_token_ns(second) < last_token_ns(first), is_shared);
        bitnet_result_release(&results[0]);
        bitnet_result_release(&results[1]);
        bitnet_request_release(first);
        bitnet_request_release(second);
        destroy_engine(held.engine);
    }
}

static void old_prefixes_make_room_and_every_page_is_accounted_for(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.n_ctx = 128;
    engine_options.kv_cache_bytes =
        9 * bni_kv_page_bytes(&model->hparams, BITNET_KV_F16);
    bitnet_engine *engine = create_engine(model, &engine_options);
    bitnet_engine *plain = create_without_cache();
    for (uint32_t i = 0; i < 12; i++) {
        const bitnet_generate_options options = options_for(story(i % 5), 110, i);
        bitnet_result expected = generate_well(plain, &options, NULL);
        bitnet_result result = generate_well(engine, &options, NULL);
        assert_same_result(&expected, &result, model->hparams.n_vocab);
        bitnet_result_release(&expected);
        bitnet_result_release(&result);
    }
    bitnet_engine_stats stats;
    do { /* the last one's pages come back a moment after its result */
        stats = stats_of(engine);
        assert_true(stats.kv_pages_used + stats.kv_pages_cached <=
                    stats.kv_pages_total);
    } while (stats.kv_pages_used > 0);
    assert_true(stats.n_kv_pages_evicted > 0);
    assert_true(stats.kv_pages_cached > 0);
    assert_int_equal(stats.kv_pages_shared, 0);
    destroy_engine(engine);
    destroy_engine(plain);
}

/* Three requests of three known pages each among nine pages: the third needs one page
 * of the first, which is to be that one's last. */
static void an_old_prefix_loses_its_end_first(void **state)
{
    (void)state;
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.n_ctx = 128;
    engine_options.kv_cache_bytes =
        9 * bni_kv_page_bytes(&model->hparams, BITNET_KV_F16);
    bitnet_engine *engine = create_engine(model, &engine_options);
    size_t n_cached = 0;
    for (uint32_t i = 0; i < 4; i++) {
        const bitnet_generate_options options = options_for(story(i % 3), 110, i);
        bitnet_result result = generate_well(engine, &options, NULL);
        n_cached += result.n_cached_tokens;
        bitnet_result_release(&result);
    }
    assert_int_equal(n_cached, 64);
    destroy_engine(engine);
}

static void pages_of_a_step_that_was_abandoned_are_not_believed(void **state)
{
    (void)state;
    bitnet_engine *engine = create_engine(model, NULL);
    bitnet_engine *plain = create_without_cache();
    bitnet_generate_options options = options_for(story(9), 100, 1);
    struct held_engine held = hold_engine(engine);
    bitnet_request *request = submit_well(engine, &options);
    bitnet_engine_cancel_all(engine); /* the one that holds the engine, too */
    let_engine_go(&held);
    bitnet_result result;
    assert_int_equal(bitnet_request_wait(request, &result), BITNET_ERROR_CANCELLED);
    bitnet_result_release(&result);
    bitnet_request_release(request);

    /* Again and again with nobody before it, so that its own step is abandoned, unless
     * the scheduler sees the cancel before it begins the step. */
    for (int i = 0; i < 20; i++) {
        struct bni_team *team;
        assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
        request = submit_well(engine, &options);
        for (int n_looks = 0; n_looks < 50; n_looks++) {
            while (stats_of(engine).n_running == 0) {
            }
        }
        bitnet_request_cancel(request);
        bni_compute_release(team);
        assert_int_equal(bitnet_request_wait(request, &result), BITNET_ERROR_CANCELLED);
        bitnet_result_release(&result);
        bitnet_request_release(request);
    }

    bitnet_result expected = generate_well(plain, &options, NULL);
    result = generate_well(engine, &options, NULL);
    assert_int_equal(result.n_cached_tokens, 0);
    assert_same_result(&expected, &result, model->hparams.n_vocab);
    bitnet_result_release(&expected);
    bitnet_result_release(&result);
    destroy_engine(engine);
    destroy_engine(plain);
}

static void without_the_option_nothing_is_kept(void **state)
{
    (void)state;
    bitnet_engine *plain = create_without_cache();
    const bitnet_generate_options options = options_for(story(2), 100, 1);
    for (int i = 0; i < 3; i++) {
        bitnet_result result = generate_well(plain, &options, NULL);
        assert_int_equal(result.n_cached_tokens, 0);
        bitnet_result_release(&result);
    }
    const bitnet_engine_stats stats = stats_of(plain);
    assert_int_equal(stats.kv_pages_cached, 0);
    assert_true(stats.n_cached_tokens == 0);
    assert_true(stats.n_prompt_tokens == 300);
    destroy_engine(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_found_by_its_tokens_and_its_parent),
        cmocka_unit_test(a_page_of_the_same_hash_but_other_tokens_is_not_taken_for_it),
        cmocka_unit_test(an_equal_page_is_known_only_once),
        cmocka_unit_test(users_are_counted_and_the_last_leaves_the_page_idle),
        cmocka_unit_test(the_longest_unused_goes_first_and_ends_before_beginnings),
        cmocka_unit_test(a_forgotten_page_is_not_found_and_becomes_free),
        cmocka_unit_test(no_page_is_lost_in_a_long_run),
        cmocka_unit_test(no_memory_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_repeated_prompt_is_computed_from_its_last_page_on),
        cmocka_unit_test(a_conversation_continues_where_the_answer_ended),
        cmocka_unit_test(samples_of_one_prompt_share_its_pages_from_the_first_step),
        cmocka_unit_test(shared_pages_are_reserved_once),
        cmocka_unit_test(old_prefixes_make_room_and_every_page_is_accounted_for),
        cmocka_unit_test(an_old_prefix_loses_its_end_first),
        cmocka_unit_test(pages_of_a_step_that_was_abandoned_are_not_believed),
        cmocka_unit_test(without_the_option_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
