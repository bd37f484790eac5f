/* SPDX-License-Identifier: MIT */
/*
 * test_vector_agreement.c - every table's operations on vectors against the scalar
 * ones, to the bit: lengths with every remainder, and values from ordinary ones to
 * any bits at all.
 */
#include "tables.h"

static void check_quantize(const float *x, size_t n)
{
    int8_t *expected_q = make_buffer(n + 1);
    float expected_scale;
    int32_t expected_sum;
    bni_kernels_scalar.quantize(x, n, expected_q, &expected_scale, &expected_sum);

    FOR_EACH_TABLE(table)
    {
        int8_t *q = make_buffer(n + 1);
        float scale = 0;
        int32_t sum = -1;
        table->quantize(x, n, q, &scale, &sum);
        assert_same_floats(&expected_scale, &scale, 1, "%s: scale, n %zu", table->name,
                           n);
        assert_memory_equal(q, expected_q, n);
        assert_int_equal(sum, expected_sum);
        free(q);
    }
    free(expected_q);
}

static void quantize_agrees(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n = 1; n <= 140; n++)
        for (int values = 0; values < N_VALUES; values++) {
            float *x = random_floats(&random, n, (enum values)values);
            check_quantize(x, n);
            x[random_below(&random, (uint32_t)n)] = n % 2 == 0 ? INFINITY : -NAN;
            check_quantize(x, n);
            free(x);
        }
    float *x = random_floats(&random, 6912, VALUES_ORDINARY);
    check_quantize(x, 6912);
    free(x);
}

static void quantize_agrees_on_ties(void **state)
{
    (void)state;
    /* With an absmax of 127 the scale is 1, and halves are ties. */
    float x[510];
    for (int i = 0; i < 510; i++) x[i] = (float)(i - 254) * 0.5f;
    x[509] = -127.0f;
    check_quantize(x, 510);
}

static void widen_agrees_for_all_bits(void **state)
{
    (void)state;
    uint16_t *all = make_buffer(65536 * sizeof(*all));
    for (size_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    float *expected = make_buffer(65536 * sizeof(*expected));

    for (int type = 0; type < BNI_DENSE_Q8_0; type++) {
        const size_t n = type == BNI_DENSE_F32 ? 65536 / 2 : 65536;
        bni_kernels_scalar.widen[type](all, n, expected);
        FOR_EACH_TABLE(table)
        {
            float *got = untouched_floats(n);
            table->widen[type](all, n, got);
            /* Conversions promise the payload too. */
            assert_memory_equal(got, expected, n * sizeof(*got));
            free(got);
        }
    }
    free(expected);
    free(all);
}

static void widen_agrees_for_every_remainder_at_odd_addresses(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int type = 0; type < BNI_DENSE_Q8_0; type++)
        for (size_t n = 0; n <= 40; n++) {
            const size_t n_bytes = n * (type == BNI_DENSE_F32 ? 4 : 2);
            uint8_t *from = make_buffer(n_bytes + 1);
            for (size_t i = 0; i <= n_bytes; i++)
                from[i] = (uint8_t)random_bits(&random);
            float *expected = untouched_floats(n + 1);
            bni_kernels_scalar.widen[type](from + 1, n, expected);
            FOR_EACH_TABLE(table)
            {
                float *got = untouched_floats(n + 1);
                table->widen[type](from + 1, n, got);
                assert_memory_equal(got, expected, (n + 1) * sizeof(*got));
                free(got);
            }
            free(expected);
            free(from);
        }
}

