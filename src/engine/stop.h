/* SPDX-License-Identifier: MIT */
/*
 * stop.h - strings and tokens that end a generation.
 *
 * A stop string is looked for in the text, byte by byte, wherever tokens begin and
 * end. For each string the matcher keeps how many of its bytes the text ends with
 * (Knuth, Morris and Pratt, 1977), which is at once how much of the text may not be
 * given out yet. The string that is complete first counts; of several that are
 * complete at the same byte, the longest.
 *
 * Rules are fixed once made. The scheduler and the consumer each have a matcher of
 * their own: the same bytes stop both at the same place.
 */
#ifndef BNI_ENGINE_STOP_H
#define BNI_ENGINE_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

struct bni_stop_string {
    const uint8_t *bytes;
    const uint8_t
        *borders; /* [n_bytes] longest proper border of the first i + 1 bytes */
    uint32_t n_bytes;
};

/* All zeros: nothing stops. */
struct bni_stop_rules {
    uint32_t n_strings;
    uint32_t n_tokens;
    uint32_t longest_bytes; /* of the strings; 0: none */
    const struct bni_stop_string *strings;
    const bitnet_token *tokens;
    void *block; /* behind all of it */
};

struct bni_stop_matcher {
    uint16_t n_matched[BITNET_MAX_STOP_STRINGS];
};

/* Copies stop strings and tokens from options that have been checked. */
bitnet_status bni_stop_rules_init(struct bni_stop_rules *rules,
                                  const bitnet_generate_options *options);
void bni_stop_rules_free(struct bni_stop_rules *rules);

bool bni_stop_rules_have_token(const struct bni_stop_rules *rules, bitnet_token token);

/* Reads one byte. Returns the length of the string that is complete now, or 0; after
 * a complete one the matcher is not to be used. */
size_t bni_stop_matcher_push(struct bni_stop_matcher *matcher,
                             const struct bni_stop_rules *rules, uint8_t byte);

/* Returns how many bytes at the end of the text may be the start of a stop string. */
size_t bni_stop_matcher_n_held(const struct bni_stop_matcher *matcher,
                               const struct bni_stop_rules *rules);

#endif
