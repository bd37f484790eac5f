/* SPDX-License-Identifier: MIT */
/*
 * clients.h - who has been served how much: fair turns among clients.
 *
 * Every client that has a request, admitted or in line, has a counter of the rows
 * computed for it: a virtual token counter (Sheng et al., "Fairness in Serving Large
 * Language Models", 2024). Whoever has the smallest goes first. A client that comes,
 * or comes back, begins at the smallest counter of those present, so that having been
 * away is worth nothing; one without requests is forgotten.
 *
 * The table is as large as it was made. Clients that find it full share one place, and
 * so one turn, until they have no requests any more.
 *
 * Guarded by the engine's lock.
 */
#ifndef BNI_ENGINE_CLIENTS_H
#define BNI_ENGINE_CLIENTS_H

#include <stdint.h>

#include <bitnet/status.h>

/* Stands for no place in the table. */
#define BNI_NO_CLIENT UINT32_MAX

/* The place that those share who find the table full. */
#define BNI_OTHER_CLIENTS 0

struct bni_client {
    uint64_t id;
    uint64_t n_served;   /* rows, from where it began */
    uint32_t n_requests; /* admitted and not ended, or in line */
    uint32_t next;       /* in its bucket, or among the unused */
    uint32_t index;      /* in `present` */
};

struct bni_clients {
    struct bni_client *table; /* [1 + max_clients] */
    uint32_t *present;        /* [1 + max_clients]: places of the n_present in use */
    uint32_t *buckets;        /* [n_buckets], a power of two */
    uint32_t n_buckets;
    uint32_t n_present;
    uint32_t unused;  /* first unused place */
    uint64_t n_least; /* served, of those present after the last step */
};

/* The most bytes that a table holds. */
uint64_t bni_clients_bytes(uint32_t max_clients);

bitnet_status bni_clients_init(struct bni_clients *clients, uint32_t max_clients);
void bni_clients_free(struct bni_clients *clients);

/* Counts one more request of client `id`, and returns its place. */
uint32_t bni_clients_join(struct bni_clients *clients, uint64_t id);

/* Counts one less, and forgets the client if it was the last. */
void bni_clients_leave(struct bni_clients *clients, uint32_t place);

/* Counts rows computed for a client. After a step: bni_clients_settle(). */
static inline void bni_clients_charge(struct bni_clients *clients, uint32_t place,
                                      uint32_t n_rows)
{
    clients->table[place].n_served += n_rows;
}

/* Finds the smallest counter once all have been charged for a step. */
void bni_clients_settle(struct bni_clients *clients);

#endif