/* Any bits, and so any factor: NaN is NaN. */
static void widen_agrees_for_blocks_of_any_bits(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int type = BNI_DENSE_Q8_0; type < BNI_DENSE_N_TYPES; type++)
        for (size_t n = 0; n <= 8192; n += 256) {
            const size_t n_bytes = bni_dense_bytes((enum bni_dense_type)type, n);
            uint8_t *from = make_buffer(n_bytes + 1);
            for (size_t i = 0; i <= n_bytes; i++)
                from[i] = (uint8_t)random_bits(&random);
            float *expected = untouched_floats(n + 1);
            bni_kernels_scalar.widen[type](from + 1, n, expected);
            FOR_EACH_TABLE(table)
            {
                float *got = untouched_floats(n + 1);
                table->widen[type](from + 1, n, got);
                assert_same_floats(expected, got, n + 1, "%s: type %d, %zu values",
                                   table->name, type, n);
                free(got);
            }
            free(expected);
            free(from);
        }
}

static void check_coarse_copy(const float *x, size_t n)
{
    int8_t *expected = make_buffer(n);
    memset(expected, 0x5a, n);
    struct bni_coarse_copy expected_out = {-1.0f, -1.0f, -1.0f};
    const bool is_expected =
        bni_kernels_scalar.coarse_copy(x, n, expected, &expected_out);

    FOR_EACH_TABLE(table)
    {
        int8_t *codes = make_buffer(n);
        memset(codes, 0x5a, n);
        struct bni_coarse_copy out = {-1.0f, -1.0f, -1.0f};
        if (table->coarse_copy(x, n, codes, &out) != is_expected)
            fail_msg("%s: coarse_copy, n %zu: expected %d", table->name, n,
                     is_expected);
        assert_memory_equal(codes, expected, n);
        assert_memory_equal(&out, &expected_out, sizeof(out));
        free(codes);
    }
    free(expected);
}

static void coarse_copy_agrees(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n = 16; n <= 208; n += 16)
        for (int values = 0; values < N_VALUES; values++)
            for (int i = 0; i < 4; i++) {
                float *x = random_floats(&random, n, (enum values)values);
                check_coarse_copy(x, n);
                x[random_below(&random, (uint32_t)n)] = n % 32 == 0 ? INFINITY : -NAN;
                check_coarse_copy(x, n);
                free(x);
            }
    float *x = random_floats(&random, 2560, VALUES_ORDINARY);
    for (int exponent = -149; exponent <= 60; exponent++) { /* of all sizes */
        float *scaled = make_buffer(2560 * sizeof(*scaled));
        for (size_t i = 0; i < 2560; i++) scaled[i] = ldexpf(x[i], exponent);
        check_coarse_copy(scaled, 2560);
        free(scaled);
    }
    free(x);
}

static void coarse_copy_agrees_on_ties(void **state)
{
    (void)state;
    float x[512]; /* the scale is 1, and halves are ties */
    for (int i = 0; i < 512; i++) x[i] = (float)((i - 256) % 254) * 0.5f;
    x[0] = 127.0f;
    check_coarse_copy(x, 512);
    memset(x, 0, sizeof(x));
    check_coarse_copy(x, 512);
}

static void store_f16_agrees(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t strides[] = {1, 2, BNI_ATTENTION_BLOCK};
    for (size_t s = 0; s < 3; s++)
        for (size_t n = 0; n <= 70; n++)
            for (int values = 0; values < N_VALUES; values++) {
                float *x = random_floats(&random, n + 1, (enum values)values);
                const size_t n_bytes = (n * strides[s] + 1) * sizeof(uint16_t);
                uint16_t *expected = make_buffer(n_bytes);
                memset(expected, 0x5a, n_bytes);
                uint16_t *untouched = copy_of(expected, n_bytes);
                bni_kernels_scalar.store_f16(x, n, expected, strides[s]);
                FOR_EACH_TABLE(table)
                {
                    uint16_t *got = copy_of(untouched, n_bytes);
                    table->store_f16(x, n, got, strides[s]);
                    assert_memory_equal(got, expected, n_bytes);
                    free(got);
                }
                free(untouched);
                free(expected);
                free(x);
            }
}

