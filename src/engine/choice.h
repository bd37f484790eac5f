/* SPDX-License-Identifier: MIT */
/*
 * choice.h - a request's next tokens: chosen, then taken in.
 *
 *     bni_request_choose()  on the compute team, the requests of a step side by side
 *     bni_request_accept()  by the scheduler, after the step, token by token
 *
 * What choosing depends on and what an end depends on - penalties, the grammar, stop
 * strings - advances with each token chosen, whether a step has one row or several.
 */
#ifndef BNI_ENGINE_CHOICE_H
#define BNI_ENGINE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/request.h"

/*
 * Chooses the request's tokens in a step that is not counted in yet, from its rows of
 * logits: the first, and each next one as long as the token chosen is the draft that the
 * row was computed for, and does not end the request. Sets the request's n_chosen and
 * ending; `chosen` are tokens or, in the last place, one of BNI_SAMPLE_*. The rows
 * that were chosen from are kept, if logits are wanted, and changed.
 */
void bni_request_choose(bitnet_request *request, float *logits, bitnet_token *chosen,
                        struct bni_candidate *scratch);

/*
 * What will be looked at of the request's row of logits after `n_history` tokens. `scratch`
 * is what bni_request_choose() will be given for the step.
 */
struct bni_logit_need bni_request_need(const bitnet_request *request,
                                       uint32_t n_history,
                                       struct bni_candidate *scratch);

/* Whether a token ends the request and is not handed out. */
bool bni_request_is_end(const bitnet_request *request, bitnet_token token);

/*
 * Takes in token number `index` of those chosen in the step, or
 * BNI_SAMPLE_NOTHING_LEFT: hands it to the consumer if it is one of the text, and
 * returns how the request ends by it, NONE if it goes on. `error` is set for the end.
 */
bitnet_finish bni_request_accept(bitnet_request *request, const bitnet_token *chosen,
                                 uint32_t index, struct bni_error_record *error);

#endif
