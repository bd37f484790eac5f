/* SPDX-License-Identifier: MIT */
/*
 * guarded.c - a counted object with many readers or one writer inside.
 *
 * The reader/writer lock is a mutex, a count and a flag, so that a waiting writer can
 * keep new readers out, which pthread_rwlock does not promise. The mutex is not held
 * while the user's function runs; what is held is the right to be inside. While a
 * thread is, it may not wait for others (its context forbids blocking), so nobody
 * inside can be waiting for somebody outside who wants in.
 *
 * A scope guard gives the right back, also if the function calls pthread_exit().
 */
#include <bitnet/ref.h>

#include <pthread.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/error.h"
#include "threads/compute.h"
#include "threads/fork.h"
#include "threads/sync.h"

struct bitnet_guarded {
    bitnet_ref *ref; /* counts; its object is this struct; fixed, as are these */
    void *object;
    bitnet_destructor_fn destructor;
    unsigned generation; /* see fork.h: in a child, who is inside may not be there */

    struct bni_mutex lock;
    struct bni_cond changed; /* somebody came out */
    unsigned n_readers;      /* guarded by lock, as are the next two */
    unsigned n_writers_waiting;
    bool is_writing;
};

/* The end of the count: the object first, then what guarded it. */
static void destroy(void *arg)
{
    bitnet_guarded *guarded = arg;
    if (guarded->destructor != NULL) guarded->destructor(guarded->object);
    if (!bni_fork_is_older(guarded->generation)) {
        bni_cond_destroy(&guarded->changed);
        bni_mutex_destroy(&guarded->lock);
    }
    bni_free(guarded);
}

bitnet_status bitnet_guarded_create(void *object, bitnet_destructor_fn destructor,
                                    bitnet_guarded **out)
{
    if (out == NULL)
        return bni_error(
            BITNET_ERROR_INVALID_ARGUMENT,
            "cannot create a guarded reference: nowhere to put it, `out` is "
            "NULL");
    bitnet_status status = bni_fork_watch();
    if (status != BITNET_OK) return status;
    status = BITNET_ERROR_OUT_OF_MEMORY;
    bitnet_guarded *guarded = bni_calloc(1, sizeof(*guarded));
    if (guarded == NULL) goto fail;
    guarded->generation = bni_fork_generation();
    guarded->object = object;
    guarded->destructor = destructor;
    status = bni_mutex_init(&guarded->lock);
    if (status != BITNET_OK) goto fail_guarded;
    status = bni_cond_init(&guarded->changed);
    if (status != BITNET_OK) goto fail_lock;
    status = bitnet_ref_create(guarded, destroy, &guarded->ref);
    if (status != BITNET_OK) goto fail_changed;
    *out = guarded;
    return BITNET_OK;

fail_changed:
    bni_cond_destroy(&guarded->changed);
fail_lock:
    bni_mutex_destroy(&guarded->lock);
fail_guarded:
    bni_free(guarded);
fail:
    return status;
}

bitnet_guarded *bitnet_guarded_retain(bitnet_guarded *guarded)
{
    if (guarded == NULL) return NULL;
    return bitnet_ref_retain(guarded->ref) == NULL ? NULL : guarded;
}

bool bitnet_guarded_release(bitnet_guarded *guarded)
{
    return guarded != NULL && bitnet_ref_release(guarded->ref);
}

static bool may_read(const bitnet_guarded *guarded) BNI_REQUIRES(guarded->lock)
{
    return !guarded->is_writing && guarded->n_writers_waiting == 0;
}

static bool may_write(const bitnet_guarded *guarded) BNI_REQUIRES(guarded->lock)
{
    return !guarded->is_writing && guarded->n_readers == 0;
}

/* One visit; says by which way to leave. */
struct visit {
    bitnet_guarded *guarded;
    bool writes;
};

static void enter(const struct visit *visit)
{
    bitnet_guarded *guarded = visit->guarded;
    bni_mutex_lock(&guarded->lock);
    if (visit->writes) {
        guarded->n_writers_waiting++;
        while (!may_write(guarded)) bni_cond_wait(&guarded->changed, &guarded->lock);
        guarded->n_writers_waiting--;
        guarded->is_writing = true;
    } else {
        while (!may_read(guarded)) bni_cond_wait(&guarded->changed, &guarded->lock);
        guarded->n_readers++;
    }
    bni_mutex_unlock(&guarded->lock);
    bni_context_forbid_blocking("thread inside a guarded object");
}

static void come_out(void *arg)
{
    const struct visit *visit = arg;
    bitnet_guarded *guarded = visit->guarded;
    bni_context_forbid_blocking(NULL); /* as it was, or enter would have been refused */
    if (bni_fork_is_older(guarded->generation)) return; /* the function forked */
    bni_mutex_lock(&guarded->lock);
    if (visit->writes) {
        guarded->is_writing = false;
    } else {
        guarded->n_readers--;
    }
    bni_cond_broadcast(&guarded->changed);
    bni_mutex_unlock(&guarded->lock);
}

static bitnet_status check_entry(const bitnet_guarded *guarded, bool has_function)
{
    if (guarded == NULL || !has_function)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "cannot enter a guarded object: %s is NULL",
                         guarded == NULL ? "it" : "the function");
    return bni_context_check_wait(guarded->generation, "entering a guarded object");
}

bitnet_status bitnet_guarded_read(bitnet_guarded *guarded, bitnet_guarded_read_fn fn,
                                  void *user)
{
    bitnet_status status = check_entry(guarded, fn != NULL);
    if (status != BITNET_OK) return status;
    struct visit visit = {.guarded = guarded, .writes = false};
    enter(&visit);
    pthread_cleanup_push(come_out, &visit);
    status = fn(guarded->object, user);
    pthread_cleanup_pop(1);
    return status;
}

bitnet_status bitnet_guarded_write(bitnet_guarded *guarded, bitnet_guarded_write_fn fn,
                                   void *user)
{
    bitnet_status status = check_entry(guarded, fn != NULL);
    if (status != BITNET_OK) return status;
    struct visit visit = {.guarded = guarded, .writes = true};
    enter(&visit);
    pthread_cleanup_push(come_out, &visit);
    status = fn(guarded->object, user);
    pthread_cleanup_pop(1);
    return status;
}
