/* SPDX-License-Identifier: MIT */
/*
 * reading.c - see reading.h.
 */
#include "engine/reading.h"

#include <string.h>

#include "base/error.h"
#include "engine/engine.h"
#include "threads/compute.h"
#include "threads/fork.h"

/* The caller's reference keeps the engine meanwhile. */
static bitnet_status create_and_admit(bitnet_engine *engine,
                                      const struct bni_reading *reading,
                                      const bitnet_generate_options *options,
                                      uint64_t submitted_ns, bitnet_request **out)
{
    bitnet_request *request;
    bitnet_status status =
        bni_request_create_reading(engine, options, reading, &request);
    if (status != BITNET_OK) return status;
    request->submitted_ns = submitted_ns;
    status = bni_admit(engine, request, options);
    if (status == BITNET_OK)
        *out = request;
    else
        bni_request_unref(request);
    return status;
}

bitnet_status bni_reading_submit(bitnet_engine *engine,
                                 const struct bni_reading *reading,
                                 const bitnet_generate_options *options,
                                 bitnet_request **out)
{
    const uint64_t submitted_ns = bitnet_clock_ns();
    if (engine == NULL || out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", reading->what,
                         engine == NULL ? "engine" : "out");
    bitnet_status status = bni_context_check_wait(engine->generation, reading->what);
    if (status != BITNET_OK) return status;
    bni_engine_retain(engine); /* it may be destroyed while we tokenise or wait */
    status = create_and_admit(engine, reading, options, submitted_ns, out);
    bni_engine_unref(engine);
    return status;
}

bitnet_status bni_reading_take(bitnet_request *request, float *out)
{
    bitnet_result result;
    const bitnet_status status = bitnet_request_wait(request, &result);
    bitnet_result_release(&result);
    if (status == BITNET_OK)
        memcpy(out, request->readout.values,
               request->readout.n_values * sizeof(*request->readout.values));
    bitnet_request_release(request);
    return status;
}

bitnet_status bni_reading_values(bitnet_request *request, const char *what,
                                 enum bni_readout_kind from, enum bni_readout_kind to,
                                 const float **values, size_t *n_values)
{
    if (request == NULL || values == NULL || n_values == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", what,
                         request == NULL  ? "request"
                         : values == NULL ? "the pointer to the numbers"
                                          : "the pointer to their count");
    if (request->readout.kind < from || request->readout.kind > to)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: the request is of another kind", what);
    const bitnet_status status = bni_fork_check(request->engine->generation, what);
    if (status != BITNET_OK) return status;
    struct bni_error_record ending;
    bni_mutex_lock(&request->lock);
    const bitnet_finish finish = request->finish;
    ending = request->error;
    bni_mutex_unlock(&request->lock);
    if (finish == BITNET_FINISH_NONE)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: the request has not ended",
                         what);
    if (ending.status != BITNET_OK) return bni_error_restore(&ending);
    *values = request->readout.values;
    *n_values = request->readout.n_values;
    return BITNET_OK;
}
