# SPDX-License-Identifier: MIT
"""Byte-level BPE in the GPT-2 form: learn a vocabulary, encode, decode.

A token is a byte string; in files it is spelt in GPT-2's alphabet, where every
byte is one printable character (space is "Ġ"). The last id is <|endoftext|>,
which both begins and separates documents.
"""
import collections
import json
import re

EOT = "<|endoftext|>"

# GPT-2's split pattern with \p{L} narrowed to ASCII letters and everything above
# U+007F. The corpus is ASCII, where the two agree; on other text they may not.
SPLIT = re.compile(
    r"'(?:s|t|re|ve|m|ll|d)"
    r"| ?[A-Za-z\u0080-\uffff]+"
    r"| ?[0-9]+"
    r"| ?[^\sA-Za-z0-9\u0080-\uffff]+"
    r"|\s+(?!\S)|\s+")


def byte_alphabet():
    """Map each byte to its character: itself if printable, else U+0100 onwards."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, spare = {}, 256
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(spare)
            spare += 1
    return table


TO_CHAR = byte_alphabet()
TO_BYTE = {char: byte for byte, char in TO_CHAR.items()}


def spell(token):
    return "".join(TO_CHAR[byte] for byte in token)


def unspell(text):
    return bytes(TO_BYTE[char] for char in text)


def documents(text):
    """The non-empty documents of a corpus separated by <|endoftext|>."""
    return [doc for doc in (part.strip() for part in text.split(EOT)) if doc]


def learn(text, size):
    """Learn size-1 tokens; return them in id order, and the merges in rank order.

    The classic greedy algorithm: merge the most frequent adjacent pair, again
    and again. Pair counts are kept up to date word by word, so a merge costs
    only the words that hold the pair.
    """
    words = collections.Counter()
    for part in text.split(EOT):
        words.update(SPLIT.findall(part))
    symbols = [[bytes([b]) for b in word.encode()] for word in words]
    counts = list(words.values())
    pairs, homes = collections.Counter(), collections.defaultdict(set)
    for i, word in enumerate(symbols):
        for pair in zip(word, word[1:]):
            pairs[pair] += counts[i]
            homes[pair].add(i)

    vocab, merges = [bytes([b]) for b in range(256)], []
    while len(vocab) < size - 1:
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        if pairs[best] < 2:
            break
        merges.append(best)
        vocab.append(best[0] + best[1])
        for i in list(homes[best]):
            word = symbols[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= counts[i]
                homes[pair].discard(i)
            symbols[i] = word = join_pair(word, best)
            for pair in zip(word, word[1:]):
                pairs[pair] += counts[i]
                homes[pair].add(i)
        del pairs[best]
    return vocab, merges


def join_pair(word, pair):
    """Replace each adjacent occurrence of pair in word, from the left."""
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def save(path, vocab, merges):
    record = {
        "vocab": [spell(token) for token in vocab] + [EOT],
        "merges": [spell(a) + " " + spell(b) for a, b in merges],
        "eot": len(vocab),
        "pre": "gpt2",
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file, ensure_ascii=False)


class Tokenizer:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        self.spelt, self.spelt_merges = record["vocab"], record["merges"]
        self.eot = record["eot"]
        self.tokens = [unspell(text) for text in self.spelt[:self.eot]]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.ranks = {tuple(unspell(half) for half in merge.split(" ")): rank
                      for rank, merge in enumerate(self.spelt_merges)}
        self.cache = {}

    def encode_word(self, word):
        if word not in self.cache:
            symbols = [bytes([b]) for b in word.encode()]
            while len(symbols) > 1:
                pair = min(zip(symbols, symbols[1:]),
                           key=lambda p: self.ranks.get(p, len(self.ranks)))
                if pair not in self.ranks:
                    break
                symbols = join_pair(symbols, pair)
            self.cache[word] = [self.ids[s] for s in symbols]
        return self.cache[word]

    def encode(self, text):
        return [i for word in SPLIT.findall(text) for i in self.encode_word(word)]

    def decode(self, ids):
        return b"".join(self.tokens[i] for i in ids if i != self.eot).decode("utf-8", "replace")
