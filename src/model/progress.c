/* SPDX-License-Identifier: MIT */
/*
 * progress.c - see progress.h.
 */
#include "model/progress.h"

#include <bitnet/thread_pool.h>

#include "base/error.h"

bitnet_status bni_progress_at(struct bni_progress *progress, double fraction)
{
    if (progress == NULL) return BITNET_OK;
    /* Relaxed: a number to look at, that carries no data. */
    atomic_store_explicit(&progress->fraction, fraction, memory_order_relaxed);
    const char *by = "the job was cancelled";
    bool goes_on = !bitnet_job_should_stop();
    if (goes_on && progress->fn != NULL) {
        goes_on = progress->fn(progress->user, fraction);
        by = "on_progress said so";
    }
    if (goes_on) return BITNET_OK;
    return bni_error(BITNET_ERROR_CANCELLED,
                     "loading a model: stopped at %.0f %%, since %s", 100.0 * fraction,
                     by);
}
