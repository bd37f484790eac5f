/* SPDX-License-Identifier: MIT */
/*
 * choice.h - a request's next token: chosen, then taken in.
 *
 *     bni_request_choose()  on the compute team, the rows of a step side by side
 *     bni_request_accept()  by the scheduler, after the step
 */
#ifndef BNI_ENGINE_CHOICE_H
#define BNI_ENGINE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/request.h"

/*
 * Returns the token that follows the first `n_history` of the request, by the row of
 * logits that they gave, or one of BNI_SAMPLE_*. The row is changed.
 */
bitnet_token bni_request_choose(bitnet_request *request, float *logits,
                                uint32_t n_history, struct bni_candidate *scratch);

/* Whether a token ends the request and is not handed out. */
bool bni_request_is_end(const bitnet_request *request, bitnet_token token);

/*
 * Takes in a chosen token or BNI_SAMPLE_NOTHING_LEFT: hands it to the consumer if it
 * is one of the text, and returns how the request ends by it, NONE if it goes on.
 * `error` is set for the end.
 */
bitnet_finish bni_request_accept(bitnet_request *request, bitnet_token token,
                                 struct bni_error_record *error);

#endif
