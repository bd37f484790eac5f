/* SPDX-License-Identifier: MIT */
/*
 * test_matmul_agreement.c - every table's matrix products against the scalar ones,
 * to the bit: shapes that leave every kind of remainder, sub-ranges of rows,
 * weights at odd addresses, and sums chosen to overflow what is too narrow. Ternary,
 * dense, and the coarse ones of the output head.
 */
#include "tables.h"

struct ternary_case {
    size_t n_rows;
    size_t row_begin;
    size_t row_end;
    size_t n_cols;
    size_t n_x;
    int code; /* of all weights; -1 = random */
    int q;    /* all activations; 0 = random, 2 = q and -q in turn by row */
};

static void fill_codes(struct random *random, uint8_t *codes, size_t n_bytes, int code)
{
    for (size_t i = 0; i < n_bytes; i++) {
        codes[i] = 0;
        for (int shift = 0; shift < 8; shift += 2) {
            const uint32_t c = code >= 0 ? (uint32_t)code : random_below(random, 3);
            codes[i] = (uint8_t)(codes[i] | (c << shift));
        }
    }
}

static void check_ternary(struct random *random, const struct ternary_case *c)
{
    const size_t n_code_bytes = c->n_rows * c->n_cols / 4;
    const size_t n_q = c->n_x * c->n_cols;
    uint8_t *code_block = make_buffer(n_code_bytes + 1);
    int8_t *q_block = make_buffer(n_q + 1);
    uint8_t *codes = code_block + 1; /* no alignment at all */
    int8_t *q = q_block + 1;
    float *x_scale = make_buffer(c->n_x * sizeof(*x_scale));
    int32_t *q_sum = make_buffer(c->n_x * sizeof(*q_sum));

    fill_codes(random, codes, n_code_bytes, c->code);
    for (size_t i = 0; i < c->n_x; i++) {
        q_sum[i] = 0;
        for (size_t k = 0; k < c->n_cols; k++) {
            int value = c->q;
            if (c->q == 0) value = (int)random_below(random, 255) - 127;
            if (c->q == 2) value = i % 2 == 0 ? 127 : -127;
            q[i * c->n_cols + k] = (int8_t)value;
            q_sum[i] += value;
        }
        x_scale[i] = fabsf(random_float(random, VALUES_ORDINARY)) + 0.01f;
    }
    if (c->n_x > 2) x_scale[1] = NAN; /* what quantize() makes of a bad row */

    const size_t out_stride = c->n_rows + 3;
    const size_t n_out = c->n_x * out_stride;
    struct bni_ternary_args args = {
        .codes = codes,
        .w_scale = 1.21875f,
        .n_cols = c->n_cols,
        .q = q,
        .x_scale = x_scale,
        .q_sum = q_sum,
        .n_x = c->n_x,
        .out_stride = out_stride,
    };
    float *expected = untouched_floats(n_out);
    args.out = expected;
    bni_kernels_scalar.ternary_matmul(&args, c->row_begin, c->row_end);

    FOR_EACH_TABLE(table)
    {
        float *got = untouched_floats(n_out);
        args.out = got;
        table->ternary_matmul(&args, c->row_begin, c->row_end);
        assert_same_floats(expected, got, n_out,
                           "%s: %zu columns, rows %zu to %zu, n_x %zu", table->name,
                           c->n_cols, c->row_begin, c->row_end, c->n_x);
        free(got);
    }
    free(expected);
    free(q_sum);
    free(x_scale);
    free(q_block);
    free(code_block);
}

static void ternary_products_agree_for_every_number_of_activations(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n_x = 1; n_x <= 17; n_x++)
        check_ternary(&random, &(struct ternary_case){13, 0, 13, 384, n_x, -1, 0});
    for (size_t n_x = 47; n_x <= 50; n_x++)
        check_ternary(&random, &(struct ternary_case){5, 0, 5, 256, n_x, -1, 0});
    check_ternary(&random, &(struct ternary_case){7, 0, 7, 256, 67, -1, 0});
    check_ternary(&random, &(struct ternary_case){70, 1, 70, 256, 97, -1, 0});
}

