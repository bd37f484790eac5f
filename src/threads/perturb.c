/* SPDX-License-Identifier: MIT */
/*
 * perturb.c - see perturb.h. Compiled with BITNET_PERTURB only.
 *
 * Each thread alternates between stretches in which it is left alone and stretches in
 * which it is held up, of up to MAX_STRETCH steps: if all were slow all the time, they
 * would keep in step. Within a rough stretch a step is mostly free or gives up the CPU;
 * some spin, for less than a time slice; a few sleep, for longer than waking another
 * thread takes.
 *
 * Mutable globals, in test builds only: the seed and the number of the next thread.
 */
#include "threads/perturb.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "threads/spin.h"

enum { MAX_STRETCH = 128, MAX_PAUSES = 2048, MAX_NAP_NS = 200000 };

/* Out of 256 steps of a rough stretch; what is left does nothing. */
enum { N_YIELDS = 64, N_SPINS = 32, N_NAPS = 2, N_WAKES = 16 };

static _Atomic uint64_t seed_now = 1;
static _Atomic uint64_t n_threads;

static _Thread_local struct {
    uint64_t state;  /* 0: not seeded yet */
    unsigned n_left; /* steps of this stretch */
    bool is_rough;
} own;

void bni_perturb_seed(uint64_t seed)
{
    /* Relaxed: threads that are to see it are created after this. */
    atomic_store_explicit(&n_threads, 0, memory_order_relaxed);
    atomic_store_explicit(&seed_now, seed, memory_order_relaxed);
    own.state = 0;
}

/* The finaliser of SplitMix64: a hash of all bits. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t draw(uint32_t n)
{
    if (own.state == 0) {
        const uint64_t number =
            atomic_fetch_add_explicit(&n_threads, 1, memory_order_relaxed);
        const uint64_t seed = atomic_load_explicit(&seed_now, memory_order_relaxed);
        own.state = mix(seed) + (number << 40) + 1;
        own.n_left = 0;
    }
    own.state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mix(own.state) >> 32) % n;
}

static bool is_rough(void)
{
    if (own.n_left == 0) {
        own.n_left = 1 + draw(MAX_STRETCH);
        own.is_rough = !own.is_rough;
    }
    own.n_left--;
    return own.is_rough;
}

/* Leaves no trace: neither in errno, nor as a cancellation point. */
static void nap(uint32_t n_ns)
{
    const int error = errno;
    const struct timespec time = {.tv_nsec = (long)n_ns};
    int cancel_state = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    nanosleep(&time, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    errno = error;
}

void bni_perturb(void)
{
    if (!is_rough()) return;
    const uint32_t kind = draw(256);
    if (kind < N_YIELDS) {
        sched_yield();
    } else if (kind < N_YIELDS + N_SPINS) {
        for (uint32_t n = draw(MAX_PAUSES); n > 0; n--) bni_cpu_pause();
    } else if (kind < N_YIELDS + N_SPINS + N_NAPS) {
        nap(draw(MAX_NAP_NS));
    }
}

bool bni_perturb_wakes(void)
{
    return is_rough() && draw(256) < N_WAKES;
}
