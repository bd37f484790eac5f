/* SPDX-License-Identifier: MIT */
/*
 * rope.c - the table of angles, from elementary functions of our own.
 *
 * The C library's sin, cos and pow may differ in the last bit from one version or
 * CPU to the next, and one such bit can survive the rounding to float. These are
 * spelled out in additions, multiplications, divisions and fma, all of which IEEE
 * 754 rounds the same everywhere, and are good to about 1e-15.
 */
#include "engine/rope.h"

#include <math.h>

#include "base/alloc.h"
#include "base/float_env.h"

/* ln(x) for x > 0: x = m * 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s),
 * s = (m - 1) / (m + 1), |s| < 0.172, so 21 terms of the odd series reach 1e-17. */
static double natural_log(double x)
{
    int exponent;
    double m = frexp(x, &exponent); /* exact: [0.5, 1) */
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    const double s = (m - 1) / (m + 1);
    const double s2 = s * s;
    double sum = 0;
    for (int k = 41; k >= 1; k -= 2) sum = fma(sum, s2, 1.0 / k);
    const double ln2_high = 0x1.62e42fefa3800p-1; /* ln 2, its last bits zero */
    const double ln2_low = 0x1.ef35793c76730p-45;
    return fma(exponent, ln2_high, fma(exponent, ln2_low, 2 * s * sum));
}

/* e^x for |x| < 700: x = n ln 2 + r, |r| <= 0.35; 18 terms of the series. */
static double exponential(double x)
{
    const double n = rint(x * 0x1.71547652b82fep+0);
    const double r = fma(-n, 0x1.ef35793c76730p-45, fma(-n, 0x1.62e42fefa3800p-1, x));
    double sum = 1;
    for (int k = 18; k >= 1; k--) sum = fma(sum, r / k, 1);
    return ldexp(sum, (int)n); /* exact */
}

/* sin and cos of x >= 0: x = n pi/2 + r, |r| <= pi/4, with pi/2 in three parts whose
 * products with n < 2^26 are exact or fused; then the two series. */
static void sine_and_cosine(double x, double *sine, double *cosine)
{
    const double n = rint(x * 0x1.45f306dc9c883p-1);
    double r = fma(-n, 0x1.921fb54442d18p+0, x);
    r = fma(-n, 0x1.1a62633145c07p-54, r);
    r = fma(-n, -0x1.f1976b7ed8fbcp-110, r);

    const double r2 = r * r;
    /* Horner: s = r (1 - r2/(2*3) (1 - r2/(4*5) (...))), and c likewise. */
    double s = 1;
    double c = 1;
    for (int k = 11; k >= 1; k--) {
        s = fma(-r2 / (2 * k * (2 * k + 1)), s, 1);
        c = fma(-r2 / ((2 * k - 1) * (2 * k)), c, 1);
    }
    s *= r;

    const long quadrant = (long)n & 3;
    *sine = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
    *cosine = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
}

static size_t n_values(const struct bni_hparams *hparams, size_t n_ctx)
{
    return n_ctx * (hparams->head_dim / 2);
}

size_t bni_rope_table_bytes(const struct bni_hparams *hparams, size_t n_ctx)
{
    return 2 * n_values(hparams, n_ctx) * sizeof(float);
}

bitnet_status bni_rope_table_init(struct bni_rope_table *table,
                                  const struct bni_hparams *hparams,
                                  const float *factors, size_t n_ctx)
{
    const size_t half_dim = hparams->head_dim / 2;
    float *cos_sin = bni_alloc(bni_rope_table_bytes(hparams, n_ctx));
    if (cos_sin == NULL) return bitnet_last_status();
    *table = (struct bni_rope_table){.cos = cos_sin,
                                     .sin = cos_sin + n_values(hparams, n_ctx),
                                     .half_dim = half_dim};

    fenv_t callers;
    bni_float_env_enter(&callers); /* engines are created in the caller's thread */
    const double log_base = natural_log((double)hparams->rope_freq_base);
    for (size_t i = 0; i < half_dim; i++) {
        double frequency =
            exponential(-log_base * (2.0 * (double)i / hparams->head_dim));
        frequency /= (double)hparams->rope_scale;
        if (factors != NULL) frequency /= (double)factors[i];
        for (size_t pos = 0; pos < n_ctx; pos++) {
            double sine, cosine;
            sine_and_cosine((double)pos * frequency, &sine, &cosine);
            table->cos[pos * half_dim + i] = (float)cosine;
            table->sin[pos * half_dim + i] = (float)sine;
        }
    }
    bni_float_env_leave(&callers);
    return BITNET_OK;
}

void bni_rope_table_free(struct bni_rope_table *table)
{
    bni_free(table->cos); /* one block with sin */
    table->cos = NULL;
    table->sin = NULL;
}
