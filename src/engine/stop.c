/* SPDX-License-Identifier: MIT */
/*
 * stop.c - see stop.h.
 */
#include "engine/stop.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* borders[i]: the longest proper prefix of the first i + 1 bytes that also ends them. */
static void find_borders(const uint8_t *bytes, size_t n_bytes, uint8_t *borders)
{
    borders[0] = 0;
    for (size_t i = 1; i < n_bytes; i++) {
        size_t n = borders[i - 1];
        while (n > 0 && bytes[n] != bytes[i]) n = borders[n - 1];
        borders[i] = (uint8_t)(n + (bytes[n] == bytes[i]));
    }
}

bitnet_status bni_stop_rules_init(struct bni_stop_rules *rules,
                                  const bitnet_generate_options *options)
{
    *rules = (struct bni_stop_rules){0};
    if (options->n_stop_strings == 0 && options->n_stop_tokens == 0) return BITNET_OK;

    /* The counts and lengths have been checked: this is at most some 40 KiB. */
    size_t n_text = 0;
    for (size_t i = 0; i < options->n_stop_strings; i++)
        n_text += strlen(options->stop_strings[i]);
    const size_t strings_bytes =
        options->n_stop_strings * sizeof(struct bni_stop_string);
    const size_t tokens_bytes = options->n_stop_tokens * sizeof(bitnet_token);
    char *block = bni_calloc(1, strings_bytes + tokens_bytes + 2 * n_text);
    if (block == NULL) return bitnet_last_status();

    struct bni_stop_string *strings = (struct bni_stop_string *)(void *)block;
    bitnet_token *tokens = (bitnet_token *)(void *)(block + strings_bytes);
    uint8_t *bytes = (uint8_t *)block + strings_bytes + tokens_bytes;
    for (size_t i = 0; i < options->n_stop_strings; i++) {
        const size_t n_bytes = strlen(options->stop_strings[i]);
        memcpy(bytes, options->stop_strings[i], n_bytes);
        find_borders(bytes, n_bytes, bytes + n_bytes);
        strings[i] =
            (struct bni_stop_string){bytes, bytes + n_bytes, (uint32_t)n_bytes};
        if (n_bytes > rules->longest_bytes) rules->longest_bytes = (uint32_t)n_bytes;
        bytes += 2 * n_bytes;
    }
    for (size_t i = 0; i < options->n_stop_tokens; i++)
        tokens[i] = options->stop_tokens[i];
    rules->n_strings = (uint32_t)options->n_stop_strings;
    rules->n_tokens = (uint32_t)options->n_stop_tokens;
    rules->strings = strings;
    rules->tokens = tokens;
    rules->block = block;
    return BITNET_OK;
}

void bni_stop_rules_free(struct bni_stop_rules *rules)
{
    bni_free(rules->block);
    *rules = (struct bni_stop_rules){0};
}

bool bni_stop_rules_have_token(const struct bni_stop_rules *rules, bitnet_token token)
{
    for (uint32_t i = 0; i < rules->n_tokens; i++)
        if (rules->tokens[i] == token) return true;
    return false;
}

size_t bni_stop_matcher_push(struct bni_stop_matcher *matcher,
                             const struct bni_stop_rules *rules, uint8_t byte)
{
    size_t n_complete = 0;
    for (uint32_t i = 0; i < rules->n_strings; i++) {
        const struct bni_stop_string *string = &rules->strings[i];
        size_t n = matcher->n_matched[i];
        while (n > 0 && string->bytes[n] != byte) n = string->borders[n - 1];
        n += string->bytes[n] == byte;
        matcher->n_matched[i] = (uint16_t)n;
        if (n == string->n_bytes && n > n_complete) n_complete = n;
    }
    return n_complete;
}

size_t bni_stop_matcher_n_held(const struct bni_stop_matcher *matcher,
                               const struct bni_stop_rules *rules)
{
    size_t n_held = 0;
    for (uint32_t i = 0; i < rules->n_strings; i++)
        if (matcher->n_matched[i] > n_held) n_held = matcher->n_matched[i];
    return n_held;
}
