#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the small BitNet b1.58 model that ships with the repository, on a CPU.

    train.py prepare CORPUS.txt DIR      learn the vocabulary, write token files
    train.py train DIR --minutes 120     train, or resume from DIR/checkpoint.pt
    train.py sample DIR --prompt TEXT    print stories

The corpus is UTF-8 text with documents separated by <|endoftext|>.

Training runs as several processes of one thread each: on matrices this small
threads inside an operation only wait for each other. The parameters live in
memory shared by all processes. Each step, every process writes the gradient of
its part of the batch beside the others', all meet, and then each updates its
own share of the parameters for everyone.
"""
import argparse
import math
import mmap
import multiprocessing
import os
import sys
import time

import numpy as np
import torch

import bpe
from model import CONFIG, MATRICES, Model


# ---------------------------------------------------------------- data

def prepare(args):
    with open(args.corpus, encoding="utf-8") as file:
        text = file.read()
    os.makedirs(args.dir, exist_ok=True)
    bpe.save(f"{args.dir}/tokenizer.json", *bpe.learn(text, CONFIG["vocab"]))
    tokenizer = bpe.Tokenizer(f"{args.dir}/tokenizer.json")

    docs = bpe.documents(text)
    np.random.RandomState(1).shuffle(docs)
    held_out = max(1, len(docs) // 100)
    for name, part in (("val", docs[:held_out]), ("train", docs[held_out:])):
        ids = []
        for doc in part:
            ids.append(tokenizer.eot)
            ids += tokenizer.encode(doc)
        np.array(ids, np.uint16).tofile(f"{args.dir}/{name}.bin")
        chars = sum(map(len, part))
        print(f"{name}: {len(part)} documents, {len(ids)} tokens, "
              f"{chars / len(ids):.2f} chars/token")


class Stream:
    """The training documents, in a new random order each epoch, end to end.

    Its place is two integers, so a checkpoint can hold it, and every process
    walks through the same stream and takes its own rows of each batch.
    """

    def __init__(self, tokens, eot, seed):
        self.tokens, self.seed = tokens, seed
        starts = np.flatnonzero(tokens == eot)
        self.spans = list(zip(starts, np.append(starts[1:], len(tokens))))
        self.epoch, self.at, self.order = -1, 0, None

    def seek(self, epoch, at):
        if epoch != self.epoch:
            order = np.random.RandomState(self.seed + epoch).permutation(len(self.spans))
            self.order = np.concatenate([self.tokens[slice(*self.spans[i])] for i in order])
        self.epoch, self.at = epoch, at

    def batch(self, rows, length):
        if self.at + rows * length + 1 > len(self.order):
            self.seek(self.epoch + 1, 0)
        part = self.order[self.at:self.at + rows * length + 1].astype(np.int64)
        self.at += rows * length
        return (torch.from_numpy(part[:-1].reshape(rows, length)),
                torch.from_numpy(part[1:].reshape(rows, length)))


# ---------------------------------------------------------------- optimisers

def orthogonalise(g, steps=5):
    """Nearly the closest orthogonal matrix to g, by Newton-Schulz iteration.

    The coefficients are those of Keller Jordan's Muon: they trade exactness
    (singular values end between about 0.7 and 1.2) for speed near zero.
    """
    tall = g.shape[0] > g.shape[1]
    x = g.t() if tall else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.t()
        x = torch.addmm(3.4445 * x, torch.addmm(-4.7750 * a, a, a, alpha=2.0315), x)
    return x.t() if tall else x


class Muon:
    """Momentum whose every update is orthogonalised; for the ternary matrices.

    An optimiser's `work` is a rough cost per element, `state` are its views of
    the shared state, and `decay` says whether weight decay applies at all.
    """

    work = 1.0

    def __init__(self, param, state, decay, momentum=0.95):
        self.param, self.buffer = param, state[0]
        self.decay, self.momentum = decay, momentum
        self.stretch = max(1.0, param.shape[0] / param.shape[1]) ** 0.5

    def update(self, grad, lr, decay, step):
        self.buffer.mul_(self.momentum).add_(grad)
        direction = orthogonalise(grad.add(self.buffer, alpha=self.momentum))
        self.param.mul_(1 - lr * decay * self.decay).sub_(direction, alpha=lr * self.stretch)


class AdamW:
    work = 0.03

    def __init__(self, param, state, decay, betas=(0.9, 0.95), eps=1e-8):
        self.param, (self.mean, self.square) = param, state
        self.decay, self.betas, self.eps = decay, betas, eps

    def update(self, grad, lr, decay, step):
        b1, b2 = self.betas
        self.mean.mul_(b1).add_(grad, alpha=1 - b1)
        self.square.mul_(b2).addcmul_(grad, grad, value=1 - b2)
        # Both averages start at zero; these two factors make up for it.
        scale1, scale2 = 1 - b1 ** step, (1 - b2 ** step) ** 0.5
        size = self.square.sqrt().add_(self.eps * scale2)
        self.param.mul_(1 - lr * decay * self.decay)
        self.param.addcdiv_(self.mean * (lr * (scale2 / scale1)), size, value=-1)


# ---------------------------------------------------------------- training

def shared(count):
    """A float32 vector in memory that forked processes share."""
    memory = mmap.mmap(-1, max(count * 4, mmap.PAGESIZE))
    return torch.from_numpy(np.frombuffer(memory, np.float32, count))


class Trainer:
    """All state is allocated here, before the fork; run() is one process.

    Two meetings at the barrier make a step safe. Between the first and the
    second, parameters and notice board are only read and each process writes
    its own gradient; after the second, gradients are only read and each process
    writes its own parameters.
    """

    # Slots of the notice board on which process 0 posts the coming step. LR is a
    # factor from 0 to 1 that multiplies the two learning rates.
    LR, LENGTH, DECAY, VALIDATE, STOP = range(5)

    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.model = Model(CONFIG)
        params = dict(self.model.named_parameters())
        total = sum(p.numel() for p in params.values())
        self.values = shared(total)
        self.grads = [shared(total) for _ in range(args.processes)]
        self.state = [shared(total), shared(total)]
        self.board = shared(8)
        self.losses = shared(2 * args.processes)
        self.barrier = multiprocessing.get_context("fork").Barrier(args.processes)

        self.spans, at = {}, 0
        for name, p in params.items():
            self.spans[name] = (at, at + p.numel(), p.shape)
            view = self.view(self.values, name)
            view.copy_(p.data)
            p.data = view
            at += p.numel()

        tokens = np.fromfile(f"{args.dir}/train.bin", np.uint16)
        held_out = np.fromfile(f"{args.dir}/val.bin", np.uint16)
        self.held_out = torch.from_numpy(held_out.astype(np.int64))
        self.stream = Stream(tokens, CONFIG["vocab"] - 1, args.seed)
        self.stream.seek(0, 0)
        self.step, self.spent, self.tokens = 0, 0.0, 0
        self.path = f"{args.dir}/checkpoint.pt"
        if os.path.exists(self.path):
            self.load()

    def view(self, flat, name):
        start, end, shape = self.spans[name]
        return flat[start:end].view(shape)

    def load(self):
        saved = torch.load(self.path)
        self.model.load_state_dict(saved["model"])
        for mine, theirs in zip(self.state, saved["state"]):
            mine.copy_(theirs)
        self.step, self.spent, self.tokens = saved["step"], saved["spent"], saved["tokens"]
        self.stream.seek(*saved["stream"])

    def save(self):
        torch.save(dict(config=CONFIG, model=self.model.state_dict(), state=self.state,
                        step=self.step, spent=self.spent, tokens=self.tokens,
                        stream=(self.stream.epoch, self.stream.at)), self.path + ".tmp")
        os.replace(self.path + ".tmp", self.path)

    def share_out(self, rank):
        """The optimisers of this process: the costliest parameters are dealt first."""
        jobs = []
        for name, param in self.model.named_parameters():
            matrix = name.rsplit(".", 1)[-1] in MATRICES
            muon = matrix and self.args.matrices == "muon"
            state = [self.view(s, name) for s in self.state]
            kind = Muon if muon else AdamW
            optimiser = kind(param.data, state, float(matrix))
            jobs.append((kind.work * param.numel(), name, optimiser, muon))
        jobs.sort(key=lambda job: -job[0])
        load, mine = [0.0] * self.args.processes, []
        for work, name, optimiser, muon in jobs:
            owner = load.index(min(load))
            load[owner] += work
            if owner == rank:
                mine.append((optimiser, muon, [self.view(g, name) for g in self.grads]))
        return mine

    def post(self, started):
        """Decide the coming step: everything follows the wall clock, so that a
        run ends annealed however fast the machine was, and resumes as it was.
        The rates fall in a straight line to 0."""
        args, now = self.args, time.time()
        self.spent = started[1] + now - started[0]
        done = min(1.0, self.spent / (60 * args.minutes))
        warm = min(1.0, (self.step + 1) / args.warmup)
        self.board[self.LR] = warm * (1 - done)
        self.board[self.LENGTH] = 256 if done < args.short else CONFIG["context"]
        self.board[self.DECAY] = args.decay if done < 0.5 else 0.0
        self.board[self.VALIDATE] = float(now - self.validated > args.every or done >= 1)
        self.board[self.STOP] = float(done >= 1)

    def validate(self, rank, length, rows=8):
        """Mean held-out loss; each process does its part of the windows."""
        windows = (len(self.held_out) - 1) // length
        total = 0.0
        self.model.eval()
        with torch.no_grad():
            for first in range(rank * rows, windows, rows * self.args.processes):
                n = min(rows, windows - first)
                part = self.held_out[first * length:(first + n) * length + 1]
                loss = self.model(part[:-1].view(n, length), part[1:].view(n, length))
                total += float(loss) * n / windows
        self.losses[self.args.processes + rank] = total
        self.model.train()
        self.barrier.wait()
        mean = float(self.losses[self.args.processes:].sum())
        self.barrier.wait()
        return mean

    def run(self, rank):
        args, processes = self.args, self.args.processes
        torch.set_num_threads(1)
        torch.manual_seed(args.seed + 1000 * self.step + rank)
        for name, param in self.model.named_parameters():
            param.grad = self.view(self.grads[rank], name)
        mine = self.share_out(rank)
        started = (time.time(), self.spent)
        self.validated = saved = mark = time.time()
        marked, running = self.tokens, None
        if rank == 0:
            log = open(f"{args.dir}/loss_curve.tsv", "a")
            if not log.tell():
                print("step\ttokens\tseconds\tlr\ttrain\tval\ttok/s", file=log, flush=True)
            print(f"{len(self.values)} parameters, {len(self.stream.tokens)} training tokens, "
                  f"from step {self.step}", flush=True)

        while True:
            if rank == 0:
                self.post(started)
            self.barrier.wait()                      # board posted, parameters whole
            lr, length, decay, validating, stop = self.board[:5].tolist()
            length = int(length)

            if validating:
                val = self.validate(rank, 256)
                final = self.validate(rank, CONFIG["context"]) if stop else 0
                if rank == 0:
                    now = time.time()
                    speed = (self.tokens - marked) / (now - mark)
                    line = (f"{self.step}\t{self.tokens}\t{self.spent:.0f}\t{lr:.4f}\t"
                            f"{running or math.nan:.4f}\t{val:.4f}\t{speed:.0f}")
                    print(line, file=log, flush=True)
                    print(line, f"epoch {self.stream.epoch}", flush=True)
                    self.validated = mark = now
                    marked = self.tokens
            if rank == 0 and (stop or time.time() - saved > 120):
                self.save()
                saved = time.time()
            if stop:
                if rank == 0:
                    print(f"final validation loss {val:.4f} at length 256, "
                          f"{final:.4f} at {CONFIG['context']}")
                return

            rows = args.batch // length
            ids, targets = self.stream.batch(rows, length)
            # The more often the text has been seen, the more dropout.
            self.model.dropout = args.dropout * min(1.0, self.stream.epoch / 8)
            self.grads[rank].zero_()
            own = range(rank, rows, processes)
            total = 0.0
            for first in range(0, len(own), max(1, args.micro // length)):
                part = own[first:first + max(1, args.micro // length)]
                loss = self.model(ids[part], targets[part]) * (len(part) / rows)
                loss.backward()
                total += float(loss)
            self.losses[rank] = total
            self.step += 1
            self.tokens += args.batch
            self.barrier.wait()                      # all gradients are there

            loss = float(self.losses[:processes].sum())
            running = loss if running is None else 0.98 * running + 0.02 * loss
            norm = float(sum(self.grads[1:], self.grads[0]).norm())
            clip = min(1.0, args.clip / (norm + 1e-6))
            for optimiser, muon, grads in mine:
                rate = lr * (args.muon_lr if muon else args.adam_lr)
                optimiser.update(sum(grads[1:], grads[0]) * clip, rate, decay, self.step)


def train(args):
    trainer = Trainer(args)
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=trainer.run, args=(rank,), daemon=True)
              for rank in range(1, args.processes)]
    for process in others:
        process.start()
    trainer.run(0)


# ---------------------------------------------------------------- sampling

def load(directory):
    saved = torch.load(f"{directory}/checkpoint.pt")
    model = Model(saved["config"])
    model.load_state_dict(saved["model"])
    model.eval()
    return model, bpe.Tokenizer(f"{directory}/tokenizer.json"), saved


def generate(model, tokenizer, prompt, count, temperature, top_k, seed):
    chance = torch.Generator().manual_seed(seed)
    ids = [tokenizer.eot] + tokenizer.encode(prompt)
    with torch.no_grad():
        while len(ids) < min(count, model.config["context"]):
            logits = model(torch.tensor([ids]))[0, -1]
            if temperature <= 0:
                token = int(logits.argmax())
            else:
                best, which = logits.topk(top_k)
                odds = torch.softmax(best / temperature, -1)
                pick = torch.multinomial(odds, 1, generator=chance)
                token = int(which[pick])
            if token == tokenizer.eot:
                break
            ids.append(token)
    return tokenizer.decode(ids)


def sample(args):
    model, tokenizer, _ = load(args.dir)
    for seed in range(args.n):
        print(f"--- seed {seed}")
        print(generate(model, tokenizer, args.prompt, args.tokens,
                       args.temperature, args.top_k, seed))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare")
    p.add_argument("corpus")
    p.add_argument("dir")
    p = commands.add_parser("train")
    p.add_argument("dir")
    p.add_argument("--minutes", type=float, default=120, help="wall-clock length of the whole run")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--batch", type=int, default=4096, help="tokens per step, all together")
    p.add_argument("--micro", type=int, default=2048, help="tokens per forward pass")
    p.add_argument("--matrices", choices=("muon", "adamw"), default="muon")
    p.add_argument("--muon-lr", type=float, default=0.02)
    p.add_argument("--adam-lr", type=float, default=3e-3)
    p.add_argument("--decay", type=float, default=0.1, help="weight decay, first half only")
    p.add_argument("--dropout", type=float, default=0.1, help="reached in the ninth epoch")
    p.add_argument("--warmup", type=int, default=60, help="steps")
    p.add_argument("--short", type=float, default=0.8, help="part of the time spent at length 256")
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=float, default=120, help="seconds between validations")
    p.add_argument("--seed", type=int, default=1)
    p = commands.add_parser("sample")
    p.add_argument("dir")
    p.add_argument("--prompt", default="Once upon a time")
    p.add_argument("--n", type=int, default=3)
    p.add_argument("--tokens", type=int, default=300)
    p.add_argument("--temperature", type=float, default=0.7)
    p.add_argument("--top-k", type=int, default=40)
    args = parser.parse_args()
    globals()[args.command](args)


# Large tensors must stay on the heap: fresh pages from mmap for each would cost
# more than the arithmetic. glibc and OpenBLAS read these at start, hence exec.
QUIET = dict(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1",
             MALLOC_TRIM_THRESHOLD_="8589934592", MALLOC_MMAP_THRESHOLD_="8589934592",
             MALLOC_TOP_PAD_="67108864")

if __name__ == "__main__":
    if any(os.environ.get(key) != value for key, value in QUIET.items()):
        os.environ.update(QUIET)
        os.execv(sys.executable, [sys.executable] + sys.argv)
    main()
