/* SPDX-License-Identifier: MIT */
/*
 * kv_cache.h - keys and values of every sequence, in pages of one arena.
 *
 * A page holds BNI_ATTENTION_BLOCK positions of one sequence for all layers:
 *
 *     page p:  layer 0: kv head 0: K [head_dim][32]  V [32][head_dim]   (half floats)
 *                       kv head 1: K ...             V ...
 *              layer 1: ...
 *
 * K lies dimension by dimension, so that the lanes of a score are positions; V
 * lies position by position, so that the lanes of a value are channels. That is
 * the shape attention_block() wants, and one page is one block of it: how a
 * sequence's positions are cut into blocks never depends on how they arrived.
 *
 * The cache belongs to one scheduler thread and has no lock. Which pages a
 * sequence has is the sequence's own list; the cache only knows which are free.
 */
#ifndef BNI_ENGINE_KV_CACHE_H
#define BNI_ENGINE_KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/status.h>

#include "kernels/kernels.h"
#include "model/model.h"

enum { BNI_KV_PAGE_POSITIONS = BNI_ATTENTION_BLOCK };

struct bni_kv_cache {
    uint16_t *arena;      /* [n_pages][page_halfs], backed as it is touched */
    uint32_t *free_pages; /* a stack of n_free page numbers */
    uint32_t n_pages;
    uint32_t n_free;
    size_t page_halfs;
    size_t head_halfs; /* of K, or of V, for one head of one layer in one page */
    uint32_t n_kv_heads;
};

/* Bytes of one page for this model. */
size_t bni_kv_page_bytes(const struct bni_hparams *hparams);

/* Pages that hold `n_positions`. */
static inline uint32_t bni_kv_pages_for(uint32_t n_positions)
{
    return (n_positions + BNI_KV_PAGE_POSITIONS - 1) / BNI_KV_PAGE_POSITIONS;
}

bitnet_status bni_kv_cache_init(struct bni_kv_cache *cache,
                                const struct bni_hparams *hparams, uint32_t n_pages);
void bni_kv_cache_free(struct bni_kv_cache *cache);

/* Takes a free page; there must be one: reservation is the scheduler's business. */
uint32_t bni_kv_cache_take_page(struct bni_kv_cache *cache);
void bni_kv_cache_give_page(struct bni_kv_cache *cache, uint32_t page);

/* K block of `kv_head` in `layer` of `page`; V block likewise. */
static inline uint16_t *bni_kv_keys(const struct bni_kv_cache *cache, uint32_t page,
                                    uint32_t layer, uint32_t kv_head)
{
    return cache->arena + page * cache->page_halfs +
           2 * ((size_t)layer * cache->n_kv_heads + kv_head) * cache->head_halfs;
}

static inline uint16_t *bni_kv_values(const struct bni_kv_cache *cache, uint32_t page,
                                      uint32_t layer, uint32_t kv_head)
{
    return bni_kv_keys(cache, page, layer, kv_head) + cache->head_halfs;
}

#endif
