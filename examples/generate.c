/* SPDX-License-Identifier: MIT */
/* generate.c - continues a text: generate model.gguf "Once upon a time" */
#include <bitnet.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    bitnet_model *model = NULL;
    bitnet_engine *engine = NULL;
    bitnet_result result = {0};
    const int is_ok = bitnet_model_load(argv[1], NULL, &model) == BITNET_OK &&
                      bitnet_engine_create(model, NULL, &engine) == BITNET_OK &&
                      bitnet_generate(engine, NULL, argv[2], &result) == BITNET_OK;
    if (is_ok) printf("%s%s\n", argv[2], result.text);
    if (!is_ok) fprintf(stderr, "generate: %s\n", bitnet_last_error());
    bitnet_result_release(&result);
    bitnet_engine_destroy(engine);
    bitnet_model_release(model);
    return is_ok ? 0 : 1;
}