/* Every half-way case between two halves, one float up and one down, of both signs. */
static void store_f16_agrees_where_it_rounds(void **state)
{
    (void)state;
    enum { N = 8 };
    for (uint32_t half = 0; half < 0x7c00; half++) {
        const uint16_t low_bits = (uint16_t)half;
        float x[N];
        bni_kernels_scalar.widen[BNI_DENSE_F16](&low_bits, 1, &x[0]);
        /* The float half way to the next: exact but where the next is infinity. */
        const uint16_t high_bits = (uint16_t)(half + 1);
        float high;
        bni_kernels_scalar.widen[BNI_DENSE_F16](&high_bits, 1, &high);
        x[1] = half == 0x7bff ? 65520.0f : x[0] + (high - x[0]) * 0.5f;
        x[2] = nextafterf(x[1], 0.0f);
        x[3] = nextafterf(x[1], INFINITY);
        for (size_t i = 0; i < 4; i++) x[i + 4] = -x[i];

        uint16_t expected[N];
        bni_kernels_scalar.store_f16(x, N, expected, 1);
        assert_int_equal(expected[0], half);
        assert_int_equal(expected[1], half + (half & 1));
        assert_int_equal(expected[2], half);
        assert_int_equal(expected[3], half + 1);
        assert_int_equal(expected[7], 0x8000 + half + 1);
        FOR_EACH_TABLE(table)
        {
            uint16_t got[N];
            table->store_f16(x, N, got, 1);
            assert_memory_equal(got, expected, sizeof(got));
        }
    }
}

static void rms_norm_agrees(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n = 16; n <= 16 * 17; n += 16)
        for (int values = 0; values < N_VALUES; values++) {
            float *x = random_floats(&random, n, (enum values)values);
            float *gain = random_floats(&random, n, VALUES_ORDINARY);
            float *expected = untouched_floats(n);
            bni_kernels_scalar.rms_norm(x, gain, n, 1e-5f, expected);
            FOR_EACH_TABLE(table)
            {
                float *got = copy_of(x, n * sizeof(*x)); /* in place */
                table->rms_norm(got, gain, n, 1e-5f, got);
                assert_same_floats(expected, got, n, "%s: n %zu", table->name, n);
                free(got);
            }
            free(expected);
            free(gain);
            free(x);
        }
}

static void rope_agrees(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t head_dim = 2; head_dim <= 132; head_dim += 2)
        for (int values = 0; values < N_VALUES; values++) {
            float *x = random_floats(&random, head_dim, (enum values)values);
            float *cosine = random_floats(&random, head_dim / 2, VALUES_ORDINARY);
            float *sine = random_floats(&random, head_dim / 2, VALUES_ORDINARY);
            float *expected_neox = copy_of(x, head_dim * sizeof(*x));
            float *expected_adjacent = copy_of(x, head_dim * sizeof(*x));
            bni_kernels_scalar.rope_neox(expected_neox, cosine, sine, head_dim);
            bni_kernels_scalar.rope_adjacent(expected_adjacent, cosine, sine, head_dim);
            FOR_EACH_TABLE(table)
            {
                float *got = copy_of(x, head_dim * sizeof(*x));
                table->rope_neox(got, cosine, sine, head_dim);
                assert_same_floats(expected_neox, got, head_dim,
                                   "%s: neox, head_dim %zu", table->name, head_dim);
                memcpy(got, x, head_dim * sizeof(*x));
                table->rope_adjacent(got, cosine, sine, head_dim);
                assert_same_floats(expected_adjacent, got, head_dim,
                                   "%s: adjacent, head_dim %zu", table->name, head_dim);
                free(got);
            }
            free(expected_adjacent);
            free(expected_neox);
            free(sine);
            free(cosine);
            free(x);
        }
}

