/* SPDX-License-Identifier: MIT */
/*
 * sampling_options.c - see sampling_options.h.
 */
#include "engine/sampling_options.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/utf8.h"

static const float max_bias = 1000.0f;

/* ---- checks ------------------------------------------------------------------------ */

static bool is_within(float value, float min, float max)
{
    return value >= min && value <= max; /* false for NaN */
}

static bitnet_status check_numbers(const bitnet_generate_options *options)
{
    const struct {
        const char *name;
        float value, min, max;
    } ranges[] = {
        {"temperature", options->temperature, 0.0f, 100.0f},
        {"typical_p", options->typical_p, 1e-6f, 1.0f},
        {"top_p", options->top_p, 1e-6f, 1.0f},
        {"min_p", options->min_p, 0.0f, 1.0f},
        {"repeat_penalty", options->repeat_penalty, 0.1f, 10.0f},
        {"frequency_penalty", options->frequency_penalty, -10.0f, 10.0f},
        {"presence_penalty", options->presence_penalty, -10.0f, 10.0f},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (!is_within(ranges[i].value, ranges[i].min, ranges[i].max))
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: %s is %g; it must be from %g to %g",
                             ranges[i].name, (double)ranges[i].value,
                             (double)ranges[i].min, (double)ranges[i].max);
    }
    if (options->repeat_last_n > BNI_PENALTIES_MAX_LAST_N)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: repeat_last_n is %" PRIu32 "; at most %d",
                         options->repeat_last_n, BNI_PENALTIES_MAX_LAST_N);
    if (options->max_draft_tokens > BITNET_MAX_DRAFT_TOKENS)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: max_draft_tokens is %" PRIu32 "; at most %d",
                         options->max_draft_tokens, BITNET_MAX_DRAFT_TOKENS);
    if (options->top_logprobs > BITNET_MAX_TOP_LOGPROBS)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: top_logprobs is %" PRIu32 "; at most %d",
                         options->top_logprobs, BITNET_MAX_TOP_LOGPROBS);
    if (options->top_logprobs > 0 && !options->keeps_logprobs)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: top_logprobs is %" PRIu32
                         ", which needs keeps_logprobs to be set",
                         options->top_logprobs);
    return BITNET_OK;
}

/* A list: at most `max` entries, and not NULL if it has any. */
static bitnet_status check_list(const char *name, const void *list, size_t n,
                                size_t max)
{
    if (n > max)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: n_%s is %zu; at most %zu", name, n, max);
    if (n > 0 && list == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "generate: n_%s is %zu, but %s is NULL", name, n, name);
    return BITNET_OK;
}

static bool is_in_vocabulary(bitnet_token token, uint32_t n_vocab)
{
    return token >= 0 && (uint32_t)token < n_vocab;
}

static bitnet_status check_biases(const bitnet_generate_options *options,
                                  uint32_t n_vocab)
{
    const bitnet_status status =
        check_list("logit_biases", options->logit_biases, options->n_logit_biases,
                   BITNET_MAX_LOGIT_BIASES);
    if (status != BITNET_OK) return status;
    for (size_t i = 0; i < options->n_logit_biases; i++) {
        const bitnet_logit_bias *b = &options->logit_biases[i];
        if (!is_in_vocabulary(b->token, n_vocab))
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: logit_biases[%zu].token is %" PRId32
                             "; the vocabulary has %" PRIu32 " tokens",
                             i, b->token, n_vocab);
        if (b->bias != -INFINITY && !is_within(b->bias, -max_bias, max_bias))
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: logit_biases[%zu].bias is %g; it must be from "
                             "%g to %g, or -infinity to ban the token",
                             i, (double)b->bias, (double)-max_bias, (double)max_bias);
    }
    return BITNET_OK;
}

static bool is_utf8(const char *bytes, size_t n_bytes)
{
    for (size_t i = 0, length; i < n_bytes; i += length)
        if (bni_utf8_next((const uint8_t *)bytes + i, n_bytes - i, &length) !=
            BNI_UTF8_CHARACTER)
            return false;
    return true;
}

static bitnet_status check_stops(const bitnet_generate_options *options,
                                 uint32_t n_vocab)
{
    bitnet_status status = check_list("stop_strings", options->stop_strings,
                                      options->n_stop_strings, BITNET_MAX_STOP_STRINGS);
    if (status == BITNET_OK)
        status = check_list("stop_tokens", options->stop_tokens, options->n_stop_tokens,
                            BITNET_MAX_STOP_TOKENS);
    if (status != BITNET_OK) return status;
    for (size_t i = 0; i < options->n_stop_strings; i++) {
        const char *string = options->stop_strings[i];
        if (string == NULL)
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: stop_strings[%zu] is NULL", i);
        const size_t n_bytes = strnlen(string, BITNET_MAX_STOP_STRING_BYTES + 1);
        if (n_bytes == 0 || n_bytes > BITNET_MAX_STOP_STRING_BYTES)
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: stop_strings[%zu] is %s; it must have from 1 "
                             "to %d bytes",
                             i, n_bytes == 0 ? "empty" : "longer",
                             BITNET_MAX_STOP_STRING_BYTES);
        if (!is_utf8(string, n_bytes)) {
            struct bni_quote quote;
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: stop_strings[%zu] \"%s\" is not UTF-8, so no "
                             "text could have it",
                             i, bni_quote_bytes(&quote, string, n_bytes));
        }
    }
    for (size_t i = 0; i < options->n_stop_tokens; i++)
        if (!is_in_vocabulary(options->stop_tokens[i], n_vocab))
            return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                             "generate: stop_tokens[%zu] is %" PRId32
                             "; the vocabulary has %" PRIu32 " tokens",
                             i, options->stop_tokens[i], n_vocab);
    return BITNET_OK;
}

bitnet_status bni_sampling_options_check(const bitnet_generate_options *options,
                                         uint32_t n_vocab)
{
    bitnet_status status = check_numbers(options);
    if (status == BITNET_OK) status = check_biases(options, n_vocab);
    if (status == BITNET_OK) status = check_stops(options, n_vocab);
    return status;
}

/* ---- the sampler ------------------------------------------------------------------- */

bitnet_status bni_sampler_init(struct bni_sampler *sampler,
                               const bitnet_generate_options *options)
{
    bitnet_logit_bias *biases = NULL;
    const size_t n_bytes = options->n_logit_biases * sizeof(*biases);
    if (n_bytes > 0) {
        biases = bni_alloc(n_bytes);
        if (biases == NULL) return bitnet_last_status();
        memcpy(biases, options->logit_biases, n_bytes);
    }
    *sampler = (struct bni_sampler){
        .penalties =
            {
                .repeat = options->repeat_penalty,
                .frequency = options->frequency_penalty,
                .presence = options->presence_penalty,
                .last_n = options->repeat_last_n,
                .n_biases = (uint32_t)options->n_logit_biases,
                .biases = biases,
            },
        .temperature = options->temperature,
        .typical_p = options->typical_p,
        .top_p = options->top_p,
        .min_p = options->min_p,
        .top_k = options->top_k,
        .seed = options->seed,
    };
    return BITNET_OK;
}

void bni_sampler_free(struct bni_sampler *sampler)
{
    bni_free((void *)sampler->penalties.biases);
    sampler->penalties.biases = NULL;
    sampler->penalties.n_biases = 0;
}
