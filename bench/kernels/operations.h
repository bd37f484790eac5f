/* SPDX-License-Identifier: MIT */
/*
 * operations.h - what is measured: one entry for each operation, in one list.
 *
 * An operation goes over items: rows of a matrix, rows of activations, pages of keys and
 * values. What it reads for them lies end to end in memory. A call does one chunk of
 * them; who measures decides where the next chunk is: the same one again, which a cache
 * then holds, or one that was not read for a long time, which comes from memory.
 *
 *     items    |  chunk 0  |  chunk 1  | ...       chunk: n_items * item_bytes
 *
 * To have another operation measured, counted and drawn, write its `run` in products.c,
 * rows.c or beside them, declare it at the end of this file and add its entry to the
 * list in operations.c: nothing else.
 */
#ifndef BENCH_KERNELS_OPERATIONS_H
#define BENCH_KERNELS_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum {
    BENCH_N_COLS = 2560, /* inputs of most matrices of the 2B model */
    BENCH_N_FF = 6912,
    BENCH_N_VOCAB = 128256,
    BENCH_HEAD_DIM = 128,
    /* Keys and values of one head in a page of the cache. */
    BENCH_PAGE_HALFS = 2 * BENCH_HEAD_DIM * BNI_ATTENTION_BLOCK,
    BENCH_MAX_X = 512, /* activations in a product */
    BENCH_MAX_NUMBERS_OF_X = 8,
    BENCH_OUT_BYTES = 4 << 20,
};

/* Random activations, the same for all threads, which only read them. */
struct bench_operands {
    float *x;                   /* [BENCH_MAX_X][BENCH_N_COLS], in -1..1 */
    int8_t *q;                  /* the same, quantised */
    float x_scale[BENCH_MAX_X]; /* likewise */
    int32_t q_sum[BENCH_MAX_X];
    float gain[BENCH_N_COLS];
    float cos[BENCH_HEAD_DIM / 2]; /* and of the same angles */
    float sin[BENCH_HEAD_DIM / 2];
};

/* One chunk to be done, by one thread. */
struct bench_call {
    const struct bni_kernels *kernels;
    const struct bench_operands *operands;
    char *items; /* this thread's alone */
    size_t n_items;
    size_t n_x;
    void *out; /* BENCH_OUT_BYTES for results or scratch, likewise */
};

struct bench_operation {
    const char *name;
    const char *item;  /* what one item is */
    const char *unit;  /* of arithmetic: "MAC" multiplies and adds, "op" is any other */
    bool is_integer;   /* the arithmetic is on bytes, not on floats */
    double n_per_item; /* units for each item and activation */
    size_t item_bytes; /* read for each item, for all activations */
    size_t other_bytes;                 /* read besides, from a cache in any case */
    size_t n_items;                     /* of a chunk */
    size_t n_x[BENCH_MAX_NUMBERS_OF_X]; /* numbers of activations, up to a 0 */
    bool is_streamed;                   /* also measured with items from memory */
    bool is_serial;                     /* only one thread at a time ever does it */
    void (*fill)(void *items, size_t n_items);
    void (*run)(const struct bench_call *call);
};

extern const struct bench_operation bench_operations[];
extern const size_t bench_n_operations;

/* Gives up if there is no memory for them. */
struct bench_operands *bench_operands_create(void);
void bench_operands_free(struct bench_operands *operands);

/* Random numbers, the same in every run: of 32 bits, floats in -1..1, and F16 or BF16 in
 * -1..1, none of them denormal. */
uint32_t bench_random(void);
void bench_fill_floats(float *values, size_t n);
void bench_fill_halves(uint16_t *values, size_t n, enum bni_dense_type type);

/* products.c */
void bench_fill_ternary(void *items, size_t n_items);
void bench_fill_f32(void *items, size_t n_items);
void bench_fill_f16(void *items, size_t n_items);
void bench_fill_bf16(void *items, size_t n_items);
void bench_run_ternary(const struct bench_call *call);
void bench_run_dense_f32(const struct bench_call *call);
void bench_run_dense_f16(const struct bench_call *call);
void bench_run_dense_bf16(const struct bench_call *call);

/* rows.c */
void bench_fill_heads(void *items, size_t n_items);
void bench_fill_ff(void *items, size_t n_items);
void bench_run_quantize(const struct bench_call *call);
void bench_run_rms_norm(const struct bench_call *call);
void bench_run_add(const struct bench_call *call);
void bench_run_rope_neox(const struct bench_call *call);
void bench_run_rope_adjacent(const struct bench_call *call);
void bench_run_store_values(const struct bench_call *call);
void bench_run_store_keys(const struct bench_call *call);
void bench_run_relu2(const struct bench_call *call);
void bench_run_silu(const struct bench_call *call);
void bench_run_widen_f16(const struct bench_call *call);
void bench_run_widen_bf16(const struct bench_call *call);

/* attention.c */
void bench_fill_pages(void *items, size_t n_items);
void bench_run_attention(const struct bench_call *call);

/* sampling.c */
void bench_fill_logits(void *items, size_t n_items);
void bench_run_greedy(const struct bench_call *call);
void bench_run_sampling(const struct bench_call *call);

#endif
