/* SPDX-License-Identifier: MIT */
/*
 * kv_cache.h - keys and values of every sequence, in pages of one arena.
 *
 * A page holds BNI_ATTENTION_BLOCK positions of one sequence for all layers:
 *
 *     page p:  layer 0: kv head 0: K [head_dim][32]  V [32][head_dim]
 *                       kv head 1: K ...             V ...
 *              layer 1: ...
 *
 * K lies dimension by dimension, so that the lanes of a score are positions; V
 * lies position by position, so that the lanes of a value are channels. That is
 * the shape that attention wants, and one page is one block of it: how a
 * sequence's positions are cut into blocks never depends on how they arrived.
 *
 * Numbers are half floats, or int8 with a float for each position behind each K and
 * each V, by which the position's numbers are to be multiplied. Only the functions
 * here know which.
 *
 * The cache belongs to one scheduler thread and has no lock. Which pages a
 * sequence has is the sequence's own list; the cache only knows which are free.
 */
#ifndef BNI_ENGINE_KV_CACHE_H
#define BNI_ENGINE_KV_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include <bitnet/engine.h>
#include <bitnet/status.h>

#include "kernels/kernels.h"
#include "model/model.h"

enum { BNI_KV_PAGE_POSITIONS = BNI_ATTENTION_BLOCK };

struct bni_kv_cache {
    char *arena;          /* [n_pages][page_bytes], backed as it is touched */
    uint32_t *free_pages; /* a stack of n_free page numbers */
    uint32_t n_pages;
    uint32_t n_free;
    bitnet_kv_type type;
    size_t page_bytes;
    size_t block_bytes; /* of K, or of V, for one head of one layer in one page */
    uint32_t n_kv_heads;
    uint32_t head_dim;
};

/* The block of one head of one layer in one page. */
struct bni_kv_place {
    uint32_t page;
    uint32_t layer;
    uint32_t kv_head;
};

/* Bytes of one page for this model. */
size_t bni_kv_page_bytes(const struct bni_hparams *hparams, bitnet_kv_type type);

/* Pages that hold `n_positions`. */
static inline uint32_t bni_kv_pages_for(uint32_t n_positions)
{
    return (n_positions + BNI_KV_PAGE_POSITIONS - 1) / BNI_KV_PAGE_POSITIONS;
}

bitnet_status bni_kv_cache_init(struct bni_kv_cache *cache,
                                const struct bni_hparams *hparams, bitnet_kv_type type,
                                uint32_t n_pages);
void bni_kv_cache_free(struct bni_kv_cache *cache);

/* Takes a free page; there must be one: reservation is the scheduler's business. */
uint32_t bni_kv_cache_take_page(struct bni_kv_cache *cache);
void bni_kv_cache_give_page(struct bni_kv_cache *cache, uint32_t page);

/* The K block of a place; the V block likewise. */
void *bni_kv_keys(const struct bni_kv_cache *cache, struct bni_kv_place place);
void *bni_kv_values(const struct bni_kv_cache *cache, struct bni_kv_place place);

/* Stores one head's key and value, [head_dim] each, as position `slot` of a place.
 * Different places and slots may be written by different threads at a time. */
void bni_kv_store(const struct bni_kv_cache *cache, const struct bni_kernels *kernels,
                  struct bni_kv_place place, size_t slot, const float *k,
                  const float *v);

/* Attends to a place: see attention_block() in kernels.h. `next_page` is where the same
 * queries go on, or the place's own. */
void bni_kv_attend(const struct bni_kv_cache *cache, const struct bni_kernels *kernels,
                   struct bni_kv_place place, uint32_t next_page,
                   struct bni_attention_query *queries, size_t n_queries, float scale);

#endif
