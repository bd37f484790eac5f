/* SPDX-License-Identifier: MIT */
/*
 * event_loop.h - the work of the event_loop_*.c examples, the same for every loop.
 *
 * 300 jobs and 100 requests, of which only some are in flight at once: the event
 * queue has a place for each of these, and an end makes room for the next. Nothing
 * here waits, and all the state is the one thread's own, so there is no lock.
 *
 *     begin_tasks()       at the start
 *     collect_events()    whenever the queue's descriptor is readable
 *     is_finished()       asked after either
 */
#ifndef EXAMPLES_EVENT_LOOP_H
#define EXAMPLES_EVENT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <bitnet.h>

enum {
    N_JOBS = 300,
    N_REQUESTS = 100,
    MAX_JOBS = 16, /* in flight */
    MAX_REQUESTS = 8,
    MAX_TOKENS = 4
};

/* A job, or a request. Its address is the tag of its events. */
struct task {
    bitnet_request *request; /* or NULL: a job */
    uint32_t number;         /* the job's, squared by it */
    uint64_t square;
    unsigned n_ends;
};

struct loop {
    bitnet_event_queue *events;
    bitnet_thread_pool *pool;
    bitnet_engine *engine;
    bitnet_model *model;
    struct task jobs[N_JOBS];
    struct task requests[N_REQUESTS];
    int n_jobs_begun, n_jobs_ended, n_requests_begun, n_requests_ended;
    size_t n_tokens;
    bool is_good;
};

/* Runs on a thread of the pool; the loop reads the result when it gets the event. */
static bitnet_status square(void *arg)
{
    struct task *task = arg;
    task->square = (uint64_t)task->number * task->number;
    return BITNET_OK;
}

static void fail(struct loop *loop, const char *message)
{
    fprintf(stderr, "%s\n", message);
    loop->is_good = false;
}

static void begin_job(struct loop *loop)
{
    struct task *task = &loop->jobs[loop->n_jobs_begun];
    task->number = (uint32_t)loop->n_jobs_begun;
    bitnet_submit_options options = bitnet_submit_options_default();
    options.when_full = BITNET_SUBMIT_REFUSE; /* rather than wait */
    options.events = loop->events;
    options.event_tag = (uintptr_t)task;
    if (bitnet_thread_pool_submit_with(loop->pool, square, task, &options, NULL) !=
        BITNET_OK)
        fail(loop, bitnet_last_error());
    loop->n_jobs_begun++;
}

static void begin_request(struct loop *loop)
{
    struct task *task = &loop->requests[loop->n_requests_begun];
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = MAX_TOKENS;
    options.seed = (uint64_t)loop->n_requests_begun;
    options.when_full = BITNET_WHEN_FULL_REFUSE; /* rather than wait */
    options.events = loop->events;
    options.event_tag = (uintptr_t)task;
    if (bitnet_generate_async(loop->engine, &options, "Once upon a time",
                              &task->request) != BITNET_OK)
        fail(loop, bitnet_last_error());
    loop->n_requests_begun++;
}

/* Begins as many as may be in flight. */
static void begin_tasks(struct loop *loop)
{
    while (loop->is_good && loop->n_jobs_begun < N_JOBS &&
           loop->n_jobs_begun - loop->n_jobs_ended < MAX_JOBS)
        begin_job(loop);
    while (loop->is_good && loop->n_requests_begun < N_REQUESTS &&
           loop->n_requests_begun - loop->n_requests_ended < MAX_REQUESTS)
        begin_request(loop);
}

/* Takes the tokens that are there: a deadline of 0 has passed, so this never waits. */
static void take_tokens(struct loop *loop, bitnet_request *request)
{
    bitnet_token token;
    while (bitnet_request_next(request, 0, &token, NULL, NULL) == BITNET_OK)
        loop->n_tokens += token != BITNET_NO_TOKEN; /* NO_TOKEN: a last piece of text */
}

static void handle_event(struct loop *loop, const bitnet_event *event)
{
    struct task *task = (struct task *)(uintptr_t)event->tag;
    if (event->kind == BITNET_EVENT_JOB_ENDED) {
        loop->n_jobs_ended++;
        if (task->square != (uint64_t)task->number * task->number)
            fail(loop, "a job's event came before its result");
    } else {
        take_tokens(loop, task->request);
        if (event->kind != BITNET_EVENT_REQUEST_ENDED) return;
        loop->n_requests_ended++;
        bitnet_request_release(task->request);
        task->request = NULL;
    }
    task->n_ends++;
    if (event->status != BITNET_OK) fail(loop, bitnet_status_name(event->status));
}

static void collect_events(struct loop *loop)
{
    bitnet_event event;
    while (bitnet_event_queue_next(loop->events, &event)) handle_event(loop, &event);
    begin_tasks(loop);
}

/* Also after a failure: then there is nothing to wait for. */
static bool is_finished(const struct loop *loop)
{
    return !loop->is_good ||
           (loop->n_jobs_ended == N_JOBS && loop->n_requests_ended == N_REQUESTS);
}

static bool set_up(struct loop *loop, const char *model_path)
{
    loop->is_good = bitnet_event_queue_create(MAX_JOBS + MAX_REQUESTS, &loop->events) ==
                        BITNET_OK &&
                    bitnet_thread_pool_create(NULL, &loop->pool) == BITNET_OK &&
                    bitnet_model_load(model_path, NULL, &loop->model) == BITNET_OK &&
                    bitnet_engine_create(loop->model, NULL, &loop->engine) == BITNET_OK;
    if (!loop->is_good) fprintf(stderr, "%s\n", bitnet_last_error());
    return loop->is_good;
}

/* Frees everything. Returns whether each task has ended well, exactly once. */
static bool tear_down(struct loop *loop)
{
    bool is_good = loop->is_good;
    for (int i = 0; i < N_JOBS; i++) is_good = is_good && loop->jobs[i].n_ends == 1;
    for (int i = 0; i < N_REQUESTS; i++) {
        is_good = is_good && loop->requests[i].n_ends == 1;
        bitnet_request_release(loop->requests[i].request); /* after a failure */
    }
    printf("%d jobs and %d requests ended, %zu tokens\n", loop->n_jobs_ended,
           loop->n_requests_ended, loop->n_tokens);
    bitnet_engine_destroy(loop->engine);
    bitnet_model_release(loop->model);
    bitnet_thread_pool_destroy(loop->pool); /* waits for jobs in flight */
    bitnet_event_queue_destroy(loop->events);
    return is_good;
}

#endif
