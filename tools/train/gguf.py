# SPDX-License-Identifier: MIT
"""Write and read GGUF files, as far as a BitNet b1.58 model needs it.

A file is: magic, version, counts; key/value records; tensor records; padding;
tensor data, each tensor at a multiple of 32 bytes. Everything is little-endian.
Tensor dimensions are listed fastest first, so a matrix [rows, columns] reads
{columns, rows}.

I2_S (type 36, of bitnet.cpp) packs ternary values two bits each, in blocks of
128 values and 32 bytes: byte p holds values p, 32+p, 64+p and 96+p, the first
in the top bits, as codes 0, 1, 2 for -1, 0, +1. One float32 scale for the whole
tensor follows the last block, in a tail of 32 bytes.
"""
import struct

import numpy as np

ALIGNMENT = 32
F32, F16, I2_S = 0, 1, 36
U32, I32, FLOAT, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", I32: "i", FLOAT: "f", BOOL: "?",
           U64: "Q", 11: "q", 12: "d"}


# ---------------------------------------------------------------- I2_S

def pack_i2_s(values, scale):
    """Bytes of an I2_S tensor from ternary values of any shape, row-major."""
    codes = (np.asarray(values).reshape(-1, 4, 32) + 1).astype(np.uint8)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return packed.tobytes() + struct.pack("<f", scale) + bytes(28)


def unpack_i2_s(data, count):
    """The ternary values (int8, flat) and the scale."""
    packed = np.frombuffer(data, np.uint8, count // 4).reshape(-1, 1, 32)
    codes = packed >> np.array([6, 4, 2, 0], np.uint8).reshape(1, 4, 1) & 3
    if codes.max() > 2:
        raise ValueError("I2_S code 3")
    scale, = struct.unpack_from("<f", data, count // 4)
    return codes.reshape(-1).astype(np.int8) - 1, scale


def nbytes(kind, count):
    return {F32: count * 4, F16: count * 2, I2_S: count // 4 + 32}[kind]


# ---------------------------------------------------------------- writing

class Writer:
    """Collects keys and tensors, in the order in which they shall stand."""

    def __init__(self):
        self.keys, self.tensors = [], []

    def key(self, name, kind, value):
        self.keys.append(string(name) + struct.pack("<I", kind) + encode(kind, value))

    def array(self, name, kind, values):
        head = struct.pack("<IIQ", ARRAY, kind, len(values))
        self.keys.append(string(name) + head + b"".join(encode(kind, v) for v in values))

    def tensor(self, name, kind, shape, data):
        assert len(data) == nbytes(kind, int(np.prod(shape))), name
        self.tensors.append((name, kind, tuple(reversed(shape)), data))

    def bytes(self):
        out = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.keys)), *self.keys]
        offset = 0
        for name, kind, dims, data in self.tensors:
            out += [string(name), struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)]
            offset += len(pad(data))
        return pad(b"".join(out)) + b"".join(pad(data) for *_, data in self.tensors)


def pad(data):
    return data + bytes(-len(data) % ALIGNMENT)


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def encode(kind, value):
    return string(value) if kind == STRING else struct.pack("<" + FORMATS[kind], value)


# ---------------------------------------------------------------- reading

class Reader:
    """Keys as a dict; tensors as {name: (kind, shape, bytes)}. Trusts the file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        self.at = 0
        magic, version, n_tensors, n_keys = self.take("4sIQQ")
        if magic != b"GGUF" or version != 3:
            raise ValueError("not a GGUF v3 file")
        self.keys = {}
        for _ in range(n_keys):
            name = self.value(STRING)
            self.keys[name] = self.value(self.take("I")[0])
        records = []
        for _ in range(n_tensors):
            name = self.value(STRING)
            dims = self.take(f"{self.take('I')[0]}Q")
            records.append((name, dims[::-1], *self.take("IQ")))
        start = len(pad(self.data[:self.at]))
        self.tensors = {}
        for name, shape, kind, offset in records:
            first = start + offset
            data = self.data[first:first + nbytes(kind, int(np.prod(shape)))]
            self.tensors[name] = (kind, shape, data)

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def value(self, kind):
        if kind == STRING:
            size, = self.take("Q")
            self.at += size
            return self.data[self.at - size:self.at].decode()
        if kind == ARRAY:
            element, count = self.take("IQ")
            return [self.value(element) for _ in range(count)]
        return self.take(FORMATS[kind])[0]
