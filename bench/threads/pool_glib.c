/* SPDX-License-Identifier: MIT */
/*
 * pool_glib.c - GLib's GThreadPool: unbounded, with threads that it shares among all
 * pools of the process, or with threads of its own ("exclusive").
 */
#include <glib.h>

#include "peer.h"

static void run_job(gpointer data, gpointer user)
{
    (void)user;
    const struct bench_job *job = data;
    job->fn(job->arg);
}

static void *create(unsigned n_threads, gboolean is_exclusive)
{
    GThreadPool *pool =
        g_thread_pool_new(run_job, NULL, (gint)n_threads, is_exclusive, NULL);
    if (pool == NULL) bench_give_up("GLib: no pool to be had");
    return pool;
}

static void *create_shared(unsigned n_threads)
{
    return create(n_threads, FALSE);
}

static void *create_exclusive(unsigned n_threads)
{
    return create(n_threads, TRUE);
}

static void submit(void *pool, struct bench_job *job)
{
    if (!g_thread_pool_push(pool, job, NULL)) bench_give_up("GLib refused a job");
}

static void destroy(void *pool)
{
    g_thread_pool_free(pool, FALSE, TRUE);
}

const struct bench_queue bench_queue_glib_shared = {
    .create = create_shared,
    .submit = submit,
    .destroy = destroy,
};

const struct bench_queue bench_queue_glib_exclusive = {
    .create = create_exclusive,
    .submit = submit,
    .destroy = destroy,
};