static void elementwise_operations_agree(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t n = 0; n <= 70; n++)
        for (int values = 0; values < N_VALUES; values++) {
            const size_t size = (n + 1) * sizeof(float);
            float *gate = random_floats(&random, n + 1, (enum values)values);
            float *up = random_floats(&random, n + 1, VALUES_ORDINARY);
            float *expected[3] = {copy_of(gate, size), copy_of(gate, size),
                                  copy_of(gate, size)};
            bni_kernels_scalar.relu2_mul(expected[0], up, n, expected[0]);
            bni_kernels_scalar.silu_mul(expected[1], up, n, expected[1]);
            bni_kernels_scalar.add(expected[2], up, n);
            FOR_EACH_TABLE(table)
            {
                float *got[3] = {copy_of(gate, size), copy_of(gate, size),
                                 copy_of(gate, size)};
                table->relu2_mul(got[0], up, n, got[0]);
                table->silu_mul(got[1], up, n, got[1]);
                table->add(got[2], up, n);
                static const char *const names[] = {"relu2_mul", "silu_mul", "add"};
                for (size_t i = 0; i < 3; i++) {
                    assert_same_floats(expected[i], got[i], n + 1, "%s: %s, n %zu",
                                       table->name, names[i], n);
                    free(got[i]);
                }
            }
            for (size_t i = 0; i < 3; i++) free(expected[i]);
            free(up);
            free(gate);
        }
}

/*
 * The exponentials as attention weighs its values with them, laid bare: position p has
 * the score x * k_p and, alone, the value 1 in channel p. Position 0 has the score 0.
 */
static void exp_agrees_down_to_its_lower_edge(void **state)
{
    (void)state;
    enum { N = BNI_ATTENTION_BLOCK };
    uint16_t k[N][N] = {{0}};
    uint16_t v[N][N] = {{0}};
    for (size_t p = 0; p < N; p++) {
        k[0][p] = p == 0 ? 0 : (uint16_t)(0x3c00 - 33 * (p - 1)); /* from 1 down */
        v[p][p] = 0x3c00;
    }
    const float edge = -87.0f;
    for (int round = 0; round < 20003; round++) {
        float q[N] = {0};
        q[0] = -0.005f * (float)round;
        if (round == 20000) q[0] = edge;
        if (round == 20001) q[0] = nextafterf(edge, 0.0f);
        if (round == 20002) q[0] = nextafterf(edge, -INFINITY);
        float expected[N] = {0};
        struct bni_attention_query query = {.q = q,
                                            .acc = expected,
                                            .max = -INFINITY,
                                            .n_positions = N};
        bni_kernels_scalar.attention_block(&query, 1,
                                           &(struct bni_kv_block){.k = &k[0][0],
                                                                  .v = &v[0][0],
                                                                  .head_dim = N,
                                                                  .scale = 1.0f});
        FOR_EACH_TABLE(table)
        {
            float got[N] = {0};
            query = (struct bni_attention_query){.q = q,
                                                 .acc = got,
                                                 .max = -INFINITY,
                                                 .n_positions = N};
            table->attention_block(&query, 1,
                                   &(struct bni_kv_block){.k = &k[0][0],
                                                          .v = &v[0][0],
                                                          .head_dim = N,
                                                          .scale = 1.0f});
            assert_same_floats(expected, got, N, "%s: exp, round %d", table->name,
                               round);
        }
    }
}

/* And of positive numbers, as silu_mul() divides by them. */
static void exp_agrees_up_to_its_upper_edge(void **state)
{
    (void)state;
    enum { N = 16 };
    float ones[N];
    for (size_t i = 0; i < N; i++) ones[i] = 1.0f;
    for (int round = 0; round < 20000; round++) {
        float gate[N];
        for (size_t i = 0; i < N; i++)
            gate[i] = -0.005f * (float)round - 0.0003f * (float)i;
        if (round == 0) {
            gate[0] = -88.0f;
            gate[3] = nextafterf(-88.0f, 0.0f);
            gate[7] = nextafterf(-88.0f, -INFINITY);
            gate[11] = -INFINITY;
            gate[15] = INFINITY;
        }
        float expected[N];
        bni_kernels_scalar.silu_mul(gate, ones, N, expected);
        FOR_EACH_TABLE(table)
        {
            float got[N];
            table->silu_mul(gate, ones, N, got);
            assert_same_floats(expected, got, N, "%s: exp, round %d", table->name,
                               round);
        }
    }
}