static void ternary_products_agree_for_any_range_of_rows(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t begin = 0; begin < 4; begin++)
        for (size_t end = begin; end <= begin + 9; end++)
            check_ternary(&random,
                          &(struct ternary_case){13, begin, end, 128, 5, -1, 0});
    check_ternary(&random, &(struct ternary_case){131, 3, 130, 128, 1, -1, 0});
    check_ternary(&random, &(struct ternary_case){131, 3, 130, 128, 9, -1, 0});
}

static void ternary_products_agree_for_every_number_of_blocks(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n_blocks = 1; n_blocks <= 70; n_blocks++) {
        const size_t n_cols = n_blocks * BNI_TERNARY_BLOCK;
        check_ternary(&random, &(struct ternary_case){5, 0, 5, n_cols, 1, -1, 0});
        check_ternary(&random, &(struct ternary_case){3, 0, 3, n_cols, 6, -1, 0});
        check_ternary(&random, &(struct ternary_case){5, 0, 5, n_cols, 9, -1, 0});
    }
}

/* Up to four activations: weights from memory in two streams, where there are enough
 * rows, and what is left over. */
static void ternary_products_agree_for_any_length_of_stream(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t n_rows[] = {14, 15, 16, 17, 29, 30, 31, 44, 45, 46, 61};
    const size_t n_cols = 23040; /* 15 rows are a stream */
    for (size_t i = 0; i < sizeof(n_rows) / sizeof(n_rows[0]); i++)
        for (size_t n_x = 1; n_x <= 5; n_x++)
            check_ternary(&random,
                          &(struct ternary_case){n_rows[i] + 2, 1, n_rows[i] + 1,
                                                 n_cols, n_x, -1, 0});
    for (size_t n_x = 1; n_x <= 4; n_x++)
        check_ternary(&random, &(struct ternary_case){31, 0, 31, n_cols, n_x, 2, -127});
    check_ternary(&random, &(struct ternary_case){5123, 2, 5123, 128, 1, -1, 0});
}

static void the_largest_ternary_sums_do_not_overflow(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t n_cols[] = {2048, 2176, 6912, 23040};
    static const int q[] = {127, -127, 2};
    for (size_t i = 0; i < sizeof(n_cols) / sizeof(n_cols[0]); i++)
        for (size_t j = 0; j < sizeof(q) / sizeof(q[0]); j++)
            for (int code = 0; code <= 2; code += 2) {
                check_ternary(&random, &(struct ternary_case){5, 0, 5, n_cols[i], 1,
                                                              code, q[j]});
                check_ternary(&random, &(struct ternary_case){6, 0, 6, n_cols[i], 11,
                                                              code, q[j]});
            }
    check_ternary(&random,
                  &(struct ternary_case){1, 0, 1, BNI_TERNARY_MAX_COLS, 2, 2, 127});
    check_ternary(&random,
                  &(struct ternary_case){4, 0, 4, BNI_TERNARY_MAX_COLS, 8, 2, -127});
}

struct dense_case {
    enum bni_dense_type type;
    size_t n_rows;
    size_t row_begin;
    size_t row_end;
    size_t n_cols;
    size_t n_x;
    enum values values;
};

