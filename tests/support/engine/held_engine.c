/* SPDX-License-Identifier: MIT */
#include "support/engine/held_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct held_engine hold_engine(bitnet_engine *engine)
{
    static const bitnet_token token = 3;
    struct held_engine held = {.engine = engine};
    bitnet_generate_options options = bitnet_generate_options_default();
    options.prompt_tokens = &token;
    options.n_prompt_tokens = 1;
    options.max_tokens = 1;
    options.ignores_eos = true;
    options.client_id = 999;
    assert_int_equal(bni_compute_acquire(&held.team), BITNET_OK);
    held.holder = submit_well(engine, &options);
    while (stats_of(engine).n_running == 0) { /* until it has its place */
    }
    return held;
}

void let_engine_go(struct held_engine *held)
{
    bitnet_result result;
    bni_compute_release(held->team);
    bitnet_request_wait(held->holder, &result); /* a test may have cancelled it */
    bitnet_result_release(&result);
    bitnet_request_release(held->holder);
}

bitnet_request *submit_well(bitnet_engine *engine,
                            const bitnet_generate_options *options)
{
    bitnet_request *request;
    if (bitnet_generate_async(engine, options, NULL, &request) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return request;
}

bitnet_result wait_well(bitnet_request *request)
{
    bitnet_result result;
    if (bitnet_request_wait(request, &result) != BITNET_OK)
        fail_msg("%s", bitnet_last_error());
    return result;
}

bitnet_engine_stats stats_of(bitnet_engine *engine)
{
    bitnet_engine_stats stats = {.struct_size = sizeof(stats)};
    assert_int_equal(bitnet_engine_get_stats(engine, &stats), BITNET_OK);
    return stats;
}
