/* SPDX-License-Identifier: MIT */
/*
 * pool_channel.c - "bounded channel": the pool that other bindings of such models have.
 *
 * Jobs travel in boxes, one allocation each, through a channel of fixed size. The
 * workers share its receiving end: whoever holds the mutex `receiver` waits in the
 * channel, the others wait for the mutex. An atomic counts the jobs that have not
 * ended, and waiting for all of them is looking at it every 10 ms.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "peer.h"

enum { MAX_THREADS = 64 };

struct channel {
    pthread_mutex_t lock; /* guards the next six */
    pthread_cond_t has_jobs;
    pthread_cond_t has_room;
    struct bench_job *boxes[BENCH_QUEUE_SIZE];
    size_t first;
    size_t n_queued;
    bool is_closed;

    pthread_mutex_t receiver; /* held while receiving; before `lock` */
    atomic_size_t n_active;

    unsigned n_threads; /* fixed after creation, like the next */
    pthread_t threads[MAX_THREADS];
};

/* Returns NULL once the channel is closed and empty. */
static struct bench_job *receive(struct channel *channel)
{
    struct bench_job *box = NULL;
    pthread_mutex_lock(&channel->lock);
    while (channel->n_queued == 0 && !channel->is_closed)
        pthread_cond_wait(&channel->has_jobs, &channel->lock);
    if (channel->n_queued > 0) {
        box = channel->boxes[channel->first];
        channel->first = (channel->first + 1) % BENCH_QUEUE_SIZE;
        channel->n_queued--;
        pthread_cond_signal(&channel->has_room);
    }
    pthread_mutex_unlock(&channel->lock);
    return box;
}

static void *worker_main(void *arg)
{
    struct channel *channel = arg;
    for (;;) {
        pthread_mutex_lock(&channel->receiver);
        struct bench_job *box = receive(channel);
        pthread_mutex_unlock(&channel->receiver);
        if (box == NULL) return NULL;
        box->fn(box->arg);
        free(box);
        atomic_fetch_sub(&channel->n_active, 1);
    }
}

static void *create(unsigned n_threads)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL || n_threads > MAX_THREADS)
        bench_give_up("no channel to be had");
    pthread_mutex_init(&channel->lock, NULL);
    pthread_cond_init(&channel->has_jobs, NULL);
    pthread_cond_init(&channel->has_room, NULL);
    pthread_mutex_init(&channel->receiver, NULL);
    channel->n_threads = n_threads;
    for (unsigned i = 0; i < n_threads; i++) {
        if (pthread_create(&channel->threads[i], NULL, worker_main, channel) != 0)
            bench_give_up("the system has no thread to give");
    }
    return channel;
}

static void submit(void *pool, struct bench_job *job)
{
    struct channel *channel = pool;
    struct bench_job *box = malloc(sizeof(*box));
    if (box == NULL) bench_give_up("out of memory for a job");
    *box = *job;
    atomic_fetch_add(&channel->n_active, 1);
    pthread_mutex_lock(&channel->lock);
    while (channel->n_queued == BENCH_QUEUE_SIZE)
        pthread_cond_wait(&channel->has_room, &channel->lock);
    channel->boxes[(channel->first + channel->n_queued++) % BENCH_QUEUE_SIZE] = box;
    pthread_cond_signal(&channel->has_jobs);
    pthread_mutex_unlock(&channel->lock);
}

static void wait_for_all(void *pool)
{
    struct channel *channel = pool;
    const struct timespec poll = {.tv_nsec = 10 * 1000000};
    while (atomic_load(&channel->n_active) > 0) nanosleep(&poll, NULL);
}

static void destroy(void *pool)
{
    struct channel *channel = pool;
    wait_for_all(channel);
    pthread_mutex_lock(&channel->lock);
    channel->is_closed = true;
    pthread_cond_broadcast(&channel->has_jobs);
    pthread_mutex_unlock(&channel->lock);
    for (unsigned i = 0; i < channel->n_threads; i++)
        pthread_join(channel->threads[i], NULL);
    pthread_mutex_destroy(&channel->receiver);
    pthread_cond_destroy(&channel->has_room);
    pthread_cond_destroy(&channel->has_jobs);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

const struct bench_queue bench_queue_channel = {
    .create = create,
    .submit = submit,
    .wait = wait_for_all,
    .destroy = destroy,
};
