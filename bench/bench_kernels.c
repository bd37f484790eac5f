/* SPDX-License-Identifier: MIT */
/*
 * bench_kernels.c - how fast the kernels multiply, on one thread.
 *
 * Prints, for every table this CPU runs, the billions of multiply-adds per second
 * of a ternary product of 2560 x 6912 and of a dense half-precision one, for 1 to 32
 * activations; and each as a share of a peak measured in the same run: the ternary
 * product of a matrix that fits the first-level cache, where neither memory nor
 * remainders cost anything. The best of several repetitions counts, since whatever
 * else the machine does only makes one slower.
 *
 *     bench_kernels [--json] [--table NAME] [--ms PER_MEASUREMENT] [--rows N]
 *
 * Its 4.4 MB of codes stay in most CPUs' last cache; --rows 40960 makes them 70 MB, as
 * if they came from a model that does not fit.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet/clock.h>

#include "base/alloc.h"
#include "common/machine.h"
#include "common/report.h"
#include "kernels/kernels.h"

const char bench_program[] = "bench_kernels";

enum {
    DEFAULT_ROWS = 2560,
    MAX_ROWS = 1 << 20,
    N_COLS = 6912,
    PEAK_ROWS = 8,
    PEAK_COLS = 4096,
    DENSE_ROWS = 1024,
    DENSE_COLS = 2560,
    MAX_X = 32,
};

static const size_t numbers_of_x[] = {1, 2, 4, 8, 32};
enum { N_SIZES = sizeof(numbers_of_x) / sizeof(numbers_of_x[0]) };

/* The operands of all measurements, and somewhere for results. */
struct operands {
    size_t n_rows; /* of the ternary matrix */
    uint8_t *codes;
    uint16_t *dense;
    float *x;
    int8_t *q;
    float x_scale[MAX_X];
    int32_t q_sum[MAX_X];
    float *out;
};

struct measurement {
    double ternary[N_SIZES]; /* GMAC/s */
    double dense[N_SIZES];
    double peak;
};

static bool make_operands(struct operands *o)
{
    const size_t n_code_bytes = o->n_rows * N_COLS / 4;
    const size_t n_dense = (size_t)DENSE_ROWS * DENSE_COLS;
    o->codes = bni_alloc(n_code_bytes);
    o->dense = bni_alloc(n_dense * sizeof(*o->dense));
    o->x = bni_alloc((size_t)MAX_X * N_COLS * sizeof(*o->x));
    o->q = bni_alloc((size_t)MAX_X * N_COLS);
    o->out = bni_alloc(MAX_X * o->n_rows * sizeof(*o->out));
    if (o->codes == NULL || o->dense == NULL || o->x == NULL || o->q == NULL ||
        o->out == NULL)
        return false;

    uint32_t state = 1;
    for (size_t i = 0; i < n_code_bytes; i++) {
        o->codes[i] = 0;
        for (int shift = 0; shift < 8; shift += 2) {
            state = state * 1664525u + 1013904223u;
            o->codes[i] = (uint8_t)(o->codes[i] | ((state >> 16) % 3) << shift);
        }
    }
    for (size_t i = 0; i < n_dense; i++) {
        state = state * 1664525u + 1013904223u;
        o->dense[i] = (uint16_t)((state >> 16) & 0xbbffu); /* less than 1 */
    }
    for (size_t i = 0; i < (size_t)MAX_X * N_COLS; i++) {
        state = state * 1664525u + 1013904223u;
        o->x[i] = (float)(int32_t)state * 0x1p-31f;
    }
    for (size_t i = 0; i < MAX_X; i++)
        bni_kernels_scalar.quantize(o->x + i * N_COLS, N_COLS, o->q + i * N_COLS,
                                    &o->x_scale[i], &o->q_sum[i]);
    return true;
}

static void free_operands(struct operands *o)
{
    bni_free(o->codes);
    bni_free(o->dense);
    bni_free(o->x);
    bni_free(o->q);
    bni_free(o->out);
}

static void multiply_ternary(const struct bni_kernels *table, const struct operands *o,
                             size_t n_rows, size_t n_cols, size_t n_x)
{
    const struct bni_ternary_args args = {
        .codes = o->codes,
        .w_scale = 1.0f,
        .n_cols = n_cols,
        .q = o->q,
        .x_scale = o->x_scale,
        .q_sum = o->q_sum,
        .n_x = n_x,
        .out = o->out,
        .out_stride = n_rows,
    };
    table->ternary_matmul(&args, 0, n_rows);
}

static void multiply_dense(const struct bni_kernels *table, const struct operands *o,
                           size_t n_rows, size_t n_cols, size_t n_x)
{
    const struct bni_dense_args args = {
        .weights = o->dense,
        .n_cols = n_cols,
        .x = o->x,
        .n_x = n_x,
        .out = o->out,
        .out_stride = n_rows,
    };
    table->dense_matmul[BNI_DENSE_F16](&args, 0, n_rows);
}

typedef void (*multiply_fn)(const struct bni_kernels *table, const struct operands *o,
                            size_t n_rows, size_t n_cols, size_t n_x);

