/* SPDX-License-Identifier: MIT */
/*
 * merge.c - symbols in an array by byte index, candidates in a binary heap.
 *
 * The right neighbour of a symbol begins where it ends, so only the way to the
 * left needs a link:
 *
 *     bytes     h   e   l   l   o           bytes     h   e   l   l   o
 *     symbols  [1] [1] [1] [1] [1]   ->     symbols  [2]  .  [2]  .  [1]
 *
 * A joined pair leaves candidates in the heap that name symbols as they were.
 * They are not searched for: symbols only grow, so a candidate is out of date
 * exactly if its left symbol is dead, or it and its right neighbour together are
 * longer than the candidate says.
 *
 * A text of n symbols has n - 1 pairs, and each join takes one candidate out and
 * adds two: the heap never holds more than 2n.
 */
#include "model/merge.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/size.h"

bitnet_status bni_merger_reserve(struct bni_merger *merger, size_t n_bytes)
{
    enum { MIN_BYTES = 64 };
    if (n_bytes <= merger->max_bytes) return BITNET_OK;

    /* At least double, so that ever longer texts do not allocate each time. */
    const size_t max_bytes =
        bni_size_max(bni_size_max(n_bytes, MIN_BYTES),
                     n_bytes > UINT32_MAX / 2 ? 0 : 2 * merger->max_bytes);
    bni_merger_clear(merger);
    merger->symbols = bni_calloc(max_bytes, sizeof(*merger->symbols));
    merger->heap = bni_calloc(max_bytes, 2 * sizeof(*merger->heap));
    if (merger->symbols == NULL || merger->heap == NULL) {
        bni_merger_clear(merger);
        return BITNET_ERROR_OUT_OF_MEMORY;
    }
    merger->max_bytes = max_bytes;
    return BITNET_OK;
}

void bni_merger_clear(struct bni_merger *merger)
{
    bni_free(merger->symbols);
    bni_free(merger->heap);
    *merger = (struct bni_merger){0};
}

static void push(struct bni_merger *merger, struct bni_merge_candidate candidate)
{
    struct bni_merge_candidate *heap = merger->heap;
    size_t at = merger->n_heap++;
    while (at > 0 && candidate.order < heap[(at - 1) / 2].order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = candidate;
}

static struct bni_merge_candidate pop(struct bni_merger *merger)
{
    struct bni_merge_candidate *heap = merger->heap;
    const struct bni_merge_candidate top = heap[0];
    const struct bni_merge_candidate last = heap[--merger->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= merger->n_heap) break;
        if (child + 1 < merger->n_heap && heap[child + 1].order < heap[child].order)
            child++;
        if (last.order <= heap[child].order) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* What stays the same during a run. */
struct run {
    struct bni_merger *merger;
    const char *bytes;
    size_t n_bytes;
    bni_join_fn join;
    const void *context;
};

/* Pushes the pair whose left symbol is at `left`, if it exists and may be joined. */
static void consider(const struct run *run, size_t left)
{
    const struct bni_symbol *symbols = run->merger->symbols;
    const size_t right = left + symbols[left].n_bytes;
    if (right == run->n_bytes) return;

    uint32_t priority;
    struct bni_merge_candidate candidate = {
        .n_bytes = symbols[left].n_bytes + symbols[right].n_bytes,
    };
    if (!run->join(run->context, symbols[left].token, symbols[right].token,
                   run->bytes + left, candidate.n_bytes, &priority, &candidate.token))
        return;
    candidate.order = (uint64_t)priority << 32 | left;
    push(run->merger, candidate);
}

static bool candidate_is_current(const struct bni_merger *merger, size_t n_bytes,
                                 const struct bni_merge_candidate *candidate)
{
    const size_t left = (uint32_t)candidate->order;
    const size_t right = left + merger->symbols[left].n_bytes;
    return merger->symbols[left].n_bytes != 0 && right != n_bytes &&
           merger->symbols[left].n_bytes + merger->symbols[right].n_bytes ==
               candidate->n_bytes;
}

void bni_merger_run(struct bni_merger *merger, const char *bytes, size_t n_bytes,
                    bni_join_fn join, const void *context)
{
    const struct run run = {merger, bytes, n_bytes, join, context};
    struct bni_symbol *symbols = merger->symbols;
    merger->n_heap = 0;
    for (size_t at = 0; at < n_bytes; at += symbols[at].n_bytes) {
        const size_t right = at + symbols[at].n_bytes;
        if (right < n_bytes) symbols[right].previous = (uint32_t)at;
        consider(&run, at);
    }

    while (merger->n_heap > 0) {
        const struct bni_merge_candidate candidate = pop(merger);
        if (!candidate_is_current(merger, n_bytes, &candidate)) continue;

        const size_t left = (uint32_t)candidate.order;
        const size_t right = left + symbols[left].n_bytes;
        const size_t end = left + candidate.n_bytes;
        symbols[right].n_bytes = 0;
        symbols[left].n_bytes = candidate.n_bytes;
        symbols[left].token = candidate.token;
        if (end < n_bytes) symbols[end].previous = (uint32_t)left;

        if (left > 0) consider(&run, symbols[left].previous);
        consider(&run, left);
    }
}
