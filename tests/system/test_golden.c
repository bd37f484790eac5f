/* SPDX-License-Identifier: MIT */
/*
 * Golden transcripts: what the shipped model answers, to the bit.
 *
 * tests/data/golden.txt holds, for each prompt and its options, the tokens and a
 * hash of every row of logits they came from. They must come out the same for
 * every instruction set this CPU has, for 1 to 4 compute threads, 1 to 16 callers
 * at once, and prompts cut into steps of any size.
 *
 * After the model, or on purpose the arithmetic, has changed:
 *     test_golden --write
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bitnet/thread_manager.h>

#include "kernels/kernels.h"
#include "support/engine/engines.h"
#include "support/models.h"

#define GOLDEN_FILE BITNET_SOURCE_DIR "/tests/data/golden.txt"

enum { MAX_TOKENS = 64, MAX_CALLERS = 16 };

struct transcript {
    size_t n_tokens;
    bitnet_token tokens[MAX_TOKENS];
    size_t n_rows;
    uint64_t hashes[MAX_TOKENS + 1]; /* of the logits' bytes, row by row */
};

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(const void *bytes, size_t n_bytes)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < n_bytes; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

/* ---- the file ----------------------------------------------------------------------- */

static void write_transcripts(const struct transcript *transcripts)
{
    FILE *file = fopen(GOLDEN_FILE, "w");
    assert_non_null(file);
    for (size_t p = 0; p < N_PROMPTS; p++) {
        const struct transcript *t = &transcripts[p];
        fprintf(file, "%zu %zu %zu\n", p, t->n_tokens, t->n_rows);
        for (size_t i = 0; i < t->n_tokens; i++)
            fprintf(file, "%" PRId32 "%c", t->tokens[i],
                    i + 1 < t->n_tokens ? ' ' : '\n');
        for (size_t i = 0; i < t->n_rows; i++)
            fprintf(file, "%016" PRIx64 "%c", t->hashes[i],
                    i + 1 < t->n_rows ? ' ' : '\n');
    }
    assert_int_equal(fclose(file), 0);
}

static void read_transcripts(struct transcript *transcripts)
{
    FILE *file = fopen(GOLDEN_FILE, "r");
    assert_non_null(file);
    for (size_t p = 0; p < N_PROMPTS; p++) {
        struct transcript *t = &transcripts[p];
        size_t index;
        assert_int_equal(fscanf(file, "%zu %zu %zu", &index, &t->n_tokens, &t->n_rows),
                         3);
        assert_int_equal(index, p);
        assert_true(t->n_tokens <= MAX_TOKENS && t->n_rows <= MAX_TOKENS + 1);
        for (size_t i = 0; i < t->n_tokens; i++)
            assert_int_equal(fscanf(file, "%" SCNd32, &t->tokens[i]), 1);
        for (size_t i = 0; i < t->n_rows; i++)
            assert_int_equal(fscanf(file, "%" SCNx64, &t->hashes[i]), 1);
    }
    fclose(file);
}

/* ---- a run over all prompts ------------------------------------------------------------ */

struct run {
    bitnet_engine *engine;
    size_t n_vocab;
    struct transcript *transcripts; /* [N_PROMPTS] */
    atomic_uint next_prompt;        /* taken by whichever caller is free */
    atomic_uint n_failed;
};

static void *serve_prompts(void *arg)
{
    struct run *run = arg;
    for (;;) {
        const unsigned p = atomic_fetch_add(&run->next_prompt, 1);
        if (p >= N_PROMPTS) return NULL;
        bitnet_generate_options options = mixed_options(p);
        options.keeps_logits = true;
        bitnet_result result;
        if (bitnet_generate(run->engine, &options, test_prompts[p], &result) !=
                BITNET_OK ||
            result.n_tokens > MAX_TOKENS)
            atomic_fetch_add(&run->n_failed, 1);
        struct transcript *t = &run->transcripts[p];
        t->n_tokens = result.n_tokens;
        t->n_rows = result.n_logit_rows;
        memcpy(t->tokens, result.tokens, result.n_tokens * sizeof(*t->tokens));
        for (size_t i = 0; i < result.n_logit_rows; i++)
            t->hashes[i] = hash_bytes(result.logits + i * run->n_vocab,
                                      run->n_vocab * sizeof(float));
        bitnet_result_release(&result);
    }
}