/* As many as make tiles of every size and leave every remainder. */
enum { MAX_QUERIES = 7 };

/* A block of keys or values of `n_valid` positions; what lies past the end is NaN or
 * the largest number, in turn, and must not show. */
static void fill_block(struct random *random, uint16_t *block, size_t head_dim,
                       size_t d_stride, size_t p_stride, size_t n_valid,
                       enum values values)
{
    /* Up to 2 in magnitude, subnormals and zeros too. */
    const uint32_t mask = values == VALUES_ANY_BITS ? 0xffffu : 0xbfffu;
    const uint32_t garbage = n_valid % 2 == 0 ? 0x7e00 : 0x7bff;
    for (size_t d = 0; d < head_dim; d++)
        for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++)
            block[d * d_stride + p * p_stride] =
                (uint16_t)(p < n_valid ? random_bits(random) & mask : garbage);
}

/* The same in int8; past the end lie the extremes, of which -128 occurs nowhere else. */
static void fill_block_int8(struct random *random, int8_t *block, size_t head_dim,
                            size_t d_stride, size_t p_stride, size_t n_valid)
{
    for (size_t d = 0; d < head_dim; d++)
        for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++)
            block[d * d_stride + p * p_stride] =
                p < n_valid ? (int8_t)((int)(random_bits(random) % 255) - 127)
                            : (int8_t)(n_valid % 2 == 0 ? -128 : 127);
}

/* Factors as they come from values up to 2 in magnitude, or any; what lies past the end
 * is NaN or infinite. */
static void fill_factors(struct random *random, float *factors, size_t n_valid,
                         enum values values)
{
    float *any = random_floats(random, BNI_ATTENTION_BLOCK, values);
    for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++)
        factors[p] =
            p < n_valid ? any[p] * 0x1p-7f : (n_valid % 2 == 0 ? NAN : INFINITY);
    free(any);
}

/* A block in one of the two types. */
struct kv_block {
    bool is_int8;
    uint16_t *k, *v;
    int8_t *k_int8, *v_int8;
    float *k_factors, *v_factors;
};

static struct kv_block make_block(size_t head_dim, bool is_int8)
{
    const size_t n = head_dim * BNI_ATTENTION_BLOCK;
    struct kv_block block = {.is_int8 = is_int8};
    block.k = make_buffer(n * sizeof(*block.k));
    block.v = make_buffer(n * sizeof(*block.v));
    block.k_int8 = make_buffer(n);
    block.v_int8 = make_buffer(n);
    block.k_factors = make_buffer(BNI_ATTENTION_BLOCK * sizeof(float));
    block.v_factors = make_buffer(BNI_ATTENTION_BLOCK * sizeof(float));
    return block;
}

static void free_block(struct kv_block *block)
{
    free(block->k);
    free(block->v);
    free(block->k_int8);
    free(block->v_int8);
    free(block->k_factors);
    free(block->v_factors);
}

static void fill(struct random *random, struct kv_block *block, size_t head_dim,
                 size_t n_valid, enum values values)
{
    if (!block->is_int8) {
        fill_block(random, block->k, head_dim, BNI_ATTENTION_BLOCK, 1, n_valid, values);
        fill_block(random, block->v, head_dim, 1, head_dim, n_valid, values);
        return;
    }
    fill_block_int8(random, block->k_int8, head_dim, BNI_ATTENTION_BLOCK, 1, n_valid);
    fill_block_int8(random, block->v_int8, head_dim, 1, head_dim, n_valid);
    fill_factors(random, block->k_factors, n_valid, values);
    fill_factors(random, block->v_factors, n_valid, values);
}

