/* SPDX-License-Identifier: MIT */
/*
 * tensor_types.c - one table, in the order of the numbers.
 *
 * Numbers up to 42 are ggml's; 36 to 39 are also bitnet.cpp's own (36 = I2_S is
 * unambiguous, since what ggml once had there was withdrawn before it was used);
 * from 134 on they are ik_llama.cpp's. 39 means MXFP4 to some and TL2 to others,
 * so nothing is concluded from it but that it is not read.
 */
#include "formats/tensor_types.h"

#include "base/size.h"
#include "formats/gguf.h"

#define RE_EXPORT "export the model again as I2_S"

static const struct bni_tensor_type_info TYPES[] = {
    {BNI_TENSOR_F32, "F32", 1, 4, 0, 0, true, NULL},
    {BNI_TENSOR_F16, "F16", 1, 2, 0, 0, true, NULL},
    {2, "Q4_0", 32, 18, 0, 0, false, NULL},
    {3, "Q4_1", 32, 20, 0, 0, false, NULL},
    {6, "Q5_0", 32, 22, 0, 0, false, NULL},
    {7, "Q5_1", 32, 24, 0, 0, false, NULL},
    {BNI_TENSOR_Q8_0, "Q8_0", 32, 34, 0, 0, true, NULL},
    {9, "Q8_1", 32, 36, 0, 0, false, NULL},
    {10, "Q2_K", 256, 84, 0, 0, false, NULL},
    {11, "Q3_K", 256, 110, 0, 0, false, NULL},
    {12, "Q4_K", 256, 144, 0, 0, false, NULL},
    {13, "Q5_K", 256, 176, 0, 0, false, NULL},
    {BNI_TENSOR_Q6_K, "Q6_K", 256, 210, 0, 0, true, NULL},
    {15, "Q8_K", 256, 292, 0, 0, false, NULL},
    {16, "IQ2_XXS", 256, 66, 0, 0, false, NULL},
    {17, "IQ2_XS", 256, 74, 0, 0, false, NULL},
    {18, "IQ3_XXS", 256, 98, 0, 0, false, NULL},
    {19, "IQ1_S", 256, 50, 0, 0, false, NULL},
    {20, "IQ4_NL", 32, 18, 0, 0, false, NULL},
    {21, "IQ3_S", 256, 110, 0, 0, false, NULL},
    {22, "IQ2_S", 256, 82, 0, 0, false, NULL},
    {23, "IQ4_XS", 256, 136, 0, 0, false, NULL},
    {24, "I8", 1, 1, 0, 0, false, NULL},
    {25, "I16", 1, 2, 0, 0, false, NULL},
    {26, "I32", 1, 4, 0, 0, false, NULL},
    {27, "I64", 1, 8, 0, 0, false, NULL},
    {28, "F64", 1, 8, 0, 0, false, NULL},
    {29, "IQ1_M", 256, 56, 0, 0, false, NULL},
    {BNI_TENSOR_BF16, "BF16", 1, 2, 0, 0, true, NULL},
    {34, "TQ1_0", 256, 54, 0, 0, false, RE_EXPORT},
    {35, "TQ2_0", 256, 66, 0, 0, false, RE_EXPORT},
    /* 4 codes in a byte; dims[0] need only be a multiple of 4 for the size, and the
     * count of all codes one of 128. Then 32 bytes, of which the first 4 are the scale. */
    {BNI_TENSOR_I2_S, "I2_S", 4, 1, 0, 32, true, NULL},
    {37, "I8_S", 0, 0, 0, 0, false, "bitnet.cpp uses it while running, not in files"},
    {38, "TL1", 0, 0, 0, 0, false,
     "its layout depends on the machine it was made for; " RE_EXPORT},
    {39, "TL2 or MXFP4", 0, 0, 0, 0, false,
     "TL2's layout depends on the machine it was made for; " RE_EXPORT},
    {40, "NVFP4", 0, 0, 0, 0, false, NULL},
    {41, "Q1_0", 0, 0, 0, 0, false, NULL},
    {42, "Q2_0", 0, 0, 0, 0, false, NULL},
    {134, "IQ1_BN", 64, 13, 2, 0, false, "it is ik_llama.cpp's; " RE_EXPORT},
    {135, "IQ2_BN", 64, 16, 4, 0, false, "it is ik_llama.cpp's; " RE_EXPORT},
    {136, "Q8_K64", 0, 0, 0, 0, false, "it is ik_llama.cpp's"},
    {142, "IQ2_TN", 0, 0, 0, 0, false, "it is ik_llama.cpp's; " RE_EXPORT},
    {143, "IQ1_TN", 0, 0, 0, 0, false, "it is ik_llama.cpp's; " RE_EXPORT},
    {147, "Q8_K16", 0, 0, 0, 0, false, "it is ik_llama.cpp's"},
    {335, "IQ2_BN_R4", 64, 16, 4, 0, false, "it is ik_llama.cpp's; " RE_EXPORT},
};

const struct bni_tensor_type_info *bni_tensor_type_find(uint32_t id)
{
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++)
        if (TYPES[i].id == id) return &TYPES[i];
    return NULL;
}

bool bni_tensor_type_bytes(const struct bni_tensor_type_info *type,
                           const uint64_t dims[4], size_t *n_bytes)
{
    size_t size;
    return bni_size_mul(dims[0] / type->block_elements, type->block_bytes, &size) &&
           bni_size_add(size, type->row_bytes, &size) &&
           bni_size_mul(size, dims[1], &size) && bni_size_mul(size, dims[2], &size) &&
           bni_size_mul(size, dims[3], &size) &&
           bni_size_add(size, type->tensor_bytes, n_bytes);
}
