/* SPDX-License-Identifier: MIT */
/*
 * kv_type.h - the option --kv-type of commands that create an engine.
 */
#ifndef CLI_KV_TYPE_H
#define CLI_KV_TYPE_H

#include <stdbool.h>

#include <bitnet/engine.h>

#define KV_TYPE_HELP "keys and values: f16 (default) or int8, half the memory"

/* Reads the option's text; false if it is neither, and the complaint is printed. NULL
 * leaves `type` as it is. */
bool kv_type_read(const char *command, const char *text, bitnet_kv_type *type);

#endif