static void attend(const struct bni_kernels *table, struct bni_attention_query *queries,
                   size_t n_queries, const struct kv_block *block, size_t head_dim)
{
    struct bni_kv_block kv = {.head_dim = head_dim, .scale = 0.25f};
    if (block->is_int8) {
        kv.k = block->k_int8, kv.v = block->v_int8;
        kv.k_factors = block->k_factors, kv.v_factors = block->v_factors;
        kv.next = -64; /* whatever is there: it is not read */
        table->attention_block_int8(queries, n_queries, &kv);
    } else {
        kv.k = block->k, kv.v = block->v;
        kv.next = 1 << 20;
        table->attention_block(queries, n_queries, &kv);
    }
}

/* Two blocks of attention. Of the second the last query sees `n_positions`, and each one
 * before it `step` fewer, as long as that is at least one. */
static void check_blocks(struct random *random, bool is_int8, size_t head_dim,
                         size_t n_queries, size_t n_positions, size_t step,
                         enum values values)
{
    const char *type = is_int8 ? "int8" : "f16";
    float *q = random_floats(random, n_queries * head_dim, values);
    struct kv_block kv = make_block(head_dim, is_int8);
    struct bni_attention_query queries[1 + MAX_TABLES][MAX_QUERIES];
    float *acc[1 + MAX_TABLES];
    for (size_t t = 0; t <= n_tables; t++) {
        acc[t] = make_buffer(n_queries * head_dim * sizeof(float));
        memset(acc[t], 0, n_queries * head_dim * sizeof(float));
        for (size_t i = 0; i < n_queries; i++)
            queries[t][i] = (struct bni_attention_query){.q = q + i * head_dim,
                                                         .acc = acc[t] + i * head_dim,
                                                         .max = -INFINITY};
    }

    for (size_t block = 0; block < 2; block++) {
        const size_t n_valid = block == 0 ? BNI_ATTENTION_BLOCK : n_positions;
        fill(random, &kv, head_dim, n_valid, values);
        for (size_t t = 0; t <= n_tables; t++) {
            const struct bni_kernels *table =
                t == 0 ? &bni_kernels_scalar : tables[t - 1];
            for (size_t i = 0; i < n_queries; i++) {
                const size_t n_fewer = block == 0 ? 0 : (n_queries - 1 - i) * step;
                queries[t][i].n_positions = n_valid > n_fewer ? n_valid - n_fewer : 1;
            }
            attend(table, queries[t], n_queries, &kv, head_dim);
            for (size_t i = 0; i < n_queries; i++) {
                assert_same_floats(
                    &queries[0][i].max, &queries[t][i].max, 1,
                    "%s, %s: max, head_dim %zu, %zu positions, query %zu", table->name,
                    type, head_dim, n_positions, i);
                assert_same_floats(
                    &queries[0][i].sum, &queries[t][i].sum, 1,
                    "%s, %s: sum, head_dim %zu, %zu positions, query %zu", table->name,
                    type, head_dim, n_positions, i);
            }
            assert_same_floats(acc[0], acc[t], n_queries * head_dim,
                               "%s, %s: values, head_dim %zu, %zu positions",
                               table->name, type, head_dim, n_positions);
            if (values == VALUES_ORDINARY)
                for (size_t d = 0; d < n_queries * head_dim; d++)
                    assert_true(isfinite(acc[t][d]));
        }
    }
    for (size_t t = 0; t <= n_tables; t++) free(acc[t]);
    free_block(&kv);
    free(q);
}

static void check_attention(struct random *random, size_t head_dim, size_t n_queries,
                            size_t n_positions, size_t step, enum values values)
{
    check_blocks(random, false, head_dim, n_queries, n_positions, step, values);
    check_blocks(random, true, head_dim, n_queries, n_positions, step, values);
}

