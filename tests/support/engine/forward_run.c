/* SPDX-License-Identifier: MIT */
#include "support/engine/forward_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "engine/forward.h"
#include "threads/team.h"

float *forward_run(const bitnet_model *model, const struct bni_kernels *kernels,
                   unsigned n_threads, const bitnet_token *tokens, size_t n_tokens,
                   size_t chunk)
{
    return forward_run_kv(model, kernels, BITNET_KV_F16, n_threads, tokens, n_tokens,
                          chunk);
}

float *forward_run_kv(const bitnet_model *model, const struct bni_kernels *kernels,
                      bitnet_kv_type kv_type, unsigned n_threads,
                      const bitnet_token *tokens, size_t n_tokens, size_t chunk)
{
    enum { MAX_CHUNK = 64, MAX_PAGES = 64 };
    const struct bni_hparams *hp = &model->hparams;
    const uint32_t n_pages = bni_kv_pages_for((uint32_t)n_tokens);
    struct bni_workspace workspace;
    struct bni_kv_cache cache;
    struct bni_rope_table rope;
    struct bni_team *team;
    uint32_t pages[MAX_PAGES];
    struct bni_row rows[MAX_CHUNK];
    assert_true(chunk >= 1 && chunk <= MAX_CHUNK && n_pages <= MAX_PAGES);

    assert_int_equal(bni_team_create(n_threads, &team), BITNET_OK);
    assert_int_equal(bni_workspace_init(&workspace, hp, chunk, chunk), BITNET_OK);
    assert_int_equal(bni_kv_cache_init(&cache, hp, kv_type, n_pages), BITNET_OK);
    assert_int_equal(bni_rope_table_init(&rope, hp, model->rope_factors, n_tokens),
                     BITNET_OK);
    float *logits = bni_calloc(n_tokens * hp->n_vocab, sizeof(*logits));
    assert_non_null(logits);
    for (uint32_t i = 0; i < n_pages; i++) pages[i] = bni_kv_cache_take_page(&cache);

    const struct bni_forward forward = {.model = model,
                                        .kernels = kernels,
                                        .rope = &rope,
                                        .cache = &cache,
                                        .workspace = &workspace};
    for (size_t begin = 0; begin < n_tokens; begin += chunk) {
        const size_t n_rows = n_tokens - begin < chunk ? n_tokens - begin : chunk;
        for (size_t i = 0; i < n_rows; i++)
            rows[i] = (struct bni_row){.token = tokens[begin + i],
                                       .position = (uint32_t)(begin + i),
                                       .pages = pages,
                                       .wants_logits = true};
        assert_true(bni_forward_run(&forward, team, rows, n_rows, NULL, NULL));
        memcpy(logits + begin * hp->n_vocab, workspace.logits,
               n_rows * hp->n_vocab * sizeof(*logits));
    }

    bni_rope_table_free(&rope);
    bni_kv_cache_free(&cache);
    bni_workspace_free(&workspace);
    bni_team_destroy(team);
    return logits;
}
