/* SPDX-License-Identifier: MIT */
/*
 * latch.h - for tests: make the interesting moment happen, instead of sleeping.
 *
 *   latch     opens when it has been counted down `n` times, and stays open
 *   watchdog  ends the process, with a message, if a test hangs
 *
 * Plain pthreads, and not the library's own locks: a test must not be judged by
 * what it tests.
 */
#ifndef TESTS_SUPPORT_LATCH_H
#define TESTS_SUPPORT_LATCH_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    unsigned n_left;
};

#define LATCH(n) \
    { \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, (n) \
    }

static inline void latch_count_down(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    if (latch->n_left > 0) latch->n_left--;
    if (latch->n_left == 0) pthread_cond_broadcast(&latch->opened);
    pthread_mutex_unlock(&latch->lock);
}

static inline void latch_wait(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    while (latch->n_left > 0) pthread_cond_wait(&latch->opened, &latch->lock);
    pthread_mutex_unlock(&latch->lock);
}

static inline bool latch_is_open(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    const bool is_open = latch->n_left == 0;
    pthread_mutex_unlock(&latch->lock);
    return is_open;
}

/* Everybody arrives, then everybody goes on. */
static inline void latch_meet(struct latch *latch)
{
    latch_count_down(latch);
    latch_wait(latch);
}

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool is_stopped;
    unsigned limit_s;
    const char *what;
};

static inline void *watchdog_main(void *arg)
{
    struct watchdog *dog = (struct watchdog *)arg;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += dog->limit_s;
    pthread_mutex_lock(&dog->lock);
    int error = 0;
    while (!dog->is_stopped && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&dog->stopped, &dog->lock, &end);
    if (!dog->is_stopped) {
        fprintf(stderr, "watchdog: \"%s\" did not end within %u s\n", dog->what,
                dog->limit_s);
        fflush(stderr);
        _exit(70);
    }
    pthread_mutex_unlock(&dog->lock);
    return NULL;
}

/* From here to watchdog_stop() may take `limit_s` seconds. */
static inline void watchdog_start(struct watchdog *dog, const char *what,
                                  unsigned limit_s)
{
    pthread_mutex_init(&dog->lock, NULL);
    pthread_cond_init(&dog->stopped, NULL);
    dog->is_stopped = false;
    dog->limit_s = limit_s;
    dog->what = what;
    if (pthread_create(&dog->thread, NULL, watchdog_main, dog) != 0) _exit(71);
}

static inline void watchdog_stop(struct watchdog *dog)
{
    pthread_mutex_lock(&dog->lock);
    dog->is_stopped = true;
    pthread_cond_signal(&dog->stopped);
    pthread_mutex_unlock(&dog->lock);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->stopped);
    pthread_mutex_destroy(&dog->lock);
}

#endif
