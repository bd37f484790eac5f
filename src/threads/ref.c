/* SPDX-License-Identifier: MIT */
/*
 * ref.c - counted references.
 *
 * The count is one atomic. Adding needs no order: who adds has a reference already,
 * and got it by some means that ordered everything before. Taking off releases what
 * the holder did, and the one that brings it to zero acquires what all did, so the
 * destructor sees the object as its last users left it.
 *
 * In debug builds (BNI_DEBUG) a count that has ended goes to the graveyard, a ring
 * that keeps the last of them from being freed, so that a late use finds a count of
 * zero and is reported, instead of reading freed memory. The graveyard is a mutable
 * global because what it looks for are references nobody owns any more.
 */
#include <bitnet/ref.h>

#include <stdatomic.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "threads/fork.h"
#include "threads/perturb.h"
#include "threads/sync.h"

struct bitnet_ref {
    void *object;                    /* fixed, as is the destructor */
    bitnet_destructor_fn destructor; /* or NULL */
    _Atomic uint32_t count;
};

#ifdef BNI_DEBUG

enum { N_GRAVES = 256 };

static struct bni_mutex graveyard_lock = {PTHREAD_MUTEX_INITIALIZER};
static bitnet_ref *graves[N_GRAVES] BNI_GUARDED_BY(graveyard_lock);
static size_t next_grave BNI_GUARDED_BY(graveyard_lock);

static void dispose(bitnet_ref *ref)
{
    bni_mutex_lock(&graveyard_lock);
    bitnet_ref *oldest = graves[next_grave];
    graves[next_grave] = ref;
    next_grave = (next_grave + 1) % N_GRAVES;
    bni_mutex_unlock(&graveyard_lock);
    bni_free(oldest);
}

void bni_graveyard_before_fork(void) BNI_NO_ANALYSIS
{
    bni_mutex_lock(&graveyard_lock);
}

void bni_graveyard_after_fork(void) BNI_NO_ANALYSIS
{
    bni_mutex_unlock(&graveyard_lock);
}

static bool is_alive(const bitnet_ref *ref, const char *what)
{
    /* Relaxed: zero is final, and anything else is what a holder expects. */
    if (atomic_load_explicit(&ref->count, memory_order_relaxed) != 0) return true;
    bni_error(BITNET_ERROR_THREAD_SAFETY,
              "%s a reference after its last release: somebody holds one too few",
              what);
    bni_log(BITNET_LOG_ERROR, "%s", bitnet_last_error());
    return false;
}

#else

static void dispose(bitnet_ref *ref)
{
    bni_free(ref);
}

void bni_graveyard_before_fork(void)
{
}

void bni_graveyard_after_fork(void)
{
}

static bool is_alive(const bitnet_ref *ref, const char *what)
{
    (void)ref;
    (void)what;
    return true;
}

#endif

bitnet_status bitnet_ref_create(void *object, bitnet_destructor_fn destructor,
                                bitnet_ref **out)
{
    if (out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot create a reference: nowhere to put it, `out` is NULL");
    bitnet_ref *ref = bni_calloc(1, sizeof(*ref));
    if (ref == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    ref->object = object;
    ref->destructor = destructor;
    atomic_init(&ref->count, 1);
    *out = ref;
    return BITNET_OK;
}

bitnet_ref *bitnet_ref_retain(bitnet_ref *ref)
{
    if (ref == NULL || !is_alive(ref, "retaining")) return NULL;
    bni_perturb();
    /* Relaxed: see the top. */
    atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    return ref;
}

bool bitnet_ref_release(bitnet_ref *ref)
{
    if (ref == NULL || !is_alive(ref, "releasing")) return false;
    bni_perturb();
    /* Acquire and release: see the top. */
    if (atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel) != 1)
        return false;
    if (ref->destructor != NULL) ref->destructor(ref->object);
    dispose(ref);
    return true;
}

void *bitnet_ref_get(const bitnet_ref *ref)
{
    return ref != NULL && is_alive(ref, "using") ? ref->object : NULL;
}

uint32_t bitnet_ref_count(const bitnet_ref *ref)
{
    if (ref == NULL) return 0;
    /* Acquire: who finds itself alone sees what the others did before they left. */
    return atomic_load_explicit(&ref->count, memory_order_acquire);
}