static void check_dense(struct random *random, const struct dense_case *c)
{
    const size_t size = c->type == BNI_DENSE_F32 ? 4 : 2;
    const size_t n_weights = c->n_rows * c->n_cols;
    const size_t n_bytes = bni_dense_bytes(c->type, n_weights);
    uint8_t *block = make_buffer(n_bytes + 1);
    uint8_t *weights = block + 1;
    const bool has_blocks = c->type >= BNI_DENSE_Q8_0;
    for (size_t i = 0; has_blocks && i < n_bytes; i++)
        weights[i] = (uint8_t)random_bits(random);
    for (size_t i = 0; !has_blocks && i < n_weights; i++) {
        /* Any bits of 16 are values worth trying, infinities and NaN too, in the
         * wild runs; otherwise of a size whose sums stay finite. */
        const float value = random_float(random, c->values);
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        uint16_t narrow = (uint16_t)(bits >> 16);
        if (c->type == BNI_DENSE_F16 && c->values != VALUES_ANY_BITS)
            narrow = (uint16_t)(random_bits(random) & 0xbbffu);
        if (c->type == BNI_DENSE_F32)
            memcpy(weights + i * size, &value, size);
        else
            memcpy(weights + i * size, &narrow, size);
    }
    float *x = random_floats(random, c->n_x * c->n_cols,
                             c->values == VALUES_HUGE ? VALUES_TINY : VALUES_ORDINARY);

    const size_t out_stride = c->n_rows + 1;
    const size_t n_out = c->n_x * out_stride;
    struct bni_dense_args args = {
        .weights = weights,
        .n_cols = c->n_cols,
        .x = x,
        .n_x = c->n_x,
        .out_stride = out_stride,
    };
    float *expected = untouched_floats(n_out);
    args.out = expected;
    bni_kernels_scalar.dense_matmul[c->type](&args, c->row_begin, c->row_end);

    FOR_EACH_TABLE(table)
    {
        float *got = untouched_floats(n_out);
        args.out = got;
        table->dense_matmul[c->type](&args, c->row_begin, c->row_end);
        assert_same_floats(expected, got, n_out,
                           "%s: type %d, %zu columns, rows %zu to %zu, n_x %zu",
                           table->name, (int)c->type, c->n_cols, c->row_begin,
                           c->row_end, c->n_x);
        free(got);
    }
    free(expected);
    free(x);
    free(block);
}

/* Columns come in multiples of it. */
static size_t unit_of(enum bni_dense_type type)
{
    if (type == BNI_DENSE_Q8_0) return BNI_Q8_0_BLOCK;
    return type == BNI_DENSE_Q6_K ? BNI_Q6_K_BLOCK : 16;
}

static void dense_products_agree_for_every_type_and_shape(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int type = 0; type < BNI_DENSE_N_TYPES; type++) {
        const enum bni_dense_type t = (enum bni_dense_type)type;
        const size_t unit = unit_of(t);
        for (size_t n_x = 1; n_x <= 17; n_x++)
            check_dense(&random, &(struct dense_case){t, 7, 0, 7, 3 * unit, n_x,
                                                      VALUES_ORDINARY});
        for (size_t begin = 0; begin < 3; begin++)
            for (size_t end = begin; end <= begin + 6; end++)
                check_dense(&random, &(struct dense_case){t, 9, begin, end, unit, 3,
                                                          VALUES_ORDINARY});
        check_dense(&random,
                    &(struct dense_case){t, 70, 1, 69, 10 * unit, 5, VALUES_ORDINARY});
        check_dense(&random,
                    &(struct dense_case){t, 140, 1, 139, 3 * unit, 1, VALUES_ORDINARY});
        check_dense(&random,
                    &(struct dense_case){t, 3, 0, 3, 2560, 2, VALUES_ORDINARY});
    }
}

static void dense_products_agree_on_wild_values(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int type = 0; type < BNI_DENSE_N_TYPES; type++)
        for (int values = 0; values < N_VALUES; values++)
            for (size_t n_x = 1; n_x <= 5; n_x++)
                check_dense(&random,
                            &(struct dense_case){(enum bni_dense_type)type, 5, 0, 5,
                                                 4 * unit_of((enum bni_dense_type)type),
                                                 n_x, (enum values)values});
}

struct coarse_case {
    size_t n_rows;
    size_t row_begin;
    size_t row_end;
    size_t n_cols;
    size_t n_x;
    bool is_extreme; /* all as large as allowed, of signs by row */
};

