/* SPDX-License-Identifier: MIT */
/*
 * bitnet_engine_memory_bound() and the list above it: an engine full of requests that
 * bring everything they may holds no more than the bound and what the list says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/engine/engines.h"
#include "support/engine/held_engine.h"
#include "support/engine/random_requests.h"

enum { N_REQUESTS = 6, N_CTX = 256, N_PROMPT = 190, LINE = 128 };

static bitnet_model *model;
static bitnet_model_info info;

static int set_up(void **state)
{
    (void)state;
    model = load_small_model(BITNET_HEAD_COPY_ALWAYS);
    info.struct_size = sizeof(info);
    return bitnet_model_get_info(model, &info) == BITNET_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    bitnet_model_release(model);
    return 0;
}

/* As much as a request may bring. */
struct everything {
    bitnet_token prompt[N_PROMPT];
    char stop_text[BITNET_MAX_STOP_STRING_BYTES + 1];
    const char *stop_strings[BITNET_MAX_STOP_STRINGS];
    bitnet_token stop_tokens[BITNET_MAX_STOP_TOKENS];
    bitnet_logit_bias biases[BITNET_MAX_LOGIT_BIASES];
    bitnet_grammar *grammar;
};

static bitnet_generate_options bare_options(const struct everything *everything)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = everything->prompt;
    options.n_prompt_tokens = N_PROMPT;
    options.max_tokens = N_CTX - N_PROMPT;
    return options;
}

static bitnet_generate_options full_options(struct everything *everything)
{
    bitnet_generate_options options = bare_options(everything);
    memset(everything->stop_text, 'x', BITNET_MAX_STOP_STRING_BYTES);
    for (int i = 0; i < BITNET_MAX_STOP_STRINGS; i++)
        everything->stop_strings[i] = everything->stop_text;
    options.stop_strings = everything->stop_strings;
    options.n_stop_strings = BITNET_MAX_STOP_STRINGS;
    options.stop_tokens = everything->stop_tokens;
    options.n_stop_tokens = BITNET_MAX_STOP_TOKENS;
    options.logit_biases = everything->biases;
    options.n_logit_biases = BITNET_MAX_LOGIT_BIASES;
    options.keeps_logprobs = true;
    options.top_logprobs = BITNET_MAX_TOP_LOGPROBS;
    options.keeps_logits = true;
    options.grammar = everything->grammar;
    return options;
}

/* The list in the header, for one request with all of it. */
static uint64_t listed_bytes(void)
{
    const uint64_t n_tokens = N_CTX - N_PROMPT;
    return BITNET_MAX_STOP_STRINGS * (2 * BITNET_MAX_STOP_STRING_BYTES + 24) + LINE +
           BITNET_MAX_STOP_TOKENS * 4 + LINE + BITNET_MAX_LOGIT_BIASES * 8 + LINE +
           n_tokens * (4 + 8 * BITNET_MAX_TOP_LOGPROBS) + LINE +
           (n_tokens + 1) * 4 * info.n_vocab + LINE + 660 * 1024 + LINE;
}

/* Fills an engine with such requests, and tells how much more the library holds. */
static uint64_t bytes_of_full_engine(const bitnet_generate_options *options,
                                     uint64_t *bound)
{
    bitnet_engine_options engine_options = bitnet_engine_options_default();
    engine_options.n_ctx = N_CTX;
    engine_options.max_batch = 4;
    engine_options.max_requests = N_REQUESTS + 1; /* one is the holder */
    assert_int_equal(bitnet_engine_memory_bound(model, &engine_options, bound),
                     BITNET_OK);
    struct bni_team *team; /* the process's: made before it is counted */
    assert_int_equal(bni_compute_acquire(&team), BITNET_OK);
    bni_compute_release(team);

    const uint64_t before = bni_alloc_in_use();
    bitnet_engine *engine = create_engine(model, &engine_options);
    struct held_engine held = hold_engine(engine);
    bitnet_request *requests[N_REQUESTS];
    for (int i = 0; i < N_REQUESTS; i++) requests[i] = submit_well(engine, options);
    const uint64_t n_bytes = bni_alloc_in_use() - before;
    for (int i = 0; i < N_REQUESTS; i++) bitnet_request_release(requests[i]);
    let_engine_go(&held);
    destroy_engine(engine);
    assert_int_equal(bni_alloc_in_use(), before);
    return n_bytes;
}

static void the_bound_holds_for_a_full_engine(void **state)
{
    (void)state;
    static struct everything everything;
    uint64_t bound;
    const bitnet_generate_options options = bare_options(&everything);
    assert_true(bytes_of_full_engine(&options, &bound) <= bound);
}

static void what_options_add_is_what_the_header_lists(void **state)
{
    (void)state;
    static struct everything everything;
    assert_int_equal(bitnet_grammar_parse("root ::= [a-z]+", &everything.grammar),
                     BITNET_OK);
    uint64_t bound;
    const bitnet_generate_options bare = bare_options(&everything);
    const bitnet_generate_options full = full_options(&everything);
    const uint64_t n_bare = bytes_of_full_engine(&bare, &bound);
    const uint64_t n_full = bytes_of_full_engine(&full, &bound);
    assert_true(n_full <= bound + N_REQUESTS * listed_bytes());
    /* And the list does not say much more than it must. */
    assert_true(n_full >= n_bare + N_REQUESTS * (listed_bytes() - 6 * 1024));
    bitnet_grammar_release(everything.grammar);
}

/* What a delivery adds to a request, which waits meanwhile and has nothing to tell. */
static void so_is_what_a_delivery_adds(void **state)
{
    (void)state;
    enum { LISTED = 256 };
    static struct everything everything;
    bitnet_thread_pool *pool;
    assert_int_equal(bitnet_thread_pool_create(NULL, &pool), BITNET_OK);
    struct held_engine held = hold_engine(create_engine(model, NULL));
    bitnet_generate_options options = bare_options(&everything);
    const uint64_t before = bni_alloc_in_use();
    bitnet_request *bare = submit_well(held.engine, &options);
    const uint64_t n_bare = bni_alloc_in_use() - before;
    options.delivery_pool = pool;
    bitnet_request *delivered = submit_well(held.engine, &options);
    const uint64_t n_added = bni_alloc_in_use() - before - 2 * n_bare;
    assert_true(n_added > 0 && n_added <= LISTED + LINE);
    bitnet_request_release(bare);
    bitnet_request_release(delivered);
    let_engine_go(&held);
    destroy_engine(held.engine);
    assert_int_equal(bitnet_thread_pool_destroy(pool), BITNET_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_holds_for_a_full_engine),
        cmocka_unit_test(what_options_add_is_what_the_header_lists),
        cmocka_unit_test(so_is_what_a_delivery_adds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
