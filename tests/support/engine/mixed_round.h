/* SPDX-License-Identifier: MIT */
/*
 * mixed_round.h - requests of every kind at once, on engines drawn at random.
 *
 * A round has some entries: what is asked for (random_requests.h; a score or an
 * embedding of the same tokens), of which engine, in which way it is consumed, and when
 * it comes. Up to sixteen callers play it: each takes the next entry, does what it says,
 * and compares what it got with what the entry got alone. All is drawn from dice; how
 * the threads interleave is not. When a request comes is decided by what others have got
 * by then, never by the clock.
 *
 *     mixed_round.c    drawing, asking, and telling what was drawn
 *     mixed_callers.c  playing
 */
#ifndef TESTS_SUPPORT_MIXED_ROUND_H
#define TESTS_SUPPORT_MIXED_ROUND_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bitnet/embed.h>
#include <bitnet/engine.h>
#include <bitnet/score.h>
#include <bitnet/thread_pool.h>

#include "support/dice.h"
#include "support/engine/random_requests.h"

enum {
    ROUND_REQUESTS = 48,
    ROUND_MAX_CALLERS = 16,
    ROUND_MAX_ENGINES = 3,
    ROUND_MAX_VALUES = 1024, /* of a score or a vector */
};

/* What is asked for. */
enum kind { GENERATES, SCORES, EMBEDS };

/* How a request is consumed. Those from READS_TEXT on are for text only. */
enum way {
    BLOCKS,
    WAITS,
    CANCELS_ITSELF,
    MAY_BE_CANCELLED, /* by another caller */
    HAS_DEADLINE,
    LEAVES, /* releases the handle under way */
    FOLLOWS_EVENTS,
    FOLLOWS_EVENTS_AND_LEAVES,
    STEPS, /* an engine without a thread */
    READS_TEXT,
    BLOCKS_WITH_CALLBACK = READS_TEXT,
    PULLS,
    PULLS_SOME_AND_WAITS,
    STOPS_IN_CALLBACK,
    IS_DELIVERED, /* on a pool, by an engine with a thread */
    IS_DELIVERED_WITHOUT_HANDLE,
    STOPS_DELIVERY,
    N_WAYS
};

/* A request of a round. */
struct entry {
    struct random_request request;
    enum kind kind;
    bitnet_score_options score; /* of the request's prompt */
    bitnet_embed_options embed; /* likewise */
    unsigned engine;
    enum way way;
    unsigned n_steps;      /* tokens or pieces until it does what it does */
    unsigned after;        /* the entry whose progress it waits for; itself: none */
    unsigned after_steps;  /* that much of it */
    unsigned victim;       /* the entry it cancels when it comes; itself: none */
    uint64_t deadline_us;  /* from when it comes */
    bool is_refused_first; /* it does not wait for room at its first try */

    /* Its answer, alone. */
    bitnet_status alone_status;
    bitnet_result alone;
    float alone_values[ROUND_MAX_VALUES]; /* of a score or an embedding */
    size_t n_alone_values;

    /* Guarded by the round's lock. */
    unsigned n_seen; /* tokens or pieces it has been given */
    bool is_over;
    bool is_cancelled;      /* by another */
    bitnet_request *handle; /* while another may cancel it */
};

struct round {
    uint64_t seed;
    uint64_t number;
    const char *model_name;
    bitnet_model *model;
    size_t n_vocab;
    unsigned n_engines;
    bitnet_engine_options engine_options[ROUND_MAX_ENGINES];
    bitnet_thread_pool_options pool_options;
    unsigned n_threads; /* that compute */
    unsigned n_callers;
    bool is_held;             /* all callers come before the first step */
    bool keeps;               /* requests may keep logits, which takes the whole head */
    uint64_t n_two_pass_rows; /* of logits, once it has been played */
    unsigned n_entries;
    struct entry entries[ROUND_REQUESTS];

    bitnet_engine *engines[ROUND_MAX_ENGINES];
    bitnet_thread_pool *pool; /* to deliver on */
    atomic_uint next_entry;
    atomic_uint n_whole;
    atomic_uint n_cut;
    atomic_uint n_of_way[N_WAYS];
    pthread_mutex_t lock;
    pthread_cond_t progressed;
    bool has_failed; /* guarded by the lock, as the next */
    char failure[3072];
};

/* Draws engines, callers and entries; model, number and n_entries are set. */
void draw_round(struct round *round, const struct request_mix *mix, struct dice *dice);

/* Writes the first failure down: what, whose, and all that was drawn. Any thread. */
void complain(struct round *round, unsigned index, const char *what);

const char *name_of_way(enum way way);

/* A thread of the round: takes entries until there are no more. */
void *be_a_caller(void *round);

/* Asks for what the entry says. `options` are the request's, or with another deadline,
 * what to do without room, events and delivery. */
bitnet_status begin_entry(const struct entry *entry, bitnet_engine *engine,
                          const bitnet_generate_options *options,
                          bitnet_request **request);

/* Takes what a score or an embedding has brought; `values` has ROUND_MAX_VALUES. */
bitnet_status take_values(const struct entry *entry, bitnet_request *request,
                          float *values, size_t *n_values);

#endif
