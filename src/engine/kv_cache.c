/* SPDX-License-Identifier: MIT */
/*
 * kv_cache.c - the arena and its stack of free pages.
 */
#include "engine/kv_cache.h"

#include <assert.h>

#include "base/alloc.h"

static size_t head_halfs(const struct bni_hparams *hparams)
{
    return (size_t)hparams->head_dim * BNI_KV_PAGE_POSITIONS;
}

static size_t page_halfs(const struct bni_hparams *hparams)
{
    return 2 * head_halfs(hparams) * hparams->n_layers * hparams->n_kv_heads;
}

size_t bni_kv_page_bytes(const struct bni_hparams *hparams)
{
    return page_halfs(hparams) * sizeof(uint16_t);
}

bitnet_status bni_kv_cache_init(struct bni_kv_cache *cache,
                                const struct bni_hparams *hparams, uint32_t n_pages)
{
    *cache = (struct bni_kv_cache){
        .n_pages = n_pages,
        .n_free = n_pages,
        .page_halfs = page_halfs(hparams),
        .head_halfs = head_halfs(hparams),
        .n_kv_heads = hparams->n_kv_heads,
    };
    cache->arena = bni_map_zeroed(n_pages * bni_kv_page_bytes(hparams));
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
    bni_unmap(cache->arena, cache->n_pages * cache->page_halfs * sizeof(uint16_t));
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
