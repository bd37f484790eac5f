/* SPDX-License-Identifier: MIT */
#include "support/engine/same_answer.h"

#include <stdbool.h>
#include <string.h>

static bool same_bytes(const void *a, const void *b, size_t n_bytes)
{
    return n_bytes == 0 || memcmp(a, b, n_bytes) == 0;
}

const char *begins_otherwise(const bitnet_result *result, const bitnet_result *alone,
                             size_t n_vocab)
{
    if (result->n_tokens > alone->n_tokens) return "more tokens";
    if (!same_bytes(result->tokens, alone->tokens,
                    result->n_tokens * sizeof(*result->tokens)))
        return "other tokens";
    if (result->n_logit_rows > alone->n_logit_rows) return "more rows of logits";
    if (!same_bytes(result->logits, alone->logits,
                    result->n_logit_rows * n_vocab * sizeof(float)))
        return "other logits";
    if ((result->logprobs == NULL) != (alone->logprobs == NULL))
        return "log-probabilities kept by one only";
    if (result->logprobs == NULL) return NULL;
    if (!same_bytes(result->logprobs, alone->logprobs,
                    result->n_tokens * sizeof(float)))
        return "other log-probabilities";
    if (result->n_top_logprobs != alone->n_top_logprobs ||
        !same_bytes(result->top_logprobs, alone->top_logprobs,
                    result->n_tokens * result->n_top_logprobs *
                        sizeof(*result->top_logprobs)))
        return "other most likely tokens";
    return NULL;
}

const char *answers_otherwise(const bitnet_result *result, const bitnet_result *alone,
                              size_t n_vocab)
{
    const char *difference = begins_otherwise(result, alone, n_vocab);
    if (difference != NULL) return difference;
    if (result->n_tokens != alone->n_tokens) return "fewer tokens";
    if (result->n_logit_rows != alone->n_logit_rows) return "fewer rows of logits";
    if (result->finish != alone->finish) return "another reason for the end";
    if (result->n_prompt_tokens != alone->n_prompt_tokens) return "another prompt";
    if (result->text_len != alone->text_len ||
        !same_bytes(result->text, alone->text, result->text_len))
        return "other text";
    return NULL;
}
