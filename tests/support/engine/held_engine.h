/* SPDX-License-Identifier: MIT */
/*
 * held_engine.h - an engine that stands still while a test sets the scene.
 *
 * The test has the compute team's turn, and one short request of the engine waits for
 * it. Whatever is submitted meanwhile is queued, and starts, as far as there is room,
 * after that request's only step. So what comes "at the same moment" really does.
 */
#ifndef TESTS_SUPPORT_HELD_ENGINE_H
#define TESTS_SUPPORT_HELD_ENGINE_H

#include <bitnet/engine.h>

#include "threads/compute.h"

struct held_engine {
    bitnet_engine *engine;
    bitnet_request *holder; /* one token of prompt, one to generate; client 999 */
    struct bni_team *team;
};

struct held_engine hold_engine(bitnet_engine *engine);

/* Lets the engine take its steps, and waits until the holder has ended. */
void let_engine_go(struct held_engine *held);

/* These fail the running test if they do not succeed. */
bitnet_request *submit_well(bitnet_engine *engine,
                            const bitnet_generate_options *options);
bitnet_result wait_well(bitnet_request *request);
bitnet_engine_stats stats_of(bitnet_engine *engine);

#endif
