/* SPDX-License-Identifier: MIT */
/*
 * batch.c - see batch.h.
 *
 * The threads share one counter, the index of the next request. Everything else a
 * thread writes belongs to the request it has taken, and is read after the join.
 */
#include "batch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/clock.h>

#include "complain.h"
#include "interrupt.h"

/* What the threads of one batch_serve() see. */
struct calling {
    struct batch *batch;
    const struct serving *serving;
    atomic_size_t next;
};

/* What one request's callback sees. */
struct streaming {
    struct display *display;
    size_t index;
};

bool batch_init(struct batch *batch, char *const *prompts, size_t n_prompts,
                uint64_t first_seed)
{
    *batch = (struct batch){0};
    batch->requests = calloc(n_prompts, sizeof(*batch->requests));
    if (batch->requests == NULL) return false;
    batch->n_requests = n_prompts;
    for (size_t i = 0; i < n_prompts; i++) {
        batch->requests[i].prompt = prompts[i];
        batch->requests[i].seed = first_seed + i;
    }
    return true;
}

static bool must_stop(struct display *display)
{
    return interrupt_is_pending() || (display != NULL && display_has_failed(display));
}

static bool take_text(void *user, const char *text, size_t text_len)
{
    struct streaming *streaming = user;
    if (streaming->display != NULL)
        display_text(streaming->display, streaming->index, text, text_len);
    return !must_stop(streaming->display);
}

static void serve_one(const struct serving *serving, struct request *request,
                      size_t index)
{
    struct streaming streaming = {.display = serving->display, .index = index};
    bitnet_generate_options options = serving->sampling;
    options.seed = request->seed;
    options.on_text = take_text;
    options.user = &streaming;

    request->was_started = true;
    if (serving->display != NULL) display_start(serving->display, index);
    request->status =
        bitnet_generate(serving->engine, &options, request->prompt, &request->result);
    if (request->status != BITNET_OK)
        snprintf(request->error, sizeof(request->error), "%s", bitnet_last_error());
    if (serving->display != NULL) display_finish(serving->display, index);
}

static void *caller_main(void *user)
{
    struct calling *calling = user;
    struct batch *batch = calling->batch;
    while (!must_stop(calling->serving->display)) {
        const size_t index = atomic_fetch_add(&calling->next, 1);
        if (index >= batch->n_requests) break;
        serve_one(calling->serving, &batch->requests[index], index);
    }
    return NULL;
}

bool batch_serve(struct batch *batch, const struct serving *serving, size_t n_callers)
{
    struct calling calling = {.batch = batch, .serving = serving};
    pthread_t *threads = calloc(n_callers, sizeof(*threads));
    if (threads == NULL) {
        complain("cannot start %zu caller threads: out of memory", n_callers);
        return false;
    }
    const uint64_t begin_ns = bitnet_clock_ns();
    int error = 0;
    batch->n_callers = 0;
    for (size_t i = 0; i < n_callers; i++) {
        error = pthread_create(&threads[i], NULL, caller_main, &calling);
        if (error != 0) break;
        batch->n_callers++;
    }
    for (size_t i = 0; i < batch->n_callers; i++) pthread_join(threads[i], NULL);
    batch->elapsed_ns = bitnet_clock_ns() - begin_ns;
    free(threads);
    if (error != 0)
        complain("started %zu of %zu caller threads: %s", batch->n_callers, n_callers,
                 strerror(error));
    return batch->n_callers > 0; /* fewer are slower, and serve all the same */
}

uint64_t batch_n_tokens(const struct batch *batch)
{
    uint64_t n_tokens = 0;
    for (size_t i = 0; i < batch->n_requests; i++) {
        if (batch->requests[i].status == BITNET_OK)
            n_tokens += batch->requests[i].result.n_tokens;
    }
    return n_tokens;
}

void batch_release(struct batch *batch)
{
    for (size_t i = 0; i < batch->n_requests; i++)
        bitnet_result_release(&batch->requests[i].result);
    free(batch->requests);
    *batch = (struct batch){0};
}
