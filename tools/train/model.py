# SPDX-License-Identifier: MIT
"""A BitNet b1.58 language model in PyTorch, as GGUF architecture "bitnet-b1.58".

    x = embedding
    each layer:  x += o( norm( attention( q, k, v of norm(x) ) ) )
                 x += down( norm( relu(gate)^2 * up, both of norm(x) ) )
    logits = embedding . norm(x)

q, k, v, o, gate, up and down are BitLinear: weights are rounded to {-s, 0, +s}
with s = mean|W|, activations to int8 by the largest of each token. Training
keeps real-valued weights behind the rounding and passes gradients straight
through it. Every BitLinear's input is the output of an RMSNorm, so norm and
activation rounding are one function here.

The functions below write their gradients by hand: on a CPU each elementwise
pass over the activations costs real time, and autograd would make many more.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

# GGUF names of the seven ternary matrices and of the four norms of a layer.
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")

CONFIG = dict(dim=256, layers=4, heads=4, kv_heads=2, ffn=768, context=512,
              vocab=2048, theta=10000.0, eps=1e-5)


def ternary(w):
    """The codes -1, 0, +1 of a weight matrix (as floats) and their scale."""
    scale = w.abs().mean().clamp(min=1e-5)
    return (w / scale).round_().clamp_(-1, 1), scale


class TernaryWeight(torch.autograd.Function):
    """w rounded to its ternary values; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx, w):
        codes, scale = ternary(w)
        return codes.mul_(scale)

    @staticmethod
    def backward(ctx, grad):
        return grad


class Norm(torch.autograd.Function):
    """RMSNorm with a gain; with `quantise`, followed by rounding to int8 steps."""

    @staticmethod
    def forward(ctx, x, gain, eps, quantise):
        r = (x * x).mean(-1, keepdim=True).add_(eps).rsqrt_()
        n = x * r
        ctx.save_for_backward(n, r, gain)
        y = n * gain
        if quantise:
            s = 127.0 / y.abs().amax(-1, keepdim=True).clamp_(min=1e-5)
            y.mul_(s).round_().clamp_(-128, 127).div_(s)
        return y

    @staticmethod
    def backward(ctx, grad):
        n, r, gain = ctx.saved_tensors
        grad_gain = (grad * n).flatten(0, -2).sum(0)
        grad_n = grad * gain
        along = (grad_n * n).mean(-1, keepdim=True)
        return grad_n.sub_(n * along).mul_(r), grad_gain, None, None


class ReluSquaredGate(torch.autograd.Function):
    """max(gate, 0)^2 * up, where gate and up lie side by side in one tensor."""

    @staticmethod
    def forward(ctx, both):
        gate, up = both.chunk(2, -1)
        r = gate.clamp(min=0)
        ctx.save_for_backward(r, up)
        return (r * r).mul_(up)

    @staticmethod
    def backward(ctx, grad):
        r, up = ctx.saved_tensors
        out = grad.new_empty(*grad.shape[:-1], 2 * grad.shape[-1])
        to_gate, to_up = out.chunk(2, -1)
        grad_r = grad * r
        torch.mul(grad_r, up, out=to_gate)
        to_gate.mul_(2)
        torch.mul(grad_r, r, out=to_up)
        return out


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = dict(config)
        self.dropout = 0.0                           # raised by the trainer, off in eval()
        self.head = c["dim"] // c["heads"]
        attn, kv = c["heads"] * self.head, c["kv_heads"] * self.head
        shapes = dict(attn_q=(attn, c["dim"]), attn_k=(kv, c["dim"]), attn_v=(kv, c["dim"]),
                      attn_output=(c["dim"], attn), ffn_gate=(c["ffn"], c["dim"]),
                      ffn_up=(c["ffn"], c["dim"]), ffn_down=(c["dim"], c["ffn"]))
        widths = dict(attn_norm=c["dim"], attn_sub_norm=attn, ffn_norm=c["dim"],
                      ffn_sub_norm=c["ffn"])

        self.token_embd = nn.Parameter(torch.randn(c["vocab"], c["dim"]) * 0.02)
        self.output_norm = nn.Parameter(torch.ones(c["dim"]))
        self.blk = nn.ModuleList()
        for _ in range(c["layers"]):
            layer = nn.ParameterDict()
            for name in MATRICES:
                # The two that write to the residual stream start smaller.
                out = name in ("attn_output", "ffn_down")
                std = 0.02 / math.sqrt(2 * c["layers"]) if out else 0.02
                layer[name] = nn.Parameter(torch.randn(shapes[name]) * std)
            for name in NORMS:
                layer[name] = nn.Parameter(torch.ones(widths[name]))
            self.blk.append(layer)

        # RoPE in the NEOX pairing: element i turns with element i + head/2.
        inverse = c["theta"] ** (-torch.arange(0, self.head, 2, dtype=torch.float64) / self.head)
        angle = torch.outer(torch.arange(c["context"], dtype=torch.float64), inverse)
        cos, sin = angle.cos().float(), angle.sin().float()
        self.register_buffer("cos", torch.cat([cos, cos], -1), persistent=False)
        self.register_buffer("sin", torch.cat([-sin, sin], -1), persistent=False)
        never = torch.full((c["context"], c["context"]), float("-inf")).triu(1)
        self.register_buffer("mask", never, persistent=False)

    def attention(self, qkv):
        c, head = self.config, self.head
        heads, kv = c["heads"], c["kv_heads"]
        group = heads // kv
        batch, length, _ = qkv.shape
        x = qkv.view(batch, length, heads + 2 * kv, head).transpose(1, 2)
        qk, v = x[:, :heads + kv], x[:, heads + kv:]
        half = head // 2
        turned = torch.cat([qk[..., half:], qk[..., :half]], -1)
        qk = qk * self.cos[:length] + turned * self.sin[:length]
        # The query heads that share a key head become more rows of one product,
        # so keys and values are never copied.
        q = (qk[:, :heads] * head ** -0.5).reshape(batch, kv, group * length, head)
        scores = q @ qk[:, heads:].transpose(-1, -2)
        scores = scores.view(batch, kv, group, length, length).add_(self.mask[:length, :length])
        mixed = torch.softmax(scores, -1).view(batch, kv, group * length, length) @ v
        return mixed.view(batch, heads, length, head).transpose(1, 2).reshape(batch, length, -1)

    def forward(self, ids, targets=None):
        eps = self.config["eps"]
        norm, weight = Norm.apply, TernaryWeight.apply

        def drop(branch):
            if self.training and self.dropout > 0:
                return F.dropout(branch, self.dropout)
            return branch

        x = drop(F.embedding(ids, self.token_embd))
        for layer in self.blk:
            qkv = torch.cat([weight(layer[n]) for n in ("attn_q", "attn_k", "attn_v")])
            a = self.attention(F.linear(norm(x, layer["attn_norm"], eps, True), qkv))
            a = norm(a, layer["attn_sub_norm"], eps, True)
            x = x + drop(F.linear(a, weight(layer["attn_output"])))
            both = torch.cat([weight(layer[n]) for n in ("ffn_gate", "ffn_up")])
            a = ReluSquaredGate.apply(F.linear(norm(x, layer["ffn_norm"], eps, True), both))
            a = norm(a, layer["ffn_sub_norm"], eps, True)
            x = x + drop(F.linear(a, weight(layer["ffn_down"])))
        logits = F.linear(norm(x, self.output_norm, eps, False), self.token_embd)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
