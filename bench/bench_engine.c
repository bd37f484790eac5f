/* SPDX-License-Identifier: MIT */
/*
 * bench_engine.c - what concurrent callers gain, as a table.
 *
 *     bench_engine [--json] [model.gguf]
 *
 * 1, 2, 4, 8, 16 and 32 callers each send requests of 64 tokens to one engine,
 * through the blocking call. Shown: tokens per second in total, that number over
 * one caller's, and the time to first token (p50, p99). The gain is a ratio within
 * one run; the rest depends on the machine and on what else it does.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bitnet.h>

enum { MAX_CALLERS = 32, REQUESTS_PER_CALLER = 6, TOKENS_PER_REQUEST = 64 };

struct caller {
    pthread_t thread;
    bitnet_engine *engine;
    unsigned index;
    uint64_t n_tokens;
    uint64_t first_token_ns[REQUESTS_PER_CALLER];
    bitnet_status status;
    char error[BITNET_MAX_ERROR_BYTES];
};

static void *be_a_caller(void *arg)
{
    struct caller *caller = arg;
    for (unsigned i = 0; i < REQUESTS_PER_CALLER; i++) {
        bitnet_generate_options options = bitnet_generate_options_default();
        options.max_tokens = TOKENS_PER_REQUEST;
        options.ignores_eos = true;
        options.seed = caller->index * REQUESTS_PER_CALLER + i;
        bitnet_result result;
        caller->status =
            bitnet_generate(caller->engine, &options,
                            "Once upon a time there was a little", &result);
        if (caller->status != BITNET_OK) {
            snprintf(caller->error, sizeof(caller->error), "%s", bitnet_last_error());
            return NULL;
        }
        caller->n_tokens += result.n_tokens;
        caller->first_token_ns[i] = result.time_to_first_token_ns;
        bitnet_result_release(&result);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct measurement {
    double tokens_per_s;
    double first_token_p50_ms;
    double first_token_p99_ms;
};

static bool measure(bitnet_engine *engine, unsigned n_callers, struct measurement *out)
{
    static struct caller callers[MAX_CALLERS];
    static uint64_t first_token_ns[MAX_CALLERS * REQUESTS_PER_CALLER];
    uint64_t n_tokens = 0;
    size_t n_requests = 0;
    const uint64_t begin_ns = bitnet_clock_ns();
    for (unsigned i = 0; i < n_callers; i++) {
        callers[i] = (struct caller){.engine = engine, .index = i};
        if (pthread_create(&callers[i].thread, NULL, be_a_caller, &callers[i]) != 0) {
            perror("bench_engine: pthread_create");
            exit(1);
        }
    }
    for (unsigned i = 0; i < n_callers; i++) pthread_join(callers[i].thread, NULL);
    const double elapsed_s = (double)(bitnet_clock_ns() - begin_ns) / 1e9;
    for (unsigned i = 0; i < n_callers; i++) {
        if (callers[i].status != BITNET_OK) {
            fprintf(stderr, "bench_engine: %s\n", callers[i].error);
            return false;
        }
        n_tokens += callers[i].n_tokens;
        for (size_t r = 0; r < REQUESTS_PER_CALLER; r++)
            first_token_ns[n_requests++] = callers[i].first_token_ns[r];
    }
    qsort(first_token_ns, n_requests, sizeof(*first_token_ns), by_value);
    out->tokens_per_s = (double)n_tokens / elapsed_s;
    out->first_token_p50_ms = (double)first_token_ns[n_requests / 2] / 1e6;
    out->first_token_p99_ms = (double)first_token_ns[n_requests * 99 / 100] / 1e6;
    return true;
}

int main(int argc, char **argv)
{
    static const unsigned counts[] = {1, 2, 4, 8, 16, 32};
    enum { N_COUNTS = sizeof(counts) / sizeof(counts[0]) };
    const char *path = BITNET_SOURCE_DIR "/models/tinystories-3.7m-i2_s.gguf";
    bool is_json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            is_json = true;
        else
            path = argv[i];
    }

    bitnet_model *model;
    bitnet_engine *engine;
    if (bitnet_model_load(path, NULL, &model) != BITNET_OK ||
        bitnet_engine_create(model, NULL, &engine) != BITNET_OK) {
        fprintf(stderr, "bench_engine: %s\n", bitnet_last_error());
        return 1;
    }
    struct measurement rows[N_COUNTS];
    bool is_good = measure(engine, 1, &rows[0]); /* warm */
    for (int i = 0; is_good && i < N_COUNTS; i++)
        is_good = measure(engine, counts[i], &rows[i]);
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
    if (!is_good) return 1;

    const unsigned n_threads = bitnet_thread_manager_get_compute_threads();
    if (is_json)
        printf("{\"compute_threads\": %u, \"rows\": [", n_threads);
    else
        printf("%u compute threads, %d tokens per request\n"
               "callers   tokens/s   gain   first token p50 ms     p99 ms\n",
               n_threads, TOKENS_PER_REQUEST);
    for (int i = 0; i < N_COUNTS; i++)
        printf(is_json ? "%s{\"callers\": %u, \"tokens_per_s\": %.1f, \"gain\": %.3f, "
                         "\"first_token_p50_ms\": %.3f, \"first_token_p99_ms\": %.3f}"
                       : "%s%7u %10.1f %6.2f %20.2f %10.2f\n",
               is_json && i > 0 ? ", " : "", counts[i], rows[i].tokens_per_s,
               rows[i].tokens_per_s / rows[0].tokens_per_s, rows[i].first_token_p50_ms,
               rows[i].first_token_p99_ms);
    if (is_json) puts("]}");
    return 0;
}