struct way {
    unsigned n_threads;
    unsigned n_callers;
    uint32_t max_batch;
    uint32_t step_tokens;
};

static void run_all(bitnet_model *model, const struct way *way,
                    struct transcript transcripts[N_PROMPTS])
{
    bitnet_model_info info = {.struct_size = sizeof(info)};
    assert_int_equal(bitnet_model_get_info(model, &info), BITNET_OK);
    assert_int_equal(bitnet_thread_manager_set_compute_threads(way->n_threads),
                     BITNET_OK);
    bitnet_engine_options options = bitnet_engine_options_default();
    options.max_batch = way->max_batch;
    options.step_tokens = way->step_tokens;
    struct run run = {.engine = create_engine(model, &options),
                      .n_vocab = info.n_vocab,
                      .transcripts = transcripts};
    memset(transcripts, 0, N_PROMPTS * sizeof(*transcripts));
    pthread_t callers[MAX_CALLERS];
    for (unsigned i = 0; i < way->n_callers; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, serve_prompts, &run), 0);
    for (unsigned i = 0; i < way->n_callers; i++) pthread_join(callers[i], NULL);
    assert_int_equal(atomic_load(&run.n_failed), 0);
    destroy_engine(run.engine);
}

/* Threads 1..4, callers 1..16, steps from one token to a whole prompt and more. */
static const struct way ways[] = {
    {1, 1, 1, 1}, {2, 16, 32, 128}, {4, 16, 3, 7}, {3, 8, 8, 64},
    {2, 4, 4, 5}, {1, 12, 12, 12},  {4, 1, 1, 33}, {3, 2, 2, 2},
};

enum { N_WAYS = sizeof(ways) / sizeof(ways[0]) };

/* A slow build, or one that runs emulated, takes the first ways: one at a time, and many at once. */
static size_t n_ways_for(const char *isa)
{
    if (!IS_SLOW_BUILD) return N_WAYS;
    return strcmp(isa, "scalar") == 0 ? 1 : 3;
}

static void transcripts_are_the_same_in_every_way(void **state)
{
    (void)state;
    static struct transcript golden[N_PROMPTS];
    static struct transcript ours[N_PROMPTS];
    static const char *const isas[] = {"avx512vnni", "avx512", "avxvnni", "avx2",
                                       "dotprod",    "neon",   "scalar"};
    read_transcripts(golden);
    bitnet_model *model = load_model();
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        if (bni_kernels_by_name(isas[i]) == NULL) {
            print_message("this CPU does not run %s\n", isas[i]);
            continue;
        }
        assert_int_equal(setenv("BITNET_ISA", isas[i], 1), 0);
        for (size_t w = 0; w < n_ways_for(isas[i]); w++) {
            run_all(model, &ways[w], ours);
            for (size_t p = 0; p < N_PROMPTS; p++) {
                if (memcmp(&ours[p], &golden[p], sizeof(ours[p])) == 0) continue;
                fail_msg("prompt %zu differs: %s, %u threads, %u callers, batch %u, "
                         "steps of %u",
                         p, isas[i], ways[w].n_threads, ways[w].n_callers,
                         ways[w].max_batch, ways[w].step_tokens);
            }
        }
    }
    assert_int_equal(unsetenv("BITNET_ISA"), 0);
    bitnet_model_release(model);
}

static void golden_file_is_written(void **state)
{
    (void)state;
    static struct transcript transcripts[N_PROMPTS];
    bitnet_model *model = load_model();
    assert_int_equal(setenv("BITNET_ISA", "scalar", 1), 0); /* the specification */
    run_all(model, &ways[0], transcripts);
    write_transcripts(transcripts);
    bitnet_model_release(model);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest check[] = {
        cmocka_unit_test(transcripts_are_the_same_in_every_way),
    };
    const struct CMUnitTest write[] = {cmocka_unit_test(golden_file_is_written)};
    if (argc == 2 && strcmp(argv[1], "--write") == 0)
        return cmocka_run_group_tests(write, NULL, NULL);
    return cmocka_run_group_tests(check, NULL, NULL);
}
