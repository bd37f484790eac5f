/* SPDX-License-Identifier: MIT */
/*
 * many_threads.c - eight threads, one engine, no locks.
 *
 *     many_threads model.gguf
 *
 * Every thread calls bitnet_generate() on the same engine at the same time. The
 * engine merges the calls into one batch per step; each thread streams its own text
 * through its own callback and gets the answer it would have got alone.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <bitnet.h>

enum { N_THREADS = 8 };

struct caller {
    bitnet_engine *engine;
    const char *prompt;
    uint64_t seed;
    bitnet_result result;
    bitnet_status status;
    char error[BITNET_MAX_ERROR_BYTES];
    size_t n_streamed_bytes;
};

/* Runs on the caller's own thread, so what it touches needs no lock. */
static bool count_bytes(void *user, const char *text, size_t text_len)
{
    struct caller *caller = user;
    (void)text;
    caller->n_streamed_bytes += text_len;
    return true; /* false would stop this request, and no other */
}

static void *caller_main(void *user)
{
    struct caller *caller = user;
    bitnet_generate_options options = bitnet_generate_options_default();
    options.max_tokens = 48;
    options.seed = caller->seed;
    options.on_text = count_bytes;
    options.user = caller;
    caller->status =
        bitnet_generate(caller->engine, &options, caller->prompt, &caller->result);
    /* The sentence about an error is the calling thread's: copy it before leaving. */
    snprintf(caller->error, sizeof(caller->error), "%s", bitnet_last_error());
    return NULL;
}

/* Returns how many of the callers have no good answer. */
static int run_callers(bitnet_engine *engine)
{
    static const char *const prompts[] = {"Once upon a time", "The little dog"};
    struct caller callers[N_THREADS];
    pthread_t threads[N_THREADS];
    int n_started = 0;

    memset(callers, 0, sizeof(callers));
    for (int i = 0; i < N_THREADS; i++) {
        callers[i].engine = engine;
        callers[i].prompt = prompts[i % 2];
        callers[i].seed = (uint64_t)(i / 2);
        if (pthread_create(&threads[i], NULL, caller_main, &callers[i]) != 0) break;
        n_started++;
    }

    int n_failed = N_THREADS - n_started;
    for (int i = 0; i < n_started; i++) {
        struct caller *caller = &callers[i];
        pthread_join(threads[i], NULL);
        if (caller->status == BITNET_OK) {
            printf("[%d] %s%s\n", i, caller->prompt, caller->result.text);
            if (caller->n_streamed_bytes != caller->result.text_len) n_failed++;
        } else {
            fprintf(stderr, "[%d] %s\n", i, caller->error);
            n_failed++;
        }
        bitnet_result_release(&caller->result);
    }
    return n_failed;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: many_threads model.gguf\n");
        return 2;
    }
    bitnet_model *model = NULL;
    bitnet_engine *engine = NULL;
    int n_failed = 1;
    if (bitnet_model_load(argv[1], NULL, &model) == BITNET_OK &&
        bitnet_engine_create(model, NULL, &engine) == BITNET_OK) {
        n_failed = run_callers(engine);
    } else {
        fprintf(stderr, "many_threads: %s\n", bitnet_last_error());
    }
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
    return n_failed == 0 ? 0 : 1;
}
