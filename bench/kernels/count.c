/* SPDX-License-Identifier: MIT */
/*
 * count.c - see count.h.
 *
 * scripts/count_instructions.py runs this under callgrind, which counts within
 * bench_counted_call() only and writes its counts whenever that returns.
 */
#include "count.h"

#include <jansson.h>
#include <stdlib.h>

#include "common/report.h"
#include "common/run.h"
#include "operations.h"

enum { MOST_X = 32 }; /* products of more are this one again and again */

void bench_counted_call(const struct bench_operation *operation,
                        const struct bench_call *call);

/* The empty assembly keeps the call from becoming the function's last jump. */
__attribute__((noinline)) void bench_counted_call(
    const struct bench_operation *operation, const struct bench_call *call)
{
    operation->run(call);
    __asm__ volatile("");
}

static void count(const struct bench_operation *operation, struct bench_call *call,
                  json_t *calls)
{
    const size_t n_items = operation->n_items;
    call->n_items = n_items;
    call->items = malloc(n_items * operation->item_bytes);
    if (call->items == NULL) bench_give_up("out of memory");
    operation->fill(call->items, n_items);
    for (const size_t *n_x = operation->n_x; *n_x != 0 && *n_x <= MOST_X; n_x++) {
        call->n_x = *n_x;
        bench_counted_call(operation, call);
        const double n = operation->n_per_item * (double)(n_items * *n_x);
        json_array_append_new(calls, json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "name",
                                               operation->name, "item", operation->item,
                                               "unit", operation->unit, "n_x",
                                               (json_int_t)*n_x, "n_items",
                                               (json_int_t)n_items, "arithmetic", n));
    }
    free(call->items);
}

bool bench_count_operations(const struct bni_kernels *kernels, FILE *file)
{
    struct bench_operands *operands = bench_operands_create();
    struct bench_call call = {.kernels = kernels, .operands = operands};
    json_t *calls = json_array();
    call.out = malloc(BENCH_OUT_BYTES);
    if (call.out == NULL) bench_give_up("out of memory");
    for (size_t i = 0; i < bench_n_operations; i++)
        count(&bench_operations[i], &call, calls);
    free(call.out);
    bench_operands_free(operands);
    return bench_write_object(file, json_pack("{s:s, s:o}", "table", kernels->name,
                                              "calls", calls));
}
