/* SPDX-License-Identifier: MIT */
/*
 * loading.c - a load as a job on a thread pool.
 *
 * A loading is shared by its handle and its job, one reference each. The job writes the
 * model, once; the handle reads it when the job has ended, which it learns under the
 * pool's lock. Whoever is last releases the model: if that is the job, nobody wanted it.
 */
#include <stdatomic.h>
#include <string.h>

#include <bitnet/thread_manager.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/options.h"
#include "model/model.h"
#include "model/progress.h"

struct bitnet_loading {
    atomic_uint n_references;

    /* Fixed before the job can run, but for `job`, which is the handle's alone. */
    char *path;
    bool is_vocabulary_only;
    bitnet_head_copy head_copy;
    bitnet_job *job;

    struct bni_progress progress;
    bitnet_model *model; /* the job's until it has ended */
};

static void unref(bitnet_loading *loading)
{
    /* Release what this thread did; the last one acquires it all. */
    if (atomic_fetch_sub_explicit(&loading->n_references, 1, memory_order_acq_rel) != 1)
        return;
    bitnet_model_release(loading->model);
    bitnet_job_release(loading->job);
    bni_free(loading->path);
    bni_free(loading);
}

static bitnet_status run(void *arg)
{
    bitnet_loading *loading = arg;
    const bitnet_status status =
        bni_model_load(loading->path, loading->is_vocabulary_only, loading->head_copy,
                       &loading->progress, &loading->model);
    unref(loading);
    return status;
}

static void drop(void *arg)
{
    unref(arg);
}

/* Everything but the job. */
static bitnet_loading *create(const char *path, const bitnet_model_options *options)
{
    bitnet_loading *loading = bni_calloc(1, sizeof(*loading));
    if (loading == NULL) return NULL;
    loading->path = bni_alloc(strlen(path) + 1);
    if (loading->path == NULL) {
        bni_free(loading);
        return NULL;
    }
    memcpy(loading->path, path, strlen(path) + 1);
    loading->is_vocabulary_only = options->is_vocabulary_only;
    loading->head_copy = options->head_copy;
    loading->progress.fn = options->on_progress;
    loading->progress.user = options->user;
    atomic_init(&loading->progress.fraction, 0.0);
    atomic_init(&loading->n_references, 2);
    return loading;
}

bitnet_status bitnet_model_load_async(const char *path,
                                      const bitnet_model_options *options,
                                      bitnet_thread_pool *pool,
                                      const bitnet_submit_options *submit,
                                      bitnet_loading **out)
{
    static const char what[] = "bitnet_model_load_async";
    bitnet_model_options resolved = bitnet_model_options_default();
    bitnet_submit_options how = bitnet_submit_options_default();
    if (path == NULL || out == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT, "%s: %s is NULL", what,
                         path == NULL ? "path" : "out");
    bitnet_status status = bni_options_read(what, &resolved, sizeof(resolved), options);
    if (status == BITNET_OK)
        status = bni_options_read("submit options", &how, sizeof(how), submit);
    if (status == BITNET_OK) status = bni_head_copy_check(what, resolved.head_copy);
    if (status != BITNET_OK) return status;
    if (how.drop != NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "%s: the submit options have a drop function, which is for "
                         "jobs of your own",
                         what);
    how.drop = drop;

    bitnet_loading *loading = create(path, &resolved);
    if (loading == NULL) return BITNET_ERROR_OUT_OF_MEMORY;
    status =
        pool != NULL
            ? bitnet_thread_pool_submit_with(pool, run, loading, &how, &loading->job)
            : bitnet_thread_manager_execute_with(run, loading, &how, &loading->job);
    if (status != BITNET_OK) {
        atomic_store_explicit(&loading->n_references, 1, memory_order_relaxed);
        unref(loading); /* there is no job */
        return status;
    }
    *out = loading;
    return BITNET_OK;
}

bitnet_status bitnet_loading_wait(bitnet_loading *loading, uint64_t deadline_ns,
                                  bitnet_model **out)
{
    if (loading == NULL)
        return bni_error(BITNET_ERROR_INVALID_ARGUMENT,
                         "bitnet_loading_wait: loading is NULL");
    const bitnet_status status = bitnet_job_wait_until(loading->job, deadline_ns);
    if (status == BITNET_OK && out != NULL) *out = bitnet_model_retain(loading->model);
    return status;
}

void bitnet_loading_cancel(bitnet_loading *loading)
{
    if (loading != NULL) bitnet_job_cancel(loading->job);
}

double bitnet_loading_get_progress(const bitnet_loading *loading)
{
    if (loading == NULL) return 0.0;
    return atomic_load_explicit(&loading->progress.fraction, memory_order_relaxed);
}

bitnet_job *bitnet_loading_get_job(bitnet_loading *loading)
{
    return loading == NULL ? NULL : loading->job;
}

void bitnet_loading_release(bitnet_loading *loading)
{
    if (loading == NULL) return;
    bitnet_loading_cancel(loading);
    unref(loading);
}
