/* SPDX-License-Identifier: MIT */
/*
 * candidates.c - see candidates.h.
 */
#include "engine/candidates.h"

#include "base/size.h"

enum { BLOCK = 64, LANES = 8 };

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

/* Returns the largest of a block: a few vectors, where the heap takes them one by one. */
static float largest_in(const float logits[BLOCK])
{
    float largest[LANES];
    for (size_t l = 0; l < LANES; l++) largest[l] = logits[l];
    for (size_t i = LANES; i < BLOCK; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            largest[l] = logits[i + l] > largest[l] ? logits[i + l] : largest[l];
    for (size_t l = 1; l < LANES; l++)
        if (largest[l] > largest[0]) largest[0] = largest[l];
    return largest[0];
}

/* Ids only grow, so a token with a logit equal to the root's does not come before it. */
void bni_candidates_take_top(const float *logits, uint32_t n_vocab, size_t n_kept,
                             struct bni_candidate *kept)
{
    for (size_t i = 0; i < n_kept; i++)
        kept[i] = (struct bni_candidate){logits[i], (bitnet_token)i};
    make_heap(kept, n_kept);
    for (size_t begin = n_kept, end; begin < n_vocab; begin = end) {
        end = bni_size_min(begin + BLOCK, n_vocab);
        if (end - begin == BLOCK && !(largest_in(logits + begin) > kept[0].logit))
            continue;
        for (size_t i = begin; i < end; i++) {
            if (!(logits[i] > kept[0].logit)) continue;
            kept[0] = (struct bni_candidate){logits[i], (bitnet_token)i};
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
