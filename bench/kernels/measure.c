/* SPDX-License-Identifier: MIT */
/*
 * measure.c - see measure.h.
 *
 * Every thread has a part of one large ring of chunks, and a place for results. For
 * what comes from memory it goes round its part, which is so large that no cache still
 * has a chunk when its turn comes again; for what comes from a cache it stays at the
 * first chunk.
 *
 *     ring   | thread 0: chunk 0 | chunk 1 | ... | thread 1: chunk 0 | chunk 1 | ... |
 *
 * Calls are repeated until they take five milliseconds, so that neither the clock nor the
 * fork and join count, and the best of some thirty such times is the result. In less time
 * the system may not move a thread that woke up on its caller's CPU to an idle one. For
 * what comes from memory the best of as many samples of the limits, taken between these
 * rounds, is what the result is compared with.
 */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/machine.h"
#include "common/parts.h"
#include "common/report.h"

enum { BESIDE_FACTOR = 3 }; /* of the time, where the limits take their turn */

struct effort {
    size_t ring_bytes;
    double round_s; /* of calls between two readings of the clock */
    uint64_t budget_ns;
};

/* The ring is larger than any cache, and as large as what the limit is measured with. */
static const struct effort full = {(size_t)256 << 20, 5e-3, 150000000};
static const struct effort quick = {(size_t)8 << 20, 0, 0};

struct measuring {
    const struct effort *effort;
    const struct bni_kernels *kernels;
    struct bench_meter *meter;
    struct bench_operands *operands;
    struct bni_team *teams[BENCH_N_TEAMS];
    char *ring;
    char *outs; /* BENCH_OUT_BYTES for each thread */
};

/* One operation being repeated. */
struct repetition {
    const struct bench_operation *operation;
    struct bench_call call; /* but for items and out */
    size_t n_calls;         /* of each thread */
    size_t n_chunks;        /* that each goes round */
    char *ring;
    char *outs;
    size_t next_chunk[BNI_TEAM_MAX_THREADS];
};

static void repeat(void *user, size_t part)
{
    struct repetition *r = user;
    const size_t chunk_bytes = r->operation->n_items * r->operation->item_bytes;
    char *chunks = r->ring + part * r->n_chunks * chunk_bytes;
    struct bench_call call = r->call;
    size_t chunk = r->next_chunk[part];
    call.out = r->outs + part * BENCH_OUT_BYTES;
    for (size_t i = 0; i < r->n_calls; i++) {
        call.items = chunks + chunk * chunk_bytes;
        r->operation->run(&call);
        chunk = chunk + 1 == r->n_chunks ? 0 : chunk + 1;
    }
    r->next_chunk[part] = chunk;
}

/* The best time of rounds with samples of the limits between them. */
static double best_beside(const struct measuring *m, struct repetition *r, size_t team,
                          struct bench_sample *beside)
{
    const uint64_t begin_ns = bench_now_ns();
    struct bench_samples samples = {0};
    double best_s = INFINITY;
    do {
        const double s = bench_time_s(m->teams[team], repeat, r);
        if (s < best_s) best_s = s;
        bench_samples_add(&samples, m->meter, team);
    } while (bench_now_ns() - begin_ns < BESIDE_FACTOR * m->effort->budget_ns);
    *beside = bench_samples_at(&samples, 1);
    return best_s;
}

/* The seconds for an item, of all threads together. */
static void measure(const struct measuring *m, const struct bench_operation *operation,
                    size_t team, struct bench_result *result)
{
    const bool is_from_memory = result->is_from_memory;
    const size_t n_threads = bni_team_size(m->teams[team]);
    const size_t chunk_bytes = operation->n_items * operation->item_bytes;
    static struct repetition r; /* large for a stack */
    r = (struct repetition){
        .operation = operation,
        .call = {m->kernels, m->operands, NULL, operation->n_items, result->n_x, NULL},
        .n_calls = 1,
        .n_chunks =
            is_from_memory ? m->effort->ring_bytes / n_threads / chunk_bytes : 1,
        .ring = m->ring,
        .outs = m->outs,
    };
    if (r.n_chunks == 0) r.n_chunks = 1;
    bench_time_s(m->teams[team], repeat, &r); /* the first is slower than the others */
    const double call_s = bench_time_s(m->teams[team], repeat, &r);
    if (call_s < m->effort->round_s)
        r.n_calls = 1 + (size_t)(m->effort->round_s / call_s);
    const double s = is_from_memory ? best_beside(m, &r, team, &result->beside[team])
                                    : bench_best_time_s(m->teams[team], repeat, &r,
                                                        m->effort->budget_ns);
    result->s[team] = s / (double)(r.n_calls * operation->n_items * n_threads);
}

