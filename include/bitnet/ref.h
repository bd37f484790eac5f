/* SPDX-License-Identifier: MIT */
/*
 * bitnet/ref.h - counted references to your own objects, from any thread.
 *
 *   bitnet_ref      a count, a pointer to the object, and its destructor
 *   bitnet_guarded  the same with a reader/writer lock around the object
 *
 * In debug builds of the library, using a bitnet_ref after its last release is found:
 * it is reported through the log callback (bitnet/log.h) and in the thread's error,
 * and then ignored; nothing aborts. To that end debug builds keep the last 256 counts
 * that ended (not the objects) instead of freeing them. In release builds it is
 * undefined, as using freed memory is.
 *
 * Counted references go on working in a child of fork(). A guarded object made before
 * it can only be released there: a thread that did not come along may be inside.
 */
#ifndef BITNET_REF_H
#define BITNET_REF_H

#include <stdbool.h>
#include <stdint.h>

#include <bitnet/export.h>
#include <bitnet/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bitnet_ref bitnet_ref;
typedef struct bitnet_guarded bitnet_guarded;

/*
 * Called once, with the object, by the release of the last reference and on its
 * thread, without locks. It may call any function.
 */
typedef void (*bitnet_destructor_fn)(void *object);

/*
 * Makes a counted reference to `object`, with a count of one. `destructor` may be
 * NULL: then the end of the object is nobody's business.
 *
 * Returns
 *   BITNET_OK
 *   BITNET_ERROR_INVALID_ARGUMENT  `out` is NULL
 *   BITNET_ERROR_OUT_OF_MEMORY     the object is still the caller's
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_ref_create(void *object,
                                           bitnet_destructor_fn destructor,
                                           bitnet_ref **out);

/*
 * Adds a reference, and returns `ref`. NULL returns NULL, and so does a reference
 * found ended.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API bitnet_ref *bitnet_ref_retain(bitnet_ref *ref);

/*
 * Gives back a reference. The last one calls the destructor; whatever any holder did
 * to the object before its release is visible there. NULL does nothing.
 *
 * Returns whether it was the last; false for NULL, or a reference found ended.
 *
 * Thread safety: any thread, once for each reference.
 */
BITNET_API bool bitnet_ref_release(bitnet_ref *ref);

/*
 * Returns the object; NULL for NULL, or a reference found ended.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API void *bitnet_ref_get(const bitnet_ref *ref);

/*
 * Returns how many references there were a moment ago: for tests and logs. A count
 * of one that you hold means that nobody else does, and is exact.
 *
 * Thread safety: any thread that has a reference.
 */
BITNET_API uint32_t bitnet_ref_count(const bitnet_ref *ref);

/*
 * Makes a counted, guarded reference to `object`, with a count of one.
 *
 * Returns as bitnet_ref_create() does.
 *
 * Thread safety: any thread.
 */
BITNET_API bitnet_status bitnet_guarded_create(void *object,
                                               bitnet_destructor_fn destructor,
                                               bitnet_guarded **out);

/*
 * As bitnet_ref_retain() and bitnet_ref_release(). A thread that is inside a read or
 * a write must not give back its last reference.
 *
 * Thread safety: any thread that has a reference; release once for each.
 */
BITNET_API bitnet_guarded *bitnet_guarded_retain(bitnet_guarded *guarded);
BITNET_API bool bitnet_guarded_release(bitnet_guarded *guarded);

/* Looks at the object, or changes it; see bitnet_guarded_read() and _write(). */
typedef bitnet_status (*bitnet_guarded_read_fn)(const void *object, void *user);
typedef bitnet_status (*bitnet_guarded_write_fn)(void *object, void *user);

/*
 * Calls `fn` with the object while nobody writes to it; other readers may be inside
 * at the same time. A writer that waits lets no new reader in, so it gets its turn.
 *
 * `fn` runs on this thread and is the one kind of callback that runs with a lock
 * held: it must be short, and must not call functions that wait. Entering the same
 * guarded object again is refused, as is waiting for a pool or a job.
 *
 * Returns
 *   what `fn` returned
 *   BITNET_ERROR_INVALID_ARGUMENT  a NULL
 *   BITNET_ERROR_THREAD_SAFETY     this thread is inside a guarded object already, or
 *                                  is a compute or scheduler thread
 *
 * Thread safety: any thread that has a reference. Blocks.
 */
BITNET_API bitnet_status bitnet_guarded_read(bitnet_guarded *guarded,
                                             bitnet_guarded_read_fn fn, void *user);

/*
 * Calls `fn` with the object while nobody else is inside. Otherwise as
 * bitnet_guarded_read().
 *
 * Thread safety: any thread that has a reference. Blocks.
 */
BITNET_API bitnet_status bitnet_guarded_write(bitnet_guarded *guarded,
                                              bitnet_guarded_write_fn fn, void *user);

#ifdef __cplusplus
}
#endif

#endif
