/* SPDX-License-Identifier: MIT */
/*
 * clients.c - the table of clients: a hash table in three arrays made at creation.
 */
#include "engine/clients.h"

#include <assert.h>

#include "base/alloc.h"
#include "engine/random.h"

static uint32_t n_buckets_for(uint32_t max_clients)
{
    uint32_t n_buckets = 1;
    while (n_buckets < max_clients) n_buckets *= 2;
    return n_buckets;
}

uint64_t bni_clients_bytes(uint32_t max_clients)
{
    const uint64_t block = 2 * BNI_ALIGNMENT; /* a header, and rounding up */
    return (UINT64_C(1) + max_clients) *
               (sizeof(struct bni_client) + sizeof(uint32_t)) +
           n_buckets_for(max_clients) * (uint64_t)sizeof(uint32_t) + 3 * block;
}

bitnet_status bni_clients_init(struct bni_clients *clients, uint32_t max_clients)
{
    *clients = (struct bni_clients){.n_buckets = n_buckets_for(max_clients)};
    clients->table = bni_calloc((size_t)max_clients + 1, sizeof(*clients->table));
    if (clients->table == NULL) return bitnet_last_status();
    clients->present = bni_calloc((size_t)max_clients + 1, sizeof(*clients->present));
    clients->buckets = clients->present == NULL
                           ? NULL
                           : bni_calloc(clients->n_buckets, sizeof(*clients->buckets));
    if (clients->buckets == NULL) {
        bni_clients_free(clients);
        return bitnet_last_status();
    }
    for (uint32_t i = 0; i < clients->n_buckets; i++)
        clients->buckets[i] = BNI_NO_CLIENT;
    clients->unused = BNI_OTHER_CLIENTS + 1;
    for (uint32_t i = clients->unused; i <= max_clients; i++)
        clients->table[i].next = i < max_clients ? i + 1 : BNI_NO_CLIENT;
    return BITNET_OK;
}

void bni_clients_free(struct bni_clients *clients)
{
    bni_free(clients->table);
    bni_free(clients->present);
    bni_free(clients->buckets);
    *clients = (struct bni_clients){0};
}

static uint32_t *bucket_of(const struct bni_clients *clients, uint64_t id)
{
    return &clients->buckets[bni_random_mix(id) & (clients->n_buckets - 1)];
}

static uint32_t find(const struct bni_clients *clients, uint64_t id)
{
    uint32_t place = *bucket_of(clients, id);
    while (place != BNI_NO_CLIENT && clients->table[place].id != id)
        place = clients->table[place].next;
    return place;
}

/* Takes an unused place for `id`, or the common one if there is none. */
static uint32_t take_place(struct bni_clients *clients, uint64_t id)
{
    const uint32_t place = clients->unused;
    if (place == BNI_NO_CLIENT) return BNI_OTHER_CLIENTS;
    clients->unused = clients->table[place].next;
    uint32_t *bucket = bucket_of(clients, id);
    clients->table[place].id = id;
    clients->table[place].next = *bucket;
    *bucket = place;
    return place;
}

static void give_place(struct bni_clients *clients, uint32_t place)
{
    if (place == BNI_OTHER_CLIENTS) return;
    struct bni_client *client = &clients->table[place];
    uint32_t *link = bucket_of(clients, client->id);
    while (*link != place) link = &clients->table[*link].next;
    *link = client->next;
    client->next = clients->unused;
    clients->unused = place;
}

uint32_t bni_clients_join(struct bni_clients *clients, uint64_t id)
{
    uint32_t place = find(clients, id);
    if (place == BNI_NO_CLIENT) place = take_place(clients, id);
    struct bni_client *client = &clients->table[place];
    if (client->n_requests == 0) {
        client->n_served = clients->n_least;
        client->index = clients->n_present;
        clients->present[clients->n_present++] = place;
    }
    client->n_requests++;
    return place;
}

void bni_clients_leave(struct bni_clients *clients, uint32_t place)
{
    struct bni_client *client = &clients->table[place];
    assert(client->n_requests > 0);
    if (--client->n_requests > 0) return;

    give_place(clients, place);
    const uint32_t moved = clients->present[--clients->n_present];
    clients->present[client->index] = moved;
    clients->table[moved].index = client->index;
}

void bni_clients_settle(struct bni_clients *clients)
{
    if (clients->n_present == 0) return;
    uint64_t n_least = UINT64_MAX;
    for (uint32_t i = 0; i < clients->n_present; i++) {
        const uint64_t n_served = clients->table[clients->present[i]].n_served;
        if (n_served < n_least) n_least = n_served;
    }
    clients->n_least = n_least;
}