/* Fills the ring, or as much of it as will be used, with copies of one chunk. */
static void fill_ring(const struct measuring *m,
                      const struct bench_operation *operation)
{
    const size_t chunk_bytes = operation->n_items * operation->item_bytes;
    size_t n_chunks = bni_team_size(m->teams[BENCH_N_TEAMS - 1]);
    if (operation->is_streamed && m->effort->ring_bytes / chunk_bytes > n_chunks)
        n_chunks = m->effort->ring_bytes / chunk_bytes;
    operation->fill(m->ring, operation->n_items);
    for (size_t i = 1; i < n_chunks; i++)
        memcpy(m->ring + i * chunk_bytes, m->ring, chunk_bytes);
}

static struct bench_work work_of(const struct bench_operation *operation, size_t n_x,
                                 bool is_from_memory)
{
    const double n = operation->n_per_item * (double)n_x;
    const double item_bytes = (double)operation->item_bytes;
    return (struct bench_work){
        .memory_bytes = is_from_memory ? item_bytes : 0,
        .cache_bytes =
            (double)operation->other_bytes + (is_from_memory ? 0 : item_bytes),
        .n_integer = operation->is_integer ? n : 0,
        .n_float = operation->is_integer ? 0 : n,
    };
}

static void measure_all(const struct measuring *m,
                        const struct bench_operation *operation,
                        struct bench_list *list)
{
    const size_t n_teams = operation->is_serial ? 1 : BENCH_N_TEAMS;
    fill_ring(m, operation);
    for (int from_memory = 0; from_memory <= operation->is_streamed; from_memory++) {
        for (const size_t *n_x = operation->n_x; *n_x != 0; n_x++) {
            struct bench_result *result =
                bench_list_add(list, operation->name, operation->item, operation->unit);
            result->is_from_memory = from_memory;
            result->n_x = *n_x;
            result->work = work_of(operation, *n_x, from_memory);
            for (size_t t = 0; t < n_teams; t++) measure(m, operation, t, result);
        }
    }
}

/* Room for each thread's chunk of the largest operation, and for the ring. */
static size_t ring_bytes(const struct effort *effort, size_t n_threads)
{
    size_t n_bytes = effort->ring_bytes;
    for (size_t i = 0; i < bench_n_operations; i++) {
        const struct bench_operation *operation = &bench_operations[i];
        const size_t needed = n_threads * operation->n_items * operation->item_bytes;
        n_bytes = needed > n_bytes ? needed : n_bytes;
    }
    return n_bytes;
}

void bench_measure_operations(const struct bni_kernels *kernels,
                              const unsigned n_threads[BENCH_N_TEAMS],
                              struct bench_meter *meter, bool is_quick,
                              struct bench_list *list)
{
    const struct effort *effort = is_quick ? &quick : &full;
    const size_t most_threads = n_threads[BENCH_N_TEAMS - 1];
    struct measuring m = {
        .effort = effort,
        .kernels = kernels,
        .meter = meter,
        .operands = bench_operands_create(),
        .ring = malloc(ring_bytes(effort, most_threads)),
        .outs = calloc(most_threads, BENCH_OUT_BYTES),
    };
    if (m.ring == NULL || m.outs == NULL) bench_give_up("out of memory");
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) m.teams[t] = bench_team(n_threads[t]);
    for (size_t i = 0; i < bench_n_operations; i++) {
        bench_show_progress(i, bench_n_operations, bench_operations[i].name);
        measure_all(&m, &bench_operations[i], list);
    }
    bench_show_progress(bench_n_operations, bench_n_operations, "operations: done");
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) bni_team_destroy(m.teams[t]);
    bench_operands_free(m.operands);
    free(m.ring);
    free(m.outs);
}
