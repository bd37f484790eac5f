/* SPDX-License-Identifier: MIT */
/*
 * architecture.c - what differs between the graphs; docs/architectures.md says what
 * they share.
 *
 * "bitnet-25" is what early files of the model that is now "bitnet-b1.58" say. Files of
 * "llama" have the rows of Q and K permuted, which makes RoPE's pairs adjacent.
 */
#include "model/architecture.h"

#include <string.h>

static const struct bni_architecture ARCHITECTURES[] = {
    {
        .name = "bitnet",
        .activation = BNI_ACTIVATION_SILU,
        .rope_style = BNI_ROPE_NEOX,
        .has_sub_norms = true,
        .may_have_output = false,
    },
    {
        .name = "bitnet-25",
        .activation = BNI_ACTIVATION_RELU2,
        .rope_style = BNI_ROPE_NEOX,
        .has_sub_norms = true,
        .may_have_output = true,
    },
    {
        .name = "bitnet-b1.58",
        .activation = BNI_ACTIVATION_RELU2,
        .rope_style = BNI_ROPE_NEOX,
        .has_sub_norms = true,
        .may_have_output = true,
    },
    {
        .name = "llama",
        .activation = BNI_ACTIVATION_SILU,
        .rope_style = BNI_ROPE_ADJACENT,
        .has_sub_norms = false,
        .may_have_output = true,
    },
};

const struct bni_architecture *bni_architecture_find(struct bni_string name)
{
    for (size_t i = 0; i < sizeof(ARCHITECTURES) / sizeof(ARCHITECTURES[0]); i++) {
        const struct bni_architecture *architecture = &ARCHITECTURES[i];
        if (strlen(architecture->name) == name.n_bytes &&
            memcmp(architecture->name, name.bytes, name.n_bytes) == 0)
            return architecture;
    }
    return NULL;
}

const char *bni_architecture_names(void)
{
    return "bitnet, bitnet-25, bitnet-b1.58 or llama";
}