/* Returns GMAC/s, the best of the calls that fit in `budget_ns`, at least two. */
static double measure(multiply_fn multiply, const struct bni_kernels *table,
                      const struct operands *o, size_t n_rows, size_t n_cols,
                      size_t n_x, uint64_t budget_ns)
{
    const double n_macs = (double)n_rows * (double)n_cols * (double)n_x;
    /* Enough per reading of the clock that the reading does not count. */
    const size_t n_calls = n_macs < 1e7 ? 1 + (size_t)(1e7 / n_macs) : 1;
    const uint64_t start_ns = bitnet_clock_ns();
    double best_ns = 0;
    for (size_t round = 0; round < 2 || bitnet_clock_ns() - start_ns < budget_ns;
         round++) {
        const uint64_t begin_ns = bitnet_clock_ns();
        for (size_t i = 0; i < n_calls; i++) multiply(table, o, n_rows, n_cols, n_x);
        const double elapsed_ns = (double)(bitnet_clock_ns() - begin_ns);
        if (round == 0 || elapsed_ns < best_ns) best_ns = elapsed_ns;
    }
    return n_macs * (double)n_calls / best_ns;
}

static void measure_table(const struct bni_kernels *table, const struct operands *o,
                          uint64_t budget_ns, struct measurement *result)
{
    result->peak = 0;
    for (size_t n_x = 1; n_x <= 8; n_x++) {
        const double gmacs = measure(multiply_ternary, table, o, PEAK_ROWS, PEAK_COLS,
                                     n_x, budget_ns / 8);
        if (gmacs > result->peak) result->peak = gmacs;
    }
    for (size_t i = 0; i < N_SIZES; i++) {
        result->ternary[i] = measure(multiply_ternary, table, o, o->n_rows, N_COLS,
                                     numbers_of_x[i], budget_ns);
        result->dense[i] = measure(multiply_dense, table, o, DENSE_ROWS, DENSE_COLS,
                                   numbers_of_x[i], budget_ns);
    }
}

static void print_table(const char *name, const struct measurement *m)
{
    printf("%s, peak %.1f GMAC/s\n", name, m->peak);
    printf("  activations   ternary GMAC/s   share of peak   f16 GMAC/s\n");
    for (size_t i = 0; i < N_SIZES; i++)
        printf("  %11zu   %14.1f   %12.0f %%   %10.1f\n", numbers_of_x[i],
               m->ternary[i], 100.0 * m->ternary[i] / m->peak, m->dense[i]);
}

static void print_json(const char *name, const struct measurement *m, bool is_first)
{
    printf("%s\n  {\"table\": \"%s\", \"peak_gmac_s\": %.2f, \"results\": [",
           is_first ? "" : ",", name, m->peak);
    for (size_t i = 0; i < N_SIZES; i++)
        printf(
            "%s\n    {\"n_x\": %zu, \"ternary_gmac_s\": %.2f, \"share_of_peak\": %.3f, "
            "\"dense_f16_gmac_s\": %.2f}",
            i == 0 ? "" : ",", numbers_of_x[i], m->ternary[i], m->ternary[i] / m->peak,
            m->dense[i]);
    printf("]}");
}

int main(int argc, char **argv)
{
    bool is_json = false;
    const char *only = NULL;
    size_t n_rows = DEFAULT_ROWS;
    uint64_t budget_ns = 200 * UINT64_C(1000000);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            is_json = true;
        } else if (strcmp(argv[i], "--table") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc) {
            budget_ns = strtoull(argv[++i], NULL, 10) * UINT64_C(1000000);
        } else if (strcmp(argv[i], "--rows") == 0 && i + 1 < argc) {
            n_rows = strtoull(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: %s [--json] [--table NAME] [--ms N] [--rows N]\n",
                    argv[0]);
            return 2;
        }
    }

    /* The dense product's results need room too. */
    if (n_rows < DENSE_ROWS || n_rows > MAX_ROWS) {
        fprintf(stderr, "%s: --rows is not within %d to %d\n", argv[0], DENSE_ROWS,
                MAX_ROWS);
        return 2;
    }

    struct operands operands = {.n_rows = n_rows};
    if (!make_operands(&operands)) {
        fprintf(stderr, "%s: out of memory\n", argv[0]);
        free_operands(&operands);
        return 1;
    }

    char cpu[128];
    bench_cpu_name(cpu, sizeof(cpu));
    if (is_json)
        printf("{\"cpu\": \"%s\", \"threads\": 1, \"compiler\": \"%s\", \"tables\": [",
               cpu, __VERSION__);
    else
        printf("CPU %s, 1 thread, compiler %s\n", cpu, __VERSION__);

    static const char *const names[] = {"scalar", "avx2", "avx512", "neon", "dotprod"};
    bool is_first = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct bni_kernels *table = bni_kernels_by_name(names[i]);
        if (table == NULL || (only != NULL && strcmp(only, names[i]) != 0)) continue;
        struct measurement measurement;
        measure_table(table, &operands, budget_ns, &measurement);
        if (is_json)
            print_json(names[i], &measurement, is_first);
        else
            print_table(names[i], &measurement);
        is_first = false;
    }
    if (is_json) printf("\n]}\n");
    free_operands(&operands);
    return 0;
}
