/* SPDX-License-Identifier: MIT */
/*
 * prefix_cache.h - who uses which page, and which pages hold what tokens.
 *
 * A page of keys and values depends on nothing but the tokens from the first
 * position to its last one (docs/numerics.md), so whoever has the same tokens may
 * read the same page. Every full page is known here by its own 32 tokens and by the
 * page before it, its parent; a chain of parents is a prefix:
 *
 *     tokens 0..31      32..63         64..95
 *     [ page 7 ] <----- [ page 2 ] <-- [ page 9 ]     one story, and
 *                   `-- [ page 4 ]                    another with the same start
 *
 * Pages are found by a hash, chained from the parent's, and then compared token by
 * token. A page has a number of users: the requests whose list it is on. Nobody
 * writes to a known page, and a page that is not full is never known.
 *
 *              take                     release, not known
 *     free ───────────► used ◄─────────────────────────────► free
 *                        │ ▲
 *      release, known    ▼ │ use
 *                       idle ──────► evicted, and used by somebody else
 *                             take, when no page is free: the oldest first
 *
 * Whoever uses a page uses its parent too, and releases the page before the parent.
 * So no parent is older among the idle than its pages, ends of prefixes are evicted
 * before their beginnings, and a parent's number cannot come to mean another page.
 *
 * The scheduler's alone, no lock, like the pages themselves.
 */
#ifndef BNI_ENGINE_PREFIX_CACHE_H
#define BNI_ENGINE_PREFIX_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/model.h>
#include <bitnet/status.h>

#include "engine/kv_cache.h"

/* Stands for no page: what the search found, or the parent of a first page. */
#define BNI_NO_PAGE UINT32_MAX

struct bni_prefix_page {
    uint64_t hash; /* of the tokens from the first position on; if known */
    uint32_t parent;
    uint32_t next_in_bucket;
    uint32_t older; /* among the idle */
    uint32_t newer;
    uint32_t n_users;
    bool is_known;
};

struct bni_prefix_cache {
    struct bni_kv_cache *kv; /* has the pages, and those that are free */
    struct bni_prefix_page *pages;
    bitnet_token *tokens; /* [n_pages][BNI_KV_PAGE_POSITIONS]; NULL: knows nothing */
    uint32_t *buckets;    /* [n_buckets], a power of two */
    uint32_t n_buckets;
    uint32_t oldest; /* idle page, the first to be evicted */
    uint32_t newest;
    uint32_t n_idle;
    uint32_t n_shared;  /* pages with two users or more */
    uint64_t n_evicted; /* since creation */
    uint64_t n_reused;  /* positions that were not computed, since creation */
    uint64_t seed;      /* nobody outside can choose tokens that share a bucket */
};

/* The most bytes that a cache of `n_pages` pages holds besides them. */
uint64_t bni_prefix_cache_bytes(uint32_t n_pages, bool keeps_prefixes);

/* Without `keeps_prefixes` pages are only counted, and no page is ever known. */
bitnet_status bni_prefix_cache_init(struct bni_prefix_cache *cache,
                                    struct bni_kv_cache *kv, bool keeps_prefixes);
void bni_prefix_cache_free(struct bni_prefix_cache *cache);

/* Pages that can be taken: free or idle. */
static inline uint32_t bni_prefix_n_available(const struct bni_prefix_cache *cache)
{
    return cache->kv->n_free + cache->n_idle;
}

/* Takes a page for one user, who may write to it. There must be one available. */
uint32_t bni_prefix_take(struct bni_prefix_cache *cache);

/* Adds a user to a page that is known. */
void bni_prefix_use(struct bni_prefix_cache *cache, uint32_t page);

/* Takes a user away. */
void bni_prefix_release(struct bni_prefix_cache *cache, uint32_t page);

/* Returns the page with these tokens after `parent`, or BNI_NO_PAGE. */
uint32_t bni_prefix_find(const struct bni_prefix_cache *cache, uint32_t parent,
                         const bitnet_token tokens[BNI_KV_PAGE_POSITIONS]);

/*
 * Makes a page known, which its one user fills with these tokens in the step that
 * is about to be taken, or has filled. Does nothing and returns false if an equal
 * page is known, or if the cache knows no pages.
 */
bool bni_prefix_add(struct bni_prefix_cache *cache, uint32_t page, uint32_t parent,
                    const bitnet_token tokens[BNI_KV_PAGE_POSITIONS]);

/* Forgets a page that was never filled after all. It keeps its users. */
void bni_prefix_forget(struct bni_prefix_cache *cache, uint32_t page);

#endif
