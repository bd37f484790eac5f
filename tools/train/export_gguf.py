#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write a trained checkpoint as a GGUF file in I2_S.

    export_gguf.py DIR OUT.gguf

Keys, types and tensor names follow the I2_S files published for
BitNet-b1.58-2B-4T, so that what reads those can read this one. Two keys are
added: general.license, and tokenizer.ggml.pre, without which readers assume
Llama-3's way of splitting text for this architecture.
"""
import os
import sys

import torch

import bpe
import gguf
from model import ternary

# The order of a layer's tensors that converters inherit from checkpoints sorted
# by name: input_layernorm, mlp.down_proj, ..., self_attn.v_proj.
LAYER = ("attn_norm", "ffn_down", "ffn_sub_norm", "ffn_gate", "ffn_up", "ffn_norm",
         "attn_sub_norm", "attn_k", "attn_output", "attn_q", "attn_v")

NORMAL, CONTROL = 1, 3                               # tokenizer.ggml.token_type
MOSTLY_I2_S = 40                                     # general.file_type in bitnet.cpp


def write_keys(out, config, tokenizer):
    arch = "bitnet-b1.58"
    count = len(tokenizer.spelt)
    out.key("general.architecture", gguf.STRING, arch)
    out.key("general.name", gguf.STRING, "tinystories-3.7m")
    out.key("general.license", gguf.STRING, "mit")
    for name, value in (("vocab_size", count),
                        ("context_length", config["context"]),
                        ("embedding_length", config["dim"]),
                        ("block_count", config["layers"]),
                        ("feed_forward_length", config["ffn"]),
                        ("rope.dimension_count", config["dim"] // config["heads"]),
                        ("attention.head_count", config["heads"]),
                        ("attention.head_count_kv", config["kv_heads"])):
        out.key(f"{arch}.{name}", gguf.U32, value)
    out.key("tokenizer.ggml.add_bos_token", gguf.BOOL, True)
    out.key(f"{arch}.attention.layer_norm_rms_epsilon", gguf.FLOAT, config["eps"])
    out.key(f"{arch}.rope.freq_base", gguf.FLOAT, config["theta"])
    out.key("general.file_type", gguf.U32, MOSTLY_I2_S)

    out.key("tokenizer.ggml.model", gguf.STRING, "gpt2")
    out.key("tokenizer.ggml.pre", gguf.STRING, "gpt-2")
    out.array("tokenizer.ggml.tokens", gguf.STRING, tokenizer.spelt)
    out.array("tokenizer.ggml.scores", gguf.FLOAT, [0.0] * count)
    out.array("tokenizer.ggml.token_type", gguf.I32,
              [CONTROL if i == tokenizer.eot else NORMAL for i in range(count)])
    out.array("tokenizer.ggml.merges", gguf.STRING, tokenizer.spelt_merges)
    # One token begins a story, ends it and may fill up what is left.
    for role in ("bos", "eos", "padding"):
        out.key(f"tokenizer.ggml.{role}_token_id", gguf.U32, tokenizer.eot)
    out.key("general.quantization_version", gguf.U32, 2)


def write_tensors(out, config, weights):
    embedding = weights["token_embd"]
    out.tensor("token_embd.weight", gguf.F16, embedding.shape, embedding.half().numpy().tobytes())
    for layer in range(config["layers"]):
        for name in LAYER:
            write_weight(out, f"blk.{layer}.{name}", weights[f"blk.{layer}.{name}"])
    write_weight(out, "output_norm", weights["output_norm"])


def write_weight(out, name, weight):
    """Matrices as I2_S, vectors as F32."""
    if weight.dim() == 1:
        out.tensor(name + ".weight", gguf.F32, weight.shape, weight.numpy().tobytes())
    else:
        codes, scale = ternary(weight)
        out.tensor(name + ".weight", gguf.I2_S, weight.shape,
                   gguf.pack_i2_s(codes.numpy(), float(scale)))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory, path = sys.argv[1:]
    saved = torch.load(f"{directory}/checkpoint.pt")
    out = gguf.Writer()
    write_keys(out, saved["config"], bpe.Tokenizer(f"{directory}/tokenizer.json"))
    write_tensors(out, saved["config"], saved["model"])
    # Whoever has the old file open keeps it whole.
    with open(path + ".tmp", "wb") as file:
        file.write(out.bytes())
    os.replace(path + ".tmp", path)
    print(f"{path}: {os.path.getsize(path)} bytes, step {saved['step']}")


if __name__ == "__main__":
    main()
