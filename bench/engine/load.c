/* SPDX-License-Identifier: MIT */
/*
 * load.c - see load.h.
 *
 * Times are what callers see: the clock is read on their threads. Several callers use
 * the default sampling, one caller alone takes the most likely token, as is usual in
 * such measurements. Each is a client of its own, and who sends the long prompts another:
 * for one and the same client the engine reads prompts in the order they came, and a
 * short one behind a long one waits for all of it. What fails ends the program: half a table helps nobody.
 */
#include "load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/machine.h"
#include "common/report.h"

enum {
    N_PROMPT = 8,  /* tokens of a short prompt */
    N_SHORT = 128, /* tokens of pp128, which is also a step's budget */
    N_LONG = 512,
    N_DISTURBING = 4000,
    N_DISTURBED_CALLERS = 4,
    N_DISTURBED_TOKENS = 3,
    MAX_ROUNDS = 9,
    MAX_SAMPLES = 1 << 16,
};

static void check(bitnet_status status)
{
    if (status != BITNET_OK) bench_give_up("%s", bitnet_last_error());
}

static uint64_t mix(uint64_t word)
{
    word = (word ^ word >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    word = (word ^ word >> 27) * UINT64_C(0x94D049BB133111EB);
    return word ^ word >> 31;
}

static bitnet_request *start(bitnet_engine *engine, uint32_t n_vocab,
                             const struct bench_request *asked)
{
    bitnet_generate_options options = bitnet_generate_options_default();
    bitnet_token *prompt = calloc(asked->n_prompt_tokens, sizeof(*prompt));
    if (prompt == NULL) bench_give_up("out of memory");
    for (size_t i = 0; i < asked->n_prompt_tokens; i++)
        prompt[i] = (bitnet_token)(mix(mix(asked->seed) + i) % n_vocab);
    options.prompt_tokens = prompt;
    options.n_prompt_tokens = asked->n_prompt_tokens;
    options.max_tokens = (uint32_t)asked->n_tokens;
    options.ignores_eos = true;
    options.seed = asked->seed;
    options.client_id = asked->client_id;
    if (asked->is_greedy) options.temperature = 0;
    bitnet_request *request;
    check(bitnet_generate_async(engine, &options, NULL, &request));
    free(prompt);
    return request;
}

struct bench_timing bench_generate(bitnet_engine *engine, uint32_t n_vocab,
                                   const struct bench_request *asked,
                                   uint64_t *between_ns)
{
    struct bench_timing timing = {0};
    const uint64_t begin_ns = bench_now_ns();
    bitnet_request *request = start(engine, n_vocab, asked);
    uint64_t last_ns = begin_ns;
    for (size_t i = 0; i < asked->n_tokens; i++) {
        check(bitnet_request_next(request, BITNET_NO_DEADLINE, NULL, NULL, NULL));
        const uint64_t now_ns = bench_now_ns();
        if (i == 0)
            timing.first_ns = now_ns - begin_ns;
        else
            timing.rest_ns += now_ns - last_ns;
        if (i > 0 && between_ns != NULL) between_ns[i - 1] = now_ns - last_ns;
        last_ns = now_ns;
    }
    bitnet_request_release(request);
    return timing;
}

/* Where the limits are measured beside requests, while the engine has none. */
struct beside {
    struct bench_meter *meter; /* NULL: not wanted */
    size_t team;
    struct bench_samples samples;
};

static void sample(struct beside *beside)
{
    if (beside->meter != NULL)
        bench_samples_add(&beside->samples, beside->meter, beside->team);
}

/* Reads a prompt some times and returns tokens per second, of the median time. */
static double prefill_rate(bitnet_engine *engine, uint32_t n_vocab, size_t n_tokens,
                           size_t n_rounds, struct beside *beside)
{
    uint64_t first_ns[MAX_ROUNDS];
    for (size_t i = 0; i < n_rounds; i++) {
        const struct bench_request request = {n_tokens, 1, n_tokens + i, true, 0};
        sample(beside);
        first_ns[i] = bench_generate(engine, n_vocab, &request, NULL).first_ns;
    }
    return (double)n_tokens * 1e9 / (double)bench_percentile(first_ns, n_rounds, 0.5);
}

/*
 * Tokens one at a time, per second: what a request of all takes longer than one of the
 * first alone, each the median of some. The time between a request's first token and its
 * last is not it: a caller that is woken late, which happens where the compute threads
 * have all processors, finds tokens waiting and takes them in no time.
 */
static double decode_rate(bitnet_engine *engine, uint32_t n_vocab, size_t n_tokens,
                          size_t n_rounds, struct beside *beside)
{
    uint64_t first_ns[MAX_ROUNDS];
    uint64_t all_ns[MAX_ROUNDS];
    for (size_t i = 0; i < n_rounds; i++) {
        const struct bench_request first = {N_PROMPT, 1, i, true, 0};
        const struct bench_request all = {N_PROMPT, n_tokens, i, true, 0};
        sample(beside);
        first_ns[i] = bench_generate(engine, n_vocab, &first, NULL).first_ns;
        sample(beside);
        const struct bench_timing timing = bench_generate(engine, n_vocab, &all, NULL);
        all_ns[i] = timing.first_ns + timing.rest_ns;
    }
    const double one = (double)bench_percentile(first_ns, n_rounds, 0.5);
    const double total = (double)bench_percentile(all_ns, n_rounds, 0.5);
    /* Disturbed so much that it tells nothing: then with the prompt, which is slower. */
    const double rest = total > one ? total - one : total;
    return (double)(n_tokens - 1) * 1e9 / rest;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void bench_one_caller(bitnet_engine *engine, const bitnet_model_info *info,
                      const struct bench_effort *effort, const unsigned *n_threads,
                      struct bench_meter *meter, struct bench_model *model)
{
    const size_t most = info->n_ctx_train - 1;
    const size_t n_rounds = effort->n_rounds;
    model->short_prompt.n_tokens = least(N_SHORT, most);
    model->long_prompt.n_tokens = least(N_LONG, most);
    for (size_t team = 0; team < BENCH_N_TEAMS; team++) {
        struct beside beside = {meter, team, {0}};
        check(bitnet_thread_manager_set_compute_threads(n_threads[team]));
        model->short_prompt.tokens_per_s[team] =
            prefill_rate(engine, info->n_vocab, model->short_prompt.n_tokens, n_rounds,
                         &beside);
        model->long_prompt.tokens_per_s[team] =
            prefill_rate(engine, info->n_vocab, model->long_prompt.n_tokens, n_rounds,
                         &beside);
        model->decode_tokens_per_s[team] =
            decode_rate(engine, info->n_vocab, effort->n_decoded, n_rounds, &beside);
        model->beside[team] = bench_samples_at(&beside.samples, 0.5);
    }
    check(bitnet_thread_manager_set_compute_threads(0));
    model->has_one_caller = true;
}

/* What the callers of one measurement found, together. */
struct samples {
    pthread_mutex_t lock;
    uint64_t *first_ns; /* guarded by lock, as the rest */
    size_t n_first;
    uint64_t *between_ns;
    size_t n_between;
};

static void samples_begin(struct samples *samples)
{
    *samples = (struct samples){.first_ns = calloc(MAX_SAMPLES, sizeof(uint64_t)),
                                .between_ns = calloc(MAX_SAMPLES, sizeof(uint64_t))};
    if (samples->first_ns == NULL || samples->between_ns == NULL)
        bench_give_up("out of memory for the samples");
    pthread_mutex_init(&samples->lock, NULL); /* of default kind: cannot fail */
}

static void samples_add(struct samples *samples, uint64_t first_ns,
                        const uint64_t *between_ns, size_t n_between)
{
    pthread_mutex_lock(&samples->lock);
    if (samples->n_first < MAX_SAMPLES)
        samples->first_ns[samples->n_first++] = first_ns;
    for (size_t i = 0; i < n_between && samples->n_between < MAX_SAMPLES; i++)
        samples->between_ns[samples->n_between++] = between_ns[i];
    pthread_mutex_unlock(&samples->lock);
}

static struct bench_latency samples_end(struct samples *samples)
{
    struct bench_latency latency = {.n_requests = samples->n_first};
    uint64_t *first = samples->first_ns;
    uint64_t *between = samples->between_ns;
    if (samples->n_first > 0 && samples->n_between > 0) {
        latency.first_p50_ms = (double)bench_percentile(first, samples->n_first, 0.5);
        latency.first_p99_ms = (double)bench_percentile(first, samples->n_first, 0.99);
        latency.between_p50_ms =
            (double)bench_percentile(between, samples->n_between, 0.5);
        latency.between_p99_ms =
            (double)bench_percentile(between, samples->n_between, 0.99);
        latency.first_p50_ms /= 1e6;
        latency.first_p99_ms /= 1e6;
        latency.between_p50_ms /= 1e6;
        latency.between_p99_ms /= 1e6;
    }
    free(first);
    free(between);
    pthread_mutex_destroy(&samples->lock);
    return latency;
}

struct caller {
    pthread_t thread;
    bitnet_engine *engine;
    struct samples *samples;
    uint32_t n_vocab;
    size_t index;
    size_t n_requests; /* 0: until is_over */
    size_t n_tokens;
    const atomic_bool *is_over;
};

static void *be_a_caller(void *arg)
{
    const struct caller *caller = arg;
    uint64_t *between_ns = calloc(caller->n_tokens, sizeof(*between_ns));
    if (between_ns == NULL) bench_give_up("out of memory");
    for (size_t i = 0; caller->n_requests == 0 || i < caller->n_requests; i++) {
        const struct bench_request request = {
            .n_prompt_tokens = N_PROMPT,
            .n_tokens = caller->n_tokens,
            .seed = (caller->index + 1) * 1000000 + i,
            .client_id = caller->index + 1,
        };
        const struct bench_timing timing =
            bench_generate(caller->engine, caller->n_vocab, &request, between_ns);
        if (atomic_load(caller->is_over)) break; /* it was not all beside the others */
        samples_add(caller->samples, timing.first_ns, between_ns, caller->n_tokens - 1);
    }
    free(between_ns);
    return NULL;
}

static void start_callers(struct caller *callers, size_t n, const struct caller *like)
{
    for (size_t i = 0; i < n; i++) {
        callers[i] = *like;
        callers[i].index = i;
        if (pthread_create(&callers[i].thread, NULL, be_a_caller, &callers[i]) != 0)
            bench_give_up("cannot start caller %zu of %zu", i + 1, n);
    }
}

static void join_callers(struct caller *callers, size_t n)
{
    for (size_t i = 0; i < n; i++) pthread_join(callers[i].thread, NULL);
}

void bench_many_callers(bitnet_engine *engine, const bitnet_model_info *info,
                        const struct bench_effort *effort, size_t row,
                        struct bench_model *model)
{
    struct caller callers[BENCH_MAX_CALLERS];
    struct samples samples;
    const atomic_bool is_over = false;
    const size_t n = bench_callers[row];
    const struct caller like = {
        .engine = engine,
        .samples = &samples,
        .n_vocab = info->n_vocab,
        .n_requests = effort->n_requests,
        .n_tokens = effort->n_caller_tokens,
        .is_over = &is_over,
    };
    samples_begin(&samples);
    const uint64_t begin_ns = bench_now_ns();
    start_callers(callers, n, &like);
    join_callers(callers, n);
    const double elapsed_s = (double)(bench_now_ns() - begin_ns) / 1e9;
    const size_t n_tokens = n * effort->n_requests * effort->n_caller_tokens;
    model->callers[row] = samples_end(&samples);
    model->callers_tokens_per_s[row] = (double)n_tokens / elapsed_s;
    model->has_callers = true;
}

/* Waits for this long prompt, and has more of them read, one at a time, until then. */
static void read_long_prompts(bitnet_engine *engine, uint32_t n_vocab, size_t n_tokens,
                              uint64_t deadline_ns, bitnet_request *request)
{
    for (uint64_t i = 1;; i++) {
        const struct bench_request next = {n_tokens, 1, i, true, 0};
        const bitnet_status status =
            bitnet_request_next(request, deadline_ns, NULL, NULL, NULL);
        if (status != BITNET_ERROR_TIMED_OUT) check(status);
        bitnet_request_release(request); /* cancels it if it is not done */
        if (bitnet_clock_ns() >= deadline_ns) return;
        request = start(engine, n_vocab, &next);
    }
}

/* What a few callers see of the engine, beside long prompts if these have tokens. */
static struct bench_latency look_for_a_while(bitnet_engine *engine,
                                             const bitnet_model_info *info,
                                             uint64_t duration_ms, size_t n_long_tokens)
{
    struct caller callers[N_DISTURBED_CALLERS];
    struct samples samples;
    atomic_bool is_over = false;
    const struct caller like = {
        .engine = engine,
        .samples = &samples,
        .n_vocab = info->n_vocab,
        .n_tokens = N_DISTURBED_TOKENS,
        .is_over = &is_over,
    };
    const struct bench_request first = {n_long_tokens, 1, 0, true, 0};
    bitnet_request *request =
        n_long_tokens > 0 ? start(engine, info->n_vocab, &first) : NULL;
    samples_begin(&samples);
    start_callers(callers, N_DISTURBED_CALLERS, &like);
    if (request != NULL)
        read_long_prompts(engine, info->n_vocab, n_long_tokens,
                          bitnet_deadline_after_ms(duration_ms), request);
    else
        bench_sleep_ns(duration_ms * 1000000);
    atomic_store(&is_over, true);
    join_callers(callers, N_DISTURBED_CALLERS);
    return samples_end(&samples);
}

void bench_disturbance(bitnet_engine *engine, const bitnet_model_info *info,
                       const struct bench_effort *effort, struct bench_model *model)
{
    const size_t most = info->n_ctx_train - 1;
    const size_t n_step = least(N_SHORT, most);
    model->n_disturbing_tokens = least(N_DISTURBING, most);
    struct beside none = {0};
    model->step_ms =
        (double)n_step * 1e3 /
        prefill_rate(engine, info->n_vocab, n_step, effort->n_rounds, &none);
    model->quiet = look_for_a_while(engine, info, effort->disturbance_ms / 4, 0);
    model->disturbed = look_for_a_while(engine, info, effort->disturbance_ms,
                                        model->n_disturbing_tokens);
    model->has_disturbance = true;
}
