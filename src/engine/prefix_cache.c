/* SPDX-License-Identifier: MIT */
/*
 * prefix_cache.c - counting users of pages, finding pages by their tokens.
 */
#include "engine/prefix_cache.h"

#include <assert.h>
#include <string.h>

#include <bitnet/clock.h>

#include "base/alloc.h"
#include "engine/random.h"

enum { PAGE_TOKENS_BYTES = BNI_KV_PAGE_POSITIONS * (int)sizeof(bitnet_token) };

/* ---- life ------------------------------------------------------------------------- */

static uint32_t n_buckets_for(uint32_t n_pages)
{
    uint32_t n_buckets = 1;
    while (n_buckets < n_pages && n_buckets < UINT32_C(1) << 31) n_buckets *= 2;
    return n_buckets;
}

uint64_t bni_prefix_cache_bytes(uint32_t n_pages, bool keeps_prefixes)
{
    const uint64_t block = 2 * BNI_ALIGNMENT; /* a header, and rounding up */
    uint64_t n_bytes = n_pages * (uint64_t)sizeof(struct bni_prefix_page) + block;
    if (keeps_prefixes)
        n_bytes += n_pages * (uint64_t)PAGE_TOKENS_BYTES + block +
                   n_buckets_for(n_pages) * (uint64_t)sizeof(uint32_t) + block;
    return n_bytes;
}

bitnet_status bni_prefix_cache_init(struct bni_prefix_cache *cache,
                                    struct bni_kv_cache *kv, bool keeps_prefixes)
{
    *cache = (struct bni_prefix_cache){
        .kv = kv,
        .n_buckets = n_buckets_for(kv->n_pages),
        .oldest = BNI_NO_PAGE,
        .newest = BNI_NO_PAGE,
    };
    cache->pages = bni_calloc(kv->n_pages, sizeof(*cache->pages));
    if (cache->pages == NULL) return bitnet_last_status();
    if (!keeps_prefixes) return BITNET_OK;

    cache->seed = bni_random_mix(bitnet_clock_ns() ^ (uintptr_t)cache->pages);
    cache->tokens = bni_calloc(kv->n_pages, PAGE_TOKENS_BYTES);
    cache->buckets = cache->tokens == NULL
                         ? NULL
                         : bni_calloc(cache->n_buckets, sizeof(*cache->buckets));
    if (cache->buckets == NULL) {
        bni_prefix_cache_free(cache);
        return bitnet_last_status();
    }
    for (uint32_t i = 0; i < cache->n_buckets; i++) cache->buckets[i] = BNI_NO_PAGE;
    return BITNET_OK;
}

void bni_prefix_cache_free(struct bni_prefix_cache *cache)
{
    bni_free(cache->pages);
    bni_free(cache->tokens);
    bni_free(cache->buckets);
    cache->pages = NULL;
    cache->tokens = NULL;
    cache->buckets = NULL;
}

/* ---- tokens to page --------------------------------------------------------------- */

static uint64_t hash_of(const struct bni_prefix_cache *cache, uint32_t parent,
                        const bitnet_token *tokens)
{
    uint64_t hash = parent == BNI_NO_PAGE ? cache->seed : cache->pages[parent].hash;
    for (int i = 0; i < BNI_KV_PAGE_POSITIONS; i++)
        hash =
            bni_random_mix(hash + (uint32_t)tokens[i] + UINT64_C(0x9e3779b97f4a7c15));
    return hash;
}

static bitnet_token *tokens_of(const struct bni_prefix_cache *cache, uint32_t page)
{
    return cache->tokens + (size_t)page * BNI_KV_PAGE_POSITIONS;
}

static uint32_t *bucket_of(const struct bni_prefix_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & (cache->n_buckets - 1)];
}

static uint32_t find_hashed(const struct bni_prefix_cache *cache, uint64_t hash,
                            uint32_t parent, const bitnet_token *tokens)
{
    uint32_t page = *bucket_of(cache, hash);
    for (; page != BNI_NO_PAGE; page = cache->pages[page].next_in_bucket) {
        const struct bni_prefix_page *p = &cache->pages[page];
        if (p->hash == hash && p->parent == parent &&
            memcmp(tokens_of(cache, page), tokens, PAGE_TOKENS_BYTES) == 0)
            return page;
    }
    return BNI_NO_PAGE;
}

