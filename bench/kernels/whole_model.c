/* SPDX-License-Identifier: MIT */
/*
 * whole_model.c - see whole_model.h.
 *
 * A step is one forward pass, as the engine makes it: one token that is generated, or as
 * many of a prompt as the engine's step has, of which the last gets logits. The time of
 * neither depends on what the tokens before were, only on how many there are: so these
 * are not read, which would take minutes, but their keys and values are filled in with
 * one number. Pages, kernels and the order of all work are the real ones.
 *
 * Between the steps the limits are measured, and the median of either is compared: what
 * a shared machine can do changes while one looks.
 *
 * A token is measured twice: with logits of the whole head, and in two passes, as a
 * greedy choice needs them. Bytes are those of what is read then: the head, or its copy
 * and the few rows that are computed after all.
 */
#include "whole_model.h"

#include <stdlib.h>
#include <string.h>

#include <bitnet/model.h>

#include "common/machine.h"
#include "common/model_file.h"
#include "common/parts.h"
#include "common/report.h"
#include "engine/forward.h"
#include "engine/penalties.h"
#include "engine/two_pass.h"

enum {
    N_PROMPT = 128, /* tokens of a prompt in a step of the engine, by default */
    MAX_ROUNDS = 32,
    /* Any byte that makes a small number of halves, and of bytes. */
    FILLER = 0x2d,
};

static const uint32_t contexts[BENCH_N_CONTEXTS] = {0, 512, 2048, 4096};

/* Of each step there are rounds until the time is over; the median counts. */
static const uint64_t full_budget_ns = UINT64_C(1500000000);

struct machinery {
    bitnet_model *model;
    struct bni_kv_cache cache;
    struct bni_rope_table rope;
    struct bni_workspace workspace;
    struct bni_two_pass two_pass;
    struct bni_forward forward;
    uint32_t *pages;
    struct bni_team *teams[BENCH_N_TEAMS];
    struct bench_meter *meter;
};

static void check(bitnet_status status)
{
    if (status != BITNET_OK) bench_give_up("%s", bitnet_last_error());
}

static void open_model(struct machinery *m, const char *path,
                       const struct bni_kernels *kernels, const unsigned *n_threads)
{
    const uint32_t n_positions = contexts[BENCH_N_CONTEXTS - 1] + N_PROMPT;
    const uint32_t n_pages = bni_kv_pages_for(n_positions);
    bitnet_model_options options = bitnet_model_options_default();
    options.head_copy = BITNET_HEAD_COPY_ALWAYS;
    check(bitnet_model_load(path, &options, &m->model));
    const struct bni_hparams *hp = &m->model->hparams;
    check(bni_kv_cache_init(&m->cache, hp, BITNET_KV_F16, n_pages));
    check(bni_rope_table_init(&m->rope, hp, m->model->rope_factors, n_positions));
    check(bni_workspace_init(&m->workspace, hp, N_PROMPT, 1));
    check(bni_two_pass_init(&m->two_pass, m->model, 1));
    m->pages = calloc(n_pages, sizeof(*m->pages));
    if (m->pages == NULL) bench_give_up("out of memory");
    for (uint32_t i = 0; i < n_pages; i++)
        m->pages[i] = bni_kv_cache_take_page(&m->cache);
    memset(m->cache.arena, FILLER, n_pages * m->cache.page_bytes);
    m->forward = (struct bni_forward){
        .model = m->model,
        .kernels = kernels,
        .rope = &m->rope,
        .cache = &m->cache,
        .workspace = &m->workspace,
    };
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) m->teams[t] = bench_team(n_threads[t]);
}

static void close_model(struct machinery *m)
{
    for (size_t t = 0; t < BENCH_N_TEAMS; t++) bni_team_destroy(m->teams[t]);
    free(m->pages);
    bni_two_pass_free(&m->two_pass);
    bni_workspace_free(&m->workspace);
    bni_rope_table_free(&m->rope);
    bni_kv_cache_free(&m->cache);
    bitnet_model_release(m->model);
}

/* Makes all passes from here on take two over the head, or one. */
static void choose_passes(struct machinery *m, bool is_two_pass)
{
    static const struct bni_penalties none = {.repeat = 1.0f};
    static const struct bni_logit_need greedy = {.n_top = 1, .penalties = &none};
    m->forward.two_pass = is_two_pass ? &m->two_pass : NULL;
    m->forward.needs = is_two_pass ? &greedy : NULL;
}

