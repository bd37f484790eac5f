/* SPDX-License-Identifier: MIT */
/*
 * logprobs.c - see logprobs.h.
 */
#include "engine/logprobs.h"

#include <math.h>

#include "kernels/elementary.h"

/*
 * x = m * 2^e with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh(s) for
 * s = (m - 1) / (m + 1), |s| < 0.1716: the next term of the series is under 1e-18.
 */
double bni_ln(double x)
{
    enum { LAST_POWER = 21 };
    int e;
    double m = frexp(x, &e); /* exact */
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        e--;
    }
    const double s = (m - 1) / (m + 1);
    double sum = 0;
    for (int power = LAST_POWER; power >= 1; power -= 2)
        sum = sum * s * s + 1.0 / power;
    return (double)e * 0x1.62e42fefa39efp-1 + 2 * s * sum;
}

struct bni_softmax bni_softmax_of(const float *logits, uint32_t n_vocab)
{
    struct bni_softmax softmax = {.max_logit = logits[0]};
    for (uint32_t i = 1; i < n_vocab; i++)
        if (logits[i] > softmax.max_logit) softmax.max_logit = logits[i];
    double total = 0;
    for (uint32_t i = 0; i < n_vocab; i++)
        total += (double)bni_exp(logits[i] - softmax.max_logit);
    softmax.ln_total = bni_ln(total);
    return softmax;
}

float bni_logprob(const struct bni_softmax *softmax, float logit)
{
    return (float)((double)logit - (double)softmax->max_logit - softmax->ln_total);
}

void bni_logprobs_top(const struct bni_softmax *softmax, const float *logits,
                      uint32_t n_vocab, size_t n_top, struct bni_candidate *scratch,
                      bitnet_token_logprob *top)
{
    if (n_top == 0) return;
    bni_candidates_take_top(logits, n_vocab, n_top, scratch);
    for (size_t i = 0; i < n_top; i++)
        top[i] = (bitnet_token_logprob){scratch[i].token,
                                        bni_logprob(softmax, scratch[i].logit)};
}
