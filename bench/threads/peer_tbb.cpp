/* SPDX-License-Identifier: MIT */
/*
 * peer_tbb.cpp - oneTBB: task_arena::enqueue() as an unbounded queue, and
 * parallel_for() with the static partitioner as a team. C++, since oneTBB is.
 */
#define TBB_PREVIEW_WAITING_FOR_WORKERS 1
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <new>
#include <utility>

#include "peer.h"

namespace {

/* One place of the arena is kept for the thread that waits or takes part. */
struct arena {
    tbb::task_scheduler_handle handle{tbb::attach{}};
    tbb::global_control limit;
    tbb::task_arena places;
    tbb::task_group jobs;

    explicit arena(unsigned n_threads)
        : limit(tbb::global_control::max_allowed_parallelism, n_threads),
          places(static_cast<int>(n_threads), 1)
    {
        places.initialize();
    }
};

void *create_queue(unsigned n_threads)
{
    return new arena(n_threads + 1);
}

void submit(void *pool, bench_job *job)
{
    arena *own = static_cast<arena *>(pool);
    own->places.enqueue(own->jobs.defer([job] { job->fn(job->arg); }));
}

void wait_for_all(void *pool)
{
    arena *own = static_cast<arena *>(pool);
    own->places.execute([own] { own->jobs.wait(); });
}

void destroy(void *pool)
{
    arena *own = static_cast<arena *>(pool);
    wait_for_all(own);
    tbb::task_scheduler_handle handle = std::move(own->handle);
    delete own;
    tbb::finalize(handle, std::nothrow);
}

void *create_team(unsigned n_threads)
{
    return new arena(n_threads);
}

void run(void *team, void (*fn)(void *arg, std::size_t i), void *arg,
         std::size_t n_parts)
{
    arena *own = static_cast<arena *>(team);
    own->places.execute([=] {
        tbb::parallel_for(
            std::size_t{0}, n_parts, [=](std::size_t i) { fn(arg, i); },
            tbb::static_partitioner{});
    });
}

} // namespace

const bench_queue bench_queue_tbb = {create_queue, submit,  wait_for_all,
                                     nullptr,      destroy, nullptr};
const bench_team bench_team_tbb = {create_team, run};
