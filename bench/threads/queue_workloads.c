/* SPDX-License-Identifier: MIT */
/*
 * queue_workloads.c - what the job queues are measured with.
 *
 * Each function makes one pool, warms it up, measures, reports, and leaves the pool to
 * the end of the process: ending it well is a workload of its own. Jobs tell that they
 * ran by counting down a latch.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "measure.h"
#include "peer.h"
#include "workload.h"

enum { MAX_PRODUCERS = 4, MS = 1000000 };

static struct bench_latch done;

static void count_down(void *arg)
{
    bench_latch_count_down(arg);
}

static struct bench_job count_down_done = {count_down, &done};

/* Its workers have worked, and the calling thread has waited. */
static void *make_warm_pool(const struct bench_queue *queue,
                            const struct bench_effort *effort)
{
    void *pool = queue->create(BENCH_N_WORKERS);
    for (int i = 0; i < effort->n_warm_ups; i++) {
        bench_latch_set(&done, 1);
        queue->submit(pool, &count_down_done);
        bench_latch_wait(&done);
    }
    if (queue->collect != NULL) queue->collect(pool);
    return pool;
}

struct producer {
    pthread_t thread;
    const struct bench_queue *queue;
    void *pool;
    int n_jobs;
    pthread_barrier_t *start;
};

static void *produce(void *arg)
{
    const struct producer *producer = arg;
    const struct bench_queue *queue = producer->queue;
    pthread_barrier_wait(producer->start);
    for (int i = 0; i < producer->n_jobs; i++)
        queue->submit(producer->pool, &count_down_done);
    if (queue->collect != NULL) queue->collect(producer->pool);
    return NULL;
}

static void measure_throughput(const struct bench_queue *queue, unsigned n_producers,
                               const struct bench_effort *effort)
{
    struct producer producers[MAX_PRODUCERS];
    pthread_barrier_t start;
    void *pool = make_warm_pool(queue, effort);
    const int n_jobs = effort->n_jobs;
    bench_latch_set(&done, n_jobs);
    pthread_barrier_init(&start, NULL, n_producers + 1);
    for (unsigned i = 0; i < n_producers; i++) {
        producers[i] = (struct producer){
            .queue = queue,
            .pool = pool,
            .n_jobs = n_jobs / (int)n_producers,
            .start = &start,
        };
        if (pthread_create(&producers[i].thread, NULL, produce, &producers[i]) != 0)
            bench_give_up("the system has no thread to give");
    }

    const struct bench_usage before = bench_usage_now();
    const uint64_t begin_ns = bench_now_ns();
    pthread_barrier_wait(&start);
    for (unsigned i = 0; i < n_producers; i++) pthread_join(producers[i].thread, NULL);
    bench_latch_wait(&done);
    const double elapsed_s = (double)(bench_now_ns() - begin_ns) / 1e9;
    const struct bench_usage after = bench_usage_now();

    bench_report("jobs_per_s", n_jobs / elapsed_s);
    bench_report("cpu_ns_per_job", (after.cpu_s - before.cpu_s) * 1e9 / n_jobs);
    bench_report("switches_per_1000_jobs",
                 (after.n_switches - before.n_switches) * 1000 / n_jobs);
}

void bench_throughput_1(const struct bench_queue *queue,
                        const struct bench_effort *effort)
{
    measure_throughput(queue, 1, effort);
}

void bench_throughput_4(const struct bench_queue *queue,
                        const struct bench_effort *effort)
{
    measure_throughput(queue, 4, effort);
}

/* From before the submission of one job until its submitter knows that it ran. */
static void measure_round_trip(const struct bench_queue *queue, size_t n_trips,
                               uint64_t idle_ns, const struct bench_effort *effort)
{
    void *pool = make_warm_pool(queue, effort);
    struct bench_samples samples;
    bench_samples_begin(&samples, n_trips, effort->max_ms);
    while (bench_samples_want_more(&samples)) {
        if (idle_ns > 0) bench_sleep_ns(idle_ns);
        bench_latch_set(&done, 1);
        const uint64_t begin_ns = bench_now_ns();
        queue->submit(pool, &count_down_done);
        bench_latch_wait(&done);
        bench_samples_add(&samples, bench_now_ns() - begin_ns);
        if (queue->collect != NULL) queue->collect(pool);
    }
    bench_samples_report(&samples);
}

void bench_round_trip(const struct bench_queue *queue,
                      const struct bench_effort *effort)
{
    measure_round_trip(queue, effort->n_round_trips, 0, effort);
}

