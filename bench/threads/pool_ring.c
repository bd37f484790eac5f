/* SPDX-License-Identifier: MIT */
/*
 * pool_ring.c - "mutex ring": the pool that a textbook has.
 *
 * One mutex around a ring of jobs, one condition for jobs, one for room, one for
 * everything done. It does nothing but the least that a bounded pool must, which
 * makes it the floor that ours, with its statistics and handles, is held against.
 */
#include <pthread.h>
#include <stdlib.h>

#include "peer.h"

enum { MAX_THREADS = 64 };

struct ring {
    pthread_mutex_t lock; /* guards all below but `threads` */
    pthread_cond_t has_jobs;
    pthread_cond_t has_room;
    pthread_cond_t is_done;
    struct bench_job jobs[BENCH_QUEUE_SIZE];
    size_t first;
    size_t n_queued;
    unsigned n_running;
    unsigned n_waiting_workers;
    unsigned n_waiting_submitters;
    bool is_stopping;

    unsigned n_threads; /* fixed after creation, like the next */
    pthread_t threads[MAX_THREADS];
};

static void *worker_main(void *arg)
{
    struct ring *ring = arg;
    pthread_mutex_lock(&ring->lock);
    for (;;) {
        while (ring->n_queued == 0 && !ring->is_stopping) {
            ring->n_waiting_workers++;
            pthread_cond_wait(&ring->has_jobs, &ring->lock);
            ring->n_waiting_workers--;
        }
        if (ring->n_queued == 0) break;
        const struct bench_job job = ring->jobs[ring->first];
        ring->first = (ring->first + 1) % BENCH_QUEUE_SIZE;
        ring->n_queued--;
        ring->n_running++;
        if (ring->n_waiting_submitters > 0) pthread_cond_signal(&ring->has_room);
        pthread_mutex_unlock(&ring->lock);

        job.fn(job.arg);

        pthread_mutex_lock(&ring->lock);
        if (--ring->n_running == 0 && ring->n_queued == 0)
            pthread_cond_broadcast(&ring->is_done);
    }
    pthread_mutex_unlock(&ring->lock);
    return NULL;
}

static void *create(unsigned n_threads)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL || n_threads > MAX_THREADS) bench_give_up("no ring to be had");
    pthread_mutex_init(&ring->lock, NULL);
    pthread_cond_init(&ring->has_jobs, NULL);
    pthread_cond_init(&ring->has_room, NULL);
    pthread_cond_init(&ring->is_done, NULL);
    ring->n_threads = n_threads;
    for (unsigned i = 0; i < n_threads; i++) {
        if (pthread_create(&ring->threads[i], NULL, worker_main, ring) != 0)
            bench_give_up("the system has no thread to give");
    }
    return ring;
}

static void submit(void *pool, struct bench_job *job)
{
    struct ring *ring = pool;
    pthread_mutex_lock(&ring->lock);
    while (ring->n_queued == BENCH_QUEUE_SIZE) {
        ring->n_waiting_submitters++;
        pthread_cond_wait(&ring->has_room, &ring->lock);
        ring->n_waiting_submitters--;
    }
    ring->jobs[(ring->first + ring->n_queued++) % BENCH_QUEUE_SIZE] = *job;
    const bool must_wake = ring->n_waiting_workers > 0;
    pthread_mutex_unlock(&ring->lock);
    if (must_wake) pthread_cond_signal(&ring->has_jobs);
}

static void wait_for_all(void *pool)
{
    struct ring *ring = pool;
    pthread_mutex_lock(&ring->lock);
    while (ring->n_queued > 0 || ring->n_running > 0)
        pthread_cond_wait(&ring->is_done, &ring->lock);
    pthread_mutex_unlock(&ring->lock);
}

static void destroy(void *pool)
{
    struct ring *ring = pool;
    pthread_mutex_lock(&ring->lock);
    ring->is_stopping = true;
    pthread_cond_broadcast(&ring->has_jobs);
    pthread_mutex_unlock(&ring->lock);
    for (unsigned i = 0; i < ring->n_threads; i++) pthread_join(ring->threads[i], NULL);
    pthread_cond_destroy(&ring->is_done);
    pthread_cond_destroy(&ring->has_room);
    pthread_cond_destroy(&ring->has_jobs);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

const struct bench_queue bench_queue_ring = {
    .create = create,
    .submit = submit,
    .wait = wait_for_all,
    .destroy = destroy,
};