static void attention_agrees_for_every_number_of_positions(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t head_dims[] = {2, 6, 14, 34, 64, 80, 96, 100, 128, 256};
    for (size_t i = 0; i < sizeof(head_dims) / sizeof(head_dims[0]); i++)
        for (size_t n_positions = 1; n_positions <= BNI_ATTENTION_BLOCK; n_positions++)
            check_attention(&random, head_dims[i], 1, n_positions, 0, VALUES_ORDINARY);
}

static void attention_agrees_for_every_number_of_queries(void **state)
{
    (void)state;
    struct random random = random_start();
    static const size_t head_dims[] = {6, 34, 64, 80, 128};
    for (size_t i = 0; i < sizeof(head_dims) / sizeof(head_dims[0]); i++)
        for (size_t n_queries = 1; n_queries <= MAX_QUERIES; n_queries++)
            for (size_t n_positions = 1; n_positions <= BNI_ATTENTION_BLOCK;
                 n_positions += 3)
                for (size_t step = 0; step < 3; step++)
                    check_attention(&random, head_dims[i], n_queries, n_positions, step,
                                    VALUES_ORDINARY);
}

static void attention_agrees_on_wild_values(void **state)
{
    (void)state;
    struct random random = random_start();
    for (size_t round = 0; round < 60; round++)
        for (int values = 0; values < N_VALUES; values++)
            check_attention(&random, 2 + 2 * (round % 20), 1 + round % MAX_QUERIES,
                            1 + (round * 7) % 32, round % 3, (enum values)values);
}

/* Every position's score underflows to a zero, of either sign: states hold +0. */
static void attention_agrees_on_zeros_of_both_signs(void **state)
{
    (void)state;
    struct random random = random_start();
    const float q[2] = {0x1p-149f, 0.0f};
    for (size_t n_positions = 1; n_positions <= BNI_ATTENTION_BLOCK; n_positions++) {
        uint16_t k[2 * BNI_ATTENTION_BLOCK] = {0};
        uint16_t v[BNI_ATTENTION_BLOCK * 2] = {0};
        for (size_t p = 0; p < BNI_ATTENTION_BLOCK; p++)
            k[p] =
                n_positions % 2 == 0 || random_bits(&random) % 2 == 0 ? 0xbc00 : 0x3c00;
        FOR_EACH_TABLE(table)
        {
            float acc[2] = {0};
            struct bni_attention_query query = {.q = q,
                                                .acc = acc,
                                                .max = -INFINITY,
                                                .n_positions = n_positions};
            table->attention_block(
                &query, 1,
                &(struct bni_kv_block){.k = k, .v = v, .head_dim = 2, .scale = 0.25f});
            const float zero = 0.0f;
            assert_same_floats(&zero, &query.max, 1, "%s: max", table->name);
            assert_true(query.sum == (float)n_positions);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantize_agrees),
        cmocka_unit_test(quantize_agrees_on_ties),
        cmocka_unit_test(widen_agrees_for_all_bits),
        cmocka_unit_test(widen_agrees_for_every_remainder_at_odd_addresses),
        cmocka_unit_test(widen_agrees_for_blocks_of_any_bits),
        cmocka_unit_test(coarse_copy_agrees),
        cmocka_unit_test(coarse_copy_agrees_on_ties),
        cmocka_unit_test(store_f16_agrees),
        cmocka_unit_test(store_f16_agrees_where_it_rounds),
        cmocka_unit_test(rms_norm_agrees),
        cmocka_unit_test(rope_agrees),
        cmocka_unit_test(elementwise_operations_agree),
        cmocka_unit_test(exp_agrees_down_to_its_lower_edge),
        cmocka_unit_test(exp_agrees_up_to_its_upper_edge),
        cmocka_unit_test(attention_agrees_for_every_number_of_positions),
        cmocka_unit_test(attention_agrees_for_every_number_of_queries),
        cmocka_unit_test(attention_agrees_on_wild_values),
        cmocka_unit_test(attention_agrees_on_zeros_of_both_signs),
    };
    return cmocka_run_group_tests(tests, find_tables, NULL);
}
