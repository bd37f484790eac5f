/* SPDX-License-Identifier: MIT */
/*
 * architecture.h - the architectures that are supported, by name.
 */
#ifndef BNI_MODEL_ARCHITECTURE_H
#define BNI_MODEL_ARCHITECTURE_H

#include "model/model.h"

/* Returns NULL if there is none of that name. */
const struct bni_architecture *bni_architecture_find(struct bni_string name);

/* Their names, for messages: "bitnet, ..., or llama". Static. */
const char *bni_architecture_names(void);

#endif
