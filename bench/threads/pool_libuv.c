/* SPDX-License-Identifier: MIT */
/*
 * pool_libuv.c - libuv's uv_queue_work(): unbounded, one pool for the process.
 *
 * Work belongs to an event loop and only that loop's thread may submit it, so each
 * submitting thread has a loop of its own, and runs it to get its requests back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "peer.h"

static _Thread_local uv_loop_t thread_loop;
static _Thread_local bool has_thread_loop;

struct request {
    uv_work_t work;
    const struct bench_job *job;
};

static uv_loop_t *own_loop(void)
{
    if (!has_thread_loop && uv_loop_init(&thread_loop) != 0)
        bench_give_up("libuv: no event loop to be had");
    has_thread_loop = true;
    return &thread_loop;
}

static void run_job(uv_work_t *work)
{
    const struct request *request = work->data;
    request->job->fn(request->job->arg);
}

static void free_request(uv_work_t *work, int status)
{
    (void)status;
    free(work->data);
}

/* libuv reads the number once, when the first job comes. */
static void *create(unsigned n_threads)
{
    static char nothing;
    char number[16];
    snprintf(number, sizeof(number), "%u", n_threads);
    setenv("UV_THREADPOOL_SIZE", number, 1);
    return &nothing;
}

static void submit(void *pool, struct bench_job *job)
{
    (void)pool;
    struct request *request = malloc(sizeof(*request));
    if (request == NULL) bench_give_up("out of memory for a job");
    request->work.data = request;
    request->job = job;
    if (uv_queue_work(own_loop(), &request->work, run_job, free_request) != 0)
        bench_give_up("libuv refused a job");
}

static void run_loop(void *pool)
{
    (void)pool;
    uv_run(own_loop(), UV_RUN_DEFAULT);
}

const struct bench_queue bench_queue_libuv = {
    .create = create,
    .submit = submit,
    .wait = run_loop,
    .collect = run_loop,
};
