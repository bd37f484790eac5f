/* SPDX-License-Identifier: MIT */
/*
 * scoring.c - see scoring.h.
 *
 * A few windows are under way at a time, so that the engine's steps are full while one
 * of them ends and the next begins; they are collected in their order.
 */
#include "scoring.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bitnet/clock.h>
#include <bitnet/score.h>

#include "complain.h"
#include "interrupt.h"

enum { MAX_UNDER_WAY = 4, FRAME_NS = 50000000, BAR_COLUMNS = 30 };

static size_t end_of(const struct scoring *s, size_t index)
{
    const size_t begin = index * s->stride;
    return s->n_tokens - begin < s->n_ctx ? s->n_tokens : begin + s->n_ctx;
}

struct window scoring_window(const struct scoring *s, size_t index)
{
    struct window window = {.begin = index * s->stride, .first_scored = 1};
    window.n_tokens = end_of(s, index) - window.begin;
    if (index == 0) return window;
    const size_t n_context = end_of(s, index - 1) - window.begin;
    if (n_context > 1) window.first_scored = n_context;
    return window;
}

/* A last window of one token has nothing to score. */
static size_t count_windows(const struct scoring *s)
{
    if (s->n_tokens <= s->n_ctx) return 1;
    const size_t n_more = (s->n_tokens - s->n_ctx + s->stride - 1) / s->stride;
    return s->n_tokens - n_more * s->stride > 1 ? n_more + 1 : n_more;
}

struct loss scoring_loss(const struct scoring *s)
{
    const double n = (double)s->n_scored;
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < s->n_tokens; i++)
        if (!isnan(s->logprobs[i])) sum -= (double)s->logprobs[i];
    struct loss loss = {.mean = sum / n};
    for (size_t i = 0; i < s->n_tokens; i++) {
        const double from_mean = -(double)s->logprobs[i] - loss.mean;
        if (!isnan(s->logprobs[i])) squares += from_mean * from_mean;
    }
    if (s->n_scored > 1) loss.mean_error = sqrt(squares / (n - 1) / n);
    loss.perplexity = exp(loss.mean);
    loss.perplexity_error = loss.perplexity * loss.mean_error;
    return loss;
}

/* ---- progress -------------------------------------------------------------------------- */

struct progress {
    bool is_shown;
    uint64_t begin_ns;
    uint64_t last_frame_ns;
    double sum; /* of -ln p so far */
};

static struct progress begin_progress(void)
{
    const char *term = getenv("TERM");
    return (struct progress){
        .is_shown =
            isatty(STDERR_FILENO) == 1 && term != NULL && strcmp(term, "dumb") != 0,
        .begin_ns = bitnet_clock_ns(),
    };
}

static void show_progress(struct progress *progress, const struct scoring *s)
{
    const uint64_t now_ns = bitnet_clock_ns();
    if (!progress->is_shown || s->n_scored == 0 ||
        (progress->last_frame_ns != 0 && now_ns - progress->last_frame_ns < FRAME_NS))
        return;
    progress->last_frame_ns = now_ns;
    char bar[BAR_COLUMNS + 1];
    const size_t n_full = s->n_done * BAR_COLUMNS / s->n_windows;
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', n_full);
    bar[BAR_COLUMNS] = '\0';
    fprintf(stderr, "\r[%s] %3zu %%  perplexity %.3f  %.0f tokens/s\033[K", bar,
            s->n_done * 100 / s->n_windows, exp(progress->sum / (double)s->n_scored),
            (double)s->n_computed * 1e9 / (double)(now_ns - progress->begin_ns));
    fflush(stderr);
}

static void end_progress(const struct progress *progress)
{
    if (progress->last_frame_ns != 0) fputs("\r\033[K", stderr);
}

/* ---- windows --------------------------------------------------------------------------- */

static bitnet_status start(const struct scoring *s, size_t index, bitnet_request **out)
{
    const struct window window = scoring_window(s, index);
    bitnet_score_options options = bitnet_score_options_default();
    options.first_scored = window.first_scored;
    return bitnet_score_async(s->engine, &options, s->tokens + window.begin,
                              window.n_tokens, out);
}

/* Waits for the window's request and takes its numbers. */
static bitnet_status collect(struct scoring *s, size_t index, bitnet_request *request,
                             struct progress *progress)
{
    const struct window window = scoring_window(s, index);
    const float *logprobs;
    size_t n;
    bitnet_result result;
    bitnet_status status = bitnet_request_wait(request, &result);
    const size_t n_cached = result.n_cached_tokens;
    bitnet_result_release(&result);
    if (status == BITNET_OK) status = bitnet_request_get_score(request, &logprobs, &n);
    if (status != BITNET_OK) return status;
    for (size_t i = 0; i < n; i++) {
        s->logprobs[window.begin + window.first_scored + i] = logprobs[i];
        progress->sum -= (double)logprobs[i];
    }
    s->n_scored += n;
    s->n_computed += window.n_tokens - 1 - n_cached;
    s->n_done++;
    return BITNET_OK;
}

int scoring_run(struct scoring *s)
{
    s->logprobs = malloc(s->n_tokens * sizeof(*s->logprobs));
    if (s->logprobs == NULL) {
        complain("cannot hold %zu numbers: out of memory", s->n_tokens);
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < s->n_tokens; i++) s->logprobs[i] = NAN;
    s->n_windows = count_windows(s);

    struct progress progress = begin_progress();
    bitnet_request *under_way[MAX_UNDER_WAY];
    bitnet_status status = BITNET_OK;
    size_t n_started = 0;
    size_t n_ended = 0;
    while (n_ended < n_started || (status == BITNET_OK && n_started < s->n_windows)) {
        if (status == BITNET_OK && n_started < s->n_windows &&
            n_started - n_ended < MAX_UNDER_WAY && !interrupt_is_pending()) {
            status = start(s, n_started, &under_way[n_started % MAX_UNDER_WAY]);
            if (status == BITNET_OK) n_started++;
            continue;
        }
        if (n_ended == n_started) break; /* interrupted between windows */
        bitnet_request *request = under_way[n_ended % MAX_UNDER_WAY];
        if (status == BITNET_OK) status = collect(s, n_ended, request, &progress);
        bitnet_request_release(request);
        n_ended++;
        show_progress(&progress, s);
    }
    s->elapsed_ns = bitnet_clock_ns() - progress.begin_ns;
    end_progress(&progress);
    s->is_interrupted = interrupt_is_pending();
    if (status == BITNET_OK || s->is_interrupted) return EXIT_DONE;
    complain("%s", bitnet_last_error());
    return EXIT_FAILED;
}
