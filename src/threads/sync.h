/* SPDX-License-Identifier: MIT */
/*
 * sync.h - the one mutex and the one condition variable of the library.
 *
 * Thin wrappers over pthreads that know the monotonic clock and carry clang's
 * thread-safety attributes: data says what guards it, helpers that expect
 * the lock say BNI_REQUIRES(lock), and `make lint` refuses a mistake. With other
 * compilers the attributes are nothing.
 *
 * Waits take an absolute deadline of bitnet_clock_ns(). Wait in a loop, on a
 * condition written as a named predicate.
 */
#ifndef BNI_THREADS_SYNC_H
#define BNI_THREADS_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <bitnet/clock.h>
#include <bitnet/status.h>

/* Says in a struct which lock guards a field. For the reader only: in C, clang (14)
 * cannot look up the lock among the other fields. */
#define BNI_FIELD_GUARDED_BY(lock)

#if defined(__clang__)
#define BNI_CAPABILITY(name) __attribute__((capability(name)))
#define BNI_GUARDED_BY(lock) __attribute__((guarded_by(lock)))
#define BNI_REQUIRES(lock) __attribute__((requires_capability(lock)))
#define BNI_EXCLUDES(lock) __attribute__((locks_excluded(lock)))
#define BNI_ACQUIRE(lock) __attribute__((acquire_capability(lock)))
#define BNI_RELEASE(lock) __attribute__((release_capability(lock)))
#define BNI_NO_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define BNI_CAPABILITY(name)
#define BNI_GUARDED_BY(lock)
#define BNI_REQUIRES(lock)
#define BNI_EXCLUDES(lock)
#define BNI_ACQUIRE(lock)
#define BNI_RELEASE(lock)
#define BNI_NO_ANALYSIS
#endif

struct BNI_CAPABILITY("mutex") bni_mutex {
    pthread_mutex_t native;
};

struct bni_cond {
    pthread_cond_t native;
};

/* Both fail with OUT_OF_MEMORY or INTERNAL, and then need no destroy. */
bitnet_status bni_mutex_init(struct bni_mutex *mutex);
bitnet_status bni_cond_init(struct bni_cond *cond);
void bni_mutex_destroy(struct bni_mutex *mutex);
void bni_cond_destroy(struct bni_cond *cond);

void bni_mutex_lock(struct bni_mutex *mutex) BNI_ACQUIRE(*mutex);
void bni_mutex_unlock(struct bni_mutex *mutex) BNI_RELEASE(*mutex);

/* In a forked child. Try: false if somebody has it, for ever if that was another of the
 * parent's threads. Renew: makes it a free one again, whatever it was. */
bool bni_mutex_try_lock(struct bni_mutex *mutex);
void bni_mutex_renew(struct bni_mutex *mutex);

void bni_cond_wait(struct bni_cond *cond, struct bni_mutex *mutex) BNI_REQUIRES(*mutex);

/* Waits on a condition are no cancellation points: a thread that pthread_cancel()
 * took out of one would leave with the lock held. These two do the same for others. */
int bni_cancel_disable(void);
void bni_cancel_restore(int state);

/* Returns false once `deadline_ns` has passed; BITNET_NO_DEADLINE never does. */
bool bni_cond_wait_until(struct bni_cond *cond, struct bni_mutex *mutex,
                         uint64_t deadline_ns) BNI_REQUIRES(*mutex);

void bni_cond_signal(struct bni_cond *cond);
void bni_cond_broadcast(struct bni_cond *cond);

#endif
