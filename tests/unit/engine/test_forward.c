/* SPDX-License-Identifier: MIT */
/*
 * The forward pass: the same bits however the tokens are cut into steps, whatever
 * the number of threads and the instruction set; and close to the logits that
 * other engines and a float64 program give for the reference models.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "model/model.h"
#include "support/engine/first_position.h"
#include "support/engine/forward_run.h"
#include "support/models.h"

enum { N_REFERENCE_TOKENS = 20 };

static const char *const isas[] = {"scalar", "avx2", "avx512", "neon", "dotprod"};

static bitnet_model *load(const char *path)
{
    bitnet_model *model;
    if (bitnet_model_load(path, NULL, &model) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return model;
}

/* ---- one answer ---------------------------------------------------------------------- */

static void check_bits(bitnet_kv_type kv_type)
{
    enum { N_TOKENS = 75 }; /* three pages */
    bitnet_model *model = load(SHIPPED_MODEL);
    bitnet_token tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 131 + 7) % 2000;
    float *expected =
        forward_run_kv(model, &bni_kernels_scalar, kv_type, 1, tokens, N_TOKENS, 1);
    const size_t n_bytes = (size_t)N_TOKENS * model->hparams.n_vocab * sizeof(float);

    const size_t chunks[] = {33, 7, 1, 2, 3, 31, 32, 64};
    const size_t n_chunks = IS_SLOW_BUILD ? 2 : sizeof(chunks) / sizeof(chunks[0]);
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        const struct bni_kernels *kernels = bni_kernels_by_name(isas[i]);
        if (kernels == NULL) {
            print_message("this CPU does not run %s\n", isas[i]);
            continue;
        }
        for (size_t c = 0; c < n_chunks; c++) {
            const unsigned n_threads = 2 + (unsigned)c % 3;
            float *logits = forward_run_kv(model, kernels, kv_type, n_threads, tokens,
                                           N_TOKENS, chunks[c]);
            if (memcmp(logits, expected, n_bytes) != 0)
                fail_msg("cache %d, %s, %u threads, chunks of %zu: other bits",
                         (int)kv_type, isas[i], n_threads, chunks[c]);
            bni_free(logits);
        }
    }
    bni_free(expected);
    bitnet_model_release(model);
}

static void the_bits_do_not_depend_on_chunks_threads_or_instruction_set(void **state)
{
    (void)state;
    check_bits(BITNET_KV_F16);
    check_bits(BITNET_KV_INT8);
}

/* ---- int8 beside half precision ------------------------------------------------------- */

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static size_t largest(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* On text of the model's own: what it says greedily with the one cache, read with both. */
static void a_cache_in_int8_moves_the_logits_a_little(void **state)
{
    (void)state;
    enum { N_TOKENS = IS_SLOW_BUILD ? 100 : 400 };
    bitnet_model *model = load(SHIPPED_MODEL);
    const size_t n_vocab = model->hparams.n_vocab;
    bitnet_engine *engine;
    assert_int_equal(bitnet_engine_create(model, NULL, &engine), BITNET_OK);
    bitnet_generate_options options = bitnet_generate_options_default();
    bitnet_result result = {.struct_size = sizeof(result)};
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    const bitnet_logit_bias no_end = {info.eos_token, -INFINITY};
    options.max_tokens = N_TOKENS;
    options.logit_biases = &no_end;
    options.n_logit_biases = 1;
    assert_int_equal(bitnet_generate(engine, &options, "Once upon a time", &result),
                     BITNET_OK);
    const bitnet_token *tokens = result.tokens;
    const size_t n = result.n_tokens;
    assert_int_equal(n, N_TOKENS);
    const struct bni_kernels *kernels = bni_kernels_select();
    float *half = forward_run_kv(model, kernels, BITNET_KV_F16, 1, tokens, n, 64);
    float *int8 = forward_run_kv(model, kernels, BITNET_KV_INT8, 1, tokens, n, 64);
    double least = 1, sum = 0;
    size_t n_same = 0;
    for (size_t i = 0; i < n; i++) {
        const double c = cosine(half + i * n_vocab, int8 + i * n_vocab, n_vocab);
        if (c < least) least = c;
        sum += c;
        n_same += largest(half + i * n_vocab, n_vocab) ==
                  largest(int8 + i * n_vocab, n_vocab);
    }
    print_message("%zu tokens: cosine %.6f on average, %.6f at least; the same first "
                  "token at %zu\n",
                  n, sum / (double)n, least, n_same);
    assert_true(memcmp(half, int8, n * n_vocab * sizeof(*half)) != 0);
    assert_true(least > 0.999 && sum / (double)n > 0.9999);
    bni_free(half);
    bni_free(int8);
    bitnet_result_release(&result);
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
}

/* ---- reference logits --------------------------------------------------------------- */

/* Reads float32 [20][n_vocab] of a NumPy file; NULL if there is none. */
static float *read_npy(const char *path, size_t n_values)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    unsigned char start[10];
    assert_int_equal(fread(start, 1, sizeof(start), file), sizeof(start));
    assert_memory_equal(start, "\x93NUMPY\x01\x00", 8);
    assert_int_equal(fseek(file, start[8] + 256 * start[9], SEEK_CUR), 0);
    float *values = malloc(n_values * sizeof(*values));
    assert_non_null(values);
    assert_int_equal(fread(values, sizeof(*values), n_values, file), n_values);
    fclose(file);
    return values;
}