uint32_t bni_prefix_find(const struct bni_prefix_cache *cache, uint32_t parent,
                         const bitnet_token tokens[BNI_KV_PAGE_POSITIONS])
{
    if (cache->tokens == NULL) return BNI_NO_PAGE;
    return find_hashed(cache, hash_of(cache, parent, tokens), parent, tokens);
}

bool bni_prefix_add(struct bni_prefix_cache *cache, uint32_t page, uint32_t parent,
                    const bitnet_token tokens[BNI_KV_PAGE_POSITIONS])
{
    if (cache->tokens == NULL) return false;
    const uint64_t hash = hash_of(cache, parent, tokens);
    if (find_hashed(cache, hash, parent, tokens) != BNI_NO_PAGE) return false;

    struct bni_prefix_page *p = &cache->pages[page];
    assert(!p->is_known && p->n_users == 1);
    assert(parent == BNI_NO_PAGE || cache->pages[parent].is_known);
    uint32_t *bucket = bucket_of(cache, hash);
    p->is_known = true;
    p->hash = hash;
    p->parent = parent;
    p->next_in_bucket = *bucket;
    *bucket = page;
    memcpy(tokens_of(cache, page), tokens, PAGE_TOKENS_BYTES);
    return true;
}

void bni_prefix_forget(struct bni_prefix_cache *cache, uint32_t page)
{
    struct bni_prefix_page *p = &cache->pages[page];
    assert(p->is_known);
    uint32_t *link = bucket_of(cache, p->hash);
    while (*link != page) link = &cache->pages[*link].next_in_bucket;
    *link = p->next_in_bucket;
    p->is_known = false;
}

/* ---- users ------------------------------------------------------------------------- */

static void append_idle(struct bni_prefix_cache *cache, uint32_t page)
{
    struct bni_prefix_page *p = &cache->pages[page];
    p->newer = BNI_NO_PAGE;
    p->older = cache->newest;
    if (cache->newest != BNI_NO_PAGE)
        cache->pages[cache->newest].newer = page;
    else
        cache->oldest = page;
    cache->newest = page;
    cache->n_idle++;
}

static void remove_idle(struct bni_prefix_cache *cache, uint32_t page)
{
    const struct bni_prefix_page *p = &cache->pages[page];
    if (p->older != BNI_NO_PAGE)
        cache->pages[p->older].newer = p->newer;
    else
        cache->oldest = p->newer;
    if (p->newer != BNI_NO_PAGE)
        cache->pages[p->newer].older = p->older;
    else
        cache->newest = p->older;
    cache->n_idle--;
}

uint32_t bni_prefix_take(struct bni_prefix_cache *cache)
{
    uint32_t page;
    if (cache->kv->n_free > 0) {
        page = bni_kv_cache_take_page(cache->kv);
    } else {
        page = cache->oldest;
        assert(page != BNI_NO_PAGE);
        remove_idle(cache, page);
        bni_prefix_forget(cache, page);
        cache->n_evicted++;
    }
    cache->pages[page].n_users = 1;
    return page;
}

void bni_prefix_use(struct bni_prefix_cache *cache, uint32_t page)
{
    struct bni_prefix_page *p = &cache->pages[page];
    assert(p->is_known);
    if (p->n_users == 0) remove_idle(cache, page);
    p->n_users++;
    if (p->n_users == 2) cache->n_shared++;
}

void bni_prefix_release(struct bni_prefix_cache *cache, uint32_t page)
{
    struct bni_prefix_page *p = &cache->pages[page];
    assert(p->n_users > 0);
    p->n_users--;
    if (p->n_users == 1) cache->n_shared--;
    if (p->n_users > 0) return;
    if (p->is_known)
        append_idle(cache, page);
    else
        bni_kv_cache_give_page(cache->kv, page);
}
