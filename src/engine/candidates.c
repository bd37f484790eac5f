/* SPDX-License-Identifier: MIT */
/*
 * candidates.c - see candidates.h.
 */
#include "engine/candidates.h"

/* ---- a heap whose root comes last -------------------------------------------------- */

/* Lets heap[i] sink below every child that comes later in the order. */
static void sink(struct bni_candidate *heap, size_t n, size_t i)
{
    const struct bni_candidate item = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && bni_candidate_comes_before(heap[child], heap[child + 1]))
            child++;
        if (!bni_candidate_comes_before(item, heap[child])) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static void make_heap(struct bni_candidate *heap, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sink(heap, n, i);
}

/* Turns a heap into a list in order: the last goes to the back, again and again. */
static void sort_heap(struct bni_candidate *heap, size_t n)
{
    while (n > 1) {
        n--;
        const struct bni_candidate last = heap[0];
        heap[0] = heap[n];
        sink(heap, n, 0);
        heap[n] = last;
    }
}

void bni_candidates_sort(struct bni_candidate *candidates, size_t n)
{
    make_heap(candidates, n);
    sort_heap(candidates, n);
}

void bni_candidates_take_top(const float *logits, uint32_t n_vocab, size_t n_kept,
                             struct bni_candidate *kept)
{
    for (uint32_t i = 0; i < n_vocab; i++) {
        const struct bni_candidate candidate = {logits[i], (bitnet_token)i};
        if (i < n_kept) {
            kept[i] = candidate;
            if (i + 1 == n_kept) make_heap(kept, n_kept);
        } else if (bni_candidate_comes_before(candidate, kept[0])) {
            kept[0] = candidate;
            sink(kept, n_kept, 0);
        }
    }
    sort_heap(kept, n_kept);
}

size_t bni_candidates_take_from(const float *logits, uint32_t n_vocab, float least,
                                struct bni_candidate *kept)
{
    size_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        if (logits[i] >= least)
            kept[n++] = (struct bni_candidate){logits[i], (bitnet_token)i};
    bni_candidates_sort(kept, n);
    return n;
}

void bni_candidates_keep_top(struct bni_candidate *candidates, size_t n, size_t n_kept)
{
    if (n_kept == 0) return;
    make_heap(candidates, n_kept);
    for (size_t i = n_kept; i < n; i++) {
        if (!bni_candidate_comes_before(candidates[i], candidates[0])) continue;
        candidates[0] = candidates[i];
        sink(candidates, n_kept, 0);
    }
    sort_heap(candidates, n_kept);
}

/* ---- a heap whose root comes first -------------------------------------------------- */

static void sink_in_queue(struct bni_candidate *queue, size_t n, size_t i)
{
    const struct bni_candidate item = queue[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && bni_candidate_comes_before(queue[child + 1], queue[child]))
            child++;
        if (!bni_candidate_comes_before(queue[child], item)) break;
        queue[i] = queue[child];
    }
    queue[i] = item;
}

void bni_candidates_make_queue(struct bni_candidate *candidates, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sink_in_queue(candidates, n, i);
}

struct bni_candidate bni_candidates_take_first(struct bni_candidate *queue, size_t *n)
{
    const struct bni_candidate first = queue[0];
    queue[0] = queue[--*n];
    if (*n > 0) sink_in_queue(queue, *n, 0);
    return first;
}