static void read_tokens(bitnet_token tokens[N_REFERENCE_TOKENS])
{
    FILE *file = fopen(REFERENCE_DIR "tokens.txt", "r");
    assert_non_null(file);
    for (int i = 0; i < N_REFERENCE_TOKENS; i++)
        assert_int_equal(fscanf(file, "%d", &tokens[i]), 1);
    fclose(file);
}

static size_t arg_max(const float *row, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

struct distance {
    double rms;          /* over all positions */
    double least_cosine; /* of one position */
    int n_same_arg_max;
};

static struct distance compare(const float *ours, const float *theirs, size_t n_vocab)
{
    struct distance d = {.least_cosine = 1.0};
    for (size_t p = 0; p < N_REFERENCE_TOKENS; p++) {
        const float *a = ours + p * n_vocab;
        const float *b = theirs + p * n_vocab;
        double ab = 0, aa = 0, bb = 0;
        for (size_t i = 0; i < n_vocab; i++) {
            const double difference = (double)a[i] - (double)b[i];
            d.rms += difference * difference;
            ab += (double)a[i] * (double)b[i];
            aa += (double)a[i] * (double)a[i];
            bb += (double)b[i] * (double)b[i];
        }
        d.least_cosine = fmin(d.least_cosine, ab / sqrt(aa * bb));
        d.n_same_arg_max += arg_max(a, n_vocab) == arg_max(b, n_vocab);
    }
    d.rms = sqrt(d.rms / (double)(N_REFERENCE_TOKENS * n_vocab));
    return d;
}

static double max_difference(const double *a, const float *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double difference = fabs(a[i] - (double)b[i]);
        if (isnan(difference)) return INFINITY; /* fmax() would pass over it */
        if (difference > largest) largest = difference;
    }
    return largest;
}

/*
 * At position 0 nothing has been rounded yet but the value itself, by the F16 cache.
 * That alone moves these random models' logits by up to 0.8, so we are compared with
 * a plain computation that rounds it too, and that one, without rounding, with the
 * float64 program: both within 1e-3.
 */
static void check_first_position(const bitnet_model *model, bitnet_token token,
                                 const float *ours, const float *float64)
{
    double *exact = first_position_logits(model, token, false);
    double *rounded = first_position_logits(model, token, true);
    assert_true(max_difference(exact, float64, model->hparams.n_vocab) < 1e-3);
    assert_true(max_difference(rounded, ours, model->hparams.n_vocab) < 1e-3);
    free(exact);
    free(rounded);
}

/* Tolerances: the reference's own README says how close is right, and why. */
static void the_logits_agree_with(const char *model_name)
{
    char path[512];
    snprintf(path, sizeof(path), REFERENCE_DIR "%s.gguf", model_name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) skip();
    fclose(file);

    bitnet_model *model = load(path);
    bitnet_token tokens[N_REFERENCE_TOKENS];
    read_tokens(tokens);
    const size_t n_vocab = model->hparams.n_vocab;
    float *ours = forward_run(model, bni_kernels_select(), 1, tokens,
                              N_REFERENCE_TOKENS, N_REFERENCE_TOKENS);

    const char *const makers[] = {"float64", "bitnetcpp"};
    for (size_t m = 0; m < 2; m++) {
        snprintf(path, sizeof(path), REFERENCE_DIR "%s-%s.npy", makers[m], model_name);
        float *theirs = read_npy(path, N_REFERENCE_TOKENS * n_vocab);
        assert_non_null(theirs);
        const struct distance d = compare(ours, theirs, n_vocab);
        print_message("%s against %s: rms %.4f, least cosine %.6f, same arg max %d of "
                      "20\n",
                      model_name, makers[m], d.rms, d.least_cosine, d.n_same_arg_max);
        assert_true(d.rms < 0.3);
        assert_true(d.least_cosine > 0.9993);
        if (m == 0) {
            assert_true(d.n_same_arg_max >= 19);
            check_first_position(model, tokens[0], ours, theirs);
        }
        free(theirs);
    }
    bni_free(ours);
    bitnet_model_release(model);
}

static void squared_relu_logits_agree_with_other_engines(void **state)
{
    (void)state;
    the_logits_agree_with("tiny-bitnet-b1.58-i2_s");
}

static void silu_logits_agree_with_other_engines(void **state)
{
    (void)state;
    the_logits_agree_with("tiny-bitnet-i2_s");
}

static void the_shipped_model_s_first_logits_follow_from_the_formulas(void **state)
{
    (void)state;
    bitnet_model *model = load(SHIPPED_MODEL);
    for (bitnet_token token = 0; token < 2000; token += 97) {
        double *expected = first_position_logits(model, token, true);
        float *ours = forward_run(model, bni_kernels_select(), 1, &token, 1, 1);
        /* A float that falls on the other side of an int8 step moves a few logits. */
        assert_true(max_difference(expected, ours, model->hparams.n_vocab) < 0.05);
        bni_free(ours);
        free(expected);
    }
    bitnet_model_release(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_do_not_depend_on_chunks_threads_or_instruction_set),
        cmocka_unit_test(a_cache_in_int8_moves_the_logits_a_little),
        cmocka_unit_test(the_shipped_model_s_first_logits_follow_from_the_formulas),
        cmocka_unit_test(squared_relu_logits_agree_with_other_engines),
        cmocka_unit_test(silu_logits_agree_with_other_engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
