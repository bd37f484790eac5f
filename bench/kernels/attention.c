/* SPDX-License-Identifier: MIT */
/*
 * attention.c - query heads over pages of keys and values, as the engine goes: the heads
 * that share a key and value head go over the pages of a chunk together. The
 * softmax is a part of it. An item is a page of one key and value head.
 */
#include <math.h>
#include <string.h>

#include "operations.h"

enum { MAX_HEADS = 16 };

void bench_fill_pages(void *items, size_t n_items)
{
    bench_fill_halves(items, n_items * BENCH_PAGE_HALFS, BNI_DENSE_F16);
}

void bench_run_attention(const struct bench_call *call)
{
    const uint16_t *pages = (const uint16_t *)(const void *)call->items;
    struct bni_attention_query queries[MAX_HEADS];
    for (size_t head = 0; head < call->n_x; head++) {
        float *out = (float *)call->out + head * BENCH_HEAD_DIM;
        memset(out, 0, BENCH_HEAD_DIM * sizeof(*out));
        queries[head] = (struct bni_attention_query){
            .q = call->operands->x + head * BENCH_HEAD_DIM,
            .acc = out,
            .max = -INFINITY,
            .n_positions = BNI_ATTENTION_BLOCK,
        };
    }
    for (size_t i = 0; i < call->n_items; i++) {
        const uint16_t *keys = pages + i * BENCH_PAGE_HALFS;
        const struct bni_kv_block block = {
            .k = keys,
            .v = keys + BENCH_PAGE_HALFS / 2,
            .head_dim = BENCH_HEAD_DIM,
            .scale = 1.0f / sqrtf(BENCH_HEAD_DIM),
            .next = i + 1 < call->n_items ? BENCH_PAGE_HALFS * 2 : 0,
        };
        call->kernels->attention_block(queries, call->n_x, &block);
    }
}
