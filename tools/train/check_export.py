#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare an exported GGUF file with the checkpoint it was made from.

    check_export.py DIR FILE.gguf

The file is read back and run by a forward pass of its own, in plain numpy and
as an engine does it: activations as int8, products of integers, the scales
applied to the sum. Its logits are compared with those of the PyTorch model,
whose embedding is first rounded to F16 as in the file.

Both run twice, in float32 and in float64. Now and then an activation lies so near
the middle of two int8 steps that the order of additions decides its rounding,
and that step moves the logits of its token, and a little those of later ones.
In float64 this is rare enough for the prompts to agree to many digits.
"""
import sys

import numpy as np
import torch

import gguf
import train

PROMPTS = ("Once upon a time, there was a little girl named Lily.",
           "Tom and his dog went to the park. They saw a big tree and")


class Weights:
    """A file's tensors: ternary (codes, scale), or arrays of the type `real`."""

    def __init__(self, reader, real):
        self.tensors = {}
        for name, (kind, shape, data) in reader.tensors.items():
            if kind == gguf.I2_S:
                codes, scale = gguf.unpack_i2_s(data, int(np.prod(shape)))
                # Sums of products stay below 2^53, so float64 adds them exactly.
                self.tensors[name] = codes.reshape(shape).astype(np.float64), real(scale)
            else:
                raw = np.frombuffer(data, np.float16 if kind == gguf.F16 else np.float32)
                self.tensors[name] = raw.reshape(shape).astype(real)

    def __getitem__(self, name):
        return self.tensors[name + ".weight"]


def rms_norm(x, gain, eps):
    return x * (1 / np.sqrt((x * x).mean(-1, keepdims=True) + eps)) * gain


def quantise(x):
    """int8 steps of each token and the factor that was applied."""
    s = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
    return np.clip(np.rint(x * s), -128, 127).astype(np.int8), s


def bit_linear(weight, quantised):
    (codes, scale), (q, s) = weight, quantised
    return (q.astype(np.float64) @ codes.T).astype(s.dtype) / s * scale


def rope(x, base):
    """Turn element i with element i + head/2; x is [position, head, element]."""
    half = x.shape[-1] // 2
    angle = np.outer(np.arange(len(x)), base ** (-np.arange(half) / half))[:, None]
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def attention(q, k, v):
    group = q.shape[1] // k.shape[1]
    length, _, head = q.shape
    future = np.triu(np.ones((length, length), bool), 1)
    out = np.empty_like(q)
    for h in range(q.shape[1]):
        scores = q[:, h] @ k[:, h // group].T / head ** 0.5
        scores[future] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, h] = p / p.sum(-1, keepdims=True) @ v[:, h // group]
    return out.reshape(length, -1)


def forward(reader, ids, real=np.float32):
    """Logits at every position, in the words of the architecture's keys."""
    key = lambda name: reader.keys["bitnet-b1.58." + name]
    w, eps = Weights(reader, real), key("attention.layer_norm_rms_epsilon")
    head, base = key("rope.dimension_count"), key("rope.freq_base")
    heads = lambda x: x.reshape(len(ids), -1, head)
    x = w["token_embd"][ids]
    for layer in range(key("block_count")):
        p = f"blk.{layer}."
        h = quantise(rms_norm(x, w[p + "attn_norm"], eps))
        q, k, v = (heads(bit_linear(w[p + name], h)) for name in ("attn_q", "attn_k", "attn_v"))
        a = attention(rope(q, base), rope(k, base), v)
        a = quantise(rms_norm(a, w[p + "attn_sub_norm"], eps))
        x = x + bit_linear(w[p + "attn_output"], a)
        h = quantise(rms_norm(x, w[p + "ffn_norm"], eps))
        gate, up = bit_linear(w[p + "ffn_gate"], h), bit_linear(w[p + "ffn_up"], h)
        a = quantise(rms_norm(np.maximum(gate, 0) ** 2 * up, w[p + "ffn_sub_norm"], eps))
        x = x + bit_linear(w[p + "ffn_down"], a)
    return rms_norm(x, w["output_norm"], eps) @ w["token_embd"].T


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    directory, path = sys.argv[1:]
    reader = gguf.Reader(path)
    model, tokenizer, saved = train.load(directory)
    model.token_embd.data = model.token_embd.data.half().float()

    texts = [[tokenizer.eot] + tokenizer.encode(prompt) for prompt in PROMPTS]
    val = np.fromfile(f"{directory}/val.bin", np.uint16).astype(int).tolist()
    texts.append(val[:model.config["context"]])
    same = True
    for real in (np.float32, np.float64):
        if real is np.float64:
            model.double()
        for ids in texts:
            with torch.no_grad():
                expected = model(torch.tensor([ids]))[0].numpy()
            got = forward(reader, ids, real)
            difference = np.abs(got - expected)
            agree = (got.argmax(-1) == expected.argmax(-1)).mean()
            print(f"{real.__name__}, {len(ids):3d} tokens: "
                  f"logits up to {np.abs(expected).max():.2f}, "
                  f"difference max {difference.max():.2e} mean {difference.mean():.2e}, "
                  f"same best token {agree:.1%}")
            if real is np.float64 and len(ids) < 100:
                same = same and difference.max() < 1e-4
            same = same and difference.mean() < 0.05

    tensors = Weights(reader, np.float32).tensors.values()
    zeros = np.concatenate([t[0].reshape(-1) == 0 for t in tensors if isinstance(t, tuple)])
    print(f"step {saved['step']}, {zeros.mean():.1%} of the ternary weights are 0")
    if not same:
        sys.exit("the file does not compute what the checkpoint does")


if __name__ == "__main__":
    main()
