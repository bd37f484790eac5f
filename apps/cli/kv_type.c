/* SPDX-License-Identifier: MIT */
/* kv_type.c - see kv_type.h. */
#include "kv_type.h"

#include <string.h>

#include "complain.h"

bool kv_type_read(const char *command, const char *text, bitnet_kv_type *type)
{
    if (text == NULL) return true;
    if (strcmp(text, "f16") == 0)
        *type = BITNET_KV_F16;
    else if (strcmp(text, "int8") == 0)
        *type = BITNET_KV_INT8;
    else {
        complain("%s: --kv-type: '%s' is neither f16 nor int8", command, text);
        return false;
    }
    return true;
}