void bench_round_trip_idle(const struct bench_queue *queue,
                           const struct bench_effort *effort)
{
    measure_round_trip(queue, effort->n_sleepy_trips, MS, effort);
}

/* A job that takes its time and leaves a note of when it ended. */
struct timed_job {
    struct bench_job job;
    uint64_t duration_ns;
};

static _Atomic uint64_t last_end_ns;

static void take_time(void *arg)
{
    const struct timed_job *timed = arg;
    bench_spin_ns(timed->duration_ns);
    const uint64_t end_ns = bench_now_ns();
    uint64_t last_ns = atomic_load(&last_end_ns);
    while (last_ns < end_ns &&
           !atomic_compare_exchange_weak(&last_end_ns, &last_ns, end_ns))
        continue;
}

/* From the end of the last job until the wait for all of them has returned. */
void bench_wait_for_all(const struct bench_queue *queue,
                        const struct bench_effort *effort)
{
    void *pool = make_warm_pool(queue, effort);
    uint32_t random = 12345;
    struct timed_job timed[BENCH_N_WORKERS];
    struct bench_samples samples;
    bench_samples_begin(&samples, effort->n_waits, effort->max_ms);
    while (bench_samples_want_more(&samples)) {
        atomic_store(&last_end_ns, 0);
        for (int i = 0; i < BENCH_N_WORKERS; i++) {
            random = random * 1664525u + 1013904223u;
            timed[i].job = (struct bench_job){take_time, &timed[i]};
            timed[i].duration_ns = 20000 + (random >> 8) % 280000;
            queue->submit(pool, &timed[i].job);
        }
        queue->wait(pool);
        const uint64_t now_ns = bench_now_ns();
        bench_samples_add(&samples, now_ns - atomic_load(&last_end_ns));
    }
    bench_samples_report(&samples);
}

void bench_queue_idle(const struct bench_queue *queue,
                      const struct bench_effort *effort)
{
    make_warm_pool(queue, effort);
    bench_report_idleness(effort->idle_ms);
}

static void take_1_us(void *arg)
{
    bench_spin_ns(1000);
    bench_latch_count_down(arg);
}

/* One thread submits as fast as it can, and the jobs take longer than that. */
void bench_memory(const struct bench_queue *queue, const struct bench_effort *effort)
{
    static struct bench_job job = {take_1_us, &done};
    const double before_mb = bench_peak_memory_mb();
    void *pool = queue->create(BENCH_N_WORKERS);
    bench_latch_set(&done, effort->n_jobs);
    for (int i = 0; i < effort->n_jobs; i++) queue->submit(pool, &job);
    bench_latch_wait(&done);
    bench_report("growth_mb", bench_peak_memory_mb() - before_mb);
    if (queue->memory_bound != NULL)
        bench_report("bound_mb", queue->memory_bound(BENCH_N_WORKERS) / 1e6);
}

/* All workers are inside, until the gate opens. */
static struct bench_latch gate;
static struct bench_latch entered;

static void wait_at_gate(void *arg)
{
    (void)arg;
    bench_latch_count_down(&entered);
    bench_latch_wait(&gate);
}

/* The gate opens just before the pool's end, with `n_queued` jobs behind it. */
static void measure_shutdown(const struct bench_queue *queue, int n_queued,
                             const struct bench_effort *effort)
{
    static struct bench_job blocker = {wait_at_gate, NULL};
    static struct bench_job job = {take_1_us, &done};
    struct bench_samples samples;
    bench_samples_begin(&samples, effort->n_shutdowns, effort->max_ms);
    while (bench_samples_want_more(&samples)) {
        void *pool = make_warm_pool(queue, effort);
        bench_sleep_ns(5 * MS);
        if (n_queued > 0) {
            bench_latch_set(&gate, 1);
            bench_latch_set(&entered, BENCH_N_WORKERS);
            bench_latch_set(&done, n_queued);
            for (int i = 0; i < BENCH_N_WORKERS; i++) queue->submit(pool, &blocker);
            bench_latch_wait(&entered);
            for (int i = 0; i < n_queued; i++) queue->submit(pool, &job);
        }
        const uint64_t begin_ns = bench_now_ns();
        bench_latch_count_down(&gate);
        queue->destroy(pool);
        bench_samples_add(&samples, bench_now_ns() - begin_ns);
    }
    bench_samples_report(&samples);
}

void bench_shutdown_empty(const struct bench_queue *queue,
                          const struct bench_effort *effort)
{
    measure_shutdown(queue, 0, effort);
}

void bench_shutdown_full(const struct bench_queue *queue,
                         const struct bench_effort *effort)
{
    measure_shutdown(queue, BENCH_QUEUE_SIZE, effort);
}