/* Bytes of the head that logits of one row take. */
static double head_bytes(const struct machinery *m)
{
    const struct bni_dense_weight *head = &m->model->head;
    const double row_bytes = (double)bni_dense_bytes(head->type, head->n_cols);
    const struct bni_two_pass_counts *counts = &m->two_pass.counts;
    if (m->forward.two_pass == NULL || counts->n_rows == 0)
        return (double)head->n_rows * row_bytes;
    return (double)m->model->head_copy.n_bytes +
           (double)counts->n_candidates / (double)counts->n_rows * row_bytes;
}

/* Runs `n_tokens` after `n_context` and returns the seconds. */
static double step_s(const struct machinery *m, size_t team, uint32_t n_context,
                     uint32_t n_tokens)
{
    struct bni_row rows[N_PROMPT];
    for (uint32_t i = 0; i < n_tokens; i++)
        rows[i] = (struct bni_row){
            .token = (bitnet_token)(i * 97 % m->model->hparams.n_vocab),
            .position = n_context + i,
            .pages = m->pages,
            .wants_logits = i + 1 == n_tokens,
        };
    const uint64_t begin_ns = bench_now_ns();
    bni_forward_run(&m->forward, m->teams[team], rows, n_tokens, NULL, NULL);
    return (double)(bench_now_ns() - begin_ns) / 1e9;
}

/* The median time of a step, and beside it what the machine could do. */
static void measure_step(const struct machinery *m, size_t team, uint32_t n_tokens,
                         uint64_t budget_ns, struct bench_result *result)
{
    const uint64_t begin_ns = bench_now_ns();
    struct bench_samples samples = {0};
    double s[MAX_ROUNDS];
    size_t n = 0;
    bench_samples_add(&samples, m->meter, team);
    do {
        s[n++] = step_s(m, team, (uint32_t)result->n_context, n_tokens);
        bench_samples_add(&samples, m->meter, team);
    } while (n < MAX_ROUNDS && bench_now_ns() - begin_ns < budget_ns);
    result->s[team] = bench_real_percentile(s, n, 0.5);
    result->beside[team] = bench_samples_at(&samples, 0.5);
}

/* What a step of `n_tokens` after `n_context` has to read and to compute. */
static struct bench_work work_of(const struct machinery *m, uint32_t n_context,
                                 uint32_t n_tokens)
{
    const struct bni_hparams *hp = &m->model->hparams;
    bitnet_model_info info = {.struct_size = sizeof(info)};
    bitnet_model_get_info(m->model, &info);
    const double n_macs = (double)bench_macs_per_token(&info);
    const double n_head = (double)hp->n_vocab * hp->n_embd;
    /* Each token meets the keys and the values of all before it, and its own. */
    const double n_met = n_tokens * (n_context + (n_tokens + 1) / 2.0);
    const double n_pages = bni_kv_pages_for(n_context + n_tokens);
    return (struct bench_work){
        .memory_bytes = n_macs / 4 + head_bytes(m) +
                        n_pages * (double)bni_kv_page_bytes(hp, BITNET_KV_F16),
        .n_integer = n_tokens * n_macs,
        .n_float = n_head + n_met * 2.0 * hp->n_layers * hp->n_heads * hp->head_dim,
    };
}

static void measure_steps(const struct machinery *m, const char *name,
                          uint32_t n_tokens, uint64_t budget_ns,
                          struct bench_list *list)
{
    for (size_t i = 0; i < BENCH_N_CONTEXTS; i++) {
        struct bench_result *result = bench_list_add(list, name, "step", "MAC");
        result->is_from_memory = true;
        result->n_x = n_tokens;
        result->n_context = contexts[i];
        for (size_t t = 0; t < BENCH_N_TEAMS; t++) {
            bench_show_progress(i * BENCH_N_TEAMS + t, BENCH_N_CONTEXTS * BENCH_N_TEAMS,
                                name);
            measure_step(m, t, n_tokens, budget_ns, result);
        }
        result->work = work_of(m, contexts[i], n_tokens);
    }
    bench_show_progress(1, 1, name);
}

void bench_measure_model(const char *path, const struct bni_kernels *kernels,
                         const unsigned n_threads[BENCH_N_TEAMS],
                         struct bench_meter *meter, bool is_quick,
                         struct bench_list *list)
{
    const uint64_t budget_ns = is_quick ? 0 : full_budget_ns;
    struct machinery m;
    open_model(&m, path, kernels, n_threads);
    m.meter = meter;
    step_s(&m, 0, 0, 1); /* has the file's pages mapped */
    measure_steps(&m, "decode", 1, budget_ns, list);
    choose_passes(&m, true);
    measure_steps(&m, "two-pass", 1, budget_ns, list);
    choose_passes(&m, false);
    measure_steps(&m, "prefill", N_PROMPT, budget_ns, list);
    close_model(&m);
}
