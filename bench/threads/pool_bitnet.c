/* SPDX-License-Identifier: MIT */
/*
 * pool_bitnet.c - our job queue, through its public functions, without handles.
 */
#include <bitnet/status.h>
#include <bitnet/thread_pool.h>

#include "peer.h"

static bitnet_thread_pool_options options_for(unsigned n_threads)
{
    bitnet_thread_pool_options options = bitnet_thread_pool_options_default();
    options.num_threads = n_threads;
    options.max_queue_size = BENCH_QUEUE_SIZE;
    return options;
}

static void *create(unsigned n_threads)
{
    const bitnet_thread_pool_options options = options_for(n_threads);
    bitnet_thread_pool *pool;
    if (bitnet_thread_pool_create(&options, &pool) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
    return pool;
}

static bitnet_status run_job(void *arg)
{
    const struct bench_job *job = arg;
    job->fn(job->arg);
    return BITNET_OK;
}

static void submit(void *pool, struct bench_job *job)
{
    if (bitnet_thread_pool_submit(pool, run_job, job, NULL, NULL) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
}

static void wait_for_all(void *pool)
{
    if (bitnet_thread_pool_wait(pool) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
}

static void destroy(void *pool)
{
    if (bitnet_thread_pool_destroy(pool) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
}

static double memory_bound(unsigned n_threads)
{
    const bitnet_thread_pool_options options = options_for(n_threads);
    uint64_t n_bytes;
    if (bitnet_thread_pool_memory_bound(&options, &n_bytes) != BITNET_OK)
        bench_give_up("libbitnet: %s", bitnet_last_error());
    return (double)n_bytes;
}

const struct bench_queue bench_queue_bitnet = {
    .create = create,
    .submit = submit,
    .wait = wait_for_all,
    .destroy = destroy,
    .memory_bound = memory_bound,
};
