/* SPDX-License-Identifier: MIT */
/*
 * kernels.h - the arithmetic of a forward pass, as one table of functions.
 *
 * scalar.c specifies every operation with plain loops; each instruction set has a
 * file of its own that ends in a table like this one and gives the same bits
 * (docs/numerics.md says in which order each sum is taken). Kernels are pure:
 * arrays in, arrays out, a range of rows at a time; no allocation, no locks, no
 * threads, no files.
 *
 * Shapes: "[n][m]" is row-major, m contiguous. A ternary matrix's n_cols is a multiple
 * of 128: shorter rows are padded, by the loader with weight 0 and by the forward pass
 * with activation 0. n_embd and n_ff are multiples of 32. No pointer needs
 * more than its type's alignment; weights may lie anywhere in a mapped file.
 */
#ifndef BNI_KERNELS_KERNELS_H
#define BNI_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Ternary codes: 128 values in 32 bytes. Value j of a block is in byte j % 32, bits
     * 7:6, 5:4, 3:2, 1:0 for j / 32 = 0, 1, 2, 3. Codes 0, 1, 2 mean -1, 0, +1; the
     * loader has refused 3. */
    BNI_TERNARY_BLOCK = 128,
    BNI_TERNARY_BLOCK_BYTES = 32,
    /* Positions in a block of attention, and in a page of the KV cache. */
    BNI_ATTENTION_BLOCK = 32,
    /* Columns of a ternary matrix: bounds every int32 sum (127 * 2 * 2^20 < 2^31). */
    BNI_TERNARY_MAX_COLS = 1 << 20,
};

/*
 * How dense weights (embedding, output head) are stored. Rows of the last two are whole
 * blocks, and each weight is the float that its block makes of it (docs/numerics.md):
 *
 *     Q8_0   32 values, 34 bytes    f16 d, int8 q[32]                      d * q
 *     Q6_K  256 values, 210 bytes   low 4 bits, high 2 bits, int8 scale of each 16,
 *                                   f16 d                     d * scale * (code - 32)
 */
enum bni_dense_type {
    BNI_DENSE_F32,
    BNI_DENSE_F16,
    BNI_DENSE_BF16,
    BNI_DENSE_Q8_0,
    BNI_DENSE_Q6_K,
    BNI_DENSE_N_TYPES
};

enum {
    BNI_Q8_0_BLOCK = 32,
    BNI_Q8_0_BYTES = 34,
    BNI_Q6_K_BLOCK = 256,
    BNI_Q6_K_BYTES = 210,
    /* Offsets in a block of Q6_K. */
    BNI_Q6_K_HIGH = 128,
    BNI_Q6_K_SCALES = 192,
    BNI_Q6_K_D = 208,
};

/* Bytes of `n` dense weights: a row of them, or blocks. */
static inline size_t bni_dense_bytes(enum bni_dense_type type, size_t n)
{
    switch (type) {
    case BNI_DENSE_F32: return n * sizeof(float);
    case BNI_DENSE_Q8_0: return n / BNI_Q8_0_BLOCK * BNI_Q8_0_BYTES;
    case BNI_DENSE_Q6_K: return n / BNI_Q6_K_BLOCK * BNI_Q6_K_BYTES;
    default: return n * sizeof(uint16_t);
    }
}

/* out[i][m] = (acc / x_scale[i]) * w_scale,  acc = sum over k of w[m][k] * q[i][k]. */
struct bni_ternary_args {
    const uint8_t *codes; /* [n_rows][n_cols / 4 bytes] */
    float w_scale;
    size_t n_cols;
    const int8_t *q;      /* [n_x][n_cols], from quantize(): in -127..127 */
    const float *x_scale; /* [n_x], likewise */
    const int32_t *q_sum; /* [n_x], likewise: sum of the row's q */
    size_t n_x;
    float *out; /* [n_x][out_stride]; element m of a row is output m */
    size_t out_stride;
};

/* out[i][m] = sum over k of w[m][k] * x[i][k], in the 16-lane order. n_cols is a
 * multiple of 16. */
struct bni_dense_args {
    const void *weights; /* [n_rows][n_cols] of the entry's type */
    size_t n_cols;
    const float *x; /* [n_x][n_cols] */
    size_t n_x;
    float *out; /* [n_x][out_stride] */
    size_t out_stride;
};

/*
 * out[i][m] = float(acc) * (scales[m] * steps[i]),  acc = sum over k of
 * codes[m][k] * q[i][k]: about a dense product, from an eight-bit copy of its weights
 * (docs/numerics.md, "The output head in two passes"). n_cols is a multiple of 16.
 */
struct bni_coarse_args {
    const int8_t *codes; /* [n_rows][n_cols], in -127..127 */
    const float *scales; /* [n_rows] */
    size_t n_cols;
    const int16_t *q;   /* [n_x][n_cols]; |q| <= (2^31 - 1) / (127 * n_cols) */
    const float *steps; /* [n_x] */
    size_t n_x;
    float *out; /* [n_x][out_stride] */
    size_t out_stride;
};

/* What coarse_copy() tells of a row. */
struct bni_coarse_copy {
    float scale;
    float squares; /* sum of x^2 */
    float left;    /* sum of (x - scale * code)^2 */
};

/* One query head, its softmax over the positions so far, and its part in the next block:
 * see attention_block(). */
struct bni_attention_query {
    const float *q; /* [head_dim] */
    float *acc;     /* [head_dim]: the weighted values; zeros before the first block */
    float max;      /* of the scores; -INFINITY before the first block */
    float sum;      /* of exp(score - max); 0 before the first block */
    size_t n_positions; /* of the block that it sees: 1 to BNI_ATTENTION_BLOCK */
};