static void check_coarse(struct random *random, const struct coarse_case *c)
{
    const size_t n_codes = c->n_rows * c->n_cols;
    const size_t n_q = c->n_x * c->n_cols;
    const size_t fits = INT32_MAX / (127 * c->n_cols);
    const int limit = fits < INT16_MAX ? (int)fits : INT16_MAX;
    int8_t *code_block = make_buffer(n_codes + 1);
    int8_t *codes = code_block + 1; /* no alignment at all */
    int16_t *q = make_buffer(n_q * sizeof(*q));
    for (size_t i = 0; i < n_codes; i++)
        codes[i] = c->is_extreme ? (i / c->n_cols % 2 == 0 ? 127 : -127)
                                 : (int8_t)((int)random_below(random, 255) - 127);
    for (size_t i = 0; i < n_q; i++)
        q[i] = c->is_extreme
                   ? (int16_t)(i / c->n_cols % 3 == 0 ? -limit : limit)
                   : (int16_t)((int)random_below(random, 2u * (unsigned)limit + 1) -
                               limit);
    float *scales = random_floats(random, c->n_rows, VALUES_ORDINARY);
    float *steps = random_floats(random, c->n_x, VALUES_ORDINARY);
    if (c->n_x > 2) steps[1] = 0x1p-140f;

    const size_t out_stride = c->n_rows + 3;
    const size_t n_out = c->n_x * out_stride;
    struct bni_coarse_args args = {
        .codes = codes,
        .scales = scales,
        .n_cols = c->n_cols,
        .q = q,
        .steps = steps,
        .n_x = c->n_x,
        .out_stride = out_stride,
    };
    float *expected = untouched_floats(n_out);
    args.out = expected;
    bni_kernels_scalar.coarse_matmul(&args, c->row_begin, c->row_end);

    FOR_EACH_TABLE(table)
    {
        float *got = untouched_floats(n_out);
        args.out = got;
        table->coarse_matmul(&args, c->row_begin, c->row_end);
        assert_same_floats(expected, got, n_out,
                           "%s: %zu columns, rows %zu to %zu, n_x %zu", table->name,
                           c->n_cols, c->row_begin, c->row_end, c->n_x);
        free(got);
    }
    free(expected);
    free(steps);
    free(scales);
    free(q);
    free(code_block);
}

static void coarse_products_agree_for_every_shape(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n_x = 1; n_x <= 17; n_x++)
        check_coarse(&random, &(struct coarse_case){7, 0, 7, 48, n_x, false});
    for (size_t begin = 0; begin < 4; begin++)
        for (size_t end = begin; end <= begin + 9; end++)
            check_coarse(&random, &(struct coarse_case){13, begin, end, 32, 5, false});
    for (size_t n_cols = 16; n_cols <= 320; n_cols += 16)
        for (size_t n_x = 1; n_x <= 4; n_x++)
            check_coarse(&random, &(struct coarse_case){5, 0, 5, n_cols, n_x, false});
    check_coarse(&random, &(struct coarse_case){131, 3, 130, 128, 1, false});
    check_coarse(&random, &(struct coarse_case){3, 0, 3, 2560, 2, false});
}

static void the_largest_coarse_sums_do_not_overflow(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t n_cols[] = {16, 512, 528, 2560, 8192, BNI_TERNARY_MAX_COLS};
    for (size_t i = 0; i < sizeof(n_cols) / sizeof(n_cols[0]); i++)
        for (size_t n_x = 1; n_x <= 4; n_x++)
            check_coarse(&random, &(struct coarse_case){2, 0, 2, n_cols[i], n_x, true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ternary_products_agree_for_every_number_of_activations),
        cmocka_unit_test(ternary_products_agree_for_any_range_of_rows),
        cmocka_unit_test(ternary_products_agree_for_any_length_of_stream),
        cmocka_unit_test(ternary_products_agree_for_every_number_of_blocks),
        cmocka_unit_test(the_largest_ternary_sums_do_not_overflow),
        cmocka_unit_test(dense_products_agree_for_every_type_and_shape),
        cmocka_unit_test(dense_products_agree_on_wild_values),
        cmocka_unit_test(coarse_products_agree_for_every_shape),
        cmocka_unit_test(the_largest_coarse_sums_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, find_tables, NULL);
}
