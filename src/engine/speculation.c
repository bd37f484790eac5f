/* SPDX-License-Identifier: MIT */
/*
 * speculation.c - see speculation.h.
 *
 * The look-up is a scan backwards and keeps nothing between steps. It reads a few
 * thousand tokens, of which most differ at once, where a step of the smallest model
 * reads millions of weights.
 */
#include "engine/speculation.h"

#include <stdbool.h>

enum {
    LOOK_BACK = 4096,   /* tokens */
    LONGEST_MATCH = 4,  /* longer ones are not preferred */
    SHORTEST_MATCH = 3, /* shorter ones were mostly wrong with the shipped model */
    FIRST_DRAFTS = 2,   /* before anything is known */
    FIRST_SKIP = 8,     /* steps after a try in vain; twice as many after the next */
    LONGEST_SKIP = 64,
};

/* A step of n rows takes about n + this times as long as one more row does. Measured as
 * processor time with the shipped model (3.7M, one thread, AVX2, Zen 3), the first to be
 * slowed down: with larger ones, which are bound by memory, a draft pays earlier. */
static const float step_over_row = 0.5f;

/* What is believed of a request's proposals before the first. */
static const float first_rate = 0.75f;

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- how much ------------------------------------------------------------------------ */

void bni_speculation_init(struct bni_speculation *speculation, uint32_t max_drafts)
{
    *speculation = (struct bni_speculation){
        .max_drafts = max_drafts,
        .n_wanted = least(max_drafts, FIRST_DRAFTS),
        .rate = first_rate,
    };
}

static bool is_worth_it(const struct bni_speculation *speculation)
{
    return speculation->rate >= speculation->rate_needed;
}

uint32_t bni_speculation_begin_step(struct bni_speculation *speculation,
                                    uint32_t n_generating)
{
    const float n = (float)n_generating;
    speculation->rate_needed = n / (n + step_over_row);
    if (speculation->n_to_skip == 0)
        return is_worth_it(speculation) ? speculation->n_wanted
                                        : least(speculation->max_drafts, 1);
    speculation->n_to_skip--;
    return 0;
}

void bni_speculation_learn(struct bni_speculation *speculation, uint32_t n_drafts,
                           uint32_t n_accepted)
{
    const float rate = (float)n_accepted / (float)n_drafts;
    speculation->rate += (rate - speculation->rate) / 4.0f;
    if (n_accepted == n_drafts)
        speculation->n_wanted = least(2 * n_drafts, speculation->max_drafts);
    else
        speculation->n_wanted = n_accepted > 0 ? n_accepted : 1;

    if (is_worth_it(speculation)) {
        speculation->skip_length = 0;
    } else if (n_accepted < n_drafts) {
        const uint32_t longer = least(2 * speculation->skip_length, LONGEST_SKIP);
        speculation->skip_length = longer > 0 ? longer : FIRST_SKIP;
        speculation->n_to_skip = speculation->skip_length;
    }
}

/* ---- what ---------------------------------------------------------------------------- */

/* Equal tokens before `a` and before `b`, at most LONGEST_MATCH; b < a. */
static uint32_t match_length(const bitnet_token *tokens, uint32_t a, uint32_t b)
{
    const uint32_t longest = least(b, LONGEST_MATCH);
    uint32_t n = 0;
    while (n < longest && tokens[a - 1 - n] == tokens[b - 1 - n]) n++;
    return n;
}

uint32_t bni_draft(bitnet_token *tokens, uint32_t n_tokens, uint32_t n_wanted)
{
    const uint32_t first = n_tokens > LOOK_BACK ? n_tokens - LOOK_BACK : 0;
    uint32_t best = 0; /* what follows there is proposed */
    uint32_t best_length = SHORTEST_MATCH - 1;
    for (uint32_t at = n_tokens; at-- > first + 1 && best_length < LONGEST_MATCH;) {
        const uint32_t length = match_length(tokens, n_tokens, at);
        if (length <= best_length) continue; /* of equals the newest */
        best = at;
        best_length = length;
    }
    if (best == 0) return 0;
    /* Where the match runs into what is written here, the text is a loop, and goes on. */
    for (uint32_t i = 0; i < n_wanted; i++) tokens[n_tokens + i] = tokens[best + i];
    return n_wanted;
}