/* The keys and values of one head for a block of positions. */
struct bni_kv_block {
    const void *k;          /* [head_dim][BNI_ATTENTION_BLOCK] */
    const void *v;          /* [BNI_ATTENTION_BLOCK][head_dim] */
    const float *k_factors; /* [BNI_ATTENTION_BLOCK], of int8 */
    const float *v_factors; /* likewise */
    size_t head_dim;
    float scale;    /* of scores */
    ptrdiff_t next; /* bytes from here to the block that will be read next, or 0: only
                         makes it come sooner */
};

struct bni_kernels {
    const char *name; /* for BITNET_ISA: "scalar", "avx2", ... */

    /*
     * Per-token absmax quantisation: a = max(max |x|, 1e-5), scale = 127 / a,
     * q = round_half_even(x * scale) clamped to -127..127, sum = sum of q. If any x is
     * not finite, scale is NaN and q is 0, so that the failure shows in every output.
     */
    void (*quantize)(const float *x, size_t n, int8_t *q, float *scale, int32_t *sum);

    /* Computes output rows [row_begin, row_end) for all n_x activations. */
    void (*ternary_matmul)(const struct bni_ternary_args *args, size_t row_begin,
                           size_t row_end);

    /* Likewise, for each bni_dense_type. */
    void (*dense_matmul[BNI_DENSE_N_TYPES])(const struct bni_dense_args *args,
                                            size_t row_begin, size_t row_end);

    /* Likewise, from the eight-bit copy of a dense matrix. NULL: the table has none, and
     * no use is made of copies. */
    void (*coarse_matmul)(const struct bni_coarse_args *args, size_t row_begin,
                          size_t row_end);

    /*
     * Copies a row of n values, a multiple of 16, to eight bits for coarse_matmul():
     * scale = max |x| / 127, code = round_half_even(x * (1 / scale)), all 0 if scale is
     * below 2^-126; both sums in the 16-lane order. False, with `codes` and `out` left
     * as they are, if the sum of x^2 is not finite.
     */
    bool (*coarse_copy)(const float *x, size_t n, int8_t *codes,
                        struct bni_coarse_copy *out);

    /* Widens n values, whole blocks, of each bni_dense_type to float: exact. */
    void (*widen[BNI_DENSE_N_TYPES])(const void *from, size_t n, float *out);

    /* out = (x * (1 / sqrt(mean(x^2) + epsilon))) * gain; the sum in the 16-lane order.
     * n % 16 == 0; out may be x. */
    void (*rms_norm)(const float *x, const float *gain, size_t n, float epsilon,
                     float *out);

    /*
     * Rotates one head in place. cos and sin are [head_dim / 2] for the position.
     * The pair is (i, i + head_dim/2) in neox and (2i, 2i + 1) in adjacent;
     * (a, b) becomes (a*cos - b*sin, a*sin + b*cos), each as fma(a, c, -(b*s)).
     */
    void (*rope_neox)(float *x, const float *cos, const float *sin, size_t head_dim);
    void (*rope_adjacent)(float *x, const float *cos, const float *sin,
                          size_t head_dim);

    /* Rounds n floats to half precision (nearest even), `stride` elements apart. */
    void (*store_f16)(const float *x, size_t n, uint16_t *out, size_t stride);

    /*
     * One block of positions for query heads that share its keys and values; for each:
     *   s[p]  = chain over d of fma(q[d], k[d][p]), times `scale`, for p < n_positions
     *   m     = max(max, max s);  c = exp(max - m)
     *   e[p]  = exp(s[p] - m)
     *   sum   = sum * c + (sum of e in the 16-lane order);  max = m
     *   acc[d] = chain over p of fma(e[p], v[p][d]), starting from acc[d] * c
     * Keys and values are in half precision. After the last block the caller divides acc
     * by sum.
     */
    void (*attention_block)(struct bni_attention_query *queries, size_t n_queries,
                            const struct bni_kv_block *block);

    /*
     * The same with keys and values in int8, and a factor for each position's:
     *   s[p]   = ((chain over d of fma(q[d], k[d][p])) * k_factors[p]) * scale
     *   acc[d] = chain over p of fma(e[p] * v_factors[p], v[p][d])
     */
    void (*attention_block_int8)(struct bni_attention_query *queries, size_t n_queries,
                                 const struct bni_kv_block *block);

    /* out = (max(gate, 0)^2) * up, and out = (gate / (1 + exp(-gate))) * up. out may be
     * gate. */
    void (*relu2_mul)(const float *gate, const float *up, size_t n, float *out);
    void (*silu_mul)(const float *gate, const float *up, size_t n, float *out);

    /* x += y. */
    void (*add)(float *x, const float *y, size_t n);
};

/* The tables that this build has; the CPU may still lack the instructions. */
extern const struct bni_kernels bni_kernels_scalar;
#if defined(__x86_64__)
extern const struct bni_kernels bni_kernels_avx2;
extern const struct bni_kernels bni_kernels_avxvnni;
extern const struct bni_kernels bni_kernels_avx512;
extern const struct bni_kernels bni_kernels_avx512vnni;
#elif defined(__aarch64__)
extern const struct bni_kernels bni_kernels_neon;
extern const struct bni_kernels bni_kernels_dotprod;
#endif

/*
 * Returns the best table this CPU runs, or the one that the environment variable
 * BITNET_ISA names (scalar; on x86-64 avx2, avxvnni, avx512, avx512vnni; on arm64 neon,
 * dotprod). NULL if the CPU cannot run that one or there is none of that name; the
 * thread's error then says which there are.
 */
const struct bni_kernels *bni_kernels_select(void);

/* Returns the table of that name if this CPU runs it, else NULL; sets no error. */
const struct bni_kernels *bni_kernels_by_name(const char *name);

#endif
