/* SPDX-License-Identifier: MIT */
/*
 * kv_cache.c - the arena, its stack of free pages, and how a page holds numbers.
 */
#include "engine/kv_cache.h"

#include <assert.h>

#include "base/alloc.h"

static size_t block_bytes(const struct bni_hparams *hparams, bitnet_kv_type type)
{
    if (type == BITNET_KV_F16)
        return hparams->head_dim * sizeof(uint16_t) * BNI_KV_PAGE_POSITIONS;
    return (hparams->head_dim + sizeof(float)) * BNI_KV_PAGE_POSITIONS;
}

size_t bni_kv_page_bytes(const struct bni_hparams *hparams, bitnet_kv_type type)
{
    return 2 * block_bytes(hparams, type) * hparams->n_layers * hparams->n_kv_heads;
}

bitnet_status bni_kv_cache_init(struct bni_kv_cache *cache,
                                const struct bni_hparams *hparams, bitnet_kv_type type,
                                uint32_t n_pages)
{
    *cache = (struct bni_kv_cache){
        .n_pages = n_pages,
        .n_free = n_pages,
        .type = type,
        .page_bytes = bni_kv_page_bytes(hparams, type),
        .block_bytes = block_bytes(hparams, type),
        .n_kv_heads = hparams->n_kv_heads,
        .head_dim = hparams->head_dim,
    };
    cache->arena = bni_map_zeroed(n_pages * cache->page_bytes);
    if (cache->arena == NULL) return bitnet_last_status();
    cache->free_pages = bni_alloc(n_pages * sizeof(*cache->free_pages));
    if (cache->free_pages == NULL) {
        bni_kv_cache_free(cache);
        return bitnet_last_status();
    }
    /* Low pages first, so that a lightly used arena touches little memory. */
    for (uint32_t i = 0; i < n_pages; i++) cache->free_pages[i] = n_pages - 1 - i;
    return BITNET_OK;
}

void bni_kv_cache_free(struct bni_kv_cache *cache)
{
    bni_unmap(cache->arena, cache->n_pages * cache->page_bytes);
    bni_free(cache->free_pages);
    cache->arena = NULL;
    cache->free_pages = NULL;
}

uint32_t bni_kv_cache_take_page(struct bni_kv_cache *cache)
{
    assert(cache->n_free > 0);
    return cache->free_pages[--cache->n_free];
}

void bni_kv_cache_give_page(struct bni_kv_cache *cache, uint32_t page)
{
    assert(cache->n_free < cache->n_pages);
    cache->free_pages[cache->n_free++] = page;
}

/* ---- what a page holds ------------------------------------------------------------ */

void *bni_kv_keys(const struct bni_kv_cache *cache, struct bni_kv_place place)
{
    return cache->arena + place.page * cache->page_bytes +
           2 * ((size_t)place.layer * cache->n_kv_heads + place.kv_head) *
               cache->block_bytes;
}

void *bni_kv_values(const struct bni_kv_cache *cache, struct bni_kv_place place)
{
    return (char *)bni_kv_keys(cache, place) + cache->block_bytes;
}

/* The factors of a block in int8; [BNI_KV_PAGE_POSITIONS]. */
static float *factors_of(const struct bni_kv_cache *cache, int8_t *block)
{
    return (float *)(void *)(block + (size_t)cache->head_dim * BNI_KV_PAGE_POSITIONS);
}

/* Returns the factor. */
static float quantise(const struct bni_kernels *kernels, const float *x, size_t n,
                      int8_t *q)
{
    float scale;
    int32_t sum;
    kernels->quantize(x, n, q, &scale, &sum);
    return 1.0f / scale;
}

static void store_int8(const struct bni_kv_cache *cache,
                       const struct bni_kernels *kernels, struct bni_kv_place place,
                       size_t slot, const float *k, const float *v)
{
    const size_t n = cache->head_dim;
    int8_t *keys = bni_kv_keys(cache, place);
    int8_t *values = bni_kv_values(cache, place);
    int8_t key[BNI_MAX_HEAD_DIM];
    factors_of(cache, keys)[slot] = quantise(kernels, k, n, key);
    for (size_t d = 0; d < n; d++) keys[d * BNI_KV_PAGE_POSITIONS + slot] = key[d];
    factors_of(cache, values)[slot] = quantise(kernels, v, n, values + slot * n);
}

void bni_kv_store(const struct bni_kv_cache *cache, const struct bni_kernels *kernels,
                  struct bni_kv_place place, size_t slot, const float *k,
                  const float *v)
{
    if (cache->type == BITNET_KV_INT8) {
        store_int8(cache, kernels, place, slot, k, v);
        return;
    }
    const size_t n = cache->head_dim;
    uint16_t *keys = bni_kv_keys(cache, place);
    uint16_t *values = bni_kv_values(cache, place);
    kernels->store_f16(k, n, keys + slot, BNI_KV_PAGE_POSITIONS);
    kernels->store_f16(v, n, values + slot * n, 1);
}

void bni_kv_attend(const struct bni_kv_cache *cache, const struct bni_kernels *kernels,
                   struct bni_kv_place place, uint32_t next_page,
                   struct bni_attention_query *queries, size_t n_queries, float scale)
{
    void *keys = bni_kv_keys(cache, place);
    void *values = bni_kv_values(cache, place);
    struct bni_kv_block block = {
        .k = keys,
        .v = values,
        .head_dim = cache->head_dim,
        .scale = scale,
        .next = ((ptrdiff_t)next_page - place.page) * (ptrdiff_t)cache->page_bytes,
    };
    if (cache->type == BITNET_KV_INT8) {
        block.k_factors = factors_of(cache, keys);
        block.v_factors = factors_of(cache, values);
        kernels->attention_block_int8(queries, n_queries, &block);
    } else {
        kernels->attention_block(queries, n_queries, &block);
    }
}
