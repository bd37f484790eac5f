/* SPDX-License-Identifier: MIT */
/*
 * stepping.c - engines without a scheduler thread: whoever waits takes the steps.
 *
 * The right to step goes from thread to thread under the engine's lock: is_stepping.
 * A thread that waits for a token, an end, or room takes a step itself if nobody else
 * does, and else sleeps until that one's step is over and looks again. So as long as
 * somebody waits and there is work, a step is under way, and when a thread has what it
 * waited for the next one takes over.
 *
 * All of them sleep on has_room, which is signalled when a step is over, when a request
 * is admitted, and when the line or the engine's state changes. A step is taken without
 * locks, in the scheduler's role: what must not be called from there is refused.
 */
#include "base/error.h"
#include "base/float_env.h"
#include "engine/engine.h"
#include "threads/compute.h"
#include "threads/fork.h"

/* One go of the scheduler on this thread, whose right it is. */
static void run_turn(bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    struct bni_error_record callers_error;
    fenv_t callers_mode;
    bni_mutex_unlock(&engine->lock);
    bni_error_save(&callers_error);
    bni_float_env_enter(&callers_mode);
    bni_context_forbid_blocking("thread that takes an engine's step");
    bni_scheduler_turn(engine);
    bni_context_forbid_blocking(NULL);
    bni_float_env_leave(&callers_mode);
    bitnet_clear_error();
    bni_error_restore(&callers_error);
    bni_mutex_lock(&engine->lock);
}

/* Takes a step if there is one to take and nobody else does. False if nothing has
 * changed. */
static bool try_turn(bitnet_engine *engine) BNI_REQUIRES(engine->lock)
{
    if (engine->is_stepping) return false;
    const uint64_t n_ended = engine->stats.n_ended;
    const bool has_work = bni_scheduler_has_work(engine);
    if (has_work) {
        engine->is_stepping = true;
        run_turn(engine);
        engine->is_stepping = false;
    }
    if (!has_work && engine->stats.n_ended == n_ended) return false;
    bni_cond_broadcast(&engine->has_room);
    return true;
}

void bni_step_or_wait(bitnet_engine *engine, uint64_t deadline_ns)
{
    if (!try_turn(engine))
        bni_cond_wait_until(&engine->has_room, &engine->lock, deadline_ns);
}

void bni_step_for_news(bitnet_request *request, uint64_t deadline_ns)
{
    bitnet_engine *engine = request->engine;
    bni_mutex_lock(&engine->lock);
    bni_mutex_lock(&request->lock);
    const bool has_news = bni_request_has_news(request);
    bni_mutex_unlock(&request->lock);
    /* Whatever comes from here on comes with the end of a step, behind the lock. */
    if (!has_news) bni_step_or_wait(engine, deadline_ns);
    bni_mutex_unlock(&engine->lock);
}

void bni_step_to_the_end(bitnet_engine *engine)
{
    bni_mutex_lock(&engine->lock);
    while (engine->is_stepping)
        bni_cond_wait_until(&engine->has_room, &engine->lock, BITNET_NO_DEADLINE);
    engine->is_stepping = true; /* for good: soon there is nothing to step with */
    while (bni_scheduler_has_work(engine)) run_turn(engine);
    bni_cond_broadcast(&engine->has_room);
    bni_mutex_unlock(&engine->lock);
}

/* Steps once, waiting until there is something to step for. */
static bitnet_status step(bitnet_engine *engine, uint64_t deadline_ns)
    BNI_REQUIRES(engine->lock)
{
    for (;;) {
        if (engine->is_stopping)
            return bni_error(BITNET_ERROR_SHUT_DOWN,
                             "bitnet_engine_step: the engine is being destroyed");
        if (try_turn(engine)) return BITNET_OK;
        if (bitnet_clock_ns() >= deadline_ns && deadline_ns != BITNET_NO_DEADLINE)
            return bni_error(BITNET_ERROR_TIMED_OUT,
                             engine->is_stepping
                                 ? "bitnet_engine_step: another thread's step lasted "
                                   "until the deadline"
                                 : "bitnet_engine_step: no request came before the "
                                   "deadline");
        bni_cond_wait_until(&engine->has_room, &engine->lock, deadline_ns);
    }
}

bitnet_status bitnet_engine_step(bitnet_engine *engine, uint64_t deadline_ns)
{
    static const char what[] = "bitnet_engine_step";
    if (engine == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: engine is NULL", what);
    if (!engine->is_stepped)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: the engine has a thread of its own; is_stepped was not "
                         "among its options",
                         what);
    bitnet_status status = bni_context_check_wait(engine->generation, what);
    if (status != BITNET_OK) return status;
    bni_engine_retain(engine);
    bni_mutex_lock(&engine->lock);
    status = step(engine, deadline_ns);
    bni_mutex_unlock(&engine->lock);
    bni_engine_unref(engine);
    return status;
}
