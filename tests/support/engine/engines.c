/* SPDX-License-Identifier: MIT */
#include "support/engine/engines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/models.h"

const char *const test_prompts[N_PROMPTS] = {
    "Once upon a time there was a little girl named Lily.",
    "Tom and his dog went to the park. They saw",
    "The sun was hot and the",
    "One day, a small bird",
    "Mom said, \"Please",
    "Ben had a big red ball. He",
    "There was a cat who did not like",
    ("In the forest lived an old bear. Every morning the bear went to the river to "
     "look "
     "for fish, and every morning a little fox came too and asked"),
    "\"Can I play with you?\" asked",
    "It was raining, so the children",
    "A",
    "The little boat wanted to see the sea. It asked the wind to help, and the wind "
    "said",
};

bitnet_model *load_model_with(bitnet_head_copy head_copy)
{
    bitnet_model *model;
    bitnet_model_options options = bitnet_model_options_default();
    options.head_copy = head_copy;
    if (bitnet_model_load(SHIPPED_MODEL, &options, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return model;
}

bitnet_model *load_model(void)
{
    return load_model_with(BITNET_HEAD_COPY_AUTO);
}

bitnet_engine *create_engine(bitnet_model *model, const bitnet_engine_options *options)
{
    bitnet_engine *engine;
    if (bitnet_engine_create(model, options, &engine) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return engine;
}

void destroy_engine(bitnet_engine *engine)
{
    assert_int_equal(bitnet_engine_destroy(engine), BITNET_OK);
}

bitnet_result generate_well(bitnet_engine *engine,
                            const bitnet_generate_options *options, const char *prompt)
{
    bitnet_result result;
    if (bitnet_generate(engine, options, prompt, &result) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return result;
}

bitnet_generate_options mixed_options(unsigned i)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    options.seed = i;
    options.client_id = i % 5;
    options.priority = (int32_t)(i % 3) - 1;
    options.max_tokens = 8 + i * 7 % 33;
    options.temperature = i % 3 == 0 ? 0.0f : 0.5f + 0.1f * (float)(i % 7);
    options.top_k = i % 4 == 1 ? 0 : 40;
    options.top_p = i % 5 == 2 ? 1.0f : 0.9f;
    options.min_p = i % 2 == 0 ? 0.0f : 0.05f;
    options.repeat_penalty = i % 4 == 3 ? 1.2f : 1.0f;
    return options;
}

void assert_same_result(const bitnet_result *a, const bitnet_result *b, size_t n_vocab)
{
    assert_int_equal(a->finish, b->finish);
    assert_int_equal(a->n_prompt_tokens, b->n_prompt_tokens);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof(*a->tokens));
    assert_string_equal(a->text, b->text);
    if (a->logits == NULL || b->logits == NULL) return;
    assert_int_equal(a->n_logit_rows, b->n_logit_rows);
    assert_memory_equal(a->logits, b->logits,
                        a->n_logit_rows * n_vocab * sizeof(*a->logits));
}
