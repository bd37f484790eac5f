/* SPDX-License-Identifier: MIT */
/*
 * scoring.h - a long text through bitnet_score(), in windows.
 *
 *     tokens      0 1 2 3 4 5 6 7 8 9 ...
 *     window 0    c s s s s s s s            8 tokens, every 6: c context, s scored
 *     window 1                c c s s s s s s
 *
 * Each window begins `stride` tokens after the one before it and scores what that has
 * not. So every token but the first is scored once; unless the stride is the whole
 * window, when each window's first token has nothing before it and is left out.
 */
#ifndef CLI_SCORING_H
#define CLI_SCORING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>

struct window {
    size_t begin;
    size_t n_tokens;
    size_t first_scored; /* from `begin` */
};

struct scoring {
    bitnet_engine *engine;
    const bitnet_token *tokens;
    size_t n_tokens;
    size_t n_ctx;
    size_t stride; /* from 1 to n_ctx */

    /* Made by scoring_run(). */
    float *logprobs; /* [n_tokens], NaN where there is none; for free() */
    size_t n_windows;
    size_t n_done;     /* windows; fewer if it was interrupted */
    size_t n_scored;   /* tokens */
    size_t n_computed; /* rows, those of contexts included */
    uint64_t elapsed_ns;
    bool is_interrupted;
};

/* Mean of -ln p, its standard error as if tokens were independent, exp() of both. */
struct loss {
    double mean;
    double mean_error;
    double perplexity;
    double perplexity_error;
};

/* Returns window `index` of the text, of which there are scoring->n_windows. */
struct window scoring_window(const struct scoring *scoring, size_t index);

/*
 * Scores the text, with progress on standard error if that is a terminal. Returns an exit
 * code; unless it is EXIT_DONE, one line on standard error has said why.
 */
int scoring_run(struct scoring *scoring);

struct loss scoring_loss(const struct scoring *scoring);

#endif
